"""The model of structured output prediction: posterior + likelihood, without a prior."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from models import annealed_likelihood
from models.likelihood import Likelihood
from models.networks import seal
from models.posterior import LikelihoodEstimate, Posterior, PosteriorDraws
from samplers.annealing_path import Schedule


class ConditionalModel(keras.Model):
    """`p(x_2 | x_1) = sum_z q(z | x_1) p(x_2 | z)`: predicts a part of an example from the rest.

    Binary latents that depend on the observed part x_1 take the place of the prior. Trained on

        E_q[log mean_k p(x_2 | zeta_k)] + lambda H(q(z | x_1))

    [Raiko et al., ICLR 2015; DVAE##, section 4.3]

    Args:
      posterior: q(z | x_1).
      likelihood: p(x_2 | z).
    """

    def __init__(self, *, posterior: Posterior, likelihood: Likelihood) -> None:
        super().__init__()
        self.posterior = posterior
        self.likelihood = likelihood
        seal(posterior, likelihood)
        self.built = True

    def call(self, observed: tf.Tensor, training: bool = False, seed: tuple[int, int] = (0, 0)) -> tf.Tensor:
        """The expected target `x_2 [B, D2]` given one draw of q(z | x_1); `seed` is int32 `[2]`."""
        encoding = self.posterior.encode(observed, training=training)
        z, _ = self.posterior.sample(encoding, num_samples=1, seed=tf.convert_to_tensor(seed))
        return self.likelihood.mean(z[0], training=training)

    def log_likelihood(self, target: tf.Tensor, draws: PosteriorDraws) -> LikelihoodEstimate:
        """The estimate of `log p(x_2 | x_1)` from binary draws.

            log p(x_2 | x_1) = log E_q[p(x_2 | z)],   elbo = E_q[log p(x_2 | z)], a lower bound

        Of an RBM posterior the weighted draws make it a ratio of two estimates: the error of log Z_phi does not cancel,
        as it does in an autoencoder's, and takes more temperatures to reduce.

        Args:
          target: x_2, `[B, D2]`.
          draws: of `posterior.draw`, for the observed parts of these examples.
        """
        return draws.estimate(self.likelihood.log_prob_of_draws(target, draws.z))

    def annealed_log_likelihood(
        self, target: tf.Tensor, encoding: Any, draws: PosteriorDraws, *, schedule: Schedule, seed: tf.Tensor
    ) -> LikelihoodEstimate:
        """`log_likelihood` with the draws carried to `p(z | x)`, `f_t = q(z | x_1) p(x_2 | z)^t`.

        `encoding` is that of the observed parts, `schedule` that of the temperatures.
        """

        def log_joint(z: tf.Tensor, log_q: tf.Tensor) -> tf.Tensor:
            return log_q + tf.cast(self.likelihood.log_prob(target, z, training=False), log_q.dtype)

        return annealed_likelihood.log_likelihood(
            self.posterior, encoding, draws, log_joint, schedule=schedule, seed=seed
        )
