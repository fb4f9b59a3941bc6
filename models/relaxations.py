"""Continuous relaxations of a Bernoulli variable, differentiable in its logit."""

from __future__ import annotations

import abc

import tensorflow as tf


class Relaxation(abc.ABC):
    """Turns `Bernoulli(sigma(l))` into a random `zeta` in [0, 1] that is differentiable in `l`.

    The sharper (`beta` larger), the closer to a binary variable and the higher the variance of the gradient. A
    relaxation exists in training only: evaluation uses binary samples of the discrete model.
    """

    def sample(self, logits: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Draws `zeta`, one for each logit, of the same shape; `seed` is int32 `[2]`."""
        return self.transform(logits, tf.random.stateless_uniform(tf.shape(logits), seed, dtype=logits.dtype))

    @abc.abstractmethod
    def transform(self, logits: tf.Tensor, rho: tf.Tensor) -> tf.Tensor:
        """`zeta(l, rho)` for `rho ~ U(0, 1)`, nondecreasing in both."""


class PiecewiseLinear(Relaxation):
    """PWL: `zeta = clip(1/2 + k (rho - (1 - q)), 0, 1)`, `q = sigma(l)`, slope `k = beta / (4 (q (1 - q) + 0.01))`.

    The slope is differentiated too. `P(zeta > 1/2) = q` exactly. [Andriyash et al., arXiv:1810.00116]
    """

    def __init__(self, beta: float) -> None:
        self.beta = beta

    def transform(self, logits: tf.Tensor, rho: tf.Tensor) -> tf.Tensor:
        q = tf.sigmoid(logits)
        slope = self.beta / (4 * (q * (1 - q) + 0.01))
        return tf.clip_by_value(0.5 + slope * (rho - (1 - q)), 0.0, 1.0)


class Concrete(Relaxation):
    """Concrete, as GumBolt uses it: `zeta = sigma(beta (l + log rho - log(1 - rho)))`, rho kept in [1e-5, 1 - 1e-5].

    `beta` is the inverse of the usual temperature. `P(zeta > 1/2) = q` exactly. [Khoshaman & Amin, arXiv:1805.07349]
    """

    def __init__(self, beta: float) -> None:
        self.beta = beta

    def transform(self, logits: tf.Tensor, rho: tf.Tensor) -> tf.Tensor:
        rho = tf.clip_by_value(rho, 1e-5, 1 - 1e-5)
        return tf.sigmoid(self.beta * (logits + tf.math.log(rho) - tf.math.log1p(-rho)))
