"""The flags of the command lines, generated from the records of settings."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from absl import flags

from dvae.errors import UserError
from dvae.settings.values import choices, field_kind

_DEFINE = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
    bool: flags.DEFINE_bool,
    tuple: flags.DEFINE_string,
}


def define(record: type, *, if_left_out: str | Mapping[str, str]) -> dict[str, list[str]]:
    """Defines a flag for every field of a record; their names under their groups' headings.

    Args:
      record: of `dvae.config`.
      if_left_out: what a field without a default is then, for its help; of each by its name, where they differ.
    """
    groups: dict[str, list[str]] = {}
    for field, kind in _fields(record):
        text = field.metadata["help"]
        text += f": {' | '.join(names)}" if (names := choices(field)) else ""
        default = field.default
        if default is dataclasses.MISSING:
            then = if_left_out if isinstance(if_left_out, str) else if_left_out[field.name]
            text, default = f"{text}; if left out, {then}", None
        if kind is tuple and default is not None:
            default = ",".join(f"{number:g}" for number in default)
        _DEFINE[kind](field.name, default, text, allow_override=True)  # absl.logging has a --log_dir of its own
        groups.setdefault(field.metadata["group"], []).append(field.name)
    return groups


def define_model() -> dict[str, list[str]]:
    """Defines the flags by which an exported model and data for it are given; their names under headings."""
    text = flags.DEFINE_string
    text("log_dir", None, "folder of a finished run", allow_override=True)  # absl.logging has a --log_dir of its own
    text("saved_model", None, "folder of an exported model (instead of --log_dir)")
    text("dataset", None, "data set or path of its file or folder; if left out, the one the model was trained on")
    text("data_dir", None, "folder of the data files; if left out, that of the run in --log_dir, or data")
    text("split", "test", "train | valid | test")
    return {"Model": ["log_dir", "saved_model"], "Data": ["dataset", "data_dir", "split"]}


def define_run() -> dict[str, list[str]]:
    """Defines the flags by which a run's trained model is given, and where its data are; their names under headings."""
    text = flags.DEFINE_string
    text("log_dir", None, "folder of a run", allow_override=True)
    text("data_dir", None, "folder of the data files; if left out, the one the model was trained with")
    return {"Model": ["log_dir"], "Data": ["data_dir"]}


def given(record: type) -> dict[str, Any]:
    """What the command line gives of a record's fields, by name.

    Raises:
      UserError: numbers with commas are none.
    """
    values = {field.name: flags.FLAGS[field.name].value for field, _ in _fields(record) if _is_given(field.name)}
    return values | {
        field.name: _numbers(field.name, values[field.name])
        for field, kind in _fields(record)
        if kind is tuple and field.name in values
    }


def given_flags(names: Iterable[str]) -> dict[str, Any]:
    """What the command line gives of other flags."""
    return {name: flags.FLAGS[name].value for name in names if _is_given(name)}


def _is_given(name: str) -> bool:
    return flags.FLAGS[name].present > 0


def _fields(record: type) -> list[tuple[dataclasses.Field, type]]:
    hints = typing.get_type_hints(record)
    return [(field, field_kind(hints[field.name])[0]) for field in dataclasses.fields(record)]


def _numbers(name: str, text: Any) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        raise UserError("must be numbers with commas", **{name: text}) from None
