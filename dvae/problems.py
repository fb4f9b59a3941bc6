"""The problems by objective: the one place where that choice is made."""

from __future__ import annotations

from dvae.autoencoding import Autoencoding
from dvae.config import Config
from dvae.data import Dataset
from dvae.problem import Problem
from dvae.structured_prediction import StructuredPrediction
from dvae.systems import OBJECTIVES
from dvae.true_posterior import TruePosterior

_PROBLEMS: dict[str, type[Problem]] = dict.fromkeys(OBJECTIVES, Autoencoding) | {
    "structured": StructuredPrediction,
    "mcmc": TruePosterior,
}


def problem_of(config: Config, dataset: Dataset) -> Problem:
    """That of a validated configuration.

    Raises:
      UserError: the settings do not fit the data.
    """
    return _PROBLEMS[config.objective](config, dataset)
