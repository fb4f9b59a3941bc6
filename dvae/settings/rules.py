"""What the values of settings must be together, and which of them play no part."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from dvae.config import DIMOD, Config, EvaluationSettings
from dvae.errors import UserError
from dvae.evaluation.enumeration import ENUMERABLE_LATENTS
from dvae.prior_samplers import PRIOR_SAMPLERS, prior_sampler
from dvae.settings.values import check_values
from dvae.systems import STRATEGIES, SYSTEMS
from dvae.tasks import TASKS

# What decides which settings play a part, each with its other values.
_DECIDING: dict[str, Iterable[Any]] = {
    "model": SYSTEMS,
    "prior_sampler": (*PRIOR_SAMPLERS, DIMOD),
    "hidden_layers": (0, 1),
    "objective": TASKS,
    "strategy": STRATEGIES,
}


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
    if config.term_1 and config.num_replicates < 2 and "term_1" in task.reads(config):
        raise UserError(
            "must be at least 2 with {term_1}: it is a covariance over them",
            mentions={"term_1": True},
            num_replicates=config.num_replicates,
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
    if task.has_prior and not prior_sampler(config).compiled and config.strategy != "one":
        raise UserError(
            "is called as Python, and would draw another population on every device; must be one of TensorFlow's own "
            "with {strategy}",
            mentions={"strategy": config.strategy},
            prior_sampler=config.prior_sampler,
        )


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
    if settings.example_error is not None and not settings.true_posterior_temperatures:
        raise UserError(
            "must be at least 1 with {example_error}",
            mentions={"example_error": settings.example_error},
            true_posterior_temperatures=settings.true_posterior_temperatures,
        )


def remarks(given: Iterable[str], config: Config) -> list[UserError]:
    """What a user should know of such a run before it starts, a line each. Not raised: it harms nothing."""
    lines = without_effect(given, config)
    remark = prior_sampler(config).remark if TASKS[config.objective].has_prior else None
    return [*lines, UserError(remark, prior_sampler=config.prior_sampler)] if remark else lines


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
