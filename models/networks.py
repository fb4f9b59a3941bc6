"""The dense / batch normalisation / tanh stack of the papers, and its one way of initialising and regularising."""

from __future__ import annotations

import dataclasses
import re

import keras
import tensorflow as tf


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerFactory:
    """Makes the layers of all networks, so that they share their width, initialisation and weight decay.

    Attributes:
      hidden_units: width of a hidden layer.
      weight_decay: `c` in the penalty `c * sum(w^2) / 2` on dense kernels and the batch-normalisation scales of stacks.
      momentum, epsilon: of batch normalisation.
      seeds: draws the initial kernels, one after the other.
    """

    hidden_units: int
    weight_decay: float
    momentum: float
    epsilon: float
    seeds: keras.random.SeedGenerator

    def decay(self) -> keras.regularizers.Regularizer:
        """`weight_decay * sum(w^2) / 2`; Keras adds it to `model.losses`."""
        return keras.regularizers.L2(self.weight_decay / 2)

    def dense(self, num_inputs: int, num_outputs: int, *, name: str) -> keras.layers.Dense:
        """A linear map with bias, built."""
        kernel = keras.initializers.VarianceScaling(2.0, "fan_in", "truncated_normal", seed=self.seeds)
        layer = keras.layers.Dense(num_outputs, kernel_initializer=kernel, kernel_regularizer=self.decay(), name=name)
        layer.build((None, num_inputs))
        return layer

    def batch_norm(
        self, num_units: int, *, name: str, scale: float = 1.0, decays: bool = True
    ) -> keras.layers.BatchNormalization:
        """Batch normalisation, built; its scales (gamma) start at `scale` and are regularised if it `decays`."""
        layer = keras.layers.BatchNormalization(
            momentum=self.momentum,
            epsilon=self.epsilon,
            gamma_initializer=keras.initializers.Constant(scale),
            gamma_regularizer=self.decay() if decays else None,
            name=name,
        )
        layer.build((None, num_units))
        return layer

    def hidden_stack(self, num_inputs: int, num_layers: int, *, name: str) -> Stack:
        """`num_layers` times dense, batch normalisation, tanh."""
        layers: list[keras.layers.Layer] = []
        with keras.name_scope(name):
            for i in range(num_layers):
                layers += [
                    self.dense(num_inputs, self.hidden_units, name=f"dense_{i}"),
                    self.batch_norm(self.hidden_units, name=f"norm_{i}"),
                    keras.layers.Activation("tanh", name=f"tanh_{i}"),
                ]
                num_inputs = self.hidden_units
        return Stack(layers, name=name)


class Stack(keras.layers.Layer):
    """Layers applied one after the other. (`keras.Sequential` cannot be empty; a linear encoder is.)"""

    def __init__(self, layers: list[keras.layers.Layer], *, name: str) -> None:
        super().__init__(name=name)
        self.layers = tuple(layers)
        self.built = True

    def call(self, inputs, training: bool = False):
        for layer in self.layers:
            # Only batch normalisation behaves differently in training; Keras hands `training` to it from this call.
            inputs = layer(inputs)
        return inputs


def feature_width(role: str, network: keras.layers.Layer, num_inputs: int) -> int:
    """How many features a network makes of `num_inputs` inputs; builds it if it is not built yet.

    Args:
      role: what the network is handed in as, for the error.

    Raises:
      ValueError: it cannot take `[rows, num_inputs]`, or does not make `[rows, width]` of it.
    """
    name = getattr(network, "name", network)
    wanted = f"{role}={name!r}: must be a Keras layer from [rows, {num_inputs}] to features [rows, width]"
    if not isinstance(network, keras.layers.Layer):
        raise ValueError(f"{wanted}; it is a {type(network).__name__}")  # noqa: TRY004 (a user's mistake)
    try:
        features = network(tf.zeros([2, num_inputs]), training=False)
    except Exception as error:  # whatever a user's own code raises
        text = re.sub(r"\x1b\[\d*m", "", str(error))  # Keras writes in bold
        raise ValueError(f"{wanted}; calling it fails: {' '.join(text.split())[:200]}") from error
    shape = getattr(features, "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != 2:
        raise ValueError(f"{wanted}; for 2 rows it makes {shape}")
    return int(shape[1])


def seal(*parts: keras.layers.Layer) -> None:
    """Makes Keras refuse further layers and weights in parts of a model that are complete.

    A network put in another's place would be trained beside the old one, which Keras would still count as a part.
    """
    for part in parts:
        part.build(None)


def synchronise(model: keras.Model) -> None:
    """Lets batch normalisation, in training, use the statistics of all replicas of a `tf.distribute` strategy.

    For all such layers of a model, those of networks that were handed in too.
    """
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
