"""What stands in for settings that are left out, in words: for help, and by itself where nothing is published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dvae import published
from dvae.recipes import RECIPES


def eval_every(num_steps: int) -> int:
    """Steps between evaluations of a training of so many."""
    if num_steps > published.SHORT_TRAINING:
        return published.EVAL_EVERY
    return max(1, num_steps // published.EVALUATIONS_OF_SHORT_TRAINING)


def run_name(settings: Mapping[str, Any]) -> str:
    """The folder of a run: `runs/MODEL-DATA-seedSEED`, with the objective where it is not the ELBO."""
    objective = settings["objective"]
    parts = [settings["model"], Path(settings["dataset"]).stem, *([objective] if objective != "elbo" else [])]
    return f"runs/{'-'.join(parts)}-seed{settings['seed']}"


def in_words() -> dict[str, str]:
    """Of each setting that has no default of its own, by name."""
    of_model = "as published with the model (Systems, below)"
    return {
        **{name: "; ".join(_published(name)) for name in published.COMMON},
        "shared_context": of_model,
        "beta": of_model,
        "iw_gradient": f"{published.IW_GRADIENT}; {published.IW_GRADIENT_OF_POSTER} for dvaes_* without shared context",
        "eval_every": f"{published.EVAL_EVERY}; of a training of at most {published.SHORT_TRAINING} steps a tenth",
        "log_dir": "runs/MODEL-DATA-seedSEED",
    }


def _published(name: str) -> Iterator[str]:
    yield shown(published.COMMON[name])
    yield from _by_value(name, {**published.BY_DATASET, **published.BY_OBJECTIVE})
    for title, recipe in RECIPES.items():
        own = [shown(recipe.common[name])] if name in recipe.common else []
        own += _by_value(name, recipe.by_objective)
        if own:
            yield f"recipe {title}: {', '.join(own)}"


def _by_value(name: str, settings_of: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """`16 for digits, mcmc`, for each value."""
    names: dict[str, list[str]] = {}
    for of, settings in settings_of.items():
        if name in settings:
            names.setdefault(shown(settings[name]), []).append(of)
    return [f"{value} for {', '.join(those)}" for value, those in names.items()]


def shown(value: Any) -> str:
    """A value of a setting as help has it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def systems() -> str:
    """The published systems as a table: what `--model` names, where it is from, and its published settings."""
    lines = ["Systems (--model), and what is published with them"]
    columns = ("", "system", "paper", "shared context", "beta: MNIST, OMNIGLOT")
    rows = [columns, *(_row(name) for name in published.ORIGINS)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(columns))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append(f"  {'  '.join(cells)}".rstrip())
    lines.append("  (beta: without hidden layers / with one group / with more groups)")
    return "\n".join([*lines, "", "Papers", *(f"  {name:<8} {paper}" for name, paper in published.PAPERS.items())])


def _row(name: str) -> tuple[str, ...]:
    origin, betas = published.ORIGINS[name], published.BETAS[name]
    beta = f"{_beta(betas.mnist)}, {_beta(betas.omniglot)}"
    if betas.shared_mnist is not None and betas.shared_omniglot is not None:
        beta += f"; shared {_beta(betas.shared_mnist)}, {_beta(betas.shared_omniglot)}"
    paper = f"{origin.paper} {origin.place}".strip()
    return name, origin.title, paper, shown(published.SHARED_CONTEXT[name]), beta


def _beta(beta: published.Beta) -> str:
    values = [f"{value:g}" for value in beta]
    return values[0] if len(set(values)) == 1 else "/".join(values)
