"""What the value of a setting must be by itself. Nothing here imports TensorFlow: help and flags are made of it."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from dvae.errors import UserError

_KINDS = {int: "an integer", float: "a number", str: "a text", bool: "True or False", tuple: "numbers"}
_LARGEST = 2**31 - 1  # of any integer: TensorFlow's int32


def check_values(record: type, values: Mapping[str, Any]) -> None:
    """Raises `UserError` for the first of the given values that its field in a record does not allow by itself."""
    hints = typing.get_type_hints(record)
    for field in dataclasses.fields(record):
        if field.name in values:
            _check_value(field, values[field.name], hints[field.name])


def choices(field: dataclasses.Field) -> tuple[str, ...]:
    """The names that a field takes; none where it takes anything."""
    names = field.metadata.get("choices", ())
    return names() if callable(names) else names


def field_kind(hint: Any) -> tuple[type, bool]:
    """The type of a field, and whether it may be None."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    [kind] = [option for option in options if option is not type(None)]
    return typing.get_origin(kind) or kind, type(None) in options


def _check_value(field: dataclasses.Field, value: Any, hint: Any) -> None:
    name, (kind, may_be_none) = field.name, field_kind(hint)
    if value is None and may_be_none:
        return
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    if not (is_integer and kind in (int, float)) and type(value) is not kind:
        raise UserError(f"must be {_KINDS[kind]}", **{name: value})
    shown = {name: value}
    names, prefix = choices(field), field.metadata.get("prefix")
    if names and value not in names and not (prefix and value.startswith(prefix) and value != prefix):
        raise UserError(f"must be one of {', '.join(names)}", **shown)
    for number in value if kind is tuple else [value]:
        if isinstance(number, int | float):
            _check_bounds(field, number, shown)


def _check_bounds(field: dataclasses.Field, number: float, shown: Mapping[str, Any]) -> None:
    bounds = field.metadata
    if not math.isfinite(number):
        raise UserError("must be a finite number", **shown)
    if "least" in bounds and number < bounds["least"]:
        raise UserError(f"must be at least {bounds['least']}", **shown)
    if "above" in bounds and number <= bounds["above"]:
        raise UserError(f"must be above {bounds['above']:g}", **shown)
    most = bounds.get("most", _LARGEST if isinstance(number, int) else math.inf)
    if number > most:
        raise UserError(f"must be at most {most}", **shown)
