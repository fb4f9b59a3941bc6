"""An analysis on the command line: a model, data, settings, a folder for what it writes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from dvae.data import spread
from dvae.files import output_folder
from dvae.runs.exported import Exported, exported
from dvae.settings import command_line
from dvae.settings import flags as settings_flags
from dvae.settings.values import check_values

Analysis = Callable[[Exported, np.ndarray, np.ndarray, Any, Path], None]


def run(analyse: Analysis, record: type, *, description: str) -> None:
    """Makes the record of the flags, finds model and examples, and runs the analysis with them.

    Args:
      analyse: of a model, images, their numbers in the split, settings, and a folder.
      record: a dataclass of `dvae.config.setting` fields, all with defaults, `num_examples` among them.
      description: for `--help`.
    """
    flags.DEFINE_string("output_dir", None, "folder for table and figure; if left out, `analysis` in that of the run")
    groups = settings_flags.define_model() | settings_flags.define(record, if_left_out="") | {"Output": ["output_dir"]}

    def main() -> None:
        given = settings_flags.given(record)
        check_values(record, given)
        settings = record(**given)
        where = settings_flags.given_flags(("log_dir", "saved_model"))
        model = exported(**where)
        images = model.data(**settings_flags.given_flags(("dataset", "data_dir"))).split(flags.FLAGS.split)
        numbers = spread(len(images), settings.num_examples)
        folder = output_folder(output_dir=flags.FLAGS.output_dir or model.folder.parent / "analysis")
        analyse(model, images[numbers], numbers, settings, folder)
        print(f"written to {folder}", file=sys.stderr)

    command_line.run(main, description=description, groups=groups)
