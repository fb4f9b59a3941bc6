"""At which temperature given states are samples of a machine: what an annealer's hardware leaves unsaid."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from samplers.rbm import RBM
from samplers.tracing import plain

MOST = 128.0  # inverse temperatures are looked for up to here
_HALVINGS = 30


@plain
def effective_beta(rbm: RBM, left: Any, right: Any) -> tf.Tensor:
    """The inverse temperature beta at which states look most like samples of `exp(-beta E(z)) / Z(beta)`.

        argmax_beta  sum_states sum_i log p_beta(z_i | all other units) - (beta - 1)^2 / 2,
        p_beta(z_i = 1 | others) = sigma(beta * logit_i)

    the maximum of the pseudo-likelihood, which needs no Z: a logistic regression with one coefficient. The second term
    counts for as much as a few units with couplings, and makes beta 1 where all parameters are 0 and the states tell
    nothing. Samples of the machine itself have beta 1 up to their noise, those of an optimiser a large one.

    Args:
      rbm: a machine or a batch of machines.
      left, right: binary states, `[samples, *batch, N]` and `[samples, *batch, M]`, as they were drawn together. (A
        side that was drawn anew given the other, at beta = 1, would pull the answer to 1.)

    Returns:
      beta, float64 `[*batch]`, in [0, 128].

    Raises:
      ValueError: the states are not binary, or not of this machine.

    References:
      Raymond, Yarkoni & Andriyash, Global warming: temperature estimation in annealers, Frontiers in ICT 2016, which
      compares this estimate with others.
    """
    left, right = rbm.as_states("left", left), rbm.as_states("right", right)
    return _effective_beta(rbm, left, right)


@tf.function(jit_compile=True, autograph=False)
def _effective_beta(rbm: RBM, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    states = tf.cast(tf.concat([left, right], axis=-1), tf.float64)
    logits = tf.cast(tf.concat([rbm.left_logits(right), rbm.right_logits(left)], axis=-1), tf.float64)

    def slope(beta: tf.Tensor) -> tf.Tensor:
        """Of the objective, which is concave."""
        residuals = logits * (states - tf.sigmoid(beta[..., None] * logits))
        return tf.reduce_sum(residuals, axis=[0, -1]) - (beta - 1)

    def halve(low: tf.Tensor, high: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        middle = (low + high) / 2
        rises = slope(middle) > 0
        return tf.where(rises, middle, low), tf.where(rises, high, middle)

    # Halving, and not Newton's steps, which oscillate where the states are far from beta = 1.
    low = tf.zeros(tf.shape(logits)[1:-1], tf.float64)
    low, high = tf.while_loop(lambda *_: True, halve, (low, low + MOST), maximum_iterations=_HALVINGS)
    return (low + high) / 2
