"""The runs of the published tables: listed, made, and collected beside the published numbers.

    python -m dvae.tables --tables=1 --where=dataset=mnist,latents=200 --num_steps=10000
    python -m dvae.tables --do=run --num_workers=2 ...
    python -m dvae.tables --do=collect ...

Every flag of `run_training.py` that a row does not decide can be given; what is left out is as published. `--do=run`
goes on where it was interrupted, on a cluster of its own on this machine or on one that runs already
(`--scheduler=tcp://...`; Slurm, Kubernetes and SSH clusters of Dask all give such an address; its workers see the same
folders). `--do=shell` prints one line a run instead, for `xargs -P` or a Slurm array.
"""

from __future__ import annotations

import sys
from pathlib import Path

from absl import flags

import dvae.quiet  # noqa: F401  (before TensorFlow; workers, which load none, load this package without this file)
from dvae import cluster
from dvae.config import Config
from dvae.errors import UserError
from dvae.files import output_folder
from dvae.settings import command_line
from dvae.settings import flags as settings_flags
from dvae.settings.values import check_values
from dvae.tables import collect, sweep
from dvae.tables.plan import Run, planned, run_of, selected
from dvae.tables.rows import TABLES, Row

# What a row or this program decides.
_DECIDED = (
    "model", "num_latents", "num_groups", "shared_context", "dataset", "objective", "num_samples", "num_relaxed_sweeps",
    "num_gibbs_sweeps", "seed", "log_dir",
)  # fmt: skip
_WORK = ("list", "run", "shell", "collect")


def main() -> None:
    """Does what `--do` says."""
    values = flags.FLAGS
    given = settings_flags.given(Config)
    check_values(Config, given)
    for name in _DECIDED:
        if name in given:
            rule = "is decided by the rows; choose those by --where, and seeds by --seeds"
            raise UserError(rule, **{name: given[name]})
    chosen = selected(values.tables, dict(_pair(text) for text in values.where))
    seeds, folder = [_seed(text) for text in values.seeds], Path(values.output_dir).resolve()
    given["data_dir"] = str(Path(values.data_dir).resolve())  # workers may be elsewhere
    runs = planned(chosen, seeds=seeds, given=given, output_dir=folder)
    if values.do == "list":
        _list(chosen, runs)
    elif values.do == "shell":
        for run in runs:
            print(run.shell_line())
    elif values.do == "run":
        output_folder(output_dir=folder)
        with cluster.connected(scheduler=values.scheduler, num_workers=values.num_workers) as client:
            failed = sweep.run_all(runs, client)
        _collect(chosen, seeds, given, folder)
        if failed:
            print(f"{len(failed)} of {len(runs)} runs failed: {', '.join(failed)}", file=sys.stderr)
            sys.exit(2)
    else:
        output_folder(output_dir=folder)
        _collect(chosen, seeds, given, folder)


def _list(chosen: list[Row], runs: list[Run]) -> None:
    finished = 0
    for run in runs:
        is_finished, steps = run.job().is_done(), run.steps_done()
        finished += is_finished
        state = "finished" if is_finished else f"{steps} of {run.config.num_steps} steps" if steps else "not begun"
        print(f"{run.name:<60} {state}")
    print(f"{len(chosen)} rows, {len(runs)} runs, {finished} finished")


def _collect(chosen: list[Row], seeds: list[int], given: dict, folder: Path) -> None:
    def runs_of(row: Row) -> dict[int, Run]:
        found = {seed: run_of(row, seed=seed, given=given, output_dir=folder) for seed in seeds}
        return {seed: run for seed, run in found.items() if run is not None}

    for table in dict.fromkeys(row.table for row in chosen):
        of_table = [row for row in chosen if row.table == table]
        print(f"table {table}\n")
        print(collect.write(table, of_table, collect.collected(of_table, runs_of), folder))
    print(f"written to {folder}")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError("must be label=value", where=text)
    return name, value


def _seed(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UserError("must be integers with commas", seeds=text) from None


def cli() -> None:
    """Defines the flags and runs `main`."""
    flags.DEFINE_enum("do", "list", _WORK, "list the runs | run them | print them as shell lines | collect the tables")
    flags.DEFINE_list("tables", ["1"], f"of {', '.join(TABLES)}")
    flags.DEFINE_list("where", [], "labels of the rows: dataset=mnist,latents=200,model=pwl; if left out, all")
    flags.DEFINE_list("seeds", ["0"], "of the runs, with commas")
    flags.DEFINE_string("output_dir", "runs/tables", "folder of the runs' folders and of the tables")
    flags.DEFINE_integer("num_workers", 1, "of a cluster on this machine, each one run at a time", lower_bound=1)
    flags.DEFINE_string("scheduler", None, "address of a Dask cluster that runs already, tcp://...")
    of_training = settings_flags.define(Config, if_left_out="as published")
    shown = {heading: [name for name in names if name not in _DECIDED] for heading, names in of_training.items()}
    groups = {
        "Tables": ["do", "tables", "where", "seeds", "output_dir"],
        "Workers": ["num_workers", "scheduler"],
        **{heading: names for heading, names in shown.items() if names},
    }
    command_line.run(main, description=__doc__ or "", groups=groups)


if __name__ == "__main__":
    cli()
