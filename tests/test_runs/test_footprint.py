"""What a run is said to take of memory is what it takes."""

import json
import subprocess
import sys

import numpy as np
import pytest

import runs
from dvae import data, memory
from dvae.runs.footprint import Footprint
from dvae.settings.complete import complete
from dvae.tasks import TASKS
from programs import QUICK, ROOT

# A training in a process of its own, which tells what it was said to take and its largest resident memory, bytes.
PROGRAM = """
import dvae.quiet
import json, resource, sys
from dvae.runs.training_run import train
from dvae.runs.voice import Voice
from dvae.runs.footprint import Footprint
from dvae.settings.complete import complete
said = []
of = Footprint.of
def watched(task, **given):
    said.append(of(task, **given))
    return said[-1]
Footprint.of = watched
train(complete(json.loads(sys.argv[1])), voice=Voice(lambda _: None))
print(json.dumps([said[0].peak, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""


def footprint(**settings):
    config = complete({"dataset": "bars_and_stripes", "model": "dvaess"} | settings)
    return Footprint.of(TASKS[config.objective](config, data.load_dataset(config.dataset, config.data_dir)))


def test_a_run_says_what_it_takes(monkeypatch):
    """In one line, what there is of it; and a remark where that is more than is free."""
    monkeypatch.setattr(memory, "available", lambda: 3 * 2**30)
    small = footprint()
    told = small.described()
    assert told.startswith("memory: about 2.")
    assert all(part in told for part in ("data", "weights", "chains", "population", "a step", "an evaluation"))
    assert told.endswith("; 3.0 GiB are free")
    assert "\n" not in told
    config = complete({"dataset": "bars_and_stripes", "objective": "mcmc"})
    task = TASKS[config.objective](config, data.load_dataset(config.dataset, config.data_dir))
    assert "a step" in Footprint.of(task).described()
    assert small.remark(task) is None
    remark = footprint(num_latents=1000, batch_size=400).remark(task)
    assert "of memory, 3.0 GiB are free: it may be ended by the system" in str(remark)


def test_replicas_of_one_process_each_have_a_state():
    config = runs.small_config(model="dvaess")
    task = TASKS[config.objective](config, data.load_dataset(config.dataset, config.data_dir))
    one, two, far = (Footprint.of(task, num_local=local, num_replicas=num) for local, num in ((1, 1), (2, 2), (1, 2)))
    assert (two.weights, two.chains, two.step) == (2 * one.weights, 2 * one.chains, one.step)
    assert (far.weights, far.step) == (one.weights, one.step // 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"model": "dvaess", "num_latents": 200},
        {"model": "dvaess", "num_latents": 400, "batch_size": 200},
        {"model": "pwl", "num_latents": 200, "objective": "iw", "num_samples": 25, "batch_size": 200},
    ],
    ids=str,
)
def test_the_peak_of_a_run_is_what_was_said(tmp_path, settings):
    """Between half of it and a quarter more; examples of MNIST's size, an evaluation in whole blocks."""
    rows = (np.random.default_rng(0).random([2000, 784]) < 0.2).astype(np.uint8)
    np.savez(tmp_path / "images.npz", train=rows, valid=rows[:200], test=rows[:50])
    quick = dict(argument.removeprefix("--").split("=") for argument in QUICK if "=" in argument)
    kept = ("num_steps", "report_every", "eval_every", "checkpoint_every", "valid_pictures", "test_examples")
    given = {name: int(quick[name]) for name in kept} | {"dataset": str(tmp_path / "images.npz")} | settings
    given |= {"log_dir": str(tmp_path / "run"), "valid_examples": 200, "valid_samples": 100}
    given |= {"test_samples": 400, "test_temperatures": 5, "valid_temperatures": 5}
    given |= {"valid_log_z_temperatures": 20, "test_log_z_temperatures": 20}
    completed = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(given)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stderr
    said, taken = json.loads(completed.stdout.splitlines()[-1])
    assert 0.5 * said < taken < 1.25 * said
