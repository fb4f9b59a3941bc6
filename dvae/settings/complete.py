"""From the settings that are given to a complete configuration: what is left out is as the recipe says."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

from dvae import published
from dvae.config import Config
from dvae.errors import UserError
from dvae.recipes import RECIPES
from dvae.settings import rules
from dvae.settings.left_out import eval_every, run_name
from dvae.settings.values import check_values


def configure(**given: Any) -> Config:
    """A complete configuration from settings by name; what plays no part in such a run, or needs care, is warned of.

        configure(model="pwl", num_groups=4, dataset="digits", log_dir="runs/pwl4")

    Raises:
      UserError: a ValueError that names the setting: it breaks a rule, or there is none of its name.
    """
    config = complete(given)
    for line in rules.remarks(given, config):
        warnings.warn(str(line), stacklevel=2)
    return config


def complete(given: Mapping[str, Any]) -> Config:
    """The configuration in which every setting that is not given has the value of its recipe, or the published one.

    That depends on the model, the structure, the data set and the objective. Evaluations come every 20,000 steps, or
    every 10,000 if training has 100,000 or fewer, as published; a training of fewer than 100,000 steps has ten.

    Raises:
      UserError: a setting breaks a rule, or there is none of its name.
    """
    values = _defaults() | _named(given)
    check_values(Config, values)
    recipe, objective = RECIPES[values["recipe"]], values["objective"]
    values = {
        **published.COMMON,
        **recipe.common,
        **published.BY_DATASET.get(values["dataset"], {}),
        **published.BY_OBJECTIVE.get(objective, {}),
        **recipe.by_objective.get(objective, {}),
        **values,
    }
    values.setdefault("shared_context", published.SHARED_CONTEXT[values["model"]])
    is_of_poster = values["model"].startswith("dvaes_") and not values["shared_context"]
    values.setdefault("iw_gradient", published.IW_GRADIENT_OF_POSTER if is_of_poster else published.IW_GRADIENT)
    structure = {name: values[name] for name in ("shared_context", "num_groups", "hidden_layers")}
    values.setdefault("beta", published.BETAS[values["model"]].of(values["dataset"], **structure))
    values.setdefault("eval_every", eval_every(values["num_steps"]))
    values.setdefault("log_dir", run_name(values))
    config = Config(**values)
    rules.check(config)
    return config


def on_data(config: Config, name: str) -> Config:
    """The same on data of another name, which were handed in: a folder that was not chosen is named for them."""
    chosen = dataclasses.asdict(config)
    if config.log_dir == run_name(chosen):
        chosen["log_dir"] = run_name(chosen | {"dataset": name})
    return Config(**chosen | {"dataset": name})


def _defaults() -> dict[str, Any]:
    """Of the settings whose default depends on no other."""
    return {f.name: f.default for f in dataclasses.fields(Config) if f.default is not dataclasses.MISSING}


def _named(given: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(Config)}
    for name, value in given.items():
        if name not in names:
            raise UserError("is no setting of a training; see `run_training.py --helpshort`", **{name: value})
    return dict(given)
