"""Autoencoding: a discrete VAE with a Boltzmann prior, trained on the ELBO or on importance-weighted bounds."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from dvae import pictures, schedules
from dvae.config import Config
from dvae.data import Dataset
from dvae.evaluation import Evaluation, Functions
from dvae.exporting import InferenceModel
from dvae.prior_samplers import PRIOR_SAMPLERS
from dvae.problem import Pictures, Problem
from dvae.systems import build_model, objective_of
from dvae.train_state import TrainState
from dvae.training import StepSeeds, Trainer, new_optimizer, state_seed
from models import relaxed_prior
from models.autoencoder import DiscreteVAE
from models.generative import GenerativeModel
from samplers import diagnostics
from samplers.log_partition import log_z_with_gradient

_MIXING_SWEEPS = 50


class Autoencoding(Problem):
    """Learns p(x) = sum_z p(z) p(x | z), p(z) an RBM."""

    def new_state(self) -> TrainState:
        model = build_model(self.config, self.dataset.mean_pixel)
        return self._state_of(model, chain_units=model.posterior.chain_units)

    def _state_of(self, model: GenerativeModel, *, chain_units: int) -> TrainState:
        config = self.config
        sampler = PRIOR_SAMPLERS[config.prior_sampler](config)
        return TrainState(
            model=model,
            optimizer=new_optimizer(config, model),
            num_examples=len(self.dataset.train),
            num_samples=config.num_samples,
            chain_units=chain_units,
            prior_state=lambda seed: sampler.initial_state(
                model.prior.rbm(), num_chains=config.num_particles, seed=seed
            ),
            seed=state_seed(config),
        )

    def trainer(self, state: TrainState) -> AutoencodingTrainer:
        return AutoencodingTrainer(self.config, self.dataset, state)

    def exportable(self, model: DiscreteVAE) -> InferenceModel:
        return InferenceModel(model)

    def pictures(self, functions: Functions, originals: np.ndarray, seed: tf.Tensor) -> Pictures:
        samples = functions["generate"](num_samples=tf.constant(2 * len(originals)), seed=seed)["probabilities"]
        reconstructions = functions["reconstruct"](x=tf.constant(originals, tf.float32), seed=seed)["probabilities"]
        pairs = pictures.beside(originals, reconstructions.numpy())
        shape = self.dataset.image_shape
        return Pictures(
            samples=pictures.grid(samples.numpy(), shape),
            reconstructions=pictures.grid(pairs, shape, columns=min(len(originals), pictures.COLUMNS)),
        )

    def parameters(self, model: DiscreteVAE, images: np.ndarray, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        of_posterior = model.posterior.parameters(tf.constant(images, tf.float32), seed=seed)
        return prior_parameters(model) | {f"posterior/{name}": value for name, value in of_posterior.items()}

    def after_evaluation(self, state: TrainState, evaluation: Evaluation) -> dict[str, float]:
        """Anchors the tracked log Z. How far it was off, how well the prior's chains mix, how strong its couplings are.

        Mixing is that of Gibbs chains that start from the sampler's.
        """
        prior_state, prior = state.read_prior(), state.model.prior.rbm()
        drift = float(prior_state.log_z) - evaluation.log_z
        state.write_prior(prior_state.anchored(evaluation.log_z))
        seed = tf.constant([self.config.seed, int(state.global_step)])
        values = diagnostics.mixing(prior, prior_state.left, num_sweeps=_MIXING_SWEEPS, seed=seed)._asdict()
        values["smallest_eigenvalue"] = relaxed_prior.smallest_eigenvalue(prior)
        return {"tracked_log_z_drift": drift} | {f"prior_{name}": float(value) for name, value in values.items()}


def prior_parameters(model: GenerativeModel) -> dict[str, tf.Tensor]:
    """Of the prior, by name, for histograms."""
    return {f"prior/{name}": value for name, value in model.prior.rbm()._asdict().items()}


class PriorTrainer(Trainer):
    """Steps of a model with a prior, whose sampler follows it through training.

    Args:
      config, dataset, state, encoder: as for `Trainer`.
      metrics: names of what a step measures, but for the sampler's own.
    """

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        state: TrainState,
        *,
        encoder: keras.layers.Layer | None,
        metrics: tuple[str, ...],
    ) -> None:
        sampler = PRIOR_SAMPLERS[config.prior_sampler](config)
        self._prior_step = tf.function(sampler.step, jit_compile=True)
        metrics = (*metrics, *(f"prior_{name}" for name in sampler.info))
        super().__init__(config, dataset, state, encoder=encoder, metrics=metrics)

    def _move_prior(self, seed: tf.Tensor) -> tuple[NamedTuple, dict[str, tf.Tensor]]:
        """Brings the prior's particles to its current parameters; the sampler's state and its metrics."""
        rbm, sweeps = self.state.model.prior.rbm(), self.config.prior_sweeps
        prior_state, info = self._prior_step(rbm, self.state.read_prior(), seed, num_sweeps=sweeps)
        self.state.write_prior(prior_state)
        return prior_state, {f"prior_{name}": tf.cast(value, tf.float32) for name, value in info._asdict().items()}


class AutoencodingTrainer(PriorTrainer):
    """Algorithm 1 of [DVAE##], its directed counterpart, and both with importance weights."""

    def __init__(self, config: Config, dataset: Dataset, state: TrainState) -> None:
        self._objective = objective_of(config)
        metrics = (*self._objective.metrics, "kl_weight")
        super().__init__(config, dataset, state, encoder=state.model.posterior, metrics=metrics)

    def step(self, index: tf.Tensor, x: tf.Tensor, seeds: StepSeeds) -> dict[str, tf.Tensor]:
        """Moves the prior's particles, then updates the parameters given them.

        A graph of a few compiled pieces, which run at the same time where they can: the particles are needed for the
        divergence only, so encoder and decoder compute beside the prior's sweeps. (With importance weights, which are
        functions of the divergence, only forwards.)
        """
        config, state, model = self.config, self.state, self.state.model
        kl_weight = schedules.kl_weight(state.global_step, warmup=config.kl_warmup, num_steps=config.num_steps)
        prior_state, of_prior = self._move_prior(seeds.prior)
        chains = state.chains.read(index)
        with tf.GradientTape(persistent=self._objective.has_two_losses) as tape:
            sample = model.posterior.sample_relaxed(
                x, num_samples=config.num_samples, seed=seeds.posterior, chains=chains
            )
            prior = model.prior.rbm()
            log_z = log_z_with_gradient(prior, prior_state.left, prior_state.log_z)
            terms = model.relaxed_terms(x, sample, prior=prior, log_z=log_z)
            objective = self._objective.combine(terms.log_likelihood, terms.divergence, kl_weight=kl_weight)
        self._descend(tape, objective)
        state.chains.write(index, sample.chains)
        return objective.metrics | {"kl_weight": kl_weight} | of_prior
