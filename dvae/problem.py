"""What an experiment needs to know of the problem it trains a model for."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np
import tensorflow as tf

from dvae.config import Config
from dvae.data import Dataset
from dvae.evaluation import Evaluation, Functions
from dvae.exporting import ExportableModel
from dvae.train_state import TrainState
from dvae.training import Trainer


class Problem(abc.ABC):
    """A model, its training and its use: what differs between autoencoding and its kin.

    Args:
      config: filled in and validated.
      dataset: as named in it.

    Raises:
      UserError: the settings do not fit the data.
    """

    def __init__(self, config: Config, dataset: Dataset) -> None:
        self.config, self.dataset = config, dataset

    @abc.abstractmethod
    def new_state(self) -> TrainState:
        """The state before step 0."""

    @abc.abstractmethod
    def trainer(self, state: TrainState) -> Trainer:
        """What changes the state."""

    @abc.abstractmethod
    def exportable(self, model: Any) -> ExportableModel:
        """The model's signatures."""

    @abc.abstractmethod
    def pictures(self, functions: Functions, originals: np.ndarray, seed: tf.Tensor) -> dict[str, np.ndarray]:
        """Two pictures by name, for `pictures.save`: what the model draws, and that beside `originals [n, D]`."""

    @abc.abstractmethod
    def parameters(self, model: Any, images: np.ndarray, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """Parameters whose distribution is of interest, by name, those of the posterior given `images [n, D]`."""

    def after_evaluation(self, state: TrainState, evaluation: Evaluation) -> dict[str, float]:
        """Puts to use what an evaluation has found; further metrics by name."""
        return {}
