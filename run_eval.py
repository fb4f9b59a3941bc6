"""Evaluates a trained model: importance-weighted NLL, ELBO, log Z, and the exact NLL where it can be enumerated.

python run_eval.py --log_dir=runs/digits
python run_eval.py --saved_model=some/saved_model --dataset=binarized_mnist --split=test --num_samples=4000
"""

import dvae.quiet  # noqa: F401, I001  (before TensorFlow)
import json

from absl import flags

from dvae import command_line, evaluating


def define_flags() -> dict[str, list[str]]:
    text, count = flags.DEFINE_string, flags.DEFINE_integer
    text("log_dir", None, "folder of a finished run", allow_override=True)  # absl.logging has a --log_dir of its own
    text("saved_model", None, "folder of an exported model (instead of --log_dir)")
    text("dataset", None, "data set or path of an .npz file; if left out, the one the model was trained on")
    text("data_dir", None, "folder of the data files; if left out, the one the model was trained with")
    text("split", "test", "train | valid | test")
    count("num_examples", None, "examples, spread evenly over the split; if left out, all")
    count("num_samples", 4000, "importance samples per example")
    count("posterior_temperatures", None, "AIS temperatures of an RBM posterior; if left out, as exported")
    text(
        "flattening",
        None,
        "factors 1,F,...: importance samples come from an equal mixture of q(z | x) and of q with its logits or "
        "energies divided by each; if left out, from q alone",
    )
    count("log_z_chains", 1024, "AIS chains for the prior's log Z")
    count("log_z_temperatures", 10000, "AIS temperatures for the prior's log Z; with --log_z_error, the most")
    flags.DEFINE_float("log_z_error", None, "standard error wanted of log Z, nats: temperatures double until it is met")
    count("seed", 0, "of all sampling")
    text("output", None, "file to write the results to, as JSON; they are printed in any case")
    return {
        "Model": ["log_dir", "saved_model"],
        "Data": ["dataset", "data_dir", "split", "num_examples"],
        "Evaluation": ["num_samples", "posterior_temperatures", "flattening", "seed"],
        "The prior's log Z": ["log_z_chains", "log_z_temperatures", "log_z_error"],
        "Output": ["output"],
    }


def main() -> None:
    settings = evaluating.Settings(**{name: flags.FLAGS[name].value for name in evaluating.Settings._fields})
    evaluating.check(settings)
    results = evaluating.run(settings)
    print(json.dumps(results, indent=2), flush=True)
    if settings.output:
        evaluating.write(results, settings)


def cli() -> None:
    """Defines the flags and runs `main`."""
    command_line.run(main, description=__doc__, groups=define_flags())


if __name__ == "__main__":
    cli()
