"""Trains a discrete variational autoencoder with a Boltzmann prior, evaluates it, and exports it.

python run_training.py --model=dvaess --dataset=digits --log_dir=runs/digits     (installed: dvae-train --model=...)
"""

import sys

from absl import flags

from dvae.config import Config
from dvae.errors import UserError
from dvae.interruption import Interruption
from dvae.settings import command_line, left_out
from dvae.settings import flags as settings_flags
from dvae.settings.again import settings_of
from dvae.settings.values import check_values


def main(interruption: Interruption) -> None:
    given = settings_flags.given(Config)
    check_values(Config, given)
    before = settings_of(flags.FLAGS.config) if flags.FLAGS.config is not None else {}
    # TensorFlow, which takes seconds to load: after the flags, and quietly.
    import dvae.quiet  # noqa: F401, PLC0415
    from dvae.report.training import train  # noqa: PLC0415
    from dvae.settings.complete import complete  # noqa: PLC0415
    from dvae.settings.rules import remarks  # noqa: PLC0415

    config = complete(before | given)
    lines = remarks(given, config)

    def say(text: UserError | str) -> None:
        if isinstance(text, UserError):
            print(text.on_command_line(), file=sys.stderr)
            return
        print(text, flush=True)
        while lines:  # with the first that is said of the run: one that is refused ends with a single line
            print(lines.pop(0).on_command_line(), file=sys.stderr)

    values = flags.FLAGS
    train(
        config,
        resume=values.resume,
        report=values.report,
        quiet=values.quiet,
        say=say,
        interruption=interruption,
    )


def cli() -> None:
    """Defines the flags and runs `main`."""
    groups = settings_flags.define(Config, if_left_out=left_out.in_words())
    flags.DEFINE_string(
        "config", None, "config.json of a run, to start it again; a setting given beside it wins, the rest is as there"
    )
    flags.DEFINE_bool("resume", True, "continue the run in --log_dir if it has these settings; refuse any other")
    flags.DEFINE_bool("report", True, "write report.html at the end: the run as one page")
    flags.DEFINE_bool("quiet", False, "no progress: only the result is printed, and what is wrong")
    groups["Run directory"] += ["config", "resume", "report"]
    groups["Output"] = ["quiet"]
    interruption = Interruption()
    with interruption.watching():
        command_line.run(lambda: main(interruption), description=__doc__, groups=groups, epilogue=left_out.systems())


if __name__ == "__main__":
    cli()
