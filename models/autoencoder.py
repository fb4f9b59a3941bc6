"""The model of the papers: prior + posterior + likelihood."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from models import annealed_likelihood
from models.generative import GenerativeModel
from models.likelihood import Likelihood
from models.networks import seal
from models.posterior import LikelihoodEstimate, Posterior, PosteriorDraws
from models.prior import RBMPrior
from samplers.annealing_path import Schedule
from samplers.informed_annealing import Annealed


class DiscreteVAE(GenerativeModel):
    """A variational autoencoder with binary latents and a Boltzmann prior.

        p(x, z) = p(z) p(x | z),   p(z) = exp(-E_theta(z)) / Z_theta
        log p(x) >= E_q[log p(x | z)] - KL(q(z | x) || p(z))            the evidence lower bound (ELBO)
        log p(x) >= E[log mean_k p(x, z_k) / q(z_k | x)], z_k ~ q       the importance-weighted bound

    Training maximises them with relaxed samples `zeta ~ q(zeta | x)` in place of z (Algorithm 1 of [DVAE##]):

        encoding = posterior.encode(x)                         the parameters phi(x)
        sample   = posterior.sample_relaxed(encoding)          Gibbs sweeps, then relaxed ones
        log p(x | zeta) = likelihood.log_prob(x, sample.zeta)
        divergence(sample, prior, log_z)                       of `models.divergences`: KL(q || p), or log q - log p

    and `dvae.training` differentiates. Evaluation uses binary z alone, by the methods below.

    Args:
      prior: p(z).
      posterior: q(z | x).
      likelihood: p(x | z).
    """

    def __init__(self, *, prior: RBMPrior, posterior: Posterior, likelihood: Likelihood) -> None:
        super().__init__(prior=prior, likelihood=likelihood)
        self.posterior = posterior
        seal(posterior)

    def call(self, x: tf.Tensor, training: bool = False, seed: tuple[int, int] = (0, 0)) -> tf.Tensor:
        """The expected `x [B, D]` given one draw of q(z | x), reconstructions; `seed` is int32 `[2]`."""
        encoding = self.posterior.encode(x, training=training)
        z, _ = self.posterior.sample(encoding, num_samples=1, seed=tf.convert_to_tensor(seed))
        return self.likelihood.mean(z[0], training=training)

    def log_likelihood(self, x: tf.Tensor, draws: PosteriorDraws, log_z: tf.Tensor) -> LikelihoodEstimate:
        """The importance-weighted estimate of log p(x) from binary draws, and the ELBO.

            log p(x) = log E_q[p(x, z) / q(z | x)],   elbo = E_q[log p(x, z) - log q(z | x)]

        Args:
          x: `[B, D]`.
          draws: of `posterior.draw`, for these examples.
          log_z: log Z_theta, scalar, nats.
        """
        return draws.estimate(self.log_joint(x, draws.z, log_z) - tf.cast(draws.log_q, tf.float64))

    def annealed_log_likelihood(
        self,
        x: tf.Tensor,
        encoding: Any,
        draws: PosteriorDraws,
        log_z: tf.Tensor,
        *,
        schedule: Schedule,
        seed: tf.Tensor,
    ) -> LikelihoodEstimate:
        """`log_likelihood` with the draws carried through the true posterior (`models.annealed_likelihood`).

        `encoding` is that of x, `schedule` that of the temperatures; the densities on the way are float32.
        """

        return annealed_likelihood.log_likelihood(
            self.posterior, encoding, draws, self._log_joint_of(x, log_z), schedule=schedule, seed=seed
        )

    def annealed_backward(
        self, x: tf.Tensor, encoding: Any, z: tf.Tensor, log_z: tf.Tensor, *, schedule: Schedule, seed: tf.Tensor
    ) -> Annealed:
        """The path of `annealed_log_likelihood` the other way, from exact draws z `[K, B, units]` of p(z | x).

        See `models.annealed_likelihood.backward`.
        """
        return annealed_likelihood.backward(
            self.posterior, encoding, z, self._log_joint_of(x, log_z), schedule=schedule, seed=seed
        )

    def _log_joint_of(self, x: tf.Tensor, log_z: tf.Tensor) -> annealed_likelihood.LogJoint:
        def log_joint(z: tf.Tensor, log_q: tf.Tensor) -> tf.Tensor:
            return tf.cast(tf.add_n(self.joint_terms(x, z, log_z, training=False)), tf.float64)

        return log_joint
