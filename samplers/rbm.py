"""The restricted Boltzmann machine: one class for the prior (one machine) and the posterior (a batch of machines)."""

from __future__ import annotations

import string
from typing import NamedTuple

import tensorflow as tf


class RBM(NamedTuple):
    """Restricted Boltzmann machine over binary units `z = [left, right]` in {0, 1}.

        p(z) = exp(-E(z)) / Z,    E(z) = -(a . left + b . right + left' W right)

    A batch of machines has leading dimensions `*batch` in all three parameters. States carry sample dimensions in
    front of the batch: `left` is `[..., *batch, N]`, `right` is `[..., *batch, M]`. A NamedTuple of tensors is a
    `tf.nest` structure, so an `RBM` passes through `tf.function`, `tf.while_loop` and `tf.nest.map_structure`.

    Attributes:
      bias_left: `a`, `[*batch, N]`.
      bias_right: `b`, `[*batch, M]`.
      weights: `W`, `[*batch, N, M]`.
    """

    bias_left: tf.Tensor
    bias_right: tf.Tensor
    weights: tf.Tensor

    @property
    def num_left(self) -> int:
        return self.weights.shape[-2]

    @property
    def num_right(self) -> int:
        return self.weights.shape[-1]

    def right_logits(self, left: tf.Tensor) -> tf.Tensor:
        """`b + left' W`: `right | left ~ Bernoulli(sigma(right_logits))`; `[..., *batch, M]`."""
        return self.bias_right + self._contract(left, "y")

    def left_logits(self, right: tf.Tensor) -> tf.Tensor:
        """`a + W right`: `left | right ~ Bernoulli(sigma(left_logits))`; `[..., *batch, N]`."""
        return self.bias_left + self._contract(right, "z")

    def energy(self, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        """`E(z) = -(a . left + b . right + left' W right)` in nats, `[..., *batch]`; also for relaxed units."""
        return -(_dot(left, self.bias_left) + _dot(right, self.right_logits(left)))

    def free_energy(self, left: tf.Tensor) -> tf.Tensor:
        """`F(left) = -log sum_right exp(-E) = -a . left - sum_j softplus(b_j + (left' W)_j)`, nats, `[..., *batch]`."""
        return -(_dot(left, self.bias_left) + tf.reduce_sum(tf.math.softplus(self.right_logits(left)), axis=-1))

    def split(self, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """`z [..., N + M]` as `(left [..., N], right [..., M])`."""
        return z[..., : self.num_left], z[..., self.num_left :]

    def frozen(self) -> RBM:
        """The machine as it is now: constants to differentiation, and no longer tied to any `tf.Variable`."""
        return RBM(*(tf.stop_gradient(tf.convert_to_tensor(parameter)) for parameter in self))

    def transpose(self) -> RBM:
        """The same distribution with the names of the two sides exchanged."""
        return RBM(self.bias_right, self.bias_left, tf.linalg.matrix_transpose(self.weights))

    def _contract(self, units: tf.Tensor, axis: str) -> tf.Tensor:
        # Letters y, z are the weights' two axes; the one named `axis` is summed against the units.
        batch = string.ascii_lowercase[: self.weights.shape.rank - 2]
        other = "z" if axis == "y" else "y"
        return tf.einsum(f"...{batch}{axis},{batch}yz->...{batch}{other}", units, self.weights)


def _dot(units: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(units * parameters, axis=-1)
