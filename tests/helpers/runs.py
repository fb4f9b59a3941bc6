"""Small runs that train in seconds: one table of cases, of every system and every task."""

import dataclasses
import pathlib
import shutil
import typing

import numpy as np
import pytest
from filelock import FileLock

from dvae import data
from dvae.building import Networks
from dvae.config import Config
from dvae.files import read_json, write_json
from dvae.runs.run_directory import RunDirectory
from dvae.runs.training_run import TrainingRun
from dvae.settings.complete import complete
from dvae.tasks import TASKS

_WEIGHED = {"objective": "iw", "num_samples": 3}
_PREDICTING = {"objective": "structured", "num_samples": 2}
# Every system with the numbers of groups it is published with, some with shared context though it is not how they were
# published, and every task; a new system or task without a case here fails a test.
CASES = {
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
    "dvaess-structured": {"model": "dvaess"} | _PREDICTING,
    "dvaess-structured-term-1": {"model": "dvaess", "num_replicates": 2, "term_1": True} | _PREDICTING,
    "pwl-structured": {"model": "pwl", "num_groups": 2, "shared_context": False} | _PREDICTING,
    "gumbolt-structured": {"model": "gumbolt"} | _PREDICTING,
    "dvaes_power-structured": {"model": "dvaes_power"} | _PREDICTING,
    "mcmc": {"objective": "mcmc"},
}
# An RBM posterior, a directed posterior of several groups, no posterior: all else is made of the same parts, and waits
# for `make test-slow` (structured prediction has fast tests of its own).
_FIRST = {"dvaess", "pwl-2-groups", "mcmc"}


def cases(names=CASES, first=_FIRST):
    """As parameters of a fixture; all but the `first` slow."""
    return [
        pytest.param(name, marks=() if name in first else pytest.mark.slow, id=name)
        for name in CASES if name in names
    ]  # fmt: skip


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
    "valid_base": "biases",
    "valid_log_z_temperatures": 10,
    "valid_pictures": 0,
    "log_z_chains": 50,
    "test_examples": 32,
    "test_samples": 20,
    "test_temperatures": 10,
    "test_base": "fields",
    "test_log_z_temperatures": 50,
}


def small_config(**settings) -> Config:
    """A configuration that trains in a second once it is compiled."""
    return complete(_SMALL | settings)


def open_run(config, folder, *, dataset=None, interruption=None, **networks) -> TrainingRun:
    """The run in `folder`, new or resumed."""
    config = dataclasses.replace(config, log_dir=str(folder))
    dataset = dataset or data.load_dataset(config.dataset, config.data_dir)
    order = data.BatchOrder(num_examples=len(dataset.train), batch_size=config.batch_size, seed=config.seed)
    task = TASKS[config.objective](config, dataset, Networks(**networks))
    state, directory = task.new_state(), RunDirectory(folder)
    directory.open(task, resume=True)
    return TrainingRun(task, order, directory, state, interruption=interruption)


class FinishedRun(typing.NamedTuple):
    """What the tests of every task look at."""

    config: Config
    run: TrainingRun
    last_weights: list
    results: dict


def finish(run) -> FinishedRun:
    """Trains to the end, exports and evaluates."""
    run.train()
    last_weights = [v.numpy() for v in run.state.model.variables]
    return FinishedRun(run.config, run, last_weights, run.finish())


class Shared:
    """Finished runs of `CASES`, each trained once for all tests that look at one. These get copies, to do as they like.

    Args:
      folder: that all processes of the tests share.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def copy(self, case: str, folder: pathlib.Path) -> Config:
        """As if it had been trained in that folder; its configuration."""
        with self._alone(case):
            if not (self._folder / case).exists():
                trained = self._folder / f"{case}.training"
                shutil.rmtree(trained, ignore_errors=True)  # of a process that was killed
                finish(open_run(small_config(**CASES[case]), trained)).run.directory.release()
                trained.rename(self._folder / case)
        shutil.copytree(self._folder / case, folder, dirs_exist_ok=True)
        config_file = RunDirectory(folder).config_file
        content = read_json(config_file)
        write_json(config_file, content | {"settings": content["settings"] | {"log_dir": str(folder)}})
        return RunDirectory(folder).config()

    def finished(self, case: str, folder: pathlib.Path) -> FinishedRun:
        """The same, opened."""
        run = open_run(self.copy(case, folder), folder)
        last_weights = [v.numpy() for v in run.state.model.variables]
        return FinishedRun(run.config, run, last_weights, read_json(run.directory.results_file))

    def train(self, case: str, folder: pathlib.Path) -> FinishedRun:
        """Trains in any case, for tests of training, and leaves a copy for those that look at what is finished."""
        finished = finish(open_run(small_config(**CASES[case]), folder))
        with self._alone(case):
            if not (self._folder / case).exists():
                shutil.copytree(folder, left := self._folder / f"{case}.training", dirs_exist_ok=True)
                left.rename(self._folder / case)
        return finished

    def _alone(self, case: str) -> FileLock:
        return FileLock(self._folder / f"{case}.lock")


class Killed(Exception):
    """Stands for `kill -9` at a chosen step."""


class _Dying:
    """A trainer that dies in the first call of the graph that comes to a step, before anything of it is saved."""

    def __init__(self, trainer, step):
        self.trainer, self.metrics, self.step = trainer, trainer.metrics, step

    def run_steps(self, indices, before):
        sums = self.trainer.run_steps(indices, before)
        if int(self.trainer.state.global_step) >= self.step:
            raise Killed
        return sums


def train_until(run, step):
    """Trains, and dies at `step`."""
    run.stepping.trainer = _Dying(run.stepping.trainer, step)
    with pytest.raises(Killed):
        run.train()
    run.directory.release()  # as the end of a process does


def gradients_of_first_step(state):
    """By variable's id. After one step from zero Adam's first moment is `(1 - 0.9)` times the gradient."""
    moments = [v.numpy() / 0.1 for v in state.optimizer.variables if v.path.endswith("_momentum")]
    return dict(zip(map(id, state.model.trainable_variables), moments, strict=True))


def weights_equal(run, expected):
    return all(np.array_equal(v.numpy(), wanted) for v, wanted in zip(run.state.model.variables, expected, strict=True))
