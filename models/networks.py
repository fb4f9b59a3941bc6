"""The dense / batch normalisation / tanh stack of the papers, and its one way of initialising and regularising."""

from __future__ import annotations

import dataclasses

import keras


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerFactory:
    """Makes the layers of all networks, so that they share their width, initialisation and weight decay.

    Attributes:
      hidden_units: width of a hidden layer.
      weight_decay: `c` in the penalty `c * sum(w^2) / 2` on dense kernels and batch-normalisation scales.
      seeds: draws the initial kernels, one after the other.
    """

    hidden_units: int
    weight_decay: float
    seeds: keras.random.SeedGenerator

    def decay(self) -> keras.regularizers.Regularizer:
        """`weight_decay * sum(w^2) / 2`; Keras adds it to `model.losses`."""
        return keras.regularizers.L2(self.weight_decay / 2)

    def dense(self, num_inputs: int, num_outputs: int) -> keras.layers.Dense:
        """A linear map with bias, built."""
        kernel = keras.initializers.VarianceScaling(2.0, "fan_in", "truncated_normal", seed=self.seeds)
        layer = keras.layers.Dense(num_outputs, kernel_initializer=kernel, kernel_regularizer=self.decay())
        layer.build((None, num_inputs))
        return layer

    def batch_norm(self, num_units: int) -> keras.layers.BatchNormalization:
        """Batch normalisation with the published momentum and epsilon, built."""
        layer = keras.layers.BatchNormalization(momentum=0.99, epsilon=1e-2, gamma_regularizer=self.decay())
        layer.build((None, num_units))
        return layer

    def hidden_stack(self, num_inputs: int, num_layers: int) -> Stack:
        """`num_layers` times dense, batch normalisation, tanh."""
        layers: list[keras.layers.Layer] = []
        for _ in range(num_layers):
            layers += [self.dense(num_inputs, self.hidden_units), self.batch_norm(self.hidden_units)]
            layers += [keras.layers.Activation("tanh")]
            num_inputs = self.hidden_units
        return Stack(layers, num_outputs=num_inputs)


class Stack(keras.layers.Layer):
    """Layers applied one after the other. (`keras.Sequential` cannot be empty; a linear encoder is.)

    Attributes:
      num_outputs: width of the last layer.
    """

    def __init__(self, layers: list[keras.layers.Layer], *, num_outputs: int) -> None:
        super().__init__()
        self.layers = layers
        self.num_outputs = num_outputs
        self.built = True

    def call(self, inputs, training: bool):
        for layer in self.layers:
            # Only batch normalisation behaves differently in training; Keras hands `training` to it from this call.
            inputs = layer(inputs)
        return inputs
