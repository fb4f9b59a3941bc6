"""Several runs as one table: results, the difference to the first in pairs, and the settings in which they differ.

    dvae-compare --log_dir=runs/mnist,runs/mnist-pwl4 --output=runs.csv

(`dvae-report` shows them as a page with charts and pictures.) A run that has not finished shows what it has. The
difference is that of the exact NLL where it is known of both, else of the NLL, over the same test examples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import flags

import dvae.quiet  # noqa: F401  (before TensorFlow)
from dvae.errors import UserError
from dvae.files import output_file, write_table
from dvae.report.record import Record, read_all
from dvae.runs.run_directory import PLACES
from dvae.settings import command_line
from dvae.tables.paired import difference


class Line(NamedTuple):
    """What a run came to, nats; None for what there is none of.

    Attributes:
      run: its folder's name.
      steps: that were trained.
      valid_nll: the best so far.
      exact_nll, nll, nll_standard_error, effective_sample_size, elbo, log_z, log_z_standard_error: as in results.json.
      difference, difference_error: of the NLL from the first run's, paired, with its standard error over examples.
      seconds: of training.
    """

    run: str
    steps: int | None
    valid_nll: float | None
    exact_nll: float | None
    nll: float | None
    nll_standard_error: float | None
    effective_sample_size: float | None
    elbo: float | None
    log_z: float | None
    log_z_standard_error: float | None
    difference: float | None
    difference_error: float | None
    seconds: float | None


# Headings in the terminal, where a value and its error are one.
_COLUMNS: Mapping[str, tuple[str, str | None, int]] = {
    "run": ("run", None, 0),
    "steps": ("steps", None, 0),
    "valid_nll": ("valid NLL", None, 2),
    "exact_nll": ("exact NLL", None, 3),
    "nll": ("test NLL", "nll_standard_error", 3),
    "difference": ("minus the first", "difference_error", 3),
    "effective_sample_size": ("effective samples", None, 1),
    "elbo": ("ELBO", None, 3),
    "log_z": ("log Z", "log_z_standard_error", 3),
    "seconds": ("seconds", None, 0),
}


def lines_of(records: Sequence[Record]) -> list[Line]:
    """A line for each run."""
    return [_line(record, records[0]) for record in records]


def _line(record: Record, first: Record) -> Line:
    results = record.results
    valid = record.valid.get("nll", np.array([]))
    steps = record.train.get("step", np.array([]))
    paired = _difference(record, first) if record is not first else None
    return Line(
        run=record.name,
        steps=int(steps[-1]) if len(steps) else None,
        valid_nll=float(np.nanmin(valid)) if np.isfinite(valid).any() else None,
        difference=paired and paired[0],
        difference_error=paired and paired[1],
        **{name: results.get(name) for name in _OF_RESULTS},
    )


_OF_RESULTS = (
    "exact_nll nll nll_standard_error effective_sample_size elbo log_z log_z_standard_error seconds"
).split()  # fmt: skip


def _difference(record: Record, first: Record) -> tuple[float, float] | None:
    """None unless both were evaluated on the same examples."""
    checksums = {one.directory.description()["data"].get("checksum") for one in (record, first)}
    if len(checksums) > 1:
        return None
    for column in ("exact_nll", "nll"):
        if all(column in one.examples for one in (record, first)):
            ours, theirs = (
                dict(zip(one.examples["example"].tolist(), one.examples[column].tolist(), strict=True))
                for one in (record, first)
            )
            return difference([(ours, theirs)])
    return None


def settings_that_differ(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Each with its name and its values, but for where things lie."""
    rows = []
    for name in records[0].settings:
        values = tuple(str(record.settings.get(name, "")) for record in records)
        if len(set(values)) > 1 and name not in PLACES:
            rows.append((name, *values))
    return rows


def as_text(lines: Sequence[Line], differing: Sequence[tuple[str, ...]]) -> str:
    """The table; columns that no run has are left out. Below it the settings that differ."""
    rows: list[list[str]] = []
    for name, (heading, error, digits) in _COLUMNS.items():
        cells = [_cell(getattr(line, name), getattr(line, error) if error else None, digits) for line in lines]
        if any(cells):
            rows.append([heading, *cells])
    text = [_aligned(list(zip(*rows, strict=True)))]
    if differing:
        names = [("setting", *(line.run for line in lines))]
        text += ["", _aligned([*names, *differing])]
    return "\n".join(text)


def _cell(value: str | float | None, error: float | None, digits: int) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:.{digits}f}" + ("" if error is None else f" +- {error:.{digits}f}")


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, numbers to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def show(log_dirs: Sequence[str], output: Path | None = None) -> None:
    """Prints the table, and writes it to a file if one is given.

    Raises:
      UserError: a folder is no run.
    """
    records = read_all(log_dirs)
    lines, differing = lines_of(records), settings_that_differ(records)
    print(as_text(lines, differing))
    if output is not None:
        names = [name for name, *_ in differing]
        settings = list(zip(*(values for _, *values in differing), strict=True)) or [()] * len(lines)
        rows = [(*line, *values) for line, values in zip(lines, settings, strict=True)]
        write_table(output, (*Line._fields, *names), rows)


def main() -> None:
    """Shows the runs that are given."""
    log_dirs, output = flags.FLAGS.log_dir, flags.FLAGS.output
    if not log_dirs:
        raise UserError("must be the folders of runs, with commas", log_dir="")
    show(log_dirs, output_file(output=output) if output else None)


def cli() -> None:
    """Defines the flags and runs `main`."""
    flags.DEFINE_list("log_dir", [], "folders of runs, with commas", allow_override=True)
    flags.DEFINE_string("output", None, "file for the table and the settings that differ, as CSV")
    command_line.run(main, description=__doc__ or "", groups={"Comparison": ["log_dir", "output"]})


if __name__ == "__main__":
    cli()
