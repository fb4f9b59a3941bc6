"""Block Gibbs sweeps: the only place that knows how to be fast.

Two choices make the inner loop of everything else two to three times faster than the obvious TensorFlow graph:

* XLA with its Threefry generator. The uniforms, the logistic function and the comparison become one fused pass over
  memory. (XLA's Philox is several times slower, and TensorFlow's own kernels write the uniforms to memory first.)
* *Columns*: inside a loop a state is kept as `[*batch, units, chains]`, so that both products of a sweep are plain
  matrix products with the long axis last.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from samplers.rbm import RBM


class GibbsState(NamedTuple):
    """Binary states of a set of chains.

    Attributes:
      left: `[chains, *batch, N]`.
      right: `[chains, *batch, M]`, drawn from `p(right | left of half a sweep before)`.
    """

    left: tf.Tensor
    right: tf.Tensor


@tf.function(jit_compile=True)
def sweep(rbm: RBM, left: tf.Tensor, seed: tf.Tensor, *, num_sweeps: tf.Tensor) -> GibbsState:
    """Moves chains by `num_sweeps` sweeps; one sweep draws `right | left`, then `left | right`.

    Leaves `p(left)` of the RBM invariant. No gradient flows.

    Args:
      rbm: a machine or a batch of machines.
      left: binary, `[chains, *batch, N]`.
      seed: int32 `[2]`.
      num_sweeps: int32 scalar, at least 1. (A tensor: one compilation serves every length.)

    Returns:
      The state after the last sweep.
    """
    columns = Columns.of(rbm)
    left = to_columns(left)
    right = tf.zeros(tf.concat([tf.shape(columns.bias_right)[:-1], tf.shape(left)[-1:]], 0), left.dtype)
    # Sweeps count up from their seed. Splitting it first keeps them apart from those of a caller's next seed.
    seed = tf.random.split(seed, 1)[0]
    i = tf.constant(0)
    while i < num_sweeps:  # not `in tf.range`, whose length XLA compiles in
        left, right = columns.sweep(columns.right_input(left), 1.0, sweep_seed(seed, i))
        i += 1
    return GibbsState(from_columns(left), from_columns(right))


class Columns(NamedTuple):
    """An RBM for states in columns, `[*batch, units, chains]`. To be used inside an XLA-compiled function only."""

    bias_left: tf.Tensor  # [*batch, N, 1]
    bias_right: tf.Tensor  # [*batch, M, 1]
    weights: tf.Tensor  # [*batch, N, M]
    weights_transposed: tf.Tensor  # [*batch, M, N]

    @classmethod
    def of(cls, rbm: RBM) -> Columns:
        transposed = tf.linalg.matrix_transpose(rbm.weights)
        return cls(rbm.bias_left[..., None], rbm.bias_right[..., None], rbm.weights, transposed)

    def right_input(self, left: tf.Tensor) -> tf.Tensor:
        """`left' W`, without the bias, `[*batch, M, chains]`."""
        return tf.matmul(self.weights_transposed, left)

    def sweep(self, right_input: tf.Tensor, beta: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """`right ~ sigma(b + beta left' W)`, then `left ~ sigma(a + beta W right)`, from `right_input = left' W`."""
        right_logits = self.bias_right + beta * right_input
        num_right = self.bias_right.shape[-2]
        shape = tf.concat(
            [tf.shape(right_logits)[:-2], [num_right + self.bias_left.shape[-2]], tf.shape(right_logits)[-1:]], 0
        )
        uniform = _uniform(shape, seed, right_logits.dtype)  # one call for both sides: calls are dear
        right = _bernoulli(right_logits, uniform[..., :num_right, :])
        left = _bernoulli(self.bias_left + beta * tf.matmul(self.weights, right), uniform[..., num_right:, :])
        return left, right


def sweep_seed(seed: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """The seed of sweep `number`. Threefry is a keyed permutation: consecutive keys need no further mixing."""
    return seed + tf.stack([0, number])


def bernoulli(logits: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Binary draws with `P(1) = sigma(logits)`; inside an XLA-compiled function only (Threefry)."""
    return _bernoulli(logits, _uniform(tf.shape(logits), seed, logits.dtype))


def _uniform(shape: tf.Tensor, seed: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    return tf.random.stateless_uniform(shape, seed, dtype=dtype, alg="threefry")


def _bernoulli(logits: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    return tf.cast(uniform < tf.sigmoid(logits), logits.dtype)


def to_columns(states: tf.Tensor) -> tf.Tensor:
    """`[chains, *batch, units]` to `[*batch, units, chains]`."""
    return tf.transpose(states, [*range(1, states.shape.rank), 0])


def from_columns(states: tf.Tensor) -> tf.Tensor:
    """`[*batch, units, chains]` to `[chains, *batch, units]`."""
    return tf.transpose(states, [states.shape.rank - 1, *range(states.shape.rank - 1)])
