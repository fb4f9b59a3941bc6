"""The model of the papers: prior + posterior + likelihood."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from models.generative import GenerativeModel
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


class DiscreteVAE(GenerativeModel):
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
        super().__init__(prior=prior, likelihood=likelihood)
        self.posterior = posterior
        self.divergence = divergence

    def relaxed_terms(self, x: tf.Tensor, sample, *, prior: RBM, log_z: tf.Tensor) -> RelaxedTerms:
        """Relaxed samples of `q(z | x)` through the likelihood and the divergence from the prior.

        Args:
          x: binary, `[B, D]`.
          sample: what `posterior.sample_relaxed` returned for x.
          prior: the machine of p(z); `log_z`: its log-partition function, carrying its gradient, scalar.
        """
        log_likelihood = self.likelihood.log_prob(x, sample.zeta, training=True)
        return RelaxedTerms(log_likelihood, self.divergence(sample, prior, log_z))
