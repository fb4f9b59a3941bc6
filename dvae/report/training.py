"""A training that ends with its report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from dvae.building import Networks
from dvae.config import Config
from dvae.data import Dataset
from dvae.errors import UserError
from dvae.interruption import Interruption
from dvae.report import page
from dvae.runs import training_run
from dvae.runs.run_directory import RunDirectory
from dvae.runs.voice import Voice
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
    """Trains a model, exports the one that is best on validation data, and evaluates it on test data.

    An interrupted run continues, bit for bit, when it is called again with the same arguments; one that is finished is
    not trained again.

    Args:
      config: of `dvae.configure`.
      dataset: of `dvae.make_dataset`, in place of the one that the settings name.
      encoder, decoder, likelihood: in place of the published ones; see `dvae.building.Networks`.
      resume: whether a run that is in `config.log_dir` may go on.
      report: whether `report.html` is written beside the results.
      quiet: without progress: only the result is said, and what is wrong.
      say: where lines about the run go.
      interruption: tells of signals that ask the run to save its state and leave.

    Returns:
      The content of `results.json`; nothing in a process that is not the chief.

    Raises:
      UserError: a ValueError that names the argument: the settings do not fit the data or the networks, or the folder
        holds another run.
      DivergenceError: a UserError: a loss, a weight, an evaluation is not finite. The last checkpoint is kept.
      StorageError: a UserError: the file system refuses to be written to. The last checkpoint is kept.
      PeerError: a UserError: another process of the training has ended. The last checkpoint is kept.
    """
    if dataset is not None:
        config = on_data(config, dataset.name)
    results = training_run.train(
        config,
        dataset=dataset,
        networks=Networks(encoder, decoder, likelihood),
        resume=resume,
        voice=Voice(say, quiet),
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
