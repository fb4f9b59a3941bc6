"""What an approximate posterior q(z | x) offers: relaxed samples for training, binary draws for evaluation."""

from __future__ import annotations

import abc
from collections.abc import Sequence
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
      log_weights: `[K, B]`, with `mean_k exp(log_weights_k) = 1`: 0 where z are exact samples of q. The errors of an
        estimated log Z_phi in `log_q` and in `log_weights` cancel in the estimate of p(x), which is unbiased. Of a
        flattened posterior (`Posterior.flatten_by`) the weights have a mean of 1 in expectation.
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
      flattening: see `flatten_by`, `[F]`.
    """

    num_units: int

    def __init__(self) -> None:
        super().__init__()
        # Saved, never trained: an exported model can be told to draw from a flattened posterior.
        self.flattening = tf.Variable([1.0], shape=[None], trainable=False, name="flattening")

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
        """Weighted binary draws for evaluation, moving averages in use: `x [B, D]`, K = `num_samples`.

        K is a multiple of F, the number of factors in `flattening`.
        """

    def flatten_by(self, factors: Sequence[float]) -> None:
        """Makes `draw` take its states from an equal mixture of q and flattened copies of it.

            z_k ~ 1/F sum_f q_f(z | x)

        In q_f the energy of an RBM, or the logits of each group of a directed q, are divided by factor f. A posterior
        trained on the ELBO can be much surer of itself than p(z | x); importance weights from q alone then miss what
        q never visits, for any practical K. The mixture visits it, and costs at most a factor F of samples where q
        was good already, since its density is nowhere below q / F (a defensive mixture [Hesterberg 1995], weighted
        by the balance heuristic [Veach & Guibas 1995]).

        Args:
          factors: at least 1 each; the first is 1, for q itself.
        """
        self.flattening.assign(factors)

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
