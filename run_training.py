"""Trains a discrete variational autoencoder with a Boltzmann prior, evaluates it, and exports it.

python run_training.py --model=dvaess --dataset=digits --log_dir=runs/digits
"""

import sys

from absl import flags

from dvae.config import Config
from dvae.errors import UserError
from dvae.settings import command_line
from dvae.settings import flags as settings_flags
from dvae.settings.values import check_values


def main() -> None:
    given = settings_flags.given(Config)
    check_values(Config, given)
    # TensorFlow, which takes seconds to load: after the flags, and quietly.
    import dvae.quiet  # noqa: F401, PLC0415
    from dvae.report.training import train  # noqa: PLC0415
    from dvae.settings.complete import complete  # noqa: PLC0415
    from dvae.settings.rules import without_effect  # noqa: PLC0415

    config = complete(given)
    remarks = without_effect(given, config)

    def say(text: UserError | str) -> None:
        if isinstance(text, UserError):
            print(text.on_command_line(), file=sys.stderr)
            return
        print(text, flush=True)
        while remarks:  # with the first that is said of the run: one that is refused ends with a single line
            print(remarks.pop(0).on_command_line(), file=sys.stderr)

    train(config, resume=flags.FLAGS.resume, report=flags.FLAGS.report, say=say)


def cli() -> None:
    """Defines the flags and runs `main`."""
    groups = settings_flags.define(Config, if_left_out="that of the recipe")
    flags.DEFINE_bool("resume", True, "continue the run in --log_dir if it has these settings; refuse any other")
    flags.DEFINE_bool("report", True, "write report.html at the end: the run as one page")
    groups["Run directory"] += ["resume", "report"]
    command_line.run(main, description=__doc__, groups=groups)


if __name__ == "__main__":
    cli()
