"""A training that ends with its report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from dvae.config import Config
from dvae.data import Dataset
from dvae.errors import UserError
from dvae.interruption import Interruption
from dvae.report import page
from dvae.runs import training_run
from dvae.runs.run_directory import RunDirectory
from dvae.settings.complete import on_data
from models.likelihood import Likelihood


def train(
    config: Config,
    *,
    dataset: Dataset | None = None,
    encoder: keras.layers.Layer | None = None,
    decoder: keras.layers.Layer | None = None,
    likelihood: type[Likelihood] | None = None,
    resume: bool = True,
    report: bool = True,
    quiet: bool = False,
    say: Callable[[UserError | str], None] = print,
    interruption: Interruption | None = None,
) -> dict[str, Any]:
    """Trains a model, as `dvae.runs.training_run.train` does, and writes `report.html` beside the results.

    Args:
      report: whether to.
      config, dataset, encoder, decoder, likelihood, resume, quiet, say, interruption: as there.

    Returns, Raises: as there.
    """
    if dataset is not None:
        config = on_data(config, dataset.name)
    results = training_run.train(
        config,
        dataset=dataset,
        encoder=encoder,
        decoder=decoder,
        likelihood=likelihood,
        resume=resume,
        quiet=quiet,
        say=say,
        interruption=interruption,
    )
    if not results:  # of a process that is not the chief
        return results
    path = RunDirectory(config.log_dir).report_page
    if report and not path.exists():
        try:
            page.write([config.log_dir], path, dataset=dataset)
        except OSError as error:  # the run itself is complete
            say(UserError(f"could not be written ({error.strerror})", report=str(path)))
    if path.exists():
        say(f"report: {path}")
    return results
