"""Structured output prediction: the rest of an example from its observed part."""

from __future__ import annotations

import hashlib

import numpy as np
import tensorflow as tf

from dvae import objectives, pictures, schedules
from dvae.config import Config
from dvae.data import Dataset
from dvae.data.observed import ObservedPart, observed_part
from dvae.evaluation import Functions
from dvae.exporting import PredictionModel
from dvae.problem import Pictures, Problem
from dvae.systems import build_conditional_model
from dvae.train_state import TrainState
from dvae.training import StepSeeds, Trainer, new_optimizer, state_seed
from models.conditional import ConditionalModel

_COMPLETIONS = 8  # of each example, in the picture of samples
_LATENTS = 100  # that a predicted probability is averaged over, in the other one


class StructuredPrediction(Problem):
    """Learns `p(x_2 | x_1) = sum_z q(z | x_1) p(x_2 | z)`."""

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.part = observed_part(config.observed, dataset)

    def new_state(self) -> TrainState:
        mean_pixel = self.dataset.mean_pixel
        model = build_conditional_model(self.config, mean_pixel[self.part.observed], mean_pixel[self.part.target])
        return TrainState(
            model=model,
            optimizer=new_optimizer(self.config, model),
            num_examples=len(self.dataset.train),
            num_samples=self.config.num_samples,
            chain_units=model.posterior.chain_units,
            prior_state=lambda seed: (),
            seed=state_seed(self.config),
        )

    def trainer(self, state: TrainState) -> StructuredTrainer:
        return StructuredTrainer(self.config, self.dataset, state, self.part)

    def exportable(self, model: ConditionalModel) -> PredictionModel:
        return PredictionModel(model, self.part)

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.dataset.checksum.encode() + self.part.observed.tobytes()).hexdigest()

    @property
    def likelihood_of(self) -> str:
        return f"the {len(self.part.target)} predicted pixels given the {len(self.part.observed)} observed ones"

    def pictures(self, functions: Functions, originals: np.ndarray, seed: tf.Tensor) -> Pictures:
        observed = tf.constant(originals[:, self.part.observed], tf.float32)
        predicted = functions["predict"](observed=observed, num_samples=tf.constant(_LATENTS), seed=seed)
        given = self._completed(originals, np.full([len(originals), len(self.part.target)], 0.5))
        likely = self._completed(originals, predicted["probabilities"].numpy())
        drawn = [self._completed(originals, sample) for sample in predicted["samples"][:_COMPLETIONS].numpy()]
        shape, columns = self.dataset.image_shape, min(len(originals), pictures.COLUMNS)
        first = [examples[:columns] for examples in (given, *drawn, originals)]
        return Pictures(
            samples=pictures.grid(pictures.beside(*first), shape, columns=columns),
            reconstructions=pictures.grid(pictures.beside(given, likely, originals), shape, columns=columns),
        )

    def parameters(self, model: ConditionalModel, images: np.ndarray, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        observed = tf.constant(images[:, self.part.observed], tf.float32)
        values = model.posterior.parameters(observed, seed=seed)
        return {f"posterior/{name}": value for name, value in values.items()}

    def _completed(self, originals: np.ndarray, target: np.ndarray) -> np.ndarray:
        """The examples with `target [n, D2]` in place of what is to be predicted."""
        examples = originals.astype(np.float32)
        examples[:, self.part.target] = target
        return examples


class StructuredTrainer(Trainer):
    """Steps without a prior: the entropy of q takes the divergence's place."""

    def __init__(self, config: Config, dataset: Dataset, state: TrainState, part: ObservedPart) -> None:
        self._part = part
        metrics = (*objectives.STRUCTURED_METRICS, "entropy_weight")
        super().__init__(config, dataset, state, encoder=state.model.posterior, metrics=metrics)

    def step(self, index: tf.Tensor, x: tf.Tensor, seeds: StepSeeds) -> dict[str, tf.Tensor]:
        state, model = self.state, self.state.model
        entropy_weight = schedules.entropy_weight(state.global_step, num_steps=self.config.num_steps)
        observed, target = self._part.split(x)
        chains = state.chains.read(index)
        with tf.GradientTape() as tape:
            sample = model.posterior.sample_relaxed(
                observed, num_samples=self.config.num_samples, seed=seeds.posterior, chains=chains
            )
            terms = model.relaxed_terms(target, sample)
            objective = objectives.structured(
                terms.log_likelihood, terms.negative_entropy, entropy_weight=entropy_weight
            )
        self._descend(tape, objective)
        state.chains.write(index, sample.chains)
        return objective.metrics | {"entropy_weight": entropy_weight}
