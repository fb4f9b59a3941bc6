"""Autoencoding: a discrete VAE with a Boltzmann prior, trained on the ELBO or on importance-weighted bounds."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from dvae import pictures, schedules
from dvae.config import Config
from dvae.data import Dataset
from dvae.evaluation import Evaluation, Functions
from dvae.exporting import InferenceModel
from dvae.problem import Problem
from dvae.systems import PRIOR_SAMPLERS, build_model, objective_of
from dvae.train_state import TrainState
from dvae.training import StepSeeds, Trainer, new_optimizer, state_seed
from models import relaxed_prior
from models.autoencoder import DiscreteVAE
from samplers import diagnostics
from samplers.log_partition import log_z_with_gradient

_MIXING_SWEEPS = 50


class Autoencoding(Problem):
    """Learns p(x) = sum_z p(z) p(x | z), p(z) an RBM."""

    def new_state(self) -> TrainState:
        config = self.config
        model = build_model(config, self.dataset.mean_pixel)
        sampler = PRIOR_SAMPLERS[config.prior_sampler](config)
        return TrainState(
            model=model,
            optimizer=new_optimizer(config, model),
            num_examples=len(self.dataset.train),
            num_samples=config.num_samples,
            prior_state=lambda seed: sampler.initial_state(
                model.prior.rbm(), num_chains=config.num_particles, seed=seed
            ),
            seed=state_seed(config),
        )

    def trainer(self, state: TrainState) -> AutoencodingTrainer:
        return AutoencodingTrainer(self.config, self.dataset, state)

    def exportable(self, model: DiscreteVAE) -> InferenceModel:
        return InferenceModel(model)

    def pictures(self, functions: Functions, originals: np.ndarray, seed: tf.Tensor) -> dict[str, np.ndarray]:
        samples = functions["generate"](num_samples=tf.constant(2 * len(originals)), seed=seed)["probabilities"]
        reconstructions = functions["reconstruct"](x=tf.constant(originals, tf.float32), seed=seed)["probabilities"]
        pairs = pictures.beside(originals, reconstructions.numpy())
        shape = self.dataset.image_shape
        return {
            "prior_samples": pictures.grid(samples.numpy(), shape),
            "originals_and_reconstructions": pictures.grid(pairs, shape, columns=min(len(originals), pictures.COLUMNS)),
        }

    def parameters(self, model: DiscreteVAE, images: np.ndarray, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        values = {f"prior/{name}": value for name, value in model.prior.rbm()._asdict().items()}
        of_posterior = model.posterior.parameters(tf.constant(images, tf.float32), seed=seed)
        return values | {f"posterior/{name}": value for name, value in of_posterior.items()}

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


class AutoencodingTrainer(Trainer):
    """Algorithm 1 of [DVAE##], its directed counterpart, and both with importance weights."""

    def __init__(self, config: Config, dataset: Dataset, state: TrainState) -> None:
        sampler = PRIOR_SAMPLERS[config.prior_sampler](config)
        self._objective = objective_of(config)
        self._prior_step = tf.function(sampler.step, jit_compile=True)
        super().__init__(
            config,
            dataset,
            state,
            metrics=(*self._objective.metrics, "kl_weight", *(f"prior_{name}" for name in sampler.info)),
        )

    def step(self, index: tf.Tensor, x: tf.Tensor, seeds: StepSeeds) -> dict[str, tf.Tensor]:
        """Moves the prior's particles, then updates the parameters given them.

        A graph of a few compiled pieces, which run at the same time where they can: the particles are needed for the
        divergence only, so encoder and decoder compute beside the prior's sweeps. (With importance weights, which are
        functions of the divergence, only forwards.)
        """
        config, state, model = self.config, self.state, self.state.model
        kl_weight = schedules.kl_weight(state.global_step, warmup=config.kl_warmup, num_steps=config.num_steps)
        prior_state, prior_info = self._move_prior(seeds.prior)
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
        of_prior = {f"prior_{name}": tf.cast(value, tf.float32) for name, value in prior_info._asdict().items()}
        return objective.metrics | {"kl_weight": kl_weight} | of_prior

    def _move_prior(self, seed: tf.Tensor):
        """Brings the prior's particles to its current parameters."""
        rbm, sweeps = self.state.model.prior.rbm(), self.config.prior_sweeps
        prior_state, info = self._prior_step(rbm, self.state.read_prior(), seed, num_sweeps=sweeps)
        self.state.write_prior(prior_state)
        return prior_state, info
