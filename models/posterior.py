"""What an approximate posterior q(z | x) offers: relaxed samples for training, binary draws for evaluation."""

from __future__ import annotations

import abc
from typing import NamedTuple

import keras
import tensorflow as tf


class PosteriorDraws(NamedTuple):
    """Binary latents with what is needed to estimate expectations under q(z | x), and p(x) without bias.

        E_q[g]  is estimated by  mean_k exp(log_weights_k) g(z_k),  `mean`
        p(x)    is estimated by  mean_k exp(log_weights_k) p(x, z_k) / q(z_k | x)

    Attributes:
      z: binary, `[K, B, units]`.
      log_q: `log q(z | x)` in nats, `[K, B]`, normalised; with an estimate of log Z_phi where q is undirected.
      log_weights: `[K, B]`, with `mean_k exp(log_weights_k) = 1`: 0 where z are exact samples. The errors of an
        estimated log Z_phi in `log_q` and in `log_weights` cancel in the estimate of p(x), which is unbiased.
    """

    z: tf.Tensor
    log_q: tf.Tensor
    log_weights: tf.Tensor

    def mean(self, g: tf.Tensor) -> tf.Tensor:
        """The estimate of `E_q[g]` from `g(z_k) [K, B]`; `[B]`."""
        return tf.reduce_mean(tf.exp(self.log_weights) * g, axis=0)


class Posterior(keras.layers.Layer, abc.ABC):
    """An approximate posterior q(z | x) over binary latents, amortised by an encoder network.

    Attributes:
      num_units: latents.
    """

    num_units: int

    @abc.abstractmethod
    def sample_relaxed(self, x: tf.Tensor, *, num_samples: int, seed: tf.Tensor, chains: tf.Tensor):
        """Relaxed samples for training, batch statistics in use, differentiable in the encoder's parameters.

        Args:
          x: `[B, D]`.
          num_samples: K.
          seed: int32 `[2]`.
          chains: persistent chains of these examples, `[K, B, chain_units]`.

        Returns:
          A NamedTuple with at least `zeta [K, B, units]` and `chains`, the next state of the persistent chains.
        """

    @abc.abstractmethod
    def frozen(self, sample: NamedTuple) -> NamedTuple:
        """`sample` as a function of its `zeta` alone, the encoder's parameters held constant.

        What a log-density of q needs is computed from the given `zeta` anew, and nothing is Rao-Blackwellised: the
        `means` are `zeta`. Makes no second pass of x through the encoder, and leaves moving averages alone.
        """

    @property
    @abc.abstractmethod
    def chain_units(self) -> int:
        """Units of an example's persistent chain that are kept from visit to visit; 0 if it needs none."""

    @abc.abstractmethod
    def draw(self, x: tf.Tensor, *, num_samples: tf.Tensor | int, seed: tf.Tensor) -> PosteriorDraws:
        """Weighted binary draws for evaluation, moving averages in use: `x [B, D]`, K = `num_samples`."""

    def anneal_for(self, num_temperatures: int) -> None:
        """Sets how many AIS temperatures a draw takes; nothing to set where draws are exact."""

    @property
    @abc.abstractmethod
    def is_amortized_whole(self) -> bool:
        """Whether all parameters of q(z | x) depend on x alone, and not on some of the latents."""

    @abc.abstractmethod
    def parameters(self, x: tf.Tensor, *, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """The parameters of q(z | x) by name, for `x [B, D]`, each `[B, ...]`; given a sample where latents decide."""

    @abc.abstractmethod
    def unnormalised_log_prob(self, x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        """`log q(z | x)` up to a constant of each x, of binary `z [K, B, units]`, nats, `[K, B]`."""

    @abc.abstractmethod
    def sample(self, x: tf.Tensor, *, num_samples: tf.Tensor | int, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Equally weighted binary samples `z [K, B, units]` and `log q(z | x) [K, B]` in nats."""
