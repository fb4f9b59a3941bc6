"""Mean-field fixed points of an RBM."""

from __future__ import annotations

import tensorflow as tf

from samplers.arguments import check_count, check_in_range
from samplers.gibbs import GibbsState
from samplers.rbm import RBM
from samplers.tracing import plain


@plain
def mean_field(rbm: RBM, left: tf.Tensor, *, num_updates: int) -> GibbsState:
    """Iterates `m_right = sigma(b + m_left' W)`, `m_left = sigma(a + W m_right)` from given left means.

    Block-coordinate ascent on the mean-field bound `-E(m) + H(m) <= log Z`, which no update lowers.

    Args:
      rbm: a machine or a batch of machines.
      left: means to start from in [0, 1], `[..., *batch, N]`.
      num_updates: at least 1.

    Raises:
      ValueError: there are no updates, or means are out of range.

    Returns:
      The means, as a state: `left [..., *batch, N]`, `right [..., *batch, M]`.
    """
    check_count("num_updates", num_updates)
    check_in_range("left", left, 0.0, 1.0)
    for _ in range(num_updates):
        right = tf.sigmoid(rbm.right_logits(left))
        left = tf.sigmoid(rbm.left_logits(right))
    return GibbsState(left, right)
