"""The Keras models of a configuration: the published networks, or those that a user hands in."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np

from dvae.config import Config
from dvae.published import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM
from dvae.systems import LIKELIHOODS, SYSTEMS
from models.autoencoder import DiscreteVAE
from models.conditional import ConditionalModel
from models.directed_posterior import DirectedPosterior
from models.generative import GenerativeModel
from models.likelihood import Likelihood
from models.networks import LayerFactory
from models.posterior import Posterior
from models.prior import RBMPrior
from models.rbm_posterior import RBMPosterior


class Networks(NamedTuple):
    """What a user hands in, in place of the published networks and likelihood; None for the published ones.

    Attributes:
      encoder: any Keras layer from examples as the likelihood shows them (`Likelihood.inputs`: less the mean training
        example), `[rows, D]`, to features `[rows, width]`; in structured prediction from the observed part.
      decoder: any Keras layer from latents, `[rows, num_latents]`, to features.
      likelihood: a subclass of `models.likelihood.Likelihood`.
    """

    encoder: keras.layers.Layer | None = None
    decoder: keras.layers.Layer | None = None
    likelihood: type[Likelihood] | None = None


PUBLISHED_NETWORKS = Networks()


def likelihood_class(config: Config, networks: Networks) -> type[Likelihood]:
    """That which is handed in, or else the one that the settings name."""
    return networks.likelihood or LIKELIHOODS[config.likelihood]


def build_autoencoder(config: Config, examples: np.ndarray, networks: Networks = PUBLISHED_NETWORKS) -> DiscreteVAE:
    """The autoencoder of a validated configuration, its weights drawn with `config.seed`.

    `examples [n, D]` are those of the training, whose mean and spread the networks start from.
    """
    layers = _layers(config)
    posterior = _posterior(config, layers, examples, networks)
    return DiscreteVAE(
        prior=_prior(config, layers), posterior=posterior, likelihood=_likelihood(config, layers, examples, networks)
    )


def build_generative_model(
    config: Config, examples: np.ndarray, networks: Networks = PUBLISHED_NETWORKS
) -> GenerativeModel:
    """Prior and likelihood alone, from training examples `[n, D]`."""
    layers = _layers(config)
    return GenerativeModel(prior=_prior(config, layers), likelihood=_likelihood(config, layers, examples, networks))


def build_conditional_model(
    config: Config, observed: np.ndarray, target: np.ndarray, networks: Networks = PUBLISHED_NETWORKS
) -> ConditionalModel:
    """That of structured prediction, from observed and predicted pixels of the training examples."""
    layers = _layers(config)
    posterior = _posterior(config, layers, observed, networks)
    return ConditionalModel(posterior=posterior, likelihood=_likelihood(config, layers, target, networks))


def _layers(config: Config) -> LayerFactory:
    return LayerFactory(
        hidden_units=config.hidden_units,
        weight_decay=config.weight_decay,
        momentum=BATCH_NORM_MOMENTUM,
        epsilon=BATCH_NORM_EPSILON,
        seeds=keras.random.SeedGenerator(config.seed),
    )


def _prior(config: Config, layers: LayerFactory) -> RBMPrior:
    return RBMPrior(config.num_left, config.num_left, weights_regularizer=layers.decay(), spins=config.prior_spins)


def _posterior(config: Config, layers: LayerFactory, examples: np.ndarray, networks: Networks) -> Posterior:
    """An encoder that was handed in is what the groups share; theirs is a linear map each."""
    inputs = likelihood_class(config, networks).inputs(examples)
    system = SYSTEMS[config.model]
    is_shared = system.is_undirected or config.shared_context or networks.encoder is not None
    with keras.name_scope("posterior"):
        encoder = networks.encoder
        if encoder is None:
            num_layers = config.hidden_layers if is_shared else 0
            encoder = layers.hidden_stack(inputs.num_pixels, num_layers, name="encoder")
        if system.is_undirected:
            return RBMPosterior(
                encoder,
                system.relaxation(config.beta, config.num_left),
                layers=layers,
                inputs=inputs,
                num_left=config.num_left,
                num_right=config.num_left,
                num_gibbs_sweeps=config.num_gibbs_sweeps,
                num_relaxed_sweeps=config.num_relaxed_sweeps,
                coupling_start=config.coupling_start,
                coupling_rank=config.coupling_rank,
            )
        group_size = config.num_latents // config.num_groups
        return DirectedPosterior(
            encoder,
            [system.relaxation(config.beta, group_size) for _ in range(config.num_groups)],
            layers=layers,
            inputs=inputs,
            num_units=config.num_latents,
            num_group_layers=0 if is_shared else config.hidden_layers,
        )


def _likelihood(config: Config, layers: LayerFactory, examples: np.ndarray, networks: Networks) -> Likelihood:
    with keras.name_scope("likelihood"):
        decoder = networks.decoder
        if decoder is None:
            decoder = layers.hidden_stack(config.num_latents, config.hidden_layers, name="decoder")
        likelihood = likelihood_class(config, networks)
        return likelihood(decoder, layers=layers, examples=examples, num_units=config.num_latents)
