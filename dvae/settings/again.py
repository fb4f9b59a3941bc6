"""The settings of a run once more, from its `config.json`."""

from __future__ import annotations

import dataclasses
from typing import Any

from dvae.config import Config
from dvae.errors import UserError
from dvae.files import read_json, user_path
from dvae.settings.left_out import run_name
from dvae.settings.values import check_values


def as_named_now(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a run of any age, with values that had other names then."""
    return settings | {"strategy": "one"} if settings.get("strategy") == "default" else settings


def settings_of(config: str) -> dict[str, Any]:
    """Those that a `config.json` has, by name. A folder that was not chosen but named for them is left out.

    Raises:
      UserError: it is no such file, has a setting that there is none of or a value that is none, or networks of its run
        were handed in, which no file holds.
    """
    path = user_path(config=config)
    try:
        content = read_json(path)
    except OSError as error:
        raise UserError(f"must be the config.json of a run ({error.strerror})", config=config) from error
    except ValueError as error:
        raise UserError("must be the config.json of a run (it is no JSON object)", config=config) from error
    settings, networks = content.get("settings"), content.get("networks", {})
    if not (isinstance(settings, dict) and isinstance(networks, dict)):
        raise UserError('must be the config.json of a run (it has no "settings")', config=config)
    settings = as_named_now(settings)
    known = {field.name for field in dataclasses.fields(Config)}
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise UserError(
            f"has settings that this version has not ({', '.join(unknown)}): take them out of a copy of it",
            config=config,
        )
    try:
        check_values(Config, settings)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    own = [name for name, network in networks.items() if network != "published"]
    if own:
        raise UserError(
            f"the {' and the '.join(own)} of its run were handed in from Python: start it from there", config=config
        )
    naming = {"model", "dataset", "objective", "seed"}
    if naming <= settings.keys() and settings.get("log_dir") == run_name(settings):
        del settings["log_dir"]
    return settings
