"""Continuous relaxations of a Bernoulli variable, differentiable in its logit."""

from __future__ import annotations

import abc
import dataclasses
from typing import NamedTuple

import tensorflow as tf

from samplers import random
from samplers.arguments import check_number


class LogComponents(NamedTuple):
    """Densities of a relaxed unit given its binary value, `[..., units]`, in nats.

    Attributes:
      off: `log r(zeta | 0)`.
      on: `log r(zeta | 1)`.
    """

    off: tf.Tensor
    on: tf.Tensor


class Relaxation(abc.ABC):
    """Turns `Bernoulli(sigma(l))` into a random `zeta` on the real line that is differentiable in `l`.

    The sharper, the closer to a binary variable and the higher the variance of the gradient. A relaxation exists in
    training only: evaluation uses binary samples of the discrete model. It cannot be changed, since compiled steps
    would not notice: make another.

    Attributes:
      outputs_per_unit: how many network outputs a unit needs. All units' logits come first.

    Raises:
      ValueError: a sharpness `beta` is not above 0.
    """

    outputs_per_unit = 1

    def __post_init__(self) -> None:
        if hasattr(self, "beta"):
            check_number("beta", self.beta, above=0.0)

    @abc.abstractmethod
    def sample(self, outputs: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Draws `zeta [..., units]` given the network's `outputs [..., outputs_per_unit * units]`.

        `seed` is int32 `[2]`. What a unit draws does not depend on another's outputs.
        """

    def log_components(self, zeta: tf.Tensor, outputs: tf.Tensor) -> LogComponents | tuple[()]:
        """The densities of which `zeta [..., units]` was drawn a mixture; `()` if it was drawn from no mixture."""
        return ()


class Transform(Relaxation):
    """A relaxation whose `zeta` is a function of the logit and one uniform variable."""

    def sample(self, outputs, seed):
        return self.transform(outputs, random.uniform(tf.shape(outputs), seed, outputs.dtype))

    @abc.abstractmethod
    def transform(self, logits: tf.Tensor, rho: tf.Tensor) -> tf.Tensor:
        """`zeta(l, rho)` in [0, 1] for `rho ~ U(0, 1)`, nondecreasing in both."""


@dataclasses.dataclass(frozen=True)
class PiecewiseLinear(Transform):
    """PWL: `zeta = clip(1/2 + k (rho - (1 - q)), 0, 1)`, `q = sigma(l)`, slope `k = beta / (4 (q (1 - q) + 0.01))`.

    The slope is differentiated too. `P(zeta > 1/2) = q` exactly. [Andriyash et al., arXiv:1810.00116]
    """

    beta: float

    def transform(self, logits: tf.Tensor, rho: tf.Tensor) -> tf.Tensor:
        q = tf.sigmoid(logits)
        slope = self.beta / (4 * (q * (1 - q) + 0.01))
        return tf.clip_by_value(0.5 + slope * (rho - (1 - q)), 0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Concrete(Transform):
    """Concrete, as GumBolt uses it: `zeta = sigma(beta (l + log rho - log(1 - rho)))`, rho kept in [1e-5, 1 - 1e-5].

    `beta` is the inverse of the usual temperature. `P(zeta > 1/2) = q` exactly. [Khoshaman & Amin, arXiv:1805.07349]
    """

    beta: float

    def transform(self, logits: tf.Tensor, rho: tf.Tensor) -> tf.Tensor:
        rho = tf.clip_by_value(rho, 1e-5, 1 - 1e-5)
        return tf.sigmoid(self.beta * (logits + tf.math.log(rho) - tf.math.log1p(-rho)))


@dataclasses.dataclass(frozen=True)
class SpikeAndExponential(Transform):
    """DVAE: `zeta = 0` if `rho <= 1 - q`, else `log(1 + (e^beta - 1) (rho - (1 - q)) / q) / beta`.

    An atom at 0, and for `z = 1` a density that grows as `e^(beta zeta)` on (0, 1]. `P(zeta > 0) = q` exactly.
    [Rolfe, arXiv:1609.02200]
    """

    beta: float

    def transform(self, logits: tf.Tensor, rho: tf.Tensor) -> tf.Tensor:
        # rho - (1 - q) cancels where it matters least: it is the uniform's own resolution, as coarse as q is small.
        excess = tf.nn.relu(rho - tf.sigmoid(-logits))
        # The floor keeps the gradient finite where q has underflowed; there the excess is 0 and so is zeta.
        share = tf.minimum(excess / tf.maximum(tf.sigmoid(logits), 1e-30), 1.0)
        return tf.math.log1p(tf.math.expm1(tf.constant(self.beta, logits.dtype)) * share) / self.beta
