"""Layers whose examples share nothing: free parameters for each, in place of what an encoder would make of it.

A posterior made of them is of the same class as an encoder's, `RBMPosterior` or `DirectedPosterior`; an example's
parameters are its own, and trained by its own objective alone.
"""

from __future__ import annotations

import dataclasses
import math

import keras
import tensorflow as tf

from models.directed_posterior import DirectedPosterior
from models.inputs import Inputs
from models.networks import LayerFactory, Stack
from models.rbm_posterior import RBMPosterior
from models.relaxations import PiecewiseLinear


class FreeLinear(keras.layers.Layer):
    """`y_b = h_b A_b / sqrt(num_inputs) + c_b`: a linear map of its own for each of `num_examples`; all start at 0.

    Scaled so, a step of Adam in all of A_b moves y_b about as far as one in c_b. Takes rows
    `[K * num_examples, num_inputs]`, the samples first; `num_inputs` may be 0.
    """

    def __init__(self, num_examples: int, num_inputs: int, num_outputs: int, *, name: str) -> None:
        super().__init__(name=name)
        self.num_examples, self.num_inputs, self.num_outputs = num_examples, num_inputs, num_outputs
        self.scale = 1 / math.sqrt(max(1, num_inputs))
        shape = (num_examples, num_inputs, num_outputs)
        self.kernel = self.add_weight(shape=shape, initializer="zeros", name="kernel")
        self.bias = self.add_weight(shape=(num_examples, num_outputs), initializer="zeros", name="bias")
        self.built = True

    def call(self, rows):
        num_samples = tf.shape(rows)[0] // self.num_examples
        by_sample = tf.reshape(rows, [num_samples, self.num_examples, self.num_inputs])
        outputs = tf.einsum("kbi,bio->kbo", by_sample, self.kernel) * self.scale + self.bias
        return tf.reshape(outputs, [num_samples * self.num_examples, self.num_outputs])


class NoFeatures(keras.layers.Layer):
    """In place of an encoder: `[rows, D]` to `[rows, 0]`."""

    def call(self, rows):
        return rows[:, :0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FreeLayers(LayerFactory):
    """Makes free linear maps, and no normalisation. Attributes: `num_examples`; those of networks play no part."""

    num_examples: int
    hidden_units: int = 0
    weight_decay: float = 0.0
    momentum: float = 0.0
    epsilon: float = 0.0
    seeds: keras.random.SeedGenerator = dataclasses.field(default_factory=lambda: keras.random.SeedGenerator(0))

    def dense(self, num_inputs, num_outputs, *, name):
        return FreeLinear(self.num_examples, num_inputs, num_outputs, name=name)

    def batch_norm(self, num_units, *, name, scale=1.0, decays=True):
        return Stack([], name=name)


# What a free posterior is given of its examples, `[num_examples, 1]`: nothing.
_NOTHING = Inputs(1, lambda x: x)
# Of relaxed samples, which nobody draws.
_RELAXATION = PiecewiseLinear(1.0)


def no_input(num_examples: int) -> tf.Tensor:
    """What `encode` of a free posterior takes for x."""
    return tf.zeros([num_examples, 1])


def free_directed(num_examples: int, num_units: int, num_groups: int) -> DirectedPosterior:
    """`q_b(z) = prod_i q_b(z_i | z_<i)`, for every b the logits of a group linear in the groups before it.

    With one group the factorial family. It starts uniform.
    """
    return DirectedPosterior(
        NoFeatures(),
        [_RELAXATION] * num_groups,
        layers=FreeLayers(num_examples=num_examples),
        inputs=_NOTHING,
        num_units=num_units,
        num_group_layers=0,
    )


def free_rbm(num_examples: int, num_units: int) -> RBMPosterior:
    """`q_b(z) = RBM(z; phi_b)`, half of the units on either side, fields and couplings of spins free. From uniform."""
    return RBMPosterior(
        NoFeatures(),
        _RELAXATION,
        layers=FreeLayers(num_examples=num_examples),
        inputs=_NOTHING,
        num_left=num_units // 2,
        num_right=num_units // 2,
        num_gibbs_sweeps=1,
        num_relaxed_sweeps=1,
    )
