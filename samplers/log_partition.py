"""The exact log-partition function of a small RBM, and the carrier of its gradient for a large one."""

from __future__ import annotations

import tensorflow as tf

from samplers.rbm import RBM

_ENUMERABLE_UNITS = 24
_BLOCK_BITS = 14  # states are enumerated in blocks of 2^14


def all_states(num_units: int, *, first: tf.Tensor | int = 0, count: tf.Tensor | int | None = None) -> tf.Tensor:
    """Binary vectors number `first` to `first + count - 1`, float64 `[count, num_units]`, first unit the lowest bit."""
    count = 2**num_units if count is None else count
    numbers = tf.range(first, first + count)
    return tf.cast(tf.bitwise.right_shift(numbers[:, None], tf.range(num_units)) & 1, tf.float64)


@tf.function
def exact_log_z(rbm: RBM) -> tf.Tensor:
    """`log Z = log sum_{left, right} exp(-E)`: the smaller side enumerated, the other summed out, in float64.

    Args:
      rbm: a machine or a batch of machines, at most 24 units on the smaller side.

    Returns:
      log Z in nats, float64 `[*batch]`.

    Raises:
      ValueError: too many units to enumerate.
    """
    if min(rbm.num_left, rbm.num_right) > _ENUMERABLE_UNITS:
        raise ValueError(
            f"min(num_left, num_right) = {min(rbm.num_left, rbm.num_right)}: "
            f"at most {_ENUMERABLE_UNITS} can be enumerated"
        )
    rbm = RBM(*(tf.cast(parameter, tf.float64) for parameter in rbm))
    if rbm.num_left > rbm.num_right:
        rbm = rbm.transpose()
    block = 2 ** min(_BLOCK_BITS, rbm.num_left)
    batch_shape = tf.shape(rbm.bias_left)[:-1]
    log_z = tf.fill(batch_shape, tf.constant(float("-inf"), tf.float64))
    for first in tf.range(0, 2**rbm.num_left, block):
        left = all_states(rbm.num_left, first=first, count=block)  # [block, N]
        left = tf.reshape(left, tf.concat([[block], tf.ones_like(batch_shape), [rbm.num_left]], 0))
        left = tf.broadcast_to(left, tf.concat([[block], batch_shape, [rbm.num_left]], 0))
        log_z = tf.reduce_logsumexp(tf.stack([log_z, tf.reduce_logsumexp(-rbm.free_energy(left), axis=0)]), axis=0)
    return log_z


@tf.function(jit_compile=True)
def log_z_with_gradient(rbm: RBM, left: tf.Tensor, log_z: tf.Tensor) -> tf.Tensor:
    """A tensor whose value is `log_z` and whose gradient in the RBM's parameters is a Monte Carlo estimate.

        d log Z = E_p[-dE] = E_p(left)[-dF(left)],    estimated by the mean over particles, held constant

    The right units are summed out, which lowers the variance. The value is passed through untouched: the caller says
    which estimate it is. [DVAE++, section E]

    Args:
      rbm: one machine.
      left: particles distributed as `p(left)`, `[particles, N]`.
      log_z: the value, scalar, nats.

    Returns:
      Scalar, of the machine's type.
    """
    negative_phase = tf.reduce_mean(-rbm.free_energy(tf.stop_gradient(left)))
    return tf.cast(tf.stop_gradient(log_z), negative_phase.dtype) + (negative_phase - tf.stop_gradient(negative_phase))
