"""The published systems by name: the one place where a name becomes objects, and what fits together is paired."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from models import divergences
from models.autoencoder import DiscreteVAE
from models.directed_posterior import DirectedPosterior
from models.likelihood import BernoulliLikelihood
from models.networks import LayerFactory
from models.posterior import Posterior
from models.prior import RBMPrior
from models.rbm_posterior import RBMPosterior
from models.relaxations import Concrete, PiecewiseLinear, Relaxation
from samplers import parallel_tempering, pcd, persistent_chains, population_annealing

if TYPE_CHECKING:
    from dvae.config import Config


class PriorSampler(NamedTuple):
    """A sampler of p(z) that follows the prior through training.

    Attributes:
      initial_state: a function of `(rbm, *, num_chains, seed)`.
      step: `state, info = step(rbm, state, seed, *, num_sweeps)`. A state has `left`, the chains at the prior's own
        temperature, their tracked `log_z`, and `anchored(log_z)`.
      info: names of what a step tells about itself.
    """

    initial_state: Callable
    step: Callable
    info: tuple[str, ...]


def _of_chains(step: Callable) -> Callable[[Config], PriorSampler]:
    fields = persistent_chains.PersistentInfo._fields
    return lambda config: PriorSampler(persistent_chains.initial_state, step, fields)


def _tempered(config: Config) -> PriorSampler:
    initial_state = functools.partial(parallel_tempering.initial_state, num_levels=config.tempering_levels)
    return PriorSampler(initial_state, parallel_tempering.step, parallel_tempering.TemperedInfo._fields)


PRIOR_SAMPLERS: dict[str, Callable[[Config], PriorSampler]] = {
    "population_annealing": _of_chains(population_annealing.step),
    "pcd": _of_chains(pcd.step),
    "parallel_tempering": _tempered,
}


def _directed(config: Config, factory: LayerFactory, relaxation: Relaxation, mean_pixel: tf.Tensor) -> Posterior:
    return DirectedPosterior(
        factory,
        relaxation,
        mean_pixel=mean_pixel,
        num_units=config.num_latents,
        num_groups=config.num_groups,
        num_hidden_layers=config.hidden_layers,
    )


def _rbm(config: Config, factory: LayerFactory, relaxation: Relaxation, mean_pixel: tf.Tensor) -> Posterior:
    return RBMPosterior(
        factory,
        relaxation,
        mean_pixel=mean_pixel,
        num_left=config.num_left,
        num_right=config.num_left,
        num_hidden_layers=config.hidden_layers,
        num_gibbs_sweeps=config.num_gibbs_sweeps,
        num_relaxed_sweeps=config.num_relaxed_sweeps,
    )


class System(NamedTuple):
    """How a published system is put together.

    Attributes:
      title: as the papers write it.
      relaxation: from its sharpness beta.
      posterior: from the settings, the layers, the relaxation and the mean training pixel.
      divergence: of the posterior's relaxed samples from the RBM prior; what fits relaxation and posterior.
      beta: the published sharpness by data set (binarized MNIST's is used for others).
      most_groups: the largest L the posterior has.
    """

    title: str
    relaxation: Callable[[float], Relaxation]
    posterior: Callable[..., Posterior]
    divergence: Callable
    beta: dict[str, float]
    most_groups: int = sys.maxsize


SYSTEMS: dict[str, System] = {
    "dvaess": System(
        title="DVAE##",
        relaxation=PiecewiseLinear,
        posterior=_rbm,
        divergence=divergences.rbm_to_rbm_without_log_z_phi,
        beta={"binarized_mnist": 4.0, "omniglot": 3.0},
        most_groups=1,
    ),
    "gumbolt": System(
        title="GumBolt",
        relaxation=Concrete,
        posterior=_directed,
        divergence=divergences.directed_to_rbm,
        beta={"binarized_mnist": 10.0, "omniglot": 10.0},
    ),
    "pwl": System(
        title="PWL",
        relaxation=PiecewiseLinear,
        posterior=_directed,
        divergence=divergences.directed_to_rbm,
        beta={"binarized_mnist": 4.0, "omniglot": 3.0},
    ),
}


def build_model(config: Config, mean_pixel: np.ndarray) -> DiscreteVAE:
    """The model of a validated configuration, its weights drawn with `config.seed`; `mean_pixel` is `[D]`."""
    system = SYSTEMS[config.model]
    mean_pixel = tf.constant(mean_pixel, tf.float32)
    factory = LayerFactory(
        hidden_units=config.hidden_units,
        weight_decay=config.weight_decay,
        seeds=keras.random.SeedGenerator(config.seed),
    )
    return DiscreteVAE(
        prior=RBMPrior(config.num_left, config.num_left, weights_regularizer=factory.decay()),
        posterior=system.posterior(config, factory, system.relaxation(config.beta), mean_pixel),
        likelihood=BernoulliLikelihood(
            factory,
            mean_pixel=mean_pixel,
            num_units=config.num_latents,
            num_hidden_layers=config.hidden_layers,
        ),
        divergence=system.divergence,
    )
