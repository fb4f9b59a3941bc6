"""The model of structured output prediction: posterior + likelihood, without a prior."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from models.likelihood import BernoulliLikelihood
from models.posterior import Posterior


class ConditionalTerms(NamedTuple):
    """What the objective is made of, from relaxed samples.

    Attributes:
      log_likelihood: `log p(x_2 | zeta)`, nats, `[K, B]`.
      negative_entropy: `-H(q(z | x_1))` or a surrogate with its gradient, nats, `[K, B]`.
    """

    log_likelihood: tf.Tensor
    negative_entropy: tf.Tensor


class ConditionalModel(keras.Model):
    """`p(x_2 | x_1) = sum_z q(z | x_1) p(x_2 | z)`: predicts a part of an example from the rest.

    Binary latents that depend on the observed part x_1 take the place of the prior. [Raiko et al., ICLR 2015; DVAE##,
    section 4.3]

    Args:
      posterior: q(z | x_1).
      likelihood: p(x_2 | z).
      negative_entropy: of the posterior's relaxed samples; a function of `models.divergences`.
    """

    def __init__(self, *, posterior: Posterior, likelihood: BernoulliLikelihood, negative_entropy: Callable) -> None:
        super().__init__()
        self.posterior = posterior
        self.likelihood = likelihood
        self.negative_entropy = negative_entropy
        self.built = True

    def relaxed_terms(self, target: tf.Tensor, sample) -> ConditionalTerms:
        """Relaxed samples of `q(z | x_1)` through the likelihood of `x_2`.

        Args:
          target: x_2, binary, `[B, D2]`.
          sample: what `posterior.sample_relaxed` returned for x_1.
        """
        log_likelihood = self.likelihood.log_prob(target, sample.zeta, training=True)
        return ConditionalTerms(log_likelihood, self.negative_entropy(sample))
