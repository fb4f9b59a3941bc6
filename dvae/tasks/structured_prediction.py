"""Structured output prediction: the rest of an example from its observed part."""

from __future__ import annotations

import hashlib

import numpy as np
import tensorflow as tf

from dvae import pictures
from dvae.building import PUBLISHED_NETWORKS, Networks, build_conditional_model
from dvae.config import Config
from dvae.data import Dataset
from dvae.data.observed import observed_part
from dvae.evaluation.functions import Functions, means
from dvae.evaluation.signatures import DrawSettings, prediction_functions
from dvae.systems import SYSTEMS
from dvae.tasks.task import Pictures, Task, described_samples, described_system
from dvae.training.losses import PredictionLoss
from models.conditional import ConditionalModel

_COMPLETIONS = 8  # of each example, in the picture of samples
_LATENTS = 100  # that a predicted probability is averaged over, in the other one


class StructuredPrediction(Task):
    """Learns `p(x_2 | x_1) = sum_z q(z | x_1) p(x_2 | z)`."""

    has_prior = False

    def __init__(self, config: Config, dataset: Dataset, networks: Networks = PUBLISHED_NETWORKS) -> None:
        super().__init__(config, dataset, networks)
        self.part = observed_part(config.observed, dataset)
        self.likelihood_of = (
            f"the {len(self.part.target)} predicted pixels given the {len(self.part.observed)} observed ones"
        )

    @classmethod
    def reads(cls, config: Config) -> frozenset[str]:
        names = super().reads(config) | {"observed", "num_replicates"}
        return names | ({"term_1"} if SYSTEMS[config.model].log_law is not None else frozenset())

    @classmethod
    def described(cls, config: Config) -> str:
        replicates = f", {config.num_replicates} replicates" if config.num_replicates > 1 else ""
        gradient = ", with term I" if config.term_1 and "term_1" in cls.reads(config) else ""
        return (
            f"{described_system(config)}, {config.observed} observed, the rest predicted, "
            f"{described_samples(config)}{replicates}{gradient}"
        )

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.dataset.checksum.encode() + self.part.observed.tobytes()).hexdigest()

    @property
    def num_draws(self) -> int:
        return self.config.num_samples * self.config.num_replicates

    def new_model(self) -> ConditionalModel:
        observed, target = (self.dataset.train[:, numbers] for numbers in self.part)
        return build_conditional_model(self.config, observed, target, self.networks)

    def chain_units(self, model: ConditionalModel) -> int:
        return model.posterior.chain_units

    def loss(self, model: ConditionalModel, *, synchronised: bool = False) -> PredictionLoss:
        system = SYSTEMS[self.config.model]
        return PredictionLoss(
            self.config,
            model,
            self.part,
            negative_entropy=system.negative_entropy,
            log_law=system.log_law if self.config.term_1 else None,
            synchronised=synchronised,
        )

    def functions(self, model: ConditionalModel, settings: DrawSettings) -> Functions:
        return prediction_functions(model, self.part, settings)

    def pictures(self, functions, originals, seed, *, latents=None):
        observed = tf.constant(originals[:, self.part.observed], tf.float32)
        predicted = functions["predict"](observed=observed, num_samples=tf.constant(_LATENTS), seed=seed)
        grey = self.dataset.grey_levels
        originals = grey(originals)
        given = self._completed(originals, np.full([len(originals), len(self.part.target)], 0.5))
        likely = self._completed(originals, grey(means(predicted)))
        drawn = [self._completed(originals, grey(sample)) for sample in predicted["samples"][:_COMPLETIONS].numpy()]
        shape, columns = self.dataset.image_shape, min(len(originals), pictures.COLUMNS)
        first = [examples[:columns] for examples in (given, *drawn, originals)]
        return Pictures(
            samples=pictures.grid(pictures.beside(*first), shape, columns=columns),
            reconstructions=pictures.grid(pictures.beside(given, likely, originals), shape, columns=columns),
        )

    def parameters(self, model: ConditionalModel, images: np.ndarray, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        observed = tf.constant(images[:, self.part.observed], tf.float32)
        values = model.posterior.parameters(model.posterior.encode(observed, training=False), seed=seed)
        return {f"posterior/{name}": value for name, value in values.items()}

    def _completed(self, originals: np.ndarray, target: np.ndarray) -> np.ndarray:
        """The examples with `target [n, D2]` in place of what is to be predicted."""
        examples = originals.astype(np.float32)
        examples[:, self.part.target] = target
        return examples
