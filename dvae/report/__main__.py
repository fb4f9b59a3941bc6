"""A run as one page, `report.html` in its folder; several runs side by side.

    python -m dvae.report --log_dir=runs/mnist
    python -m dvae.report --log_dir=runs/mnist,runs/mnist-pwl4 --output=side_by_side.html

The page opens without a network. A run that has not finished shows what it has.
"""

from __future__ import annotations

from absl import flags

import dvae.quiet  # noqa: F401  (before TensorFlow)
from dvae.errors import UserError
from dvae.files import output_file
from dvae.report.page import write
from dvae.runs.run_directory import RunDirectory
from dvae.settings import command_line


def main() -> None:
    """Writes the page."""
    log_dirs = flags.FLAGS.log_dir
    if not log_dirs:
        raise UserError("must be the folder of a run, or of several with commas", log_dir="")
    path = output_file(output=flags.FLAGS.output or RunDirectory(log_dirs[0]).report_page)
    write(log_dirs, path)
    print(f"written to {path}")


def cli() -> None:
    """Defines the flags and runs `main`."""
    flags.DEFINE_list("log_dir", [], "folders of runs, with commas", allow_override=True)
    flags.DEFINE_string("output", None, "the file; if left out, report.html in the (first) folder")
    command_line.run(main, description=__doc__ or "", groups={"Report": ["log_dir", "output"]})


if __name__ == "__main__":
    cli()
