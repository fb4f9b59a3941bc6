"""The model of the papers: prior + posterior + likelihood."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from models.likelihood import BernoulliLikelihood
from models.posterior import Posterior
from models.prior import RBMPrior
from samplers.rbm import RBM


class RelaxedTerms(NamedTuple):
    """What an objective is made of, from relaxed samples.

    Attributes:
      log_likelihood: `log p(x | zeta)`, nats, `[K, B]`.
      divergence: see `DiscreteVAE`; nats, `[K, B]`.
    """

    log_likelihood: tf.Tensor
    divergence: tf.Tensor


class DiscreteVAE(keras.Model):
    """A variational autoencoder with binary latents and a Boltzmann prior.

    Args:
      prior: p(z).
      posterior: q(z | x).
      likelihood: p(x | z).
      divergence: of the posterior's relaxed samples from the prior's RBM, given log Z_theta: `KL(q || p)`, a surrogate
        with its gradient, or `log q - log p`; made of a function of `models.divergences`.
    """

    def __init__(
        self, *, prior: RBMPrior, posterior: Posterior, likelihood: BernoulliLikelihood, divergence: Callable
    ) -> None:
        super().__init__()
        self.prior = prior
        self.posterior = posterior
        self.likelihood = likelihood
        self.divergence = divergence
        self.built = True

    def relaxed_terms(self, x: tf.Tensor, sample, *, prior: RBM, log_z: tf.Tensor) -> RelaxedTerms:
        """Relaxed samples of `q(z | x)` through the likelihood and the divergence from the prior.

        Args:
          x: binary, `[B, D]`.
          sample: what `posterior.sample_relaxed` returned for x.
          prior: the machine of p(z); `log_z`: its log-partition function, carrying its gradient, scalar.
        """
        log_likelihood = self.likelihood.log_prob(x, sample.zeta, training=True)
        return RelaxedTerms(log_likelihood, self.divergence(sample, prior, log_z))

    def log_joint(self, x: tf.Tensor, z: tf.Tensor, log_z: tf.Tensor) -> tf.Tensor:
        """`log p(x, z) = log p(x | z) - E_theta(z) - log Z_theta` of binary `z [K, B, units]`, nats, `[K, B]`."""
        prior = self.prior.rbm()
        return self.likelihood.log_prob(x, z, training=False) - prior.energy(*prior.split(z)) - log_z
