"""The published systems by name: the one place where a name becomes objects, and what fits together is paired."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from dvae.config import Config
from dvae.errors import UserError
from dvae.training import objectives, replicas
from dvae.training.losses import TrainingObjective
from dvae.training.replicas import Replicas
from dvae.workers import Workers
from models import divergences
from models.continuous_likelihoods import (
    ContinuousBernoulliLikelihood,
    GaussianLikelihood,
    GaussianPerPixelLikelihood,
    ZeroInflatedLikelihood,
    ZeroInflatedPerPixelLikelihood,
)
from models.likelihood import BernoulliLikelihood, Likelihood
from models.mixtures import Gaussian, GaussianIntegral, OverlappingExponential, PowerFunction, UniformExponential
from models.posterior import Posterior
from models.relaxations import Concrete, PiecewiseLinear, Relaxation, SpikeAndExponential
from models.relaxed_prior import GaussianIntegralPrior
from samplers.rbm import RBM

Divergence = Callable[..., tf.Tensor]


class System(NamedTuple):
    """How a published system is put together.

    Attributes:
      relaxation: of so many units, from its sharpness beta and their number.
      divergence: that of the posterior's relaxed samples from the prior, by the number of groups; what fits relaxation
        and posterior.
      negative_entropy: `-H(q)` of relaxed samples, or a surrogate with its gradient.
      log_law: of the states that the posterior's chains were relaxed from, up to a constant of each example; None where
        samples are no function of a chain.
      log_ratio: `log q - log p` of single relaxed samples; None where no importance weight of one is defined.
      smoothed: the prior as `divergence` and `log_ratio` take it, from its machine and the sharpness beta.
      is_undirected: whether the posterior is one RBM, and not directed groups.
      has_log_q: whether `divergence` has log q of a sample in it, which depends on the encoder's parameters directly as
        well as through the sample.
    """

    relaxation: Callable[[float, int], Relaxation]
    divergence: Callable[[int], Divergence]
    negative_entropy: Divergence = divergences.directed_negative_entropy
    log_law: Divergence | None = None
    log_ratio: Divergence | None = None
    smoothed: Callable[[RBM, float], Any] = lambda rbm, beta: rbm
    is_undirected: bool = False
    has_log_q: bool = False

    @property
    def most_groups(self) -> int:
        """The largest L the posterior has."""
        return 1 if self.is_undirected else sys.maxsize

    @property
    def reads(self) -> frozenset[str]:
        """Names of the settings that concern this system's posterior and not those of all others."""
        if self.is_undirected:
            return frozenset(
                (
                    "num_gibbs_sweeps num_relaxed_sweeps coupling_start coupling_rank valid_temperatures valid_base "
                    "test_protocol test_temperatures test_base"
                ).split()
            )
        return frozenset({"shared_context"})


def _sharp(relaxation: Callable[[float], Relaxation]) -> Callable[[float, int], Relaxation]:
    """One that needs its sharpness only."""
    return lambda beta, num_units: relaxation(beta)


def _any_groups(divergence: Divergence) -> Callable[[int], Divergence]:
    """The same for every number of groups."""
    return lambda num_groups: divergence


def _exact_for_one_group(several: Divergence) -> Callable[[int], Divergence]:
    """With one group, where all units can be replaced by their means, the papers before DVAE# have the same KL."""
    return lambda num_groups: divergences.directed_to_rbm if num_groups == 1 else several


def _spike_and_exponential(num_groups: int) -> Divergence:
    if num_groups == 1:
        return divergences.directed_to_rbm
    return functools.partial(divergences.spike_and_exponential_to_rbm, num_groups=num_groups)


def _overlapping(relaxation: Callable[[float], Relaxation]) -> System:
    """A system of DVAE# whose p(zeta) has the posterior's components and a mean-field bound."""
    return System(
        relaxation=_sharp(relaxation),
        divergence=_any_groups(divergences.overlapping_to_rbm),
        log_ratio=divergences.overlapping_to_rbm,
        has_log_q=True,
    )


SYSTEMS: dict[str, System] = {
    "dvae_spike_exp": System(
        relaxation=_sharp(SpikeAndExponential),
        divergence=_spike_and_exponential,
    ),
    "dvaepp_exp": System(
        relaxation=_sharp(OverlappingExponential),
        divergence=_exact_for_one_group(divergences.mixture_to_rbm),
    ),
    "dvaepp_power": System(
        relaxation=_sharp(PowerFunction),
        divergence=_exact_for_one_group(divergences.mixture_to_rbm),
    ),
    "dvaes_gauss_int": System(
        relaxation=lambda beta, num_units: GaussianIntegral(num_units),
        divergence=_any_groups(divergences.gaussian_integral_to_rbm),
        log_ratio=divergences.gaussian_integral_to_rbm,
        smoothed=lambda rbm, beta: GaussianIntegralPrior.smoothing(rbm, least_beta=beta),
        has_log_q=True,
    ),
    "dvaes_gauss": _overlapping(Gaussian),
    "dvaes_exp": _overlapping(OverlappingExponential),
    "dvaes_unexp": _overlapping(UniformExponential),
    "dvaes_power": _overlapping(PowerFunction),
    "dvaess": System(
        relaxation=_sharp(PiecewiseLinear),
        divergence=_any_groups(divergences.rbm_to_rbm_without_log_z_phi),
        negative_entropy=divergences.rbm_negative_entropy_without_log_z_phi,
        log_law=divergences.rbm_log_law_of_chains_without_log_z_phi,
        log_ratio=divergences.relaxed_rbm_to_rbm_without_log_z_phi,
        is_undirected=True,
    ),
    "gumbolt": System(
        relaxation=_sharp(Concrete),
        divergence=_any_groups(divergences.directed_to_rbm),
        log_ratio=divergences.relaxed_directed_to_rbm,
    ),
    "pwl": System(
        relaxation=_sharp(PiecewiseLinear),
        divergence=_any_groups(divergences.directed_to_rbm),
        log_ratio=divergences.relaxed_directed_to_rbm,
    ),
}

LIKELIHOODS: dict[str, type[Likelihood]] = {
    "bernoulli": BernoulliLikelihood,
    "continuous_bernoulli": ContinuousBernoulliLikelihood,
    "gaussian": GaussianLikelihood,
    "gaussian_per_pixel": GaussianPerPixelLikelihood,
    "zero_inflated": ZeroInflatedLikelihood,
    "zero_inflated_per_pixel": ZeroInflatedPerPixelLikelihood,
}


def _workers(config: Config, say: Callable[[str], None]) -> Replicas:
    workers = Workers.from_environment()
    workers.wait(say)
    return replicas.multi_worker(workers)


# By name: the devices that share a training. Called before TensorFlow is asked for anything else; `say` is told who is
# waited for.
STRATEGIES: dict[str, Callable[[Config, Callable[[str], None]], Replicas]] = {
    "one": lambda config, say: Replicas(),
    "mirrored": lambda config, say: replicas.mirrored(config.num_devices),
    "multi_worker": _workers,
}


def _elbo(config: Config, posterior: Posterior) -> TrainingObjective:
    system = SYSTEMS[config.model]
    divergence = system.divergence(config.num_groups)
    if system.has_log_q and config.stopped_log_q:
        divergence = _at_constant_phi(divergence, posterior)
    return TrainingObjective(objectives.elbo, divergence, objectives.ELBO_METRICS, _smoothed(config))


def _iwae(config: Config, posterior: Posterior) -> TrainingObjective:
    log_ratio = _log_ratio(config)
    return TrainingObjective(objectives.importance_weighted, log_ratio, objectives.WEIGHTS_METRICS, _smoothed(config))


def _dreg(config: Config, posterior: Posterior) -> TrainingObjective:
    return TrainingObjective(
        objectives.doubly_reparameterized,
        _at_constant_phi(_log_ratio(config), posterior),
        objectives.WEIGHTS_METRICS,
        _smoothed(config),
        has_two_losses=True,
    )


def _at_constant_phi(divergence: Divergence, posterior: Posterior) -> Divergence:
    """As a function of the encoder's parameters phi through the samples alone."""

    def of_samples(sample: Any, prior: Any, log_z: tf.Tensor) -> tf.Tensor:
        return divergence(posterior.frozen(sample), prior, log_z)

    return of_samples


IW_GRADIENTS = {"dreg": _dreg, "iwae": _iwae}


def training_objective(config: Config, posterior: Posterior) -> TrainingObjective:
    """That of an autoencoder, from a validated configuration."""
    return (
        _elbo(config, posterior) if config.objective == "elbo" else IW_GRADIENTS[config.iw_gradient](config, posterior)
    )


def _log_ratio(config: Config) -> Divergence:
    log_ratio = SYSTEMS[config.model].log_ratio
    if log_ratio is None:
        raise UserError("has no importance weight of a relaxed sample", model=config.model)
    return log_ratio


def _smoothed(config: Config) -> Callable[[RBM], Any]:
    smoothed = SYSTEMS[config.model].smoothed
    return lambda rbm: smoothed(rbm, config.beta)
