"""Training by Markov chains of the true posterior, without an encoder."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from dvae import objectives
from dvae.autoencoding import Autoencoding, PriorTrainer, prior_parameters
from dvae.config import Config
from dvae.data import Dataset
from dvae.exporting import MarkovChainModel
from dvae.systems import build_generative_model
from dvae.train_state import TrainState
from dvae.training import StepSeeds
from models.generative import GenerativeModel
from samplers.log_partition import log_z_with_gradient


class TruePosterior(Autoencoding):
    """Learns `p(x) = sum_z p(z) p(x | z)` from draws of p(z | x): a persistent binary chain for every example.

    With so few latents that log p(x) can be enumerated, it shows what the approximate posterior of an autoencoder
    costs. [DVAE##, appendix E]
    """

    def new_state(self) -> TrainState:
        model = build_generative_model(self.config, self.dataset.mean_pixel)
        return self._state_of(model, chain_units=self.config.num_latents)

    def trainer(self, state: TrainState) -> MarkovChainTrainer:
        return MarkovChainTrainer(self.config, self.dataset, state)

    def exportable(self, model: GenerativeModel) -> MarkovChainModel:
        return MarkovChainModel(model)

    def anneal_for(self, model: GenerativeModel, num_temperatures: int) -> None:
        """There is nothing to set: no approximate posterior is annealed."""

    def parameters(self, model: GenerativeModel, images: np.ndarray, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        return prior_parameters(model)


class MarkovChainTrainer(PriorTrainer):
    """`num_gibbs_sweeps` single-site sweeps of each example's chain, then a step along the gradient of log p(x, z).

    The chains are of the model that is evaluated, whose batch normalisation uses moving averages; the gradient uses the
    batch's statistics, as everywhere in training, so that those averages follow.
    """

    def __init__(self, config: Config, dataset: Dataset, state: TrainState) -> None:
        super().__init__(config, dataset, state, encoder=None, metrics=objectives.COMPLETE_DATA_METRICS)

    def step(self, index: tf.Tensor, x: tf.Tensor, seeds: StepSeeds) -> dict[str, tf.Tensor]:
        state, model = self.state, self.state.model
        prior_state, of_prior = self._move_prior(seeds.prior)
        num_sweeps = tf.constant(self.config.num_gibbs_sweeps)
        z = model.posterior_sweeps(x, state.chains.read(index), seeds.posterior, num_sweeps=num_sweeps)
        with tf.GradientTape() as tape:
            log_z = log_z_with_gradient(model.prior.rbm(), prior_state.left, prior_state.log_z)
            objective = objectives.complete_data(*model.joint_terms(x, z, log_z, training=True))
        self._descend(tape, objective)
        state.chains.write(index, z)
        return objective.metrics | of_prior
