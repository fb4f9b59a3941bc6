"""A toy experiment on the command line: its settings as flags, a folder for what it writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags

from dvae.files import output_folder
from dvae.settings import command_line
from dvae.settings import flags as settings_flags
from dvae.settings.values import check_values


def run(experiment: Callable[[Any, Path], None], record: type, *, description: str, output_dir: str) -> None:
    """Makes the record of the flags and the folder, and runs the experiment with them.

    Args:
      experiment: of settings, a `record`, and a folder.
      record: a dataclass of `dvae.config.setting` fields, all with defaults.
      description: for `--help`.
      output_dir: where it writes, if nothing is said.
    """
    flags.DEFINE_string("output_dir", output_dir, "folder for the table and the figure")
    groups = settings_flags.define(record, if_left_out="")

    def main() -> None:
        given = settings_flags.given(record)
        check_values(record, given)
        folder = output_folder(output_dir=flags.FLAGS.output_dir)
        experiment(record(**given), folder)
        print(f"written to {folder}")

    command_line.run(main, description=description, groups=groups | {"Output": ["output_dir"]})
