"""Block Gibbs sweeps: the only place that knows how to be fast.

Three choices make the inner loop of everything else two to three times faster than the obvious TensorFlow graph:

* XLA with the Threefry generator of `samplers.random`, one random word for two units. The uniforms, the logistic
  function and the comparison become one fused pass over memory. (XLA's Philox is several times slower, and TensorFlow's
  own kernels write the uniforms to memory first.)
* *Columns*: inside a loop a state is kept as `[*batch, units, chains]`, so that both products of a sweep are plain
  matrix products with the long axis last.
* Two halves of the chains in every iteration of the loop, which XLA runs beside each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from samplers import random
from samplers.arguments import check_count
from samplers.rbm import RBM
from samplers.tracing import plain


class GibbsState(NamedTuple):
    """Binary states of a set of chains.

    Attributes:
      left: `[chains, *batch, N]`.
      right: `[chains, *batch, M]`, drawn from `p(right | left of half a sweep before)`.
    """

    left: tf.Tensor
    right: tf.Tensor


@plain
def sweep(rbm: RBM, left: tf.Tensor, seed: random.Seed, *, num_sweeps: tf.Tensor | int) -> GibbsState:
    """Moves chains by `num_sweeps` sweeps; one sweep draws `right | left`, then `left | right`.

    Leaves `p(left)` of the RBM invariant; with float32 up to 8e-6 in a unit's conditional probability, since it draws
    16-bit uniforms (see `half_word_uniforms`), with float64 exactly. Annealing runs, which
    estimate log Z, always draw uniforms of full precision. No gradient flows.

    Args:
      rbm: a machine or a batch of machines.
      left: binary, `[chains, *batch, N]`.
      seed: int32 `[2]`, or of some rows of a batch of machines.
      num_sweeps: at least 1.

    Returns:
      The state after the last sweep.

    Raises:
      ValueError: an argument is out of range, or `left` is no binary state of the machine.
    """
    check_count("num_sweeps", num_sweeps)
    # The number of sweeps as a tensor: one compilation serves every length.
    return _sweeps(rbm, rbm.as_states("left", left), random.as_seed(seed), num_sweeps=tf.convert_to_tensor(num_sweeps))


@tf.function(jit_compile=True, autograph=False)
def _sweeps(rbm: RBM, left: tf.Tensor, seed: random.Seed, *, num_sweeps: tf.Tensor) -> GibbsState:
    columns = Columns.of(rbm)
    states = [(part, _right_of(columns, part)) for part in _parts(to_columns(left))]
    uniforms = training_uniforms(left.dtype)
    # Sweeps count up from their seed. Splitting it first keeps them apart from those of a caller's next seed.
    seeds = random.split(seed, len(states))

    def one_sweep(i: tf.Tensor, states: list) -> tuple[tf.Tensor, list]:
        moved = [
            columns.sweep(columns.right_input(left), 1.0, sweep_seed(seed, i), uniforms=uniforms)
            for (left, _), seed in zip(states, seeds, strict=True)
        ]
        return i + 1, moved

    # The number of sweeps in the condition, and not as `maximum_iterations`, which XLA compiles in.
    _, states = tf.while_loop(lambda i, _: i < num_sweeps, one_sweep, (tf.constant(0), states))
    # So that a caller's backward function does not go through the loop, which would have to keep every state.
    sides = (tf.concat(parts, axis=-1) for parts in zip(*states, strict=True))
    return GibbsState(*(tf.stop_gradient(from_columns(side)) for side in sides))


@plain
def _parts(columns: tf.Tensor) -> list[tf.Tensor]:
    """Two halves of the chains of one machine, where there is no GPU; else all of them.

    The halves are independent of each other, so that XLA multiplies one while it draws random numbers for the other: on
    two cores a thousand chains take three quarters of the time. A GPU would wait for twice as many launches.
    """
    if columns.shape.rank > 2 or tf.config.list_physical_devices("GPU"):
        return [columns]
    half = tf.shape(columns)[-1] // 2
    return [columns[:, :half], columns[:, half:]]


@plain
def _right_of(columns: Columns, left: tf.Tensor) -> tf.Tensor:
    """Room for the right side of the chains in `left`."""
    return tf.zeros(tf.concat([tf.shape(columns.bias_right)[:-1], tf.shape(left)[-1:]], 0), left.dtype)


class Columns(NamedTuple):
    """An RBM for states in columns, `[*batch, units, chains]`. Fast inside an XLA-compiled function."""

    bias_left: tf.Tensor  # [*batch, N, 1]
    bias_right: tf.Tensor  # [*batch, M, 1]
    weights: tf.Tensor  # [*batch, N, M]
    weights_transposed: tf.Tensor  # [*batch, M, N]

    @classmethod
    def of(cls, rbm: RBM) -> Columns:
        transposed = tf.linalg.matrix_transpose(rbm.weights)
        return cls(rbm.bias_left[..., None], rbm.bias_right[..., None], rbm.weights, transposed)

    @plain
    def right_input(self, left: tf.Tensor) -> tf.Tensor:
        """`left' W`, without the bias, `[*batch, M, chains]`."""
        return tf.matmul(self.weights_transposed, left)

    @plain
    def sweep(
        self, right_input: tf.Tensor, beta: tf.Tensor, seed: random.Seed, *, uniforms: Uniforms | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """`right ~ sigma(b + beta left' W)`, then `left ~ sigma(a + beta W right)`, from `right_input = left' W`."""
        right_logits = self.bias_right + beta * right_input
        uniform_right, uniform_left = (uniforms or full_uniforms)(
            tf.shape(right_logits), self.bias_left.shape[-2], seed, right_logits.dtype
        )
        right = _bernoulli(right_logits, uniform_right)
        left = _bernoulli(self.bias_left + beta * tf.matmul(self.weights, right), uniform_left)
        return left, right


@plain
def sweep_seed(seed: random.Seed, number: tf.Tensor) -> random.Seed:
    """The seed of sweep `number`. Threefry is a keyed permutation: consecutive keys need no further mixing."""
    if isinstance(seed, random.RowsSeed):
        return seed._replace(seed=sweep_seed(seed.seed, number))
    return seed + tf.stack([0, number])


# Uniform numbers for both sides of a sweep, `[*batch, M, chains]` and `[*batch, N, chains]`, from the first shape, N, a
# seed and a type. One call for both: a call costs as much as a product.
Uniforms = Callable[[tf.Tensor, int, random.Seed, tf.DType], tuple[tf.Tensor, tf.Tensor]]
_MACHINES = -3  # the axis of machines, where there is a batch of them


@plain
def full_uniforms(shape_right, num_left, seed, dtype):
    """`Uniforms` of the type's full precision (23 bits for float32)."""
    num_right = shape_right[-2]
    shape = tf.concat([shape_right[:-2], [num_right + num_left], shape_right[-1:]], 0)
    uniform = random.uniform(shape, seed, dtype, batch_axis=_MACHINES)
    return uniform[..., :num_right, :], uniform[..., num_right:, :]


@plain
def half_word_uniforms(shape_right, num_left, seed, dtype):
    """`Uniforms` of 16 bits, two from every random word: half the random numbers of a sweep.

    They are the midpoints `(k + 1/2) / 2^16`, so the probability of a unit is off by at most 2^-17 = 8e-6.
    """
    num_right = shape_right[-2]
    shape = tf.concat([shape_right[:-2], [tf.maximum(num_right, num_left)], shape_right[-1:]], 0)
    low, high = random.half_uniforms(shape, seed, batch_axis=_MACHINES)
    return low[..., :num_right, :], high[..., :num_left, :]


@plain
def training_uniforms(dtype: tf.DType) -> Uniforms:
    """What sweeps draw that estimate no log Z: half words where the type is float32."""
    return half_word_uniforms if dtype == tf.float32 else full_uniforms


def _bernoulli(logits: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    return tf.cast(uniform < tf.sigmoid(logits), logits.dtype)


@plain
def to_columns(states: tf.Tensor) -> tf.Tensor:
    """`[chains, *batch, units]` to `[*batch, units, chains]`."""
    return tf.transpose(states, [*range(1, states.shape.rank), 0])


@plain
def from_columns(states: tf.Tensor) -> tf.Tensor:
    """`[*batch, units, chains]` to `[chains, *batch, units]`."""
    return tf.transpose(states, [states.shape.rank - 1, *range(states.shape.rank - 1)])


@plain
def gather_chains(columns: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Chains (last axis) of `columns` by their numbers `index [..., chains]`, whose other axes broadcast."""
    index = tf.broadcast_to(index, tf.shape(columns))
    return tf.gather(columns, index, axis=-1, batch_dims=columns.shape.rank - 1)
