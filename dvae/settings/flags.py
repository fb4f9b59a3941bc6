"""The flags of the command lines, generated from the records of settings."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable
from typing import Any

from absl import flags

from dvae.errors import UserError
from dvae.settings.values import field_kind

_DEFINE = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
    bool: flags.DEFINE_bool,
    tuple: flags.DEFINE_string,
}


def define(record: type, *, if_left_out: str) -> dict[str, list[str]]:
    """Defines a flag for every field of a record; their names under their groups' headings.

    Args:
      record: of `dvae.config`.
      if_left_out: what a field without a default is then, for its help.
    """
    groups: dict[str, list[str]] = {}
    for field, kind in _fields(record):
        text = field.metadata["help"]
        choices = field.metadata.get("choices")
        text += f": {' | '.join(choices)}" if choices else ""
        default = field.default
        if default is dataclasses.MISSING:
            text, default = f"{text}; if left out, {if_left_out}", None
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
    text("dataset", None, "data set or path of an .npz file; if left out, the one the model was trained on")
    text("data_dir", None, "folder of the data files; if left out, the one the model was trained with")
    text("split", "test", "train | valid | test")
    return {"Model": ["log_dir", "saved_model"], "Data": ["dataset", "data_dir", "split"]}


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
