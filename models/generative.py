"""The generative model p(z) p(x | z), and Markov chains of its true posterior."""

from __future__ import annotations

from typing import NamedTuple

import keras
import tensorflow as tf

from models.likelihood import Likelihood
from models.networks import seal
from models.prior import RBMPrior
from samplers import gibbs, random


class JointTerms(NamedTuple):
    """The two parts of `log p(x, z)`.

    Attributes:
      log_likelihood: `log p(x | z)`, nats, `[K, B]`.
      log_prior: `log p(z)`, nats, `[K, B]`.
    """

    log_likelihood: tf.Tensor
    log_prior: tf.Tensor


class GenerativeModel(keras.Model):
    """`p(x) = sum_z p(z) p(x | z)`: binary latents with a Boltzmann prior.

    Args:
      prior: p(z).
      likelihood: p(x | z).
    """

    def __init__(self, *, prior: RBMPrior, likelihood: Likelihood) -> None:
        super().__init__()
        self.prior = prior
        self.likelihood = likelihood
        seal(prior, likelihood)
        self.built = True

    def joint_terms(self, x: tf.Tensor, z: tf.Tensor, log_z: tf.Tensor, *, training: bool) -> JointTerms:
        """`log p(x | z)` and `log p(z) = -E_theta(z) - log Z_theta`.

        Args:
          x: `[B, D]`.
          z: binary, `[K, B, units]`.
          log_z: log Z_theta, scalar.
          training: whether the decoder's batch normalisation uses the statistics of this batch.
        """
        prior = self.prior.rbm()
        log_likelihood = self.likelihood.log_prob(x, z, training=training)
        return JointTerms(log_likelihood, -prior.energy(*prior.split(z)) - log_z)

    def log_joint(self, x: tf.Tensor, z: tf.Tensor, log_z: tf.Tensor) -> tf.Tensor:
        """`log p(x, z)` of the trained model, nats, float64 `[K, B]`; arguments as for `joint_terms`.

        For evaluation: large terms are summed in float64.
        """
        prior = self.prior.rbm().astype(tf.float64)
        energy = prior.energy(*prior.split(tf.cast(z, tf.float64)))
        return self.likelihood.log_prob_of_draws(x, z) - energy - tf.cast(log_z, tf.float64)

    def posterior_sweeps(self, x: tf.Tensor, z: tf.Tensor, seed: random.Seed, *, num_sweeps: tf.Tensor) -> tf.Tensor:
        """Moves chains by sweeps of single-site Gibbs that leave the true posterior p(z | x) invariant.

            p(z_i = 1 | z_-i, x) = sigma(log p(x, z with z_i = 1) - log p(x, z with z_i = 0)),   i = 1, 2, ...

        A sweep visits all bits in turn. The value at the present state is kept, so a bit costs one evaluation of the
        decoder, for all chains at once. Batch normalisation uses its moving averages: with statistics of the batch, a
        flipped bit of one chain would change the posterior of all others. No gradient flows.

        Args:
          x: `[B, D]`.
          z: binary, `[K, B, units]`.
          seed: int32 `[2]`.
          num_sweeps: int32 scalar.

        Returns:
          The chains after the last sweep, `[K, B, units]`.
        """
        num_units = z.shape[-1]

        def log_joint(z: tf.Tensor) -> tf.Tensor:
            return tf.add_n(self.joint_terms(x, z, tf.constant(0.0), training=False))

        value, sweep = log_joint(z), tf.constant(0)
        while sweep < num_sweeps:
            uniform = random.uniform(
                tf.concat([[num_units], tf.shape(value)], 0), gibbs.sweep_seed(seed, sweep), batch_axis=-1
            )
            for i in tf.range(num_units):
                flipped = z + tf.one_hot(i, num_units) * (1 - 2 * z)
                value_flipped = log_joint(flipped)
                is_flipped = uniform[i] < tf.sigmoid(value_flipped - value)
                z = tf.where(is_flipped[..., None], flipped, z)
                value = tf.where(is_flipped, value_flipped, value)
            sweep += 1
        return tf.stop_gradient(z)
