"""Training by Markov chains of the true posterior, without an encoder."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from dvae.building import build_generative_model
from dvae.config import Config
from dvae.evaluation.estimates import Evaluation
from dvae.evaluation.functions import Functions
from dvae.evaluation.signatures import DrawSettings, markov_chain_functions
from dvae.tasks.autoencoding import anchor_prior, generated_and_reconstructed, particles, prior_parameters
from dvae.tasks.task import Task
from dvae.training.losses import CompleteDataLoss
from dvae.training.train_state import TrainState
from models.generative import GenerativeModel


class TruePosterior(Task):
    """Learns `p(x) = sum_z p(z) p(x | z)` from draws of p(z | x): a persistent binary chain for every example.

    With so few latents that log p(x) can be enumerated, it shows what the approximate posterior of an autoencoder
    costs. [DVAE##, appendix E]
    """

    has_posterior = False

    @classmethod
    def reads(cls, config: Config) -> frozenset[str]:
        return super().reads(config) | {"num_gibbs_sweeps", "num_samples"}

    @classmethod
    def described(cls, config: Config) -> str:
        return (
            f"Boltzmann prior and decoder with {config.num_latents} latents, "
            "trained by Markov chains of the true posterior"
        )

    def new_model(self) -> GenerativeModel:
        return build_generative_model(self.config, self.dataset.train, self.networks)

    def chain_units(self, model: GenerativeModel) -> int:
        return self.config.num_latents

    def loss(self, model: GenerativeModel, *, synchronised: bool = False) -> CompleteDataLoss:
        return CompleteDataLoss(self.config, model, synchronised=synchronised)

    def functions(self, model: GenerativeModel, settings: DrawSettings) -> Functions:
        return markov_chain_functions(model)

    def pictures(self, functions, originals, seed, *, latents=None):
        return generated_and_reconstructed(functions, originals, self.dataset, seed, latents)

    def latents_at_hand(self, state, num, seed):
        return particles(state, num, seed)

    def parameters(self, model: GenerativeModel, images: np.ndarray, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        return prior_parameters(model)

    def after_evaluation(self, state: TrainState, evaluation: Evaluation) -> dict[str, float]:
        return anchor_prior(self.config, state, evaluation)
