"""Relaxations that are mixtures of two densities, one for each value of the binary variable."""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import ClassVar

import keras
import tensorflow as tf

from models.relaxations import LogComponents, Relaxation
from samplers import random

# Where a component's density is singular, zeta keeps this distance from 0 and 1: half of float32's spacing below 1, so
# that it can be kept on both sides. See `PowerFunction`.
_EDGE = 2.0**-24


class Mixture(Relaxation):
    """`zeta ~ (1 - q) r(zeta | 0) + q r(zeta | 1)`, `q = sigma(l)`, with mirrored components on one unit of length.

        zeta = y + shift,   r(y | 1) = r(1 - y | 0),   R(y | z) the cumulative distribution of r(y | z)

    `sample` draws z, then zeta from `r(. | z)`. Its derivative is implicit: with the mixture's cumulative distribution
    `F(zeta; q)` held constant,

        d zeta / d q = -(dF / dq) / (dF / dzeta) = (R(zeta | 0) - R(zeta | 1)) / ((1 - q) r(zeta | 0) + q r(zeta | 1))

    So a subclass needs densities, distributions and draws of its components, and no inverse of F. [Vahdat et al.,
    arXiv:1805.07445, section 3; Figurnov, Mohamed & Mnih, arXiv:1805.08498]
    """

    def sample(self, outputs, seed):
        z_seed, component_seed = random.split(seed, 2)
        logits = self._logits(outputs)
        # Two uniforms for a unit: the rest of the one that decided z would be coarse where q is near 0 or 1.
        rho, component_rho = (random.uniform(tf.shape(logits), seed, logits.dtype) for seed in (z_seed, component_seed))
        y = self.draw_off(component_rho)
        y = tf.where(rho < tf.sigmoid(logits), 1 - y, y)
        return self.reparameterize(y + self.shift(outputs), outputs)

    def reparameterize(self, zeta: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """`zeta`, a constant draw from the mixture at `outputs`, with its implicit derivative in the logits.

            d zeta / d l = q (1 - q) (R(zeta | 0) - R(zeta | 1)) / ((1 - q) r(zeta | 0) + q r(zeta | 1))

        in logarithms, as densities and probabilities over- and underflow before their ratio does.
        """
        zeta, logits, y = tf.stop_gradient(zeta), self._logits(outputs), self._unshifted(zeta, outputs)
        # By the mirror symmetry the difference is the same at y and 1 - y; at the smaller both terms are precise.
        y = tf.minimum(y, 1 - y)
        log_slope = -tf.math.softplus(logits) - tf.math.softplus(-logits) - self.log_prob(zeta, outputs)
        return _with_derivative(zeta, logits, tf.exp(log_slope) * tf.nn.relu(self.cdf_off(y) - self.cdf_on(y)))

    def log_prob(self, zeta: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """The mixture's log-density, nats, `[..., units]`."""
        return log_mixture(self._logits(outputs), self.log_components(zeta, outputs))

    def log_components(self, zeta, outputs):
        y = self._unshifted(zeta, outputs)
        return LogComponents(self.log_off(y), self.log_off(1 - y))

    def shift(self, outputs: tf.Tensor) -> tf.Tensor:
        """What both components are moved by, `[..., units]`."""
        return tf.zeros_like(self._logits(outputs))

    @abc.abstractmethod
    def draw_off(self, rho: tf.Tensor) -> tf.Tensor:
        """Draws from `r(. | 0)`, one for each uniform of `rho` in [0, 1); no gradient is needed."""

    @abc.abstractmethod
    def log_off(self, y: tf.Tensor) -> tf.Tensor:
        """`log r(y | 0)`, nats, within the support."""

    @abc.abstractmethod
    def cdf_off(self, y: tf.Tensor) -> tf.Tensor:
        """`R(y | 0)`, within the support."""

    def cdf_on(self, y: tf.Tensor) -> tf.Tensor:
        """`R(y | 1) = 1 - R(1 - y | 0)`. Override where that cancels: `y <= 1/2` is all that is asked for."""
        return 1 - self.cdf_off(1 - y)

    def _logits(self, outputs: tf.Tensor) -> tf.Tensor:
        return outputs[..., : outputs.shape[-1] // self.outputs_per_unit]

    def _unshifted(self, zeta: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        return zeta - self.shift(outputs)


def log_mixture(logits: tf.Tensor, components: LogComponents) -> tf.Tensor:
    """`log((1 - q) r(zeta | 0) + q r(zeta | 1))` for `q = sigma(logits)`, nats, unit by unit."""
    off, on = components.off - tf.math.softplus(logits), components.on - tf.math.softplus(-logits)
    # log(e^off + e^on), without the branches of logsumexp.
    return off + tf.math.softplus(on - off)


@tf.custom_gradient
def _with_derivative(zeta: tf.Tensor, parameter: tf.Tensor, derivative: tf.Tensor):
    """`zeta`, as a function of `parameter` with the given derivative, entry by entry. Calls can follow one another."""

    def gradient(upstream: tf.Tensor):
        return upstream, upstream * derivative, tf.zeros_like(derivative)

    return tf.identity(zeta), gradient


@dataclasses.dataclass(frozen=True)
class OverlappingExponential(Mixture):
    """DVAE++: `r(zeta | 0) = beta e^(-beta zeta) / (1 - e^-beta)` on [0, 1].

    The mixture's distribution has an inverse in closed form, so `sample` is a smooth function of one uniform. With
    `w = e^(-beta zeta)` and `e = e^-beta`, `F(zeta) = rho` is the quadratic equation

        A w^2 + B w - C = 0,   A = 1 - q,   B = rho (1 - e) - (1 - q) + q e,   C = q e

    [Vahdat et al., arXiv:1802.04920, section 3.1]
    """

    beta: float

    def sample(self, outputs, seed):
        return self.quantile(outputs, random.uniform(tf.shape(outputs), seed, outputs.dtype))

    def quantile(self, logits: tf.Tensor, rho: tf.Tensor) -> tf.Tensor:
        """The inverse in `zeta` of the mixture's cumulative distribution: `F(zeta; sigma(logits)) = rho`."""
        q, not_q, e = tf.sigmoid(logits), tf.sigmoid(-logits), math.exp(-self.beta)
        b = rho * (1 - e) - not_q + q * e
        # |B| + sqrt(B^2 + 4 A C) stands in the numerator of the positive root or in its denominator, so that nothing
        # cancels. The floor is reached where A C underflows only; there it keeps the root's gradient finite.
        # (Not tf.abs, whose derivative at 0 is that of neither branch.)
        root = tf.where(b < 0, -b, b) + tf.sqrt(tf.maximum(b * b + 4 * not_q * q * e, 1e-37))
        negative_log_a, log_half_root = tf.math.softplus(logits), tf.math.log(root) - math.log(2)
        negative_log_c = tf.math.softplus(-logits) + self.beta
        negative_log_w = tf.where(b < 0, -negative_log_a - log_half_root, negative_log_c + log_half_root)
        return tf.clip_by_value(negative_log_w / self.beta, 0.0, 1.0)

    def draw_off(self, rho):
        return -tf.math.log1p(math.expm1(-self.beta) * rho) / self.beta

    def log_off(self, y):
        return math.log(self.beta) - math.log(-math.expm1(-self.beta)) - self.beta * y

    def cdf_off(self, y):
        return tf.math.expm1(-self.beta * y) / math.expm1(-self.beta)

    def cdf_on(self, y):
        # (e^(beta y) - 1) / (e^beta - 1) with numerator and denominator times e^-beta, which cannot overflow.
        return (tf.exp(self.beta * (y - 1)) - math.exp(-self.beta)) / -math.expm1(-self.beta)


@dataclasses.dataclass(frozen=True)
class UniformExponential(Mixture):
    """DVAE#: `r(zeta | 0) = (1 - eps) r_exp(zeta | 0) + eps` on [0, 1], `eps = 0.05`: the ratio of the components is
    bounded, and so is the derivative of zeta. [Vahdat et al., arXiv:1805.07445]

    Args:
      beta: of the exponential part.
    """

    uniform_share: ClassVar[float] = 0.05
    beta: float

    @property
    def exponential(self) -> OverlappingExponential:
        return OverlappingExponential(self.beta)

    def draw_off(self, rho):
        # One uniform decides which part, and what is left of it is a uniform again.
        eps = self.uniform_share
        rest = tf.nn.relu((rho - eps) / (1 - eps))
        return tf.where(rho < eps, rho / eps, self.exponential.draw_off(rest))

    def log_off(self, y):
        eps = self.uniform_share
        return math.log(eps) + tf.math.softplus(math.log1p(-eps) - math.log(eps) + self.exponential.log_off(y))

    def cdf_off(self, y):
        return (1 - self.uniform_share) * self.exponential.cdf_off(y) + self.uniform_share * y

    def cdf_on(self, y):
        return (1 - self.uniform_share) * self.exponential.cdf_on(y) + self.uniform_share * y


@dataclasses.dataclass(frozen=True)
class PowerFunction(Mixture):
    """DVAE#: `r(zeta | 0) = (1/beta) zeta^(1/beta - 1)`, `R(zeta | 0) = zeta^(1/beta)` on [0, 1].

    For beta > 1 the density is infinite at 0, and a sizeable part of the draws `rho^beta` is nearer to 0, or to 1 for
    `z = 1`, than float32 can tell: at beta = 30 those below 2^-24 = 6e-8 are 57 %. So draws keep that distance from 0
    and 1. To the likelihood that is a move of 6e-8. To the densities it is exact but for the argument: every density is
    evaluated at the moved zeta, where `log r(zeta | 1) - log r(zeta | 0)` is +-16 (1 - 1/beta), which says as clearly
    which z was drawn as an infinite ratio would; and the infinite factor itself, common to q(zeta | x) and p(zeta),
    cancels in their ratio. The derivative in the logit is about `q beta zeta` at small zeta: it vanishes at the edge,
    so nothing is lost by evaluating it at the moved zeta either. [Vahdat et al., arXiv:1805.07445]
    """

    beta: float

    def draw_off(self, rho):
        return tf.clip_by_value(rho**self.beta, _EDGE, 1 - _EDGE)

    def log_off(self, y):
        return (1 / self.beta - 1) * tf.math.log(y) - math.log(self.beta)

    def cdf_off(self, y):
        return y ** (1 / self.beta)

    def cdf_on(self, y):
        return -tf.math.expm1(tf.math.log1p(-y) / self.beta)


class _Normal(Mixture):
    """A mixture of `N(z + shift, scale^2)`."""

    @abc.abstractmethod
    def scale(self, dtype: tf.DType) -> tf.Tensor:
        """The standard deviation, scalar or `[units]`."""

    def draw_off(self, rho):
        # float32's uniforms are multiples of 2^-23: the middle of their cells is neither 0 nor 1.
        return self.scale(rho.dtype) * math.sqrt(2) * tf.math.erfinv(2 * rho - 1 + 2.0**-23)

    def log_off(self, y):
        scale = self.scale(y.dtype)
        return -0.5 * tf.square(y / scale) - tf.math.log(scale) - 0.5 * math.log(2 * math.pi)

    def cdf_off(self, y):
        return 0.5 * tf.math.erfc(-y / (math.sqrt(2) * self.scale(y.dtype)))

    def cdf_on(self, y):
        return 0.5 * tf.math.erfc((1 - y) / (math.sqrt(2) * self.scale(y.dtype)))


@dataclasses.dataclass(frozen=True)
class Gaussian(_Normal):
    """DVAE#: `r(zeta | z) = N(zeta; z, 1/beta)`, on the real line. [Vahdat et al., arXiv:1805.07445]"""

    beta: float

    def scale(self, dtype):
        return tf.constant(1 / math.sqrt(self.beta), dtype)


class GaussianIntegral(keras.layers.Layer, _Normal):
    """DVAE#: `r(zeta | z) = N(zeta; z + delta, s^2)` with learned scales and shifts.

        s = |0.2 v| + 0.05 for each unit, v trained from 1;   delta = 0.5 (sigma(u(x)) - 0.5)

    The second half of the network's outputs is u. The prior's components are correlated Gaussians instead:
    `models.relaxed_prior.gaussian_integral`. [Vahdat et al., arXiv:1805.07445]

    Args:
      num_units: that this object relaxes.
    """

    outputs_per_unit = 2

    def __init__(self, num_units: int) -> None:
        super().__init__()
        self.free_scale = self.add_weight(shape=(num_units,), initializer="ones", name="free_scale")
        self.built = True

    def scale(self, dtype):
        return tf.abs(0.2 * tf.cast(tf.convert_to_tensor(self.free_scale), dtype)) + 0.05

    def shift(self, outputs):
        u = outputs[..., outputs.shape[-1] // 2 :]
        return 0.5 * (tf.sigmoid(u) - 0.5)

    def reparameterize(self, zeta, outputs):
        """Adds `d zeta / d s = sum_z p(z | zeta) (zeta - z - delta) / s` and `d zeta / d delta = 1`."""
        zeta, components = tf.stop_gradient(zeta), self.log_components(zeta, outputs)
        p_on = tf.sigmoid(self._logits(outputs) + components.on - components.off)
        y, shift = self._unshifted(zeta, outputs), self.shift(outputs)
        scale = tf.broadcast_to(self.scale(y.dtype), tf.shape(y))
        zeta = super().reparameterize(zeta, outputs)
        zeta = _with_derivative(zeta, scale, (y - p_on) / scale)
        return _with_derivative(zeta, shift, tf.ones_like(shift))
