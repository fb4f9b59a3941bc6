"""The SavedModel: a trained model's functions in a folder, usable without this project's code."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from dvae.errors import UserError
from dvae.evaluation.functions import Functions
from dvae.evaluation.serving import server_functions
from dvae.evaluation.signatures import DrawSettings
from dvae.files import json_text, partial_path, plainly_named, read_json, replace_by

_ORIGIN = "assets.extra/run.json"
_ORIGIN_NAMES, _ORIGIN_SETTINGS = {"settings", "checksum", "step", "seconds"}, {"model", "dataset", "data_dir"}


class LoadedModel(NamedTuple):
    """A SavedModel.

    Attributes:
      functions: its signatures.
      origin: what is known of the run that made it: `settings`, `checksum`, `step`, `seconds`.
    """

    functions: Functions
    origin: dict[str, Any]


def save(
    folder: Path,
    model: keras.Model,
    functions: Functions,
    settings: DrawSettings | None,
    *,
    origin: dict[str, Any],
) -> None:
    """Writes a SavedModel; what was in `folder` before stays whole until the new one is complete.

    Args:
      folder: where.
      model: whose variables the functions use.
      functions: tf.functions of `dvae.evaluation.signatures`; those of `dvae.evaluation.serving` are written too.
      settings: of the draws from its posterior, if it has one. At the top of the saved object, as
        `posterior_temperatures`, `posterior_base` and `posterior_flattening`, so that whoever loads it can change them.
      origin: what is to be known of the run that made the model, kept beside it (see `read_origin`).
    """
    exported = tf.Module(name="exported_model")
    exported.model = model
    if settings is not None:
        exported.posterior_temperatures, exported.posterior_base = settings.temperatures, settings.base
        exported.posterior_flattening = settings.flattening
    partial = partial_path(folder)
    shutil.rmtree(partial, ignore_errors=True)
    for_servers = server_functions(functions)
    if "serving_default" in for_servers:
        exported.serve = for_servers["serving_default"]  # the name that keras.layers.TFSMLayer looks for
    signatures = {name: made.get_concrete_function() for name, made in ({**functions, **for_servers}).items()}
    partial.mkdir()
    with plainly_named(partial) as name:
        tf.saved_model.save(exported, name, signatures=signatures)
    (partial / _ORIGIN).parent.mkdir()
    (partial / _ORIGIN).write_text(json_text(origin) + "\n")
    replace_by(partial, folder)


def load(folder: Path) -> LoadedModel:
    """Loads what `save` has written.

    Raises:
      UserError: there is no such model.
    """
    try:
        origin = read_origin(folder)
        with plainly_named(folder) as name:
            functions = tf.saved_model.load(name).signatures
    except Exception as error:  # a damaged file can make TensorFlow's reader raise nearly anything
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder}: must be a model exported by this program ({reason})") from error
    if "log_prob_of_pairs" not in functions:
        raise UserError(f"{folder}: was exported by an earlier version of this program; export it again by training")
    return LoadedModel(functions, origin)


def read_origin(folder: Path) -> dict[str, Any]:
    """What `save` was told of the run: `settings`, `checksum`, `step`, `seconds`.

    Raises:
      OSError: there is no such file.
      ValueError: it is not JSON, or something is missing.
    """
    origin = read_json(folder / _ORIGIN)
    if not isinstance(origin.get("settings"), dict):
        raise ValueError(f"{_ORIGIN} is not of this program")  # noqa: TRY004 (the content is wrong, not the caller)
    for part, names in ((origin, _ORIGIN_NAMES), (origin["settings"], _ORIGIN_SETTINGS)):
        if missing := sorted(names - part.keys()):
            raise ValueError(f"{_ORIGIN} lacks {', '.join(missing)}")
    texts = [origin["checksum"], *(origin["settings"][name] for name in _ORIGIN_SETTINGS)]
    numbers = [origin["step"], origin["seconds"]]
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(n, int | float) for n in numbers):
        raise ValueError(f"{_ORIGIN} has values of wrong types")
    return origin
