"""What each way of training minimises in a step: Algorithm 1 of [DVAE##] and its kin."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from dvae.compiling import compiled
from dvae.config import Config
from dvae.data.observed import ObservedPart
from dvae.training import objectives, schedules
from dvae.training.objectives import Objective
from models.autoencoder import DiscreteVAE
from models.conditional import ConditionalModel
from models.generative import GenerativeModel
from models.posterior import Posterior
from samplers.log_partition import log_z_with_gradient
from samplers.rbm import RBM
from samplers.tracing import plain


class PriorParticles(NamedTuple):
    """What the prior's sampler knows of the prior at its current parameters.

    Attributes:
      left: `[particles, N]`.
      log_z: nats, as the sampler tracks it: the value of log Z_theta in a loss, which has no bearing on its gradient.
    """

    left: tf.Tensor
    log_z: tf.Tensor


class Loss(abc.ABC):
    """What is minimised in a step. The pieces that it is composed of are compiled when it is made.

    With `synchronised` batch normalisation those with networks in them are not.

    Attributes:
      metrics: names of what is measured, float32 scalars.
      encoder: the part of the model whose variables have the inference loss; None where there is none.
      has_two_losses: whether encoder and generator are trained on different ones.
    """

    metrics: tuple[str, ...]
    encoder: keras.layers.Layer | None = None
    has_two_losses = False

    def move_chains(self, x: tf.Tensor, chains: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Moves the examples' chains `[K, B, chain_units]` where no gradient can flow through it."""
        return chains

    @abc.abstractmethod
    def objective(
        self, x: tf.Tensor, chains: tf.Tensor, prior: PriorParticles | None, *, step: tf.Tensor, seed: tf.Tensor
    ) -> tuple[Objective, tf.Tensor]:
        """The objective on a batch, to be differentiated, and the chains to be kept.

        Args:
          x: `[B, D]`.
          chains: of these examples, `[K, B, chain_units]`.
          prior: None for a model without one.
          step: parameter updates done.
          seed: int32 `[2]`.
        """


class TrainingObjective(NamedTuple):
    """How log-densities of an autoencoder become a loss.

    Attributes:
      combine: a function of `dvae.training.objectives`.
      divergence: what that is given besides the log-likelihood, a function of `(sample, prior, log_z)`: of
        `models.divergences`, of the posterior's relaxed samples from the prior. It has log_z as a summand.
      metrics: names of what it measures.
      smoothed: the prior as `divergence` takes it, from its machine; not compiled.
      has_two_losses: whether encoder and generator are trained on different ones.
    """

    combine: Callable[..., Objective]
    divergence: Callable[..., tf.Tensor]
    metrics: tuple[str, ...]
    smoothed: Callable[[RBM], Any]
    has_two_losses: bool = False


class AutoencodingLoss(Loss):
    """Algorithm 1 of [DVAE##], its directed counterpart, and both with importance weights."""

    def __init__(
        self, config: Config, model: DiscreteVAE, objective: TrainingObjective, *, synchronised: bool = False
    ) -> None:
        self._config, self._model, self._objective = config, model, objective
        self.metrics = (*objective.metrics, "kl_weight")
        self.encoder = model.posterior
        self.has_two_losses = objective.has_two_losses
        network = _network(synchronised=synchronised)
        sampling = network if model.posterior.has_sampling_networks else compiled
        # Encoder and sweeps are two pieces: in one, XLA would compute the gradient of the couplings, which the sweeps
        # make and batch normalisation uses three times, three times over.
        self._encode = network(model.posterior.encode)
        self._sample_relaxed = _relaxed_sampler(model.posterior, sampling)
        self._log_prob = network(model.likelihood.log_prob)
        self._log_z = compiled(log_z_with_gradient)
        self._divergence = sampling(objective.divergence)

    def objective(self, x, chains, prior, *, step, seed):
        """`-mean [log p(x | zeta) - kl_weight * divergence]`, or with importance weights.

        The particles are needed for log Z_theta only, which is added last: so encoder and decoder compute beside the
        prior's sweeps, forwards and backwards. (With importance weights, which are functions of it, only forwards.)
        """
        config = self._config
        encoding = self._encode(x, training=True)
        sample = self._sample_relaxed(encoding, num_samples=config.num_samples, seed=seed, chains=chains)
        log_likelihood = self._log_prob(x, sample.zeta, training=True)

        rbm = self._model.prior.rbm()
        divergence = self._divergence(sample, self._objective.smoothed(rbm), log_z=tf.constant(0.0))
        divergence += self._log_z(rbm, prior.left, prior.log_z)

        kl_weight = schedules.kl_weight(step, warmup=config.kl_warmup, num_steps=config.num_steps)
        objective = self._objective.combine(log_likelihood, divergence, kl_weight=kl_weight)
        return objective.measuring(kl_weight=kl_weight), sample.chains


class PredictionLoss(Loss):
    """Structured prediction: no prior, and the entropy of q in the divergence's place.

    Args:
      negative_entropy: of the posterior's relaxed samples; a function of `models.divergences`.
      log_law: of the states that these started from, likewise; None for the gradient without term I.
    """

    metrics = (*objectives.STRUCTURED_METRICS, "entropy_weight")

    def __init__(
        self,
        config: Config,
        model: ConditionalModel,
        part: ObservedPart,
        *,
        negative_entropy: Callable[..., tf.Tensor],
        log_law: Callable[..., tf.Tensor] | None = None,
        synchronised: bool = False,
    ) -> None:
        self._config, self._part = config, part
        self.encoder = model.posterior
        network = _network(synchronised=synchronised)
        self._encode = network(model.posterior.encode)
        self._sample_relaxed = _relaxed_sampler(
            model.posterior, network if model.posterior.has_sampling_networks else compiled
        )
        self._log_prob = network(model.likelihood.log_prob)
        self._negative_entropy = compiled(negative_entropy)
        self._log_law = compiled(log_law) if log_law else None

    def objective(self, x, chains, prior, *, step, seed):
        """`-mean [log mean_k p(x_2 | zeta_k) + entropy_weight * H(q(z | x_1))]`, over examples and replicates."""
        config = self._config
        num_draws = config.num_samples * config.num_replicates
        observed, target = self._part.split(x)
        encoding = self._encode(observed, training=True)
        sample = self._sample_relaxed(encoding, num_samples=num_draws, seed=seed, chains=chains)
        log_likelihood = self._log_prob(target, sample.zeta, training=True)

        def by_replicate(of_draws: tf.Tensor) -> tf.Tensor:  # [K, R, B]
            return tf.reshape(of_draws, [config.num_samples, config.num_replicates, -1])

        entropy_weight = schedules.entropy_weight(step, num_steps=config.num_steps)
        objective = objectives.structured(
            by_replicate(log_likelihood),
            by_replicate(self._negative_entropy(sample)),
            entropy_weight=entropy_weight,
            log_law=by_replicate(self._log_law(sample)) if self._log_law else None,
        )
        return objective.measuring(entropy_weight=entropy_weight), sample.chains


class CompleteDataLoss(Loss):
    """Training by Markov chains of the true posterior, without an encoder.

    `num_gibbs_sweeps` single-site sweeps of each example's chain, then a step along the gradient of log p(x, z). The
    chains are of the model that is evaluated, whose batch normalisation uses moving averages; the gradient uses the
    batch's statistics, as everywhere in training, so that those averages follow.
    """

    metrics = objectives.COMPLETE_DATA_METRICS

    def __init__(self, config: Config, model: GenerativeModel, *, synchronised: bool = False) -> None:
        self._config, self._model = config, model
        self._sweeps = compiled(model.posterior_sweeps, autograph=True)
        self._joint_terms = _network(synchronised=synchronised)(model.joint_terms)
        self._log_z = compiled(log_z_with_gradient)

    def move_chains(self, x, chains, seed):
        return self._sweeps(x, chains, seed, num_sweeps=tf.constant(self._config.num_gibbs_sweeps))

    def objective(self, x, chains, prior, *, step, seed):
        """`-mean [log p(x | z) + log p(z)]`."""
        log_z = self._log_z(self._model.prior.rbm(), prior.left, prior.log_z)
        return objectives.complete_data(*self._joint_terms(x, chains, log_z, training=True)), chains


def _network(*, synchronised: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What makes a piece of a function with batch normalisation in it, trained.

    Where that is synchronised, the piece has reductions over replicas in it, and XLA cannot compile it.
    """
    return plain if synchronised else functools.partial(compiled, autograph=True)


def _relaxed_sampler(posterior: Posterior, piece_of: Callable[..., Any]) -> Callable[..., Any]:
    """`posterior.sample_relaxed` as a piece; the encoding goes around a compiled one, which would copy it."""

    def without_encoding(encoding: Any, **given: Any) -> Any:
        return posterior.sample_relaxed(encoding, **given)._replace(encoding=())

    piece = piece_of(without_encoding)

    def sample_relaxed(encoding: Any, **given: Any) -> Any:
        return piece(encoding, **given)._replace(encoding=encoding)

    return sample_relaxed
