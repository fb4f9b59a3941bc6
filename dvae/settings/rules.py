"""What the values of settings must be, one by one and together, and which of them play no part."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from dvae.config import Config, EvaluationSettings
from dvae.errors import UserError
from dvae.evaluation.enumeration import ENUMERABLE_LATENTS
from dvae.systems import IW_GRADIENTS, PRIOR_SAMPLERS, STRATEGIES, SYSTEMS
from dvae.tasks import TASKS
from models.posterior import BASES

# The names that a setting may have.
CHOICES: dict[str, Iterable[str]] = {
    "model": SYSTEMS,
    "objective": TASKS,
    "iw_gradient": IW_GRADIENTS,
    "prior_sampler": PRIOR_SAMPLERS,
    "strategy": STRATEGIES,
    "valid_base": BASES,
    "test_base": BASES,
    "posterior_base": BASES,
}
# What decides which settings play a part, each with its other values.
_DECIDING: dict[str, Iterable[Any]] = {
    "model": SYSTEMS,
    "prior_sampler": PRIOR_SAMPLERS,
    "hidden_layers": (0, 1),
    "objective": TASKS,
}
_KINDS = {int: "an integer", float: "a number", str: "a text", bool: "True or False", tuple: "numbers"}
_LARGEST = 2**31 - 1  # of any integer: TensorFlow's int32


def check(config: Config) -> None:
    """Raises `UserError` for the first setting of a complete configuration that does not fit the others."""
    task, system = TASKS[config.objective], SYSTEMS[config.model]
    num_groups = config.num_groups if task.has_posterior else 1
    if num_groups > system.most_groups:
        raise UserError(f"must be 1 for {config.model}, whose posterior is one RBM", num_groups=num_groups)
    if not task.has_posterior and config.num_latents > ENUMERABLE_LATENTS:
        raise UserError(
            f"must be at most {ENUMERABLE_LATENTS} for {{objective}}, whose NLL is enumerated",
            mentions={"objective": config.objective},
            num_latents=config.num_latents,
        )
    if not task.has_posterior and config.num_samples > 1:
        raise UserError(
            "must be 1 for {objective}", mentions={"objective": config.objective}, num_samples=config.num_samples
        )
    if config.objective == "iw" and system.log_ratio is None:
        weighed = ", ".join(name for name, system in SYSTEMS.items() if system.log_ratio is not None)
        raise UserError(
            f"{config.model} has no importance weight of a relaxed sample; must be elbo or structured, or the model "
            f"one of {weighed}",
            objective=config.objective,
        )
    if config.num_latents % (2 * num_groups):
        raise UserError(f"must be divisible by 2 * num_groups ({2 * num_groups})", num_latents=config.num_latents)


def check_evaluation(settings: EvaluationSettings) -> None:
    """Raises `UserError` for the first setting of an evaluation that cannot be."""
    check_values(EvaluationSettings, dataclasses.asdict(settings))
    factors = settings.flattening
    if not factors or factors[0] != 1:
        raise UserError("must be numbers of at least 1, the first 1", flattening=factors)
    if settings.num_samples % len(factors):
        raise UserError(
            f"must be a multiple of the number of factors in {{flattening}} ({len(factors)})",
            mentions={"flattening": factors},
            num_samples=settings.num_samples,
        )


def check_values(record: type, values: Mapping[str, Any]) -> None:
    """Raises `UserError` for the first of the given values that its field in a record does not allow by itself."""
    hints = typing.get_type_hints(record)
    for field in dataclasses.fields(record):
        if field.name in values:
            _check_value(field, values[field.name], hints[field.name])


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
    if name in CHOICES and value not in CHOICES[name]:
        raise UserError(f"must be one of {', '.join(CHOICES[name])}", **shown)
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


def without_effect(given: Iterable[str], config: Config) -> list[UserError]:
    """One line for each setting that was given and plays no part in such a run. Not raised: it harms nothing."""
    in_use = TASKS[config.objective].reads(config)
    lines = []
    for name in given:
        if name not in in_use:
            reasons = {reason: getattr(config, reason) for reason in _reasons(name, config)}
            rule = "has no effect with " + " ".join(f"{{{reason}}}" for reason in reasons)
            lines.append(UserError(rule, mentions=reasons, **{name: getattr(config, name)}))
    return lines


def _reasons(name: str, config: Config) -> list[str]:
    """The one setting whose other value would give `name` a part; if it takes more than one, all that may."""
    for reason, values in _DECIDING.items():
        others = (dataclasses.replace(config, **{reason: value}) for value in values)
        if any(name in TASKS[other.objective].reads(other) for other in others):
            return [reason]
    return ["objective", "model", "prior_sampler"]
