"""Which runs a table takes, and how far each of them is."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dvae.config import Config
from dvae.errors import UserError, as_flag
from dvae.settings.complete import complete
from dvae.tables.jobs import Job, Program
from dvae.tables.rows import TABLES, Row, rows


class Run(NamedTuple):
    """A training that rows ask for.

    Attributes:
      name: of its folder.
      settings: that are given; the rest is completed.
      config: complete.
      splits: that are evaluated, beside the test split, which every training evaluates.
    """

    name: str
    settings: dict[str, Any]
    config: Config
    splits: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return Path(self.config.log_dir)

    def results_file(self, split: str) -> Path:
        """Of the evaluation on a split."""
        return self.folder / ("results.json" if split == "test" else f"results_{split}.json")

    def job(self) -> Job:
        """Its training, and its further evaluations."""
        training = Program(
            "run_training", [as_flag(*given) for given in self.settings.items()], self.results_file("test")
        )
        further = [
            Program("run_eval", [f"--log_dir={self.folder}", f"--split={split}", f"--output={file}"], file)
            for split, file in ((split, self.results_file(split)) for split in self.splits)
        ]
        return Job(self.name, [training, *further], self.folder.with_suffix(".out"))

    def shell_line(self) -> str:
        """The same for a shell."""
        return " && ".join(f"python {program.name}.py {shlex.join(program.flags)}" for program in self.job().programs)

    def steps_done(self) -> int:
        """By what it has reported last."""
        try:
            with (self.folder / "metrics.jsonl").open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - 4000))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return 0
        for line in reversed(lines):
            try:
                return int(json.loads(line)["step"])
            except (
                ValueError,
                KeyError,
                TypeError,
                OverflowError,
                RecursionError,
            ):  # cut, half written
                continue
        return 0


def selected(tables: Iterable[str], where: Mapping[str, str]) -> list[Row]:
    """The rows of some tables that have these labels.

    Raises:
      UserError: there is no such table, no such label, or no such row.
    """
    tables = list(tables)
    for table in tables:
        if table not in TABLES:
            raise UserError(f"must be among {', '.join(TABLES)}", tables=table)
    found = [row for row in rows() if row.table in tables]
    names = dict.fromkeys(name for row in found for name in row.labels)
    for name in where:
        if name not in names:
            raise UserError(f"has no label {name}; must be among {', '.join(names)}", where=_shown(where))
    found = [row for row in found if all(row.labels.get(name, value) == value for name, value in where.items())]
    if not found:
        raise UserError("leaves no row", where=_shown(where))
    return found


def _shown(where: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in where.items())


def run_of(row: Row, *, seed: int, given: Mapping[str, Any], output_dir: Path) -> Run | None:
    """The run of a row with a seed and further settings; None for a number of another program."""
    if not row.settings:
        return None
    settings = {**row.settings, **given, "seed": seed}
    name = name_of(complete(settings | {"log_dir": "runs"}))
    settings["log_dir"] = str(output_dir / name)
    split = row.labels.get("split", "test")
    return Run(name, settings, complete(settings), () if split == "test" else (split,))


def planned(chosen: Iterable[Row], *, seeds: Iterable[int], given: Mapping[str, Any], output_dir: Path) -> list[Run]:
    """All runs that the rows ask for, each once."""
    runs: dict[str, Run] = {}
    for seed in seeds:
        for row in chosen:
            run = run_of(row, seed=seed, given=given, output_dir=output_dir)
            if run is not None:
                splits = {*run.splits, *(runs[run.name].splits if run.name in runs else ())}
                runs[run.name] = run._replace(splits=tuple(sorted(splits)))
    return list(runs.values())


def name_of(config: Config) -> str:
    """A run in short: what tells the rows of all tables apart."""
    usual = {field.name: field.default for field in dataclasses.fields(Config)}
    parts = [config.dataset, config.model, str(config.num_latents)]
    if config.likelihood != usual["likelihood"]:
        parts.append(config.likelihood)
    if config.model != "dvaess":
        parts.append(f"{config.num_groups}groups" + ("" if config.shared_context else "-own_context"))
    if config.objective != "elbo" or config.num_samples > 1:
        parts.append(config.objective + (str(config.num_samples) if config.num_samples > 1 else ""))
    for name, short in (("num_relaxed_sweeps", "t"), ("num_gibbs_sweeps", "s")):
        if getattr(config, name) != usual[name]:
            parts.append(f"{short}{getattr(config, name)}")
    return "-".join([*parts, f"seed{config.seed}"])
