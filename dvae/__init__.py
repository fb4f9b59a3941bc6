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

from dvae import neighbours
from dvae.config import Config, EvaluationSettings
from dvae.errors import UserError
from dvae.provenance import __version__

if TYPE_CHECKING:
    from dvae.data import Dataset, load_dataset, make_dataset
    from dvae.report.training import train
    from dvae.runs.evaluation_run import evaluate
    from dvae.runs.exported_for_servers import export_for_servers
    from dvae.runs.exported_prior import prior_bqm, prior_rbm
    from dvae.runs.trained_model import TrainedModel, trained_model
    from dvae.settings.complete import configure
    from dvae.training.conformance import check_prior_sampler

__all__ = [
    "Config",
    "Dataset",
    "EvaluationSettings",
    "TrainedModel",
    "UserError",
    "__version__",
    "check_prior_sampler",
    "configure",
    "evaluate",
    "export_for_servers",
    "load_dataset",
    "make_dataset",
    "prior_bqm",
    "prior_rbm",
    "train",
    "trained_model",
]

neighbours.check()

_HOMES = {
    "Dataset": "dvae.data",
    "load_dataset": "dvae.data",
    "make_dataset": "dvae.data",
    "evaluate": "dvae.runs.evaluation_run",
    "export_for_servers": "dvae.runs.exported_for_servers",
    "prior_bqm": "dvae.runs.exported_prior",
    "prior_rbm": "dvae.runs.exported_prior",
    "TrainedModel": "dvae.runs.trained_model",
    "trained_model": "dvae.runs.trained_model",
    "train": "dvae.report.training",
    "configure": "dvae.settings.complete",
    "check_prior_sampler": "dvae.training.conformance",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import dvae.quiet  # noqa: F401, PLC0415 - as the programs do: its messages would fill a notebook

    return getattr(importlib.import_module(_HOMES[name]), name)
