"""What a run directory tells, read whole; a run that has not finished tells what it has."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dvae.errors import UserError
from dvae.files import read_json, read_table
from dvae.runs.run_directory import RunDirectory


class Record(NamedTuple):
    """Of one run.

    Attributes:
      name: of its folder.
      directory: where it lies.
      settings: all of them.
      train, valid: its metrics by name, NaN where there is none, `step` among them.
      results: of the final evaluation; empty before that.
      examples: columns of `test_examples.csv`; empty before that.
    """

    name: str
    directory: RunDirectory
    settings: dict[str, Any]
    train: dict[str, np.ndarray]
    valid: dict[str, np.ndarray]
    results: dict[str, Any]
    examples: dict[str, np.ndarray]


def read(log_dir: str | Path) -> Record:
    """Reads a run.

    Raises:
      UserError: it is none, or one of its files is not of this program.
    """
    directory = RunDirectory(log_dir)
    settings = dataclasses.asdict(directory.config())
    try:
        lines = [json.loads(line) for line in _lines(directory.metrics_file)]  # may be read while it is written
        groups = {name: _columns([line for line in lines if line["group"] == name]) for name in ("train", "valid")}
        results = read_json(directory.results_file) if directory.results_file.exists() else {}
        examples = {name: np.array(column) for name, column in read_table(directory.test_examples).items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"has a file that is not one of this program ({error})", log_dir=str(log_dir)) from error
    return Record(directory.path.resolve().name, directory, settings, **groups, results=results, examples=examples)


def read_all(log_dirs: Sequence[str | Path]) -> list[Record]:
    """Reads runs, by names of which no two are alike: the folders', or their paths.

    Raises:
      UserError: as `read`.
    """
    records = [read(log_dir) for log_dir in log_dirs]
    if len({record.name for record in records}) == len(records):
        return records
    return [record._replace(name=str(log_dir)) for record, log_dir in zip(records, log_dirs, strict=True)]


def _lines(path: Path) -> list[str]:
    """Whole lines: the last may be half written."""
    if not path.exists():
        return []
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def _columns(lines: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    names = dict.fromkeys(name for line in lines for name in line if name != "group")
    # None becomes NaN.
    return {name: np.array([line.get(name) for line in lines], float) for name in names}
