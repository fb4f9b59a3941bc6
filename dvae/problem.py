"""What an experiment needs to know of the problem it trains a model for."""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from dvae.config import Config
from dvae.data import Dataset
from dvae.evaluation import Evaluation, Functions
from dvae.exporting import ExportableModel
from dvae.train_state import TrainState
from dvae.training import Trainer


class Pictures(NamedTuple):
    """What an experiment shows, each for `dvae.pictures.save`.

    Attributes:
      samples: what the model draws.
      reconstructions: examples, beside what it makes of them.
    """

    samples: np.ndarray
    reconstructions: np.ndarray


class Problem(abc.ABC):
    """A model, its training and its use: what differs between autoencoding and its kin.

    Attributes:
      likelihood_of: what the likelihood is of, in words; None if it is the whole example.

    Args:
      config: filled in and validated.
      dataset: as named in it.

    Raises:
      UserError: the settings do not fit the data.
    """

    likelihood_of: str | None = None

    def __init__(self, config: Config, dataset: Dataset) -> None:
        self.config, self.dataset = config, dataset

    @property
    def checksum(self) -> str:
        """Of the data and of all else that the settings only point to; a run may continue with no other."""
        return self.dataset.checksum

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
    def pictures(self, functions: Functions, originals: np.ndarray, seed: tf.Tensor) -> Pictures:
        """Of what the model makes by itself, and of `originals [n, D]`."""

    @abc.abstractmethod
    def parameters(self, model: Any, images: np.ndarray, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """Parameters whose distribution is of interest, by name, those of the posterior given `images [n, D]`."""

    def anneal_for(self, model: Any, num_temperatures: int) -> None:
        """Sets how many AIS temperatures an evaluation takes for an approximate posterior that needs them."""
        model.posterior.anneal_for(num_temperatures)

    def after_evaluation(self, state: TrainState, evaluation: Evaluation) -> dict[str, float]:
        """Puts to use what an evaluation has found; further metrics by name."""
        return {}
