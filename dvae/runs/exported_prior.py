"""The prior of an exported model by itself: as a machine, and as a binary quadratic model for annealers' software."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from dvae.errors import UserError
from dvae.evaluation.functions import has_prior
from dvae.runs.exported import exported
from samplers.rbm import RBM


def prior_rbm(log_dir: str | Path | None = None, *, saved_model: str | Path | None = None) -> RBM:
    """The prior p(z) of a trained model, over units 0 and 1 however it was learned.

    Args:
      log_dir: a finished run.
      saved_model: or an exported folder.

    Raises:
      UserError: there is no such model, or it has no prior.
    """
    model = exported(log_dir, saved_model)
    if not has_prior(model.functions):
        raise UserError(f"{model.folder}: has no prior: it was trained for structured prediction")
    return RBM(**{name: tensor.numpy() for name, tensor in model.functions["prior_parameters"]().items()})


def prior_bqm(
    log_dir: str | Path | None = None, *, saved_model: str | Path | None = None, vartype: str = "BINARY"
) -> Any:
    """The prior of a trained model as a `dimod.BinaryQuadraticModel`; see `samplers.dimod_bridge.to_bqm`.

    Args:
      log_dir: a finished run.
      saved_model: or an exported folder.
      vartype: BINARY or SPIN.

    Raises:
      UserError: there is no such model, it has no prior, or dimod is not installed.
    """
    try:
        bridge = importlib.import_module("samplers.dimod_bridge")  # here, since few have dimod installed
    except ModuleNotFoundError as error:
        raise UserError(str(error)) from error
    return bridge.to_bqm(prior_rbm(log_dir, saved_model=saved_model), vartype=vartype)
