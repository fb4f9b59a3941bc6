"""Likelihoods of real pixels: Gaussian, continuous Bernoulli, and energies that are 0 or log-normal.

A density has no largest value: where pixels are reproduced exactly, the likelihood grows without bound as sigma falls.
So sigma has a floor, and `remarks` says where it was reached: there the NLL is that of the floor and not of the data.

References:
  O. Rybkin, K. Daniilidis, S. Levine, Simple and effective VAE training with calibrated decoders, ICML 2021 (one
    learned sigma for all pixels).
  G. Loaiza-Ganem, J. Cunningham, The continuous Bernoulli: fixing a pervasive error in variational autoencoders,
    NeurIPS 2019.
  J. Aitchison, On the distribution of a positive random variable having a discrete probability mass at the origin,
    Journal of the American Statistical Association, 1955.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability import util as tfp_util

from models.inputs import Inputs, logarithmic, root_mean_square_deviation, standardised
from models.likelihood import Likelihood
from models.networks import LayerFactory
from samplers import random

LEAST_SIGMA = 1e-3  # in units of the training data's deviation
_AT_FLOOR = 2.0  # times the floor: closer to it than data would bring it
_HALF_STEP = 2.0**-24  # of the uniforms, whose midpoints no quantile is infinite at
_ROUNDING = 1e-6  # of a float32: pixels that deviate less from their mean are constant
_LEAST_MEAN = 0.02  # of a continuous Bernoulli's pixel at the start


def _quantiles(likelihood: Likelihood, z: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws of x as quantiles of the project's uniforms: the same numbers compiled or not."""
    pixels = likelihood.distribution(likelihood.outputs(z, training=False))
    uniform = random.uniform(tf.concat([tf.shape(z)[:-1], [likelihood.num_pixels]], 0), seed)
    return pixels.quantile(uniform + _HALF_STEP)


class _WithSigma(Likelihood):
    """One learned `sigma = unit (LEAST_SIGMA + exp(s))` for all pixels, or one for each; s starts at 0.

    It is no function of z: a sigma of the decoder's would let single examples be sure of single pixels without bound.

    Attributes:
      sigma_per_pixel: whether each pixel has its own.
      unit: the training data's deviation, a number or `[D]`.
    """

    sigma_per_pixel = False
    unit: np.ndarray

    def _learn_sigma(self, unit: np.ndarray | float) -> None:
        self.unit = np.asarray(unit, np.float32)
        self.log_sigma = self.add_weight(
            name="log_sigma", shape=(self.num_pixels,) if self.sigma_per_pixel else (), initializer="zeros"
        )

    def sigma(self) -> tf.Tensor:
        """Of each pixel, `[D]`."""
        sigma = self.unit * (LEAST_SIGMA + tf.exp(self.log_sigma))
        return tf.broadcast_to(sigma, [self.num_pixels])

    def remarks(self) -> list[str]:
        low = int(np.sum(self.sigma().numpy() < _AT_FLOOR * LEAST_SIGMA * self.unit))
        if not low:
            return []
        which = f"of {low} of {self.num_pixels} pixels" if self.sigma_per_pixel else "of all pixels"
        return [
            f"sigma {which} is at its floor, {LEAST_SIGMA:g} of the data's deviation: the NLL there is that of the "
            "floor and not of the data. Leave out pixels that never change; values of few levels are no real numbers"
        ]


class GaussianLikelihood(_WithSigma):
    """`p(x | z) = prod_d N(x_d; m_d, sigma^2)`, `m = outputs = mean example + unit head(decoder(z))`.

    One sigma for all pixels, as for images, whose pixels have one unit; `unit` is the deviation of all pixels from
    their means.
    """

    values = "real"
    sample = _quantiles

    def __init__(
        self, decoder: keras.layers.Layer, *, layers: LayerFactory, examples: np.ndarray, num_units: int
    ) -> None:
        super().__init__(decoder, layers=layers, examples=examples, num_units=num_units)
        self._learn_sigma(self._unit(examples))

    @classmethod
    def _unit(cls, examples: np.ndarray) -> np.ndarray:
        return np.asarray(root_mean_square_deviation(examples) or 1.0)  # an observed part may be constant

    @classmethod
    def inputs(cls, examples: np.ndarray) -> Inputs:
        return standardised(examples, cls._unit(examples))

    def outputs(self, z: tf.Tensor, *, training: bool) -> tf.Tensor:
        return self.mean_pixel + self.unit * super().outputs(z, training=training)

    def distribution(self, outputs: tf.Tensor) -> tfd.Distribution:
        return tfd.Normal(outputs, tf.cast(self.sigma(), outputs.dtype))

    def parameters(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"mean": outputs, "sigma": tf.broadcast_to(self.sigma(), tf.shape(outputs))}

    def log_prob_of_pairs(self, x: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """`-|x / sigma - m / sigma|^2 / 2 - sum_d log(sigma_d sqrt(2 pi))`: one matrix product for all pairs.

        Of values less the mean example, so that nothing large cancels.
        """
        sigma = tf.cast(self.sigma(), tf.float64)
        x, mean = ((tf.cast(part, tf.float64) - self.mean_pixel.astype(np.float64)) / sigma for part in (x, outputs))
        squares = [tf.reduce_sum(tf.square(part), axis=-1) for part in (mean, x)]
        distance = squares[0][:, None] + squares[1] - 2 * tf.matmul(mean, x, transpose_b=True)
        return -distance / 2 - tf.reduce_sum(tf.math.log(sigma * np.sqrt(2 * np.pi)))


class GaussianPerPixelLikelihood(GaussianLikelihood):
    """A Gaussian whose pixels have units and a sigma of their own, as the columns of a table have."""

    sigma_per_pixel = True

    @classmethod
    def _unit(cls, examples: np.ndarray) -> np.ndarray:
        """Each pixel's deviation; of pixels that never change, which have none, the median of the others'."""
        deviation = np.std(examples, axis=0, dtype=np.float64)
        changes = deviation > _ROUNDING * np.abs(examples).max(axis=0)
        return np.where(changes, deviation, np.median(deviation[changes]) if changes.any() else 1.0)


class ContinuousBernoulliLikelihood(Likelihood):
    """Values in [0, 1]: `p(x | z) = prod_d C(l_d) exp(l_d x_d)`, `l = outputs = head(decoder(z)) + l(mean image)`.

        C(l) = l / (exp(l) - 1)

    The Bernoulli's formula, with the factor that makes it a density on [0, 1]; the mean is not sigma(l).
    """

    values = "unit"
    sample = _quantiles

    def __init__(
        self, decoder: keras.layers.Layer, *, layers: LayerFactory, examples: np.ndarray, num_units: int
    ) -> None:
        super().__init__(decoder, layers=layers, examples=examples, num_units=num_units)
        mean = np.clip(self.mean_pixel.astype(np.float64), _LEAST_MEAN, 1 - _LEAST_MEAN)
        self.mean_logits = tf.constant(_logits_of_mean(mean), tf.float32)

    def outputs(self, z: tf.Tensor, *, training: bool) -> tf.Tensor:
        return super().outputs(z, training=training) + self.mean_logits

    def distribution(self, outputs: tf.Tensor) -> tfd.Distribution:
        return tfd.ContinuousBernoulli(logits=outputs, dtype=outputs.dtype)

    def parameters(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"logits": outputs, "mean": self.distribution(outputs).mean()}

    def log_prob_of_pairs(self, x: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """`x . l + sum_d log C(l_d)`: one matrix product for all pairs."""
        logits, x = tf.cast(outputs, tf.float64), tf.cast(x, tf.float64)
        log_normalizer = self.distribution(logits).log_prob(tf.zeros([], tf.float64))
        return tf.matmul(logits, x, transpose_b=True) + tf.reduce_sum(log_normalizer, axis=-1, keepdims=True)


class ZeroInflatedLikelihood(_WithSigma):
    """Energies of a detector's cells: 0, or log-normal.

        p(x_d | z) = 1 - g_d                                             x_d = 0
        p(x_d | z) = g_d N(log x_d; mu_d, sigma^2) / x_d                 x_d > 0

    A density with respect to the sum of the point mass at 0 and the length. The outputs are `logit g` of all pixels,
    then `mu`; they start at each pixel's share of positive values and the mean of their logarithms. One sigma for all.
    """

    values = "non_negative"
    outputs_per_pixel = 2
    sample = _quantiles

    def __init__(
        self, decoder: keras.layers.Layer, *, layers: LayerFactory, examples: np.ndarray, num_units: int
    ) -> None:
        super().__init__(decoder, layers=layers, examples=examples, num_units=num_units)
        share = np.clip(np.mean(examples > 0, axis=0), 0.001, 0.999)
        mean_log, deviation = _logarithms(examples)
        self.mean_outputs = tf.constant(np.concatenate([np.log(share) - np.log1p(-share), mean_log]), tf.float32)
        # sigma, and the size of what the head adds to mu
        self._learn_sigma(deviation if self.sigma_per_pixel else np.sqrt(np.mean(np.square(deviation))))
        of_mu = np.broadcast_to(self.unit, [self.num_pixels])
        self.output_units = tf.constant(np.concatenate([np.ones(self.num_pixels), of_mu]), tf.float32)

    @classmethod
    def inputs(cls, examples: np.ndarray) -> Inputs:
        return logarithmic(examples, float(np.exp(_logarithms(examples)[0].mean())))

    def outputs(self, z: tf.Tensor, *, training: bool) -> tf.Tensor:
        return self.mean_outputs + self.output_units * super().outputs(z, training=training)

    def distribution(self, outputs: tf.Tensor) -> tfd.Distribution:
        gate_logits, mean_log = tf.split(outputs, 2, axis=-1)
        return ZeroInflatedLogNormal(gate_logits, mean_log, tf.cast(self.sigma(), outputs.dtype))

    def parameters(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        gate_logits, mean_log = tf.split(outputs, 2, axis=-1)
        sigma = tf.broadcast_to(self.sigma(), tf.shape(mean_log))
        return {"probability_positive": tf.sigmoid(gate_logits), "mean_log": mean_log, "sigma": sigma}


class ZeroInflatedPerPixelLikelihood(ZeroInflatedLikelihood):
    """Energies whose logarithms have a sigma of each cell's own."""

    sigma_per_pixel = True


class ZeroInflatedLogNormal(tfd.Distribution):
    """0, or with probability `sigmoid(gate_logits)` log-normal.

    (`tfd.Inflated` is of discrete distributions: its probability of 0 is sigmoid(2 logits) in this version, and it
    warns of continuous ones.)

    Args:
      gate_logits: of a positive value.
      mean_log, sigma: mean and deviation of the logarithm of one.
    """

    def __init__(self, gate_logits: tf.Tensor, mean_log: tf.Tensor, sigma: tf.Tensor) -> None:
        parameters = dict(locals())
        self.gate_logits, self.mean_log, self.sigma = gate_logits, mean_log, sigma
        self._is_positive = tfd.Bernoulli(logits=gate_logits, dtype=gate_logits.dtype)
        self._positive = tfd.LogNormal(mean_log, sigma)
        super().__init__(
            dtype=gate_logits.dtype,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name="ZeroInflatedLogNormal",
        )

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        return dict.fromkeys(("gate_logits", "mean_log", "sigma"), tfp_util.ParameterProperties())

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant([], tf.int32)

    def _log_prob(self, x: tf.Tensor) -> tf.Tensor:
        is_positive = x > 0
        # The logarithm of 0 must not be reached by a gradient either.
        of_size = self._positive.log_prob(tf.where(is_positive, x, tf.ones_like(x)))
        of_gate = self._is_positive.log_prob(tf.cast(is_positive, self.dtype))
        return of_gate + tf.where(is_positive, of_size, tf.zeros_like(of_size))

    def _mean(self) -> tf.Tensor:
        return tf.sigmoid(self.gate_logits) * self._positive.mean()

    def _quantile(self, probability: tf.Tensor) -> tf.Tensor:
        zero = tf.sigmoid(-self.gate_logits)
        of_positive = (probability - zero) / tf.sigmoid(self.gate_logits)
        inside = tf.clip_by_value(of_positive, _HALF_STEP, 1 - _HALF_STEP)
        return tf.where(of_positive > 0, self._positive.quantile(inside), tf.zeros_like(inside))


def _logits_of_mean(mean: np.ndarray) -> np.ndarray:
    """The logits l of continuous Bernoullis of given means, by bisection: `1 / (1 - exp(-l)) - 1 / l = mean`."""
    low, high = np.full_like(mean, -1000.0), np.full_like(mean, 1000.0)
    for _ in range(60):
        middle = (low + high) / 2
        safe = np.where(np.abs(middle) < 1e-3, 1.0, middle)
        found = np.where(safe == middle, -1 / np.expm1(-np.clip(safe, -700, 700)) - 1 / safe, 0.5 + middle / 12)
        low, high = np.where(found < mean, middle, low), np.where(found < mean, high, middle)
    return (low + high) / 2


def _logarithms(examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the logarithms of each pixel's positive values, `[D]`.

    A pixel that has none, or one, takes those of all pixels together; where all is one value, the deviation is 1.
    """
    logs = np.where(examples > 0, np.log(np.where(examples > 0, examples, 1).astype(np.float64)), np.nan)
    together = logs[np.isfinite(logs)] if np.isfinite(logs).any() else np.zeros(1)  # an observed part may be empty
    counts = np.isfinite(logs).sum(axis=0)
    sums = np.nansum(logs, axis=0)
    mean = np.where(counts > 0, sums / np.maximum(counts, 1), together.mean())
    deviation = np.sqrt(np.nansum(np.square(logs - mean), axis=0) / np.maximum(counts, 1))
    varies = deviation > _ROUNDING * np.maximum(np.abs(mean), 1)
    return mean, np.where(varies, deviation, np.median(deviation[varies]) if varies.any() else 1.0)
