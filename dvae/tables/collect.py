"""Finished runs as tables beside the published numbers: Markdown, CSV, a figure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dvae import figures
from dvae.files import read_table, write_table, write_text
from dvae.tables.paired import difference
from dvae.tables.plan import Run
from dvae.tables.rows import Row

_REFERENCE = "dvaess"


class Measured(NamedTuple):
    """What the runs of a row gave.

    Attributes:
      values: one for each finished seed, nats.
      error: standard error of one value over its examples, the mean over the seeds; None if it is not known.
      difference: from DVAE## where all else is the same, paired over examples, mean over the seeds both have; None if
        there is none.
      difference_error: its standard error over examples.
    """

    values: tuple[float, ...]
    error: float | None
    difference: float | None
    difference_error: float | None

    @property
    def mean(self) -> float | None:
        return float(np.mean(self.values)) if self.values else None

    @property
    def deviation(self) -> float | None:
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None


def collected(chosen: Sequence[Row], runs_of: Callable[[Row], Mapping[int, Run]]) -> dict[int, Measured]:
    """What was measured for each row, by its place.

    Args:
      chosen: rows.
      runs_of: a row's runs, by seed.
    """
    found = {}
    for place, row in enumerate(chosen):
        runs = runs_of(row)
        split = row.labels.get("split", "test")
        results = {seed: _results(run, split) for seed, run in runs.items()}
        measured = {seed: result.get(row.measured) for seed, result in results.items()}
        values = {seed: value for seed, value in measured.items() if value is not None}
        errors = [results[seed].get("nll_standard_error") for seed in values]
        reference = _reference_of(row, chosen)
        paired = _paired(runs, runs_of(reference)) if reference is not None and split == "test" else None
        known = [error for error in errors if error is not None]
        found[place] = Measured(
            tuple(values.values()), float(np.mean(known)) if known else None, *(paired or (None, None))
        )
    return found


def _results(run: Run, split: str) -> dict:
    path = run.results_file(split)
    return json.loads(path.read_text()) if path.exists() else {}


def _reference_of(row: Row, chosen: Sequence[Row]) -> Row | None:
    """DVAE##'s row of the same table that differs in the model (and its groups) alone."""
    if row.labels.get("model") in (None, _REFERENCE) or not row.settings:
        return None
    wanted = {**row.labels, "model": _REFERENCE, "groups": "1"}
    for other in chosen:
        if other.table == row.table and other.labels == {name: wanted[name] for name in row.labels}:
            return other
    return None


def _paired(runs: Mapping[int, Run], references: Mapping[int, Run]) -> tuple[float, float] | None:
    """Of the NLL, over the seeds that both have."""
    both = runs.keys() & references.keys()
    return difference((_nll_of_examples(runs[seed]), _nll_of_examples(references[seed])) for seed in both)


def _nll_of_examples(run: Run) -> dict[float, float]:
    """By the number of the example; empty where there is no table."""
    table = read_table(run.folder / "test_examples.csv")
    return dict(zip(table["example"], table["nll"], strict=True)) if table else {}


def write(table: str, chosen: Sequence[Row], measured: Mapping[int, Measured], folder: Path) -> str:
    """Writes `table<name>.md`, `.csv` and `.png`, and returns the Markdown."""
    names = list(dict.fromkeys(name for row in chosen for name in row.labels))
    head = [*names, "published", "measured", "seeds", "+- over examples", "minus DVAE##, paired"]
    lines = [_line(head), _line(["---"] * len(head))]
    rows = []
    for place, row in enumerate(chosen):
        one = measured[place]
        labels = [row.labels.get(name, "") for name in names]
        published = _with_error(row.published, row.deviation)
        lines.append(
            _line(
                [
                    *labels,
                    published,
                    _with_error(one.mean, one.deviation),
                    str(len(one.values) or ""),
                    "" if one.error is None else f"{one.error:.2f}",
                    _with_error(one.difference, one.difference_error),
                ]
            )
        )
        rows.append((*labels, row.published, row.deviation, one.mean, one.deviation, len(one.values), *one[1:]))
    text = "\n".join(lines) + "\n"
    name = f"table{table}" if table.isdigit() else table
    write_text(folder / f"{name}.md", text)
    write_table(folder / f"{name}.csv", (*names, "published", "published_deviation", *_MEASURED), rows)
    figures.save(_drawn(chosen, measured), folder / f"{name}.png")
    return text


_MEASURED = ("mean", "deviation", "seeds", "error", "difference", "difference_error")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _with_error(value: float | None, error: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" + ("" if error is None else f" +- {error:.2f}")


def _drawn(chosen: Sequence[Row], measured: Mapping[int, Measured]) -> figures.Figure:
    """Published and measured numbers, row by row."""
    figure, [[panel]] = figures.new_figure(width=9, height=1 + 0.28 * len(chosen))
    places = -np.arange(len(chosen))
    for shift, label, marker, numbers in (
        (0.12, "published", "o", [(row.published, row.deviation) for row in chosen]),
        (-0.12, "measured", "s", [(measured[p].mean, measured[p].deviation) for p in range(len(chosen))]),
    ):
        values, deviations = np.array(numbers, float).T  # None becomes NaN, which is not drawn
        errors = np.nan_to_num(deviations)
        panel.errorbar(values, places + shift, xerr=errors, fmt=marker, markersize=4, label=label)
    panel.set_yticks(places, [" ".join(row.labels.values()) for row in chosen], fontsize=7)
    panel.set_xlabel("NLL, nats")
    panel.grid(alpha=0.3)
    panel.legend()
    return figure
