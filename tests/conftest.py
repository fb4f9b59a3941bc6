"""Shared by all tests: small experiments that train in seconds."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Most of the time goes to compilation; the tests need no optimised code.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import dataclasses

import pytest
import tensorflow as tf

from dvae import data
from dvae.config import Config
from dvae.experiment import Experiment
from dvae.problems import problem_of
from dvae.published import fill_in
from dvae.run_directory import RunDirectory

_WEIGHED = {"objective": "iw", "num_samples": 3}
# Every system with the numbers of groups it is published with, some with shared context though it is not how they were
# published; a new system without a case here fails a test.
SYSTEM_CASES = {
    "dvae_spike_exp-2-groups": {"model": "dvae_spike_exp", "num_groups": 2, "shared_context": True},
    "dvaepp_exp-2-groups": {"model": "dvaepp_exp", "num_groups": 2},
    "dvaepp_power-2-groups": {"model": "dvaepp_power", "num_groups": 2, "shared_context": True},
    "dvaes_gauss_int": {"model": "dvaes_gauss_int"},
    "dvaes_gauss_int-2-groups": {"model": "dvaes_gauss_int", "num_groups": 2},
    "dvaes_gauss-2-groups": {"model": "dvaes_gauss", "num_groups": 2},
    "dvaes_exp-2-groups": {"model": "dvaes_exp", "num_groups": 2, "shared_context": True},
    "dvaes_unexp-2-groups": {"model": "dvaes_unexp", "num_groups": 2},
    "dvaes_power": {"model": "dvaes_power"},
    "dvaes_gauss_int-iw": {"model": "dvaes_gauss_int", "num_groups": 2} | _WEIGHED,
    "dvaess": {"model": "dvaess"},
    "dvaess-iw": {"model": "dvaess"} | _WEIGHED,
    "dvaess-iwae": {"model": "dvaess", "iw_gradient": "iwae"} | _WEIGHED,
    "gumbolt": {"model": "gumbolt"},
    "gumbolt-2-groups": {"model": "gumbolt", "num_groups": 2},
    "pwl": {"model": "pwl"},
    "pwl-2-groups": {"model": "pwl", "num_groups": 2},
    "pwl-2-groups-iwae": {"model": "pwl", "num_groups": 2, "iw_gradient": "iwae"} | _WEIGHED,
    "pwl-4-groups": {"model": "pwl", "num_groups": 4},
}

_SMALL = {
    "dataset": "bars_and_stripes",
    "num_latents": 8,
    "hidden_units": 12,
    "num_particles": 20,
    "prior_sweeps": 2,
    "num_gibbs_sweeps": 2,
    "num_steps": 240,
    "batch_size": 16,
    "report_every": 50,
    "eval_every": 100,
    "checkpoint_every": 80,
    "valid_samples": 5,
    "valid_temperatures": 5,
    "valid_log_z_temperatures": 10,
    "log_z_chains": 50,
    "test_examples": 32,
    "test_samples": 20,
    "test_temperatures": 10,
    "test_log_z_temperatures": 50,
}


def small_config(**settings) -> Config:
    """A configuration that trains in a second once it is compiled."""
    return fill_in(Config(**(_SMALL | settings)))


def open_experiment(config: Config, folder) -> Experiment:
    """The experiment in `folder`, new or resumed."""
    config = dataclasses.replace(config, log_dir=str(folder))
    dataset = data.load_dataset(config.dataset, config.data_dir)
    order = data.BatchOrder(num_examples=len(dataset.train), batch_size=config.batch_size, seed=config.seed)
    problem, run = problem_of(config, dataset), RunDirectory(folder)
    run.open(config, dataset, checksum=problem.checksum, resume=True)
    return Experiment(problem, order, run)


# One RBM posterior, one directed posterior of several groups: every other system is made of the same parts, and waits
# for `make test-slow`.
_FIRST = {"dvaess", "pwl-4-groups"}
_FINISHED = [
    pytest.param(case, id=name, marks=() if name in _FIRST else pytest.mark.slow) for name, case in SYSTEM_CASES.items()
]


@pytest.fixture(scope="session", params=_FINISHED)
def finished_run(request, tmp_path_factory):
    """A small run of every system, trained without interruption, exported and evaluated."""
    folder = tmp_path_factory.mktemp("finished")
    config = small_config(**request.param)
    experiment = open_experiment(config, folder)
    experiment.train()
    last_weights = [v.numpy() for v in experiment.state.model.weights]
    results = experiment.finish()
    return FinishedRun(config, experiment, last_weights, results)


@dataclasses.dataclass
class FinishedRun:
    """What the tests of every system look at."""

    config: Config
    experiment: Experiment
    last_weights: list
    results: dict


@pytest.fixture
def uncompiled(name):
    """Compiling takes longer than all else where a function is called once. (The binary sweeps have to be compiled.)"""
    tf.config.run_functions_eagerly(name != "dvaess")
    yield
    tf.config.run_functions_eagerly(False)
