"""Objectives: from log-densities `[K, B]` to the losses that are differentiated and the values that are shown."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf


class Objective(NamedTuple):
    """Attributes: `loss`, scalar, to be minimised; `metrics`, true values by name, scalars in nats."""

    loss: tf.Tensor
    metrics: dict[str, tf.Tensor]


def elbo(log_likelihood: tf.Tensor, divergence: tf.Tensor, *, kl_weight: tf.Tensor) -> Objective:
    """`loss = -mean [log p(x | zeta) - kl_weight * divergence]`, the mean over samples and examples.

    With an RBM posterior `divergence` lacks log Z_phi (it has the right gradient, not the right value), so only the
    relaxed log-likelihood is a metric here; the bound itself is measured by `dvae.evaluation`.

    Args:
      log_likelihood: `log p(x | zeta)`, `[K, B]`.
      divergence: KL(q || p) or a surrogate with its gradient, `[K, B]`.
      kl_weight: lambda, scalar.
    """
    loss = -tf.reduce_mean(log_likelihood - kl_weight * divergence)
    return Objective(loss, {"relaxed_log_likelihood": tf.reduce_mean(log_likelihood)})
