"""What an approximate posterior q(z | x) offers: relaxed samples for training, binary draws for evaluation."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from samplers.arguments import check_count, require
from samplers.weights import effective_sample_size, log_mean_exp

PUBLISHED_TEMPERATURES = 500  # of AIS through an undirected q(z | x)
# Where that starts, by number: from the machine's biases, as published; from its *fields*, the biases and the mean
# effect of the couplings on fair coins; from the mean-field fixed point that the fields lead to.
BASES = ("biases", "fields", "mean_field")


def checked_factors(
    flattening: tf.Tensor | Sequence[float], num_samples: tf.Tensor | int, dtype: tf.DType
) -> tf.Tensor:
    """The factors of `Posterior.draw`, `[F]`.

    Raises:
      ValueError: the first is not 1, some are less, or the number of samples is no multiple of theirs.
    """
    check_count("num_samples", num_samples)
    factors = tf.convert_to_tensor(flattening, dtype)
    require(
        lambda factors: (tf.size(factors) > 0) & tf.reduce_all(factors >= 1) & tf.reduce_all(factors[:1] == 1),
        "flattening",
        factors,
        "must be factors of at least 1, the first 1",
    )
    rule = f"must be a multiple of the number of factors of flattening ({factors.shape[0]})"
    require(lambda samples, num: samples % num == 0, "num_samples", num_samples, rule, tf.size(factors))
    return factors


class LikelihoodEstimate(NamedTuple):
    """What weighted draws of q(z | x) tell, in nats, float64 `[B]` each.

    Attributes:
      log_likelihood: `log mean_k w_k exp(log_ratio_k)`; its exponential is unbiased for p(x).
      effective_sample_size: of the importance weights, from 1 to K.
      elbo: the estimate of `E_q[log_ratio]`.
      entropy: the estimate of H(q(z | x)).
    """

    log_likelihood: tf.Tensor
    effective_sample_size: tf.Tensor
    elbo: tf.Tensor
    entropy: tf.Tensor


class Mixture(NamedTuple):
    """What draws of a flattened posterior come from, `1/F sum_f q_f(z | x)`: see `Posterior.draw`.

    Attributes:
      factors: `[F]`, the first 1.
      log_normalisers: of each q_f for each example, as `Posterior.log_densities` needs them, nats, float64 `[F, B]`.
    """

    factors: tf.Tensor
    log_normalisers: tf.Tensor


class Densities(NamedTuple):
    """Attributes: `log_q`, `log q(z | x)`; `log_mixture`, that of the mixture; nats, float64 `[K, B]`."""

    log_q: tf.Tensor
    log_mixture: tf.Tensor


class PosteriorDraws(NamedTuple):
    """Binary latents with what is needed to estimate expectations under q(z | x), and p(x) without bias.

        E_q[g]  is estimated by  mean_k exp(log_weights_k) g(z_k),  `mean`
        p(x)    is estimated by  mean_k exp(log_weights_k) p(x, z_k) / q(z_k | x),  `estimate`

    Attributes:
      z: binary, `[K, B, units]`.
      log_q: `log q(z | x)` in nats, float64 `[K, B]`, normalised; with an estimate of log Z_phi where q is undirected.
      log_weights: float64 `[K, B]`, with `mean_k exp(log_weights_k) = 1`: 0 where z are exact samples of q. The errors
        of an estimated log Z_phi in `log_q` and in `log_weights` cancel in the estimate of p(x), which is unbiased. Of
        a flattened posterior (`Posterior.draw`) the weights have a mean of 1 in expectation.
      mixture: that z were drawn from.
    """

    z: tf.Tensor
    log_q: tf.Tensor
    log_weights: tf.Tensor
    mixture: Mixture

    def mean(self, g: tf.Tensor) -> tf.Tensor:
        """The estimate of `E_q[g]` from `g(z_k) [K, B, ...]`; `[B, ...]`."""
        weights = tf.exp(self.log_weights)[(..., *[None] * (len(g.shape) - 2))]
        return tf.reduce_mean(weights * tf.cast(g, self.log_weights.dtype), axis=0)

    def estimate(self, log_ratio: tf.Tensor) -> LikelihoodEstimate:
        """`log E_q[exp(log_ratio)]` and its bound `E_q[log_ratio]`, from `log_ratio [K, B]` of the draws."""
        log_weights = tf.cast(self.log_weights, tf.float64) + tf.cast(log_ratio, tf.float64)
        return LikelihoodEstimate(
            log_likelihood=log_mean_exp(log_weights, axis=0),
            effective_sample_size=effective_sample_size(log_weights, axis=0),
            elbo=self.mean(log_ratio),
            entropy=self.mean(-self.log_q),
        )


class Posterior(keras.layers.Layer, abc.ABC):
    """An approximate posterior q(z | x) over binary latents.

    `encode` is the only method that sees x. What it returns, a NamedTuple of tensors with a leading dimension B, is all
    that the others need of it: parameters of any other origin serve as well.

    Attributes:
      num_units: latents.
    """

    num_units: int

    @abc.abstractmethod
    def encode(self, x: tf.Tensor, *, training: bool) -> Any:
        """What the networks make of `x [B, D]` alone, differentiable in their parameters.

        Args:
          x: `[B, D]`.
          training: whether batch normalisation uses the statistics of this batch (and learns from them).
        """

    @abc.abstractmethod
    def sample_relaxed(self, encoding: Any, *, num_samples: int, seed: tf.Tensor, chains: tf.Tensor) -> Any:
        """Relaxed samples for training, batch statistics in use, differentiable in the encoding.

        Args:
          encoding: of `encode`, in training.
          num_samples: K.
          seed: int32 `[2]`.
          chains: persistent chains of these examples, `[K, B, chain_units]`.

        Returns:
          A NamedTuple with at least `zeta [K, B, units]` and `chains`, the next state of the persistent chains.
        """

    @abc.abstractmethod
    def frozen(self, sample: Any) -> Any:
        """`sample` as a function of its `zeta` alone, the encoder's parameters held constant.

        What a log-density of q needs is computed from the given `zeta` anew, and nothing is Rao-Blackwellised: the
        `means` are `zeta`. Makes no second pass of x through the encoder, and leaves moving averages alone.
        """

    @property
    @abc.abstractmethod
    def chain_units(self) -> int:
        """Units of an example's persistent chain that are kept from visit to visit; 0 if it needs none."""

    @abc.abstractmethod
    def draw(
        self,
        encoding: Any,
        *,
        num_samples: tf.Tensor | int,
        seed: tf.Tensor,
        flattening: tf.Tensor | Sequence[float] = (1.0,),
        num_temperatures: tf.Tensor | int = PUBLISHED_TEMPERATURES,
        base: tf.Tensor | int = 0,
    ) -> PosteriorDraws:
        """Weighted binary draws for evaluation, moving averages in use.

        With `flattening` the states come from an equal mixture of q and flattened copies of it:

            z_k ~ 1/F sum_f q_f(z | x)

        In q_f the energy of an RBM, or the logits of each group of a directed q, are divided by factor f. A posterior
        trained on the ELBO can be much surer of itself than p(z | x); importance weights from q alone then miss what
        q never visits, for any practical K. The mixture visits it, and costs at most a factor F of samples where q
        was good already, since its density is nowhere below q / F (a defensive mixture [Hesterberg 1995], weighted
        by the balance heuristic [Veach & Guibas 1995]).

        Args:
          encoding: of `encode`, not in training.
          num_samples: K, a multiple of F.
          seed: int32 `[2]`.
          flattening: `[F]` factors of at least 1; the first is 1, for q itself.
          num_temperatures: of AIS, where a draw is not exact (`is_annealed`).
          base: where AIS starts, a number in `BASES`.

        Raises:
          ValueError: an argument is out of range.
        """

    @property
    @abc.abstractmethod
    def has_sampling_networks(self) -> bool:
        """Whether `sample_relaxed` runs hidden layers, with statistics of the batch; if not, only `encode` does."""

    @property
    @abc.abstractmethod
    def is_annealed(self) -> bool:
        """Whether draws are made by AIS; if not, they are exact."""

    @property
    @abc.abstractmethod
    def is_amortized_whole(self) -> bool:
        """Whether all parameters of q(z | x) depend on x alone, and not on some of the latents."""

    @abc.abstractmethod
    def parameters(self, encoding: Any, *, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """The parameters of q(z | x) by name, each `[B, ...]`; given a sample where latents decide."""

    @abc.abstractmethod
    def unnormalised_log_prob(self, encoding: Any, z: tf.Tensor) -> tf.Tensor:
        """`log q(z | x)` up to a constant of each x, of binary `z [K, B, units]`, nats, float64 `[K, B]`."""

    @abc.abstractmethod
    def log_densities(self, encoding: Any, z: tf.Tensor, mixture: Mixture) -> Densities:
        """Of binary `z [K, B, units]`, with the normalisers that the mixture of some draws has."""

    @abc.abstractmethod
    def reverse_log_weights(
        self,
        encoding: Any,
        z: tf.Tensor,
        *,
        seed: tf.Tensor,
        num_temperatures: tf.Tensor | int = PUBLISHED_TEMPERATURES,
        base: tf.Tensor | int = 0,
    ) -> tf.Tensor:
        """`log w` of reverse AIS from draws of q, float64 `[K, B]`: `E[w] = 1 / Z`, of `unnormalised_log_prob`.

        Args:
          encoding: of `encode`, not in training.
          z: binary `[K, B, units]`, draws of q(z | x), or weighted ones at the end of a path to it.
          seed, num_temperatures, base: as for `draw`.
        """

    @abc.abstractmethod
    def sample(
        self,
        encoding: Any,
        *,
        num_samples: tf.Tensor | int,
        seed: tf.Tensor,
        num_temperatures: tf.Tensor | int = PUBLISHED_TEMPERATURES,
        base: tf.Tensor | int = 0,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Equally weighted binary samples `z [K, B, units]` and `log q(z | x)` in nats, float64 `[K, B]`."""
