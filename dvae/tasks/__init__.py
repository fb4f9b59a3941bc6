"""The tasks by objective: the one place where that choice is made."""

from __future__ import annotations

from dvae.tasks.autoencoding import Autoencoding
from dvae.tasks.structured_prediction import StructuredPrediction
from dvae.tasks.task import Task
from dvae.tasks.true_posterior import TruePosterior

TASKS: dict[str, type[Task]] = {
    "elbo": Autoencoding,
    "iw": Autoencoding,
    "structured": StructuredPrediction,
    "mcmc": TruePosterior,
}
