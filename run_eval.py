"""Evaluates a trained model: importance-weighted NLL, ELBO, log Z, and the exact NLL where it can be enumerated.

python run_eval.py --log_dir=runs/digits     (installed: dvae-eval --log_dir=...)
python run_eval.py --saved_model=some/saved_model --dataset=binarized_mnist --split=test --num_samples=4000
"""

import sys

from absl import flags

from dvae import cluster
from dvae.config import EvaluationSettings
from dvae.errors import UserError
from dvae.files import json_text, output_file, write_json
from dvae.settings import command_line
from dvae.settings import flags as settings_flags
from dvae.settings.values import check_values

_WHAT = ("log_dir", "saved_model", "dataset", "data_dir", "split", "protocol", "examples_output")


def main() -> None:
    given = settings_flags.given(EvaluationSettings)
    check_values(EvaluationSettings, given)
    # TensorFlow, which takes seconds to load: after the flags, and quietly.
    import dvae.quiet  # noqa: F401, PLC0415
    from dvae.runs.evaluation_run import evaluate  # noqa: PLC0415

    output = output_file(output=flags.FLAGS.output) if flags.FLAGS.output else None
    quiet = flags.FLAGS.quiet
    with cluster.wanted(scheduler=flags.FLAGS.scheduler, num_workers=flags.FLAGS.num_workers) as client:
        what, say = settings_flags.given_flags(_WHAT), _mistake if quiet else _remark
        results = evaluate(**what, **given, progress=not quiet, client=client, say=say)
    print(json_text(results), flush=True)
    if output:
        try:
            write_json(output, results)
        except OSError as error:
            raise UserError(f"could not be written ({error.strerror})", output=flags.FLAGS.output) from error


def _remark(text: UserError | str) -> None:
    print(text.on_command_line() if isinstance(text, UserError) else text, file=sys.stderr)


def _mistake(text: UserError | str) -> None:
    if isinstance(text, UserError):
        _remark(text)


def cli() -> None:
    """Defines the flags and runs `main`."""
    text, groups = flags.DEFINE_string, settings_flags.define_model()
    text(
        "protocol",
        None,
        "how an RBM posterior is annealed: pilot, by as few temperatures as a pilot on validation examples finds "
        "enough; published, by 500 from its biases; if left out, as exported",
    )
    text("output", None, "file to write the results to, as JSON; they are printed in any case")
    text("examples_output", None, "file to write the NLL, ELBO, ... of each example to, as CSV")
    flags.DEFINE_bool("quiet", False, "no progress: only the results are printed, and what is wrong")
    flags.DEFINE_integer(
        "num_workers", None, "of a Dask cluster on this machine, among which the examples are divided", lower_bound=1
    )
    text("scheduler", None, "address of a Dask cluster that runs already, tcp://..., likewise")
    of_settings = settings_flags.define(EvaluationSettings, if_left_out="as exported")
    of_settings["Evaluation"].insert(0, "protocol")
    groups["Data"] += of_settings.pop("Data")
    groups |= {
        **of_settings,
        "Output": ["output", "examples_output", "quiet"],
        "Workers": ["num_workers", "scheduler"],
    }
    command_line.run(main, description=__doc__, groups=groups)


if __name__ == "__main__":
    cli()
