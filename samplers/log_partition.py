"""The exact log-partition function and exact samples of a small RBM; the gradient carrier of log Z for a large one."""

from __future__ import annotations

import tensorflow as tf

from samplers import random
from samplers.arguments import check_count, check_seed
from samplers.gibbs import GibbsState
from samplers.rbm import RBM
from samplers.tracing import plain

_ENUMERABLE_UNITS = 24
_BLOCK_BITS = 14  # states are enumerated in blocks of 2^14


def all_states(num_units: int, *, first: tf.Tensor | int = 0, count: tf.Tensor | int | None = None) -> tf.Tensor:
    """Binary vectors number `first` to `first + count - 1`, float64 `[count, num_units]`, first unit the lowest bit."""
    check_count("num_units", num_units, least=0)
    count = 2**num_units if count is None else count
    return tf.cast(_bits(tf.range(first, first + count), num_units), tf.float64)


def _bits(numbers: tf.Tensor, num_units: int) -> tf.Tensor:
    """Binary digits of `numbers [...]`, lowest first, int32 `[..., num_units]`."""
    return tf.bitwise.right_shift(numbers[..., None], tf.range(num_units)) & 1


def exact_log_z(rbm: RBM) -> tf.Tensor:
    """`log Z = log sum_{left, right} exp(-E)`: the smaller side enumerated, the other summed out, in float64.

    Args:
      rbm: a machine or a batch of machines, at most 24 units on the smaller side.

    Returns:
      log Z in nats, float64 `[*batch]`.

    Raises:
      ValueError: too many units to enumerate.
    """
    return _enumerated(_smaller_side_left(rbm))


@tf.function
def _enumerated(rbm: RBM) -> tf.Tensor:
    log_z = tf.fill(tf.shape(rbm.bias_left)[:-1], tf.constant(float("-inf"), tf.float64))
    block = _block_size(rbm)
    for first in tf.range(0, 2**rbm.num_left, block):
        terms = _log_unnormalised(rbm, first, block)
        log_z = tf.reduce_logsumexp(tf.stack([log_z, tf.reduce_logsumexp(terms, axis=0)]), axis=0)
    return log_z


def exact_sample(rbm: RBM, num_samples: tf.Tensor | int, seed: tf.Tensor) -> GibbsState:
    """Independent draws from p(z): the state of the smaller side by its enumerated probability, then the other side.

    Args:
      rbm: a machine or a batch of machines, at most 24 units on the smaller side.
      num_samples: draws, at least 1.
      seed: int32 `[2]`.

    Returns:
      `left [num_samples, *batch, N]` and `right [num_samples, *batch, M]`, of the machine's type.

    Raises:
      ValueError: too many units to enumerate, or another argument is out of range.
    """
    check_count("num_samples", num_samples)
    _smaller_side_left(rbm)
    return _exact_sample(rbm, tf.convert_to_tensor(num_samples), check_seed(seed))


@tf.function
def _exact_sample(rbm: RBM, num_samples: tf.Tensor, seed: tf.Tensor) -> GibbsState:
    state_seed, other_seed = random.split(seed, 2)
    enumerated = _smaller_side_left(rbm)
    block = _block_size(enumerated)
    blocks = tf.TensorArray(tf.float64, 2**enumerated.num_left // block)
    for number in tf.range(2**enumerated.num_left // block):
        blocks = blocks.write(number, _log_unnormalised(enumerated, number * block, block))
    log_p = tf.reshape(blocks.stack(), tf.concat([[2**enumerated.num_left], tf.shape(rbm.bias_left)[:-1]], 0))

    # Inversion of the cumulative distribution, in float64, for every machine of the flattened batch.
    batch_shape = tf.shape(log_p)[1:]
    cumulative = tf.cumsum(tf.nn.softmax(tf.transpose(tf.reshape(log_p, [tf.shape(log_p)[0], -1])), axis=-1), axis=-1)
    points = random.uniform([tf.shape(cumulative)[0], num_samples], state_seed, tf.float64)
    number = tf.searchsorted(cumulative, points * cumulative[:, -1:], side="right")
    number = tf.minimum(number, 2**enumerated.num_left - 1)  # rounding at the end
    number = tf.reshape(tf.transpose(number), tf.concat([[num_samples], batch_shape], 0))
    smaller = tf.cast(_bits(number, enumerated.num_left), rbm.weights.dtype)

    is_left = rbm.num_left <= rbm.num_right
    logits = rbm.right_logits(smaller) if is_left else rbm.left_logits(smaller)
    larger = random.bernoulli(logits, other_seed)
    return GibbsState(smaller, larger) if is_left else GibbsState(larger, smaller)


def _smaller_side_left(rbm: RBM) -> RBM:
    """The machine in float64, transposed if its right side is the smaller one."""
    smaller = min(rbm.num_left, rbm.num_right)
    if smaller > _ENUMERABLE_UNITS:
        raise ValueError(f"min(num_left, num_right) = {smaller}: at most {_ENUMERABLE_UNITS} can be enumerated")
    rbm = rbm.astype(tf.float64)
    return rbm.transpose() if rbm.num_left > rbm.num_right else rbm


def _block_size(rbm: RBM) -> int:
    return 2 ** min(_BLOCK_BITS, rbm.num_left)


def _log_unnormalised(rbm: RBM, first: tf.Tensor, count: int) -> tf.Tensor:
    """`-F(left)` of states number `first` and following, `[count, *batch]`."""
    left = all_states(rbm.num_left, first=first, count=count)  # [count, N]
    batch_shape = tf.shape(rbm.bias_left)[:-1]
    left = tf.reshape(left, tf.concat([[count], tf.ones_like(batch_shape), [rbm.num_left]], 0))
    return -rbm.free_energy(tf.broadcast_to(left, tf.concat([[count], batch_shape, [rbm.num_left]], 0)))


@plain
def log_z_with_gradient(rbm: RBM, left: tf.Tensor, log_z: tf.Tensor) -> tf.Tensor:
    """A tensor whose value is `log_z` and whose gradient in the RBM's parameters is a Monte Carlo estimate.

        d log Z = E_p[-dE] = E_p(left)[-dF(left)],    estimated by the mean over particles, held constant

    The right units are summed out, which lowers the variance. The value is passed through untouched: the caller says
    which estimate it is. [DVAE++, section E]

    Args:
      rbm: a machine or a batch of machines.
      left: particles distributed as `p(left)`, `[particles, *batch, N]`.
      log_z: the value, `[*batch]`, nats.

    Returns:
      `[*batch]`, of the machine's type.
    """
    negative_phase = tf.reduce_mean(-rbm.free_energy(tf.stop_gradient(left)), axis=0)
    return tf.cast(tf.stop_gradient(log_z), negative_phase.dtype) + (negative_phase - tf.stop_gradient(negative_phase))
