"""Discrete variational autoencoders with Boltzmann machines.

    import dvae

    config = dvae.configure(model="dvaess", dataset="digits", log_dir="runs/digits")
    results = dvae.train(config)
    trained = dvae.trained_model("runs/digits")

`train`, `evaluate`, `trained_model`, `load_dataset` and `make_dataset` load TensorFlow when they are first asked for;
`import dvae.config` alone does not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dvae.config import Config, EvaluationSettings
from dvae.errors import UserError

if TYPE_CHECKING:
    from dvae.data import Dataset, load_dataset, make_dataset
    from dvae.report.training import train
    from dvae.runs.evaluation_run import evaluate
    from dvae.runs.trained_model import TrainedModel, trained_model
    from dvae.settings.complete import configure

__all__ = [
    "Config",
    "Dataset",
    "EvaluationSettings",
    "TrainedModel",
    "UserError",
    "configure",
    "evaluate",
    "load_dataset",
    "make_dataset",
    "train",
    "trained_model",
]

_HOMES = {
    "Dataset": "dvae.data",
    "load_dataset": "dvae.data",
    "make_dataset": "dvae.data",
    "evaluate": "dvae.runs.evaluation_run",
    "TrainedModel": "dvae.runs.trained_model",
    "trained_model": "dvae.runs.trained_model",
    "train": "dvae.report.training",
    "configure": "dvae.settings.complete",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
