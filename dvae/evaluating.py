"""What `run_eval.py` does: finds an exported model and data that fit it, and evaluates."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from dvae.data import load_dataset, spread
from dvae.data.dataset import SPLITS
from dvae.errors import UserError
from dvae.evaluation import evaluate, has_prior, num_pixels, results_of
from dvae.exporting import read_origin
from dvae.run_directory import RunDirectory, write_json


class Settings(NamedTuple):
    """The flags of `run_eval.py`; None where one is left out."""

    log_dir: str | None
    saved_model: str | None
    dataset: str | None
    data_dir: str | None
    split: str
    num_examples: int | None
    num_samples: int
    posterior_temperatures: int | None
    flattening: str | None
    log_z_chains: int
    log_z_temperatures: int
    log_z_error: float | None
    seed: int
    output: str | None


def check(settings: Settings) -> None:
    """Raises `UserError` for a setting that cannot be, before anything is loaded."""
    if (not settings.log_dir) == (not settings.saved_model):
        raise UserError(f"--log_dir={settings.log_dir} --saved_model={settings.saved_model}: give one of the two")
    counts = ("num_examples", "num_samples", "posterior_temperatures", "log_z_chains", "log_z_temperatures")
    for name in counts:
        least = 2 if name == "log_z_chains" else 1
        value = getattr(settings, name)
        if value is not None and value < least:
            raise UserError(f"--{name}={value}: must be at least {least}")
    if settings.flattening is not None:
        factors = factors_of(settings)
        if settings.num_samples % len(factors):
            raise UserError(
                f"--num_samples={settings.num_samples}: must be a multiple of the number of factors in "
                f"--flattening={settings.flattening} ({len(factors)})"
            )
    if settings.log_z_error is not None and not 0 < settings.log_z_error < float("inf"):
        raise UserError(f"--log_z_error={settings.log_z_error}: must be above 0")
    if settings.split not in SPLITS:
        raise UserError(f"--split={settings.split}: must be one of {', '.join(SPLITS)}")
    if not 0 <= settings.seed < 2**31:
        raise UserError(f"--seed={settings.seed}: must be between 0 and {2**31 - 1}")
    if settings.output:
        output_file(settings)


def factors_of(settings: Settings) -> list[float]:
    """By which the posterior is flattened. Raises `UserError` if they are not factors."""
    try:
        factors = [float(text) for text in settings.flattening.split(",")]
    except ValueError:
        factors = [0.0]
    if factors[0] != 1 or not all(1 <= factor < float("inf") for factor in factors):
        raise UserError(f"--flattening={settings.flattening}: must be numbers of at least 1 with commas, the first 1")
    return factors


def output_file(settings: Settings) -> Path:
    """Where the results go. Raises `UserError` if that cannot be written."""
    path = Path(settings.output).expanduser()
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise UserError(f"--output={settings.output}: must be a file in a folder that exists and can be written")
    return path


def write(results: dict[str, Any], settings: Settings) -> None:
    """Writes the results to `--output`."""
    try:
        write_json(output_file(settings), results)
    except OSError as error:
        raise UserError(f"--output={settings.output}: could not be written ({error.strerror})") from error


def run(settings: Settings) -> dict[str, Any]:
    """Evaluates, with a progress bar; returns the content of `results.json`."""
    folder = Path(settings.saved_model).expanduser() if settings.saved_model else _exported_by(settings.log_dir)
    model, origin = _load(folder)
    functions = model.signatures
    dataset_name = settings.dataset or origin["settings"]["dataset"]
    dataset = load_dataset(dataset_name, settings.data_dir or origin["settings"]["data_dir"])
    if settings.dataset is None and dataset.checksum != origin["checksum"]:
        raise UserError(
            f"--dataset: the data of {dataset_name} are not those that the model was trained on (checksum); "
            f"--dataset={dataset_name} evaluates on them all the same"
        )
    if dataset.num_pixels != num_pixels(functions):
        raise UserError(
            f"--dataset={dataset_name}: has {dataset.num_pixels} pixels, the model in {folder} has "
            f"{num_pixels(functions)}: must be alike"
        )
    if settings.log_z_error is not None and not has_prior(functions):
        raise UserError(f"--log_z_error={settings.log_z_error:g}: the model in {folder} has no prior; leave it out")
    images = dataset.split(settings.split)
    images = images[spread(len(images), settings.num_examples or len(images))]
    if settings.posterior_temperatures is not None:
        if not hasattr(model, "posterior_temperatures"):
            raise UserError(
                f"--posterior_temperatures={settings.posterior_temperatures}: the model in {folder} has no posterior "
                "that is annealed; leave it out"
            )
        model.posterior_temperatures.assign(settings.posterior_temperatures)
    if settings.flattening is not None:
        if not hasattr(model, "posterior_flattening"):
            raise UserError(
                f"--flattening={settings.flattening}: the model in {folder} has no posterior that can be flattened; "
                "leave it out"
            )
        model.posterior_flattening.assign(factors_of(settings))
    evaluation = evaluate(
        functions,
        images,
        num_samples=settings.num_samples,
        log_z_chains=settings.log_z_chains,
        log_z_temperatures=settings.log_z_temperatures,
        log_z_error=settings.log_z_error,
        seed=settings.seed,
        progress=True,
    )
    if origin.get("likelihood_of"):
        print(f"nll is that of {origin['likelihood_of']}", file=sys.stderr)
    if settings.log_z_error is not None and evaluation.log_z_standard_error > settings.log_z_error:
        print(
            f"--log_z_error={settings.log_z_error:g}: not reached with {settings.log_z_temperatures} temperatures "
            f"(the standard error is {evaluation.log_z_standard_error:.2g}); raise --log_z_temperatures",
            file=sys.stderr,
        )
    return results_of(
        functions,
        images,
        evaluation,
        model=origin["settings"]["model"],
        dataset=dataset_name,
        split=settings.split,
        step=origin["step"],
        seconds=origin["seconds"],
        seed=settings.seed,
    )


def _exported_by(log_dir: str) -> Path:
    run_directory = RunDirectory(log_dir)
    if not run_directory.config_file.exists():
        raise UserError(f"--log_dir={log_dir}: must be the folder of a run (it has no config.json)")
    if not run_directory.saved_model.exists():
        raise UserError(f"--log_dir={log_dir}: the run has not finished, so nothing is exported; start it again first")
    return run_directory.saved_model


def _load(folder: Path):
    try:
        origin = read_origin(folder)
        return tf.saved_model.load(str(folder)), origin
    except (OSError, ValueError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder}: must be a model exported by this program ({reason})") from error
