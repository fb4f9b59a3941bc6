"""Trains a discrete variational autoencoder: DVAE##, PWL, GumBolt, DVAE#, DVAE++ or DVAE.

    python run_training.py --model=dvaess --dataset=digits --log_dir=runs/digits

Starting the same command again continues a run that was interrupted.
"""

import dvae.quiet  # noqa: F401, I001  (before TensorFlow)
import json
import sys

from absl import flags

from dvae import command_line
from dvae.config import define_flags, from_flags
from dvae.data import BatchOrder, load_dataset
from dvae.experiment import Experiment
from dvae.problems import problem_of
from dvae.published import fill_in
from dvae.run_directory import RunDirectory
from dvae.summary import describe_results, describe_run


def main() -> None:
    given = from_flags(flags.FLAGS)
    config = fill_in(given)
    dataset = load_dataset(config.dataset, config.data_dir)
    order = BatchOrder(num_examples=len(dataset.train), batch_size=config.batch_size, seed=config.seed)
    problem = problem_of(config, dataset)
    run = RunDirectory(config.log_dir)
    run.open(config, dataset, checksum=problem.checksum, resume=flags.FLAGS.resume)
    print(describe_run(config, dataset), flush=True)
    for line in given.without_effect():
        print(line, file=sys.stderr)
    if run.results_file.exists():
        print("this run is complete; its results:")
        results = json.loads(run.results_file.read_text())
    else:
        experiment = Experiment(problem, order, run)
        experiment.train()
        results = experiment.finish()
    print(describe_results(results, run.path, likelihood_of=problem.likelihood_of))


def cli() -> None:
    """Defines the flags and runs `main`."""
    groups = define_flags()
    flags.DEFINE_bool("resume", True, "continue the run in --log_dir if it has these settings; refuse any other")
    groups["Run directory"].append("resume")
    command_line.run(main, description=__doc__, groups=groups)


if __name__ == "__main__":
    cli()
