"""The published systems by name: the one place where a name becomes objects, and what fits together is paired."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from dvae import objectives
from models import divergences
from models.autoencoder import DiscreteVAE
from models.conditional import ConditionalModel
from models.directed_posterior import DirectedPosterior
from models.generative import GenerativeModel
from models.likelihood import BernoulliLikelihood
from models.mixtures import Gaussian, GaussianIntegral, OverlappingExponential, PowerFunction, UniformExponential
from models.networks import LayerFactory
from models.posterior import Posterior
from models.prior import RBMPrior
from models.rbm_posterior import RBMPosterior
from models.relaxations import Concrete, PiecewiseLinear, Relaxation, SpikeAndExponential

if TYPE_CHECKING:
    from dvae.config import Config


class TrainingObjective(NamedTuple):
    """How log-densities become a loss.

    Attributes:
      combine: a function of `dvae.objectives`.
      divergence: what that is given besides the log-likelihood; from the settings and the posterior, a function of a
        relaxed sample, the prior's machine and its log Z.
      metrics: names of what it measures.
      has_two_losses: whether encoder and generator are trained on different ones.
    """

    combine: Callable[..., objectives.Objective]
    divergence: Callable[[Config, Posterior], Callable]
    metrics: tuple[str, ...]
    has_two_losses: bool


def _kl(config: Config, posterior: Posterior) -> Callable:
    return SYSTEMS[config.model].divergence(config)


def _log_ratio(config: Config, posterior: Posterior) -> Callable:
    return SYSTEMS[config.model].log_ratio(config)


def _frozen_log_ratio(config: Config, posterior: Posterior) -> Callable:
    """That at constant parameters of q."""
    log_ratio = _log_ratio(config, posterior)
    return lambda sample, prior, log_z: log_ratio(posterior.frozen(sample), prior, log_z)


IW_GRADIENTS = {
    "dreg": TrainingObjective(
        objectives.doubly_reparameterized, _frozen_log_ratio, objectives.WEIGHTS_METRICS, has_two_losses=True
    ),
    "iwae": TrainingObjective(
        objectives.importance_weighted, _log_ratio, objectives.WEIGHTS_METRICS, has_two_losses=False
    ),
}
OBJECTIVES: dict[str, Callable[[Config], TrainingObjective]] = {
    "elbo": lambda config: TrainingObjective(objectives.elbo, _kl, objectives.ELBO_METRICS, has_two_losses=False),
    "iw": lambda config: IW_GRADIENTS[config.iw_gradient],
}


def objective_of(config: Config) -> TrainingObjective:
    """That of an autoencoder, from a validated configuration."""
    return OBJECTIVES[config.objective](config)


def _directed(config: Config, factory: LayerFactory, relaxation: Callable, mean_pixel: tf.Tensor) -> Posterior:
    of_context, of_group = (config.hidden_layers, 0) if config.shared_context else (0, config.hidden_layers)
    group_size = config.num_latents // config.num_groups
    return DirectedPosterior(
        factory,
        [relaxation(config.beta, group_size) for _ in range(config.num_groups)],
        mean_pixel=mean_pixel,
        num_units=config.num_latents,
        num_context_layers=of_context,
        num_group_layers=of_group,
    )


def _rbm(config: Config, factory: LayerFactory, relaxation: Callable, mean_pixel: tf.Tensor) -> Posterior:
    return RBMPosterior(
        factory,
        relaxation(config.beta, config.num_left),
        mean_pixel=mean_pixel,
        num_left=config.num_left,
        num_right=config.num_left,
        num_hidden_layers=config.hidden_layers,
        num_gibbs_sweeps=config.num_gibbs_sweeps,
        num_relaxed_sweeps=config.num_relaxed_sweeps,
    )


def _of_beta(relaxation: Callable[[float], Relaxation]) -> Callable[[float, int], Relaxation]:
    return lambda beta, num_units: relaxation(beta)


def _of_units(relaxation: Callable[[int], Relaxation]) -> Callable[[float, int], Relaxation]:
    return lambda beta, num_units: relaxation(num_units)


def _always(divergence: Callable) -> Callable[[Config], Callable]:
    return lambda config: divergence


def _exact_for_one_group(several: Callable[[Config], Callable]) -> Callable[[Config], Callable]:
    """With one group, where all units can be replaced by their means, the papers before DVAE# have the same KL."""
    return lambda config: divergences.directed_to_rbm if config.num_groups == 1 else several(config)


def _spike_and_exponential(config: Config) -> Callable:
    return functools.partial(divergences.spike_and_exponential_to_rbm, num_groups=config.num_groups)


def _gaussian_integral(config: Config) -> Callable:
    return functools.partial(divergences.gaussian_integral_to_rbm, least_beta=config.beta)


class PublishedBeta(NamedTuple):
    """The published sharpness of a relaxation on one data set, by the structure of the directed posterior.

    Attributes:
      linear: one group without hidden layers.
      one_group: with hidden layers.
      more_groups: two groups or more.
    """

    linear: float
    one_group: float
    more_groups: float

    @classmethod
    def same(cls, beta: float) -> PublishedBeta:
        return cls(beta, beta, beta)

    def of(self, config: Config) -> float:
        if config.num_groups > 1:
            return self.more_groups
        return self.one_group if config.hidden_layers else self.linear


class System(NamedTuple):
    """How a published system is put together.

    Attributes:
      title: as the papers write it.
      relaxation: of so many units, from its sharpness beta and their number.
      posterior: from the settings, the layers, `relaxation` and the mean training pixel.
      divergence: from the settings, that of the posterior's relaxed samples from the RBM prior; what fits relaxation
        and posterior.
      beta: the published sharpness by data set (binarized MNIST's is used for others).
      beta_shared_context: the same with shared context, where it was published apart.
      shared_context: whether it was published with shared context (both: True); None where there are no groups.
      negative_entropy: `-H(q)` of relaxed samples, or a surrogate with its gradient.
      log_ratio: from the settings, `log q - log p` of single relaxed samples; None where no importance weight of one
        is defined.
      most_groups: the largest L the posterior has.
    """

    title: str
    relaxation: Callable[[float, int], Relaxation]
    posterior: Callable[..., Posterior]
    divergence: Callable[[Config], Callable]
    beta: dict[str, PublishedBeta]
    beta_shared_context: dict[str, PublishedBeta] | None = None
    shared_context: bool | None = True
    negative_entropy: Callable = divergences.directed_negative_entropy
    log_ratio: Callable[[Config], Callable] | None = None
    most_groups: int = sys.maxsize

    def published_beta(self, config: Config) -> float:
        """For the model, data set and structure of `config`.

        Most values were published without shared context; with it, that of the same number of groups is used.
        """
        table = self.beta
        if config.shared_context and self.beta_shared_context is not None:
            table = self.beta_shared_context
        return table.get(config.dataset, table["binarized_mnist"]).of(config)


def _published(mnist: PublishedBeta, omniglot: PublishedBeta) -> dict[str, PublishedBeta]:
    return {"binarized_mnist": mnist, "omniglot": omniglot}


SYSTEMS: dict[str, System] = {
    "dvae_spike_exp": System(
        title="DVAE",
        relaxation=_of_beta(SpikeAndExponential),
        posterior=_directed,
        divergence=_exact_for_one_group(_spike_and_exponential),
        beta=_published(PublishedBeta(5.0, 5.0, 4.0), PublishedBeta(4.0, 4.0, 4.0)),
        shared_context=False,
    ),
    "dvaepp_exp": System(
        title="DVAE++ (exponential)",
        relaxation=_of_beta(OverlappingExponential),
        posterior=_directed,
        divergence=_exact_for_one_group(_always(divergences.mixture_to_rbm)),
        beta=_published(PublishedBeta(12.0, 14.0, 10.0), PublishedBeta(14.0, 12.0, 10.0)),
        shared_context=False,
    ),
    "dvaepp_power": System(
        title="DVAE++ (power function)",
        relaxation=_of_beta(PowerFunction),
        posterior=_directed,
        divergence=_exact_for_one_group(_always(divergences.mixture_to_rbm)),
        beta=_published(PublishedBeta(40.0, 30.0, 30.0), PublishedBeta(40.0, 40.0, 30.0)),
        shared_context=False,
    ),
    "dvaes_gauss_int": System(
        title="DVAE# (Gaussian integral)",
        relaxation=_of_units(GaussianIntegral),
        posterior=_directed,
        divergence=_gaussian_integral,
        log_ratio=_gaussian_integral,
        beta=_published(PublishedBeta(40.0, 30.0, 30.0), PublishedBeta(40.0, 30.0, 25.0)),
        shared_context=False,
    ),
    "dvaes_gauss": System(
        title="DVAE# (Gaussian)",
        relaxation=_of_beta(Gaussian),
        posterior=_directed,
        divergence=_always(divergences.overlapping_to_rbm),
        log_ratio=_always(divergences.overlapping_to_rbm),
        beta=_published(PublishedBeta(40.0, 30.0, 25.0), PublishedBeta(40.0, 25.0, 25.0)),
        shared_context=False,
    ),
    "dvaes_exp": System(
        title="DVAE# (exponential)",
        relaxation=_of_beta(OverlappingExponential),
        posterior=_directed,
        divergence=_always(divergences.overlapping_to_rbm),
        log_ratio=_always(divergences.overlapping_to_rbm),
        beta=_published(PublishedBeta(12.0, 12.0, 10.0), PublishedBeta(12.0, 10.0, 8.0)),
        shared_context=False,
    ),
    "dvaes_unexp": System(
        title="DVAE# (uniform + exponential)",
        relaxation=_of_beta(UniformExponential),
        posterior=_directed,
        divergence=_always(divergences.overlapping_to_rbm),
        log_ratio=_always(divergences.overlapping_to_rbm),
        beta=_published(PublishedBeta(40.0, 30.0, 16.0), PublishedBeta(40.0, 16.0, 16.0)),
        shared_context=False,
    ),
    "dvaes_power": System(
        title="DVAE# (power function)",
        relaxation=_of_beta(PowerFunction),
        posterior=_directed,
        divergence=_always(divergences.overlapping_to_rbm),
        log_ratio=_always(divergences.overlapping_to_rbm),
        beta=_published(PublishedBeta(40.0, 40.0, 30.0), PublishedBeta(40.0, 30.0, 20.0)),
        beta_shared_context=_published(PublishedBeta.same(30.0), PublishedBeta.same(30.0)),
    ),
    "dvaess": System(
        title="DVAE##",
        relaxation=_of_beta(PiecewiseLinear),
        posterior=_rbm,
        divergence=_always(divergences.rbm_to_rbm_without_log_z_phi),
        negative_entropy=divergences.rbm_negative_entropy_without_log_z_phi,
        log_ratio=_always(divergences.relaxed_rbm_to_rbm_without_log_z_phi),
        beta=_published(PublishedBeta.same(4.0), PublishedBeta.same(3.0)),
        shared_context=None,
        most_groups=1,
    ),
    "gumbolt": System(
        title="GumBolt",
        relaxation=_of_beta(Concrete),
        posterior=_directed,
        divergence=_always(divergences.directed_to_rbm),
        log_ratio=_always(divergences.relaxed_directed_to_rbm),
        beta=_published(PublishedBeta.same(10.0), PublishedBeta.same(10.0)),
    ),
    "pwl": System(
        title="PWL",
        relaxation=_of_beta(PiecewiseLinear),
        posterior=_directed,
        divergence=_always(divergences.directed_to_rbm),
        log_ratio=_always(divergences.relaxed_directed_to_rbm),
        beta=_published(PublishedBeta.same(4.0), PublishedBeta.same(3.0)),
    ),
}


def build_model(config: Config, mean_pixel: np.ndarray) -> DiscreteVAE:
    """The autoencoder of a validated configuration, its weights drawn with `config.seed`; `mean_pixel` is `[D]`."""
    system, factory = SYSTEMS[config.model], _factory(config)
    mean_pixel = tf.constant(mean_pixel, tf.float32)
    posterior = system.posterior(config, factory, system.relaxation, mean_pixel)
    return DiscreteVAE(
        prior=RBMPrior(config.num_left, config.num_left, weights_regularizer=factory.decay()),
        posterior=posterior,
        likelihood=_likelihood(config, factory, mean_pixel),
        divergence=objective_of(config).divergence(config, posterior),
    )


def build_generative_model(config: Config, mean_pixel: np.ndarray) -> GenerativeModel:
    """Prior and likelihood alone; `mean_pixel` is `[D]`."""
    factory = _factory(config)
    return GenerativeModel(
        prior=RBMPrior(config.num_left, config.num_left, weights_regularizer=factory.decay()),
        likelihood=_likelihood(config, factory, tf.constant(mean_pixel, tf.float32)),
    )


def build_conditional_model(config: Config, mean_observed: np.ndarray, mean_target: np.ndarray) -> ConditionalModel:
    """That of structured prediction; the means are those of the observed and of the predicted pixels."""
    system, factory = SYSTEMS[config.model], _factory(config)
    return ConditionalModel(
        posterior=system.posterior(config, factory, system.relaxation, tf.constant(mean_observed, tf.float32)),
        likelihood=_likelihood(config, factory, tf.constant(mean_target, tf.float32)),
        negative_entropy=system.negative_entropy,
    )


def _factory(config: Config) -> LayerFactory:
    return LayerFactory(
        hidden_units=config.hidden_units,
        weight_decay=config.weight_decay,
        seeds=keras.random.SeedGenerator(config.seed),
    )


def _likelihood(config: Config, factory: LayerFactory, mean_pixel: tf.Tensor) -> BernoulliLikelihood:
    return BernoulliLikelihood(
        factory, mean_pixel=mean_pixel, num_units=config.num_latents, num_hidden_layers=config.hidden_layers
    )
