"""An analysis on the command line: a model, data, settings, a folder for what it writes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from dvae.data import spread
from dvae.errors import UserError
from dvae.files import output_folder
from dvae.runs.exported import Exported, exported
from dvae.runs.trained_model import TrainedModel, trained_model
from dvae.settings import command_line
from dvae.settings import flags as settings_flags
from dvae.settings.values import check_values

Analysis = Callable[[Exported, np.ndarray, np.ndarray, Any, Path], None]
AnalysisOfTrained = Callable[[TrainedModel, Any, Path], None]
_FOLDER = "analysis"


def run(analyse: Analysis, record: type, *, description: str) -> None:
    """Makes the record of the flags, finds exported model and examples, and runs the analysis with them.

    Args:
      analyse: of a model, images, their numbers in the split, settings, and a folder.
      record: a dataclass of `dvae.config.setting` fields, all with defaults, `num_examples` among them.
      description: for `--help`.
    """

    def work(settings: Any, output_dir: str | None) -> Path:
        model = exported(**settings_flags.given_flags(("log_dir", "saved_model")))
        images = model.data(**settings_flags.given_flags(("dataset", "data_dir"))).split(flags.FLAGS.split)
        numbers = spread(len(images), settings.num_examples)
        folder = output_folder(output_dir=output_dir or model.folder.parent / _FOLDER)
        analyse(model, images[numbers], numbers, settings, folder)
        return folder

    _run(work, record, settings_flags.define_model(), description=description)


def run_on_trained(analyse: AnalysisOfTrained, record: type, *, description: str) -> None:
    """`run` of an analysis that needs the Keras model of a run, not its functions alone, and all of its data."""

    def work(settings: Any, output_dir: str | None) -> Path:
        log_dir = flags.FLAGS.log_dir
        if log_dir is None:
            raise UserError("must be given", log_dir=log_dir)
        model = trained_model(log_dir, **settings_flags.given_flags(("data_dir",)))
        folder = output_folder(output_dir=output_dir or Path(log_dir) / _FOLDER)
        analyse(model, settings, folder)
        return folder

    _run(work, record, settings_flags.define_run(), description=description)


def _run(
    work: Callable[[Any, str | None], Path], record: type, groups: dict[str, list[str]], *, description: str
) -> None:
    flags.DEFINE_string("output_dir", None, "folder for table and figure; if left out, `analysis` in that of the run")
    groups = groups | settings_flags.define(record, if_left_out="") | {"Output": ["output_dir"]}

    def main() -> None:
        given = settings_flags.given(record)
        check_values(record, given)
        folder = work(record(**given), flags.FLAGS.output_dir)
        print(f"written to {folder}", file=sys.stderr)

    command_line.run(main, description=description, groups=groups)
