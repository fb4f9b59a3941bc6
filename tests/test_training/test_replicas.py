"""A step that is shared: the same as one device's, the same on all replicas, and each row of one replica.

In processes of their own, since devices are chosen before TensorFlow is used.
"""

import json

import numpy as np
import pytest

import runs
import shared_training
import workers
from dvae.errors import UserError
from dvae.training.replicas import Replicas

STEPS = 4
PROGRAM = workers.HELPERS / "shared_training.py"
MIRRORED = {"strategy": "mirrored", "num_devices": 2}
SYNCHRONISED = {"batch_norm_statistics": "synchronised"}


def shared(folder, settings, num_processes=1, num_replicas=2):
    """What came of it, by replica; see `shared_training`."""
    processes = workers.start(PROGRAM, [json.dumps(settings), STEPS, folder], num_processes)
    for status, _, said in workers.finish(processes):
        assert status == 0, said
    return [dict(np.load(folder / f"{number}.npz")) for number in range(num_replicas)]


def expect_as_one_device(found, settings):
    """Metrics of every step to 1e-5 (they were right to 2e-6: some roundings of 12 nats), and every bit of a chain."""
    alone = {name: value for name, value in settings.items() if name not in ("strategy", "num_devices")}
    trainer, metrics = shared_training.trained(runs.small_config(**alone), STEPS)
    np.testing.assert_allclose(found[0]["metrics"], metrics, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(found[0]["chains"], trainer.state.chains.table.numpy())


def expect_the_same_everywhere(found, batch_size=16):
    """All of the state bit for bit, and metrics; and every row of a batch is of one replica."""
    for other in found[1:]:
        for name, value in found[0].items():
            np.testing.assert_array_equal(other[name], value, err_msg=name)
    owners = np.repeat(np.arange(len(found)) + 1, batch_size // len(found))
    np.testing.assert_array_equal(found[0]["owners"], owners)


def test_two_devices_train_as_one(tmp_path):
    """With batch normalisation, synchronised."""
    settings = {"objective": "mcmc", "hidden_layers": 1} | MIRRORED | SYNCHRONISED
    found = shared(tmp_path, settings)
    expect_the_same_everywhere(found)
    expect_as_one_device(found, settings)


def test_two_processes_train_as_one(tmp_path):
    settings = {"objective": "mcmc", "hidden_layers": 0, "strategy": "multi_worker"}
    found = shared(tmp_path, settings, num_processes=2)
    expect_the_same_everywhere(found)
    expect_as_one_device(found, settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["dvaess", "dvaess-iw", "dvaess-structured-term-1", "dvaes_gauss_int-iw", "pwl-structured", "mcmc"]
)
@pytest.mark.parametrize("strategy", ["mirrored", "multi_worker"])
def test_every_kind_trains_as_one_device(tmp_path, name, strategy):
    """Normalised couplings, weighted samples, replicates, two losses, networks that sampling runs, and none of q."""
    devices = MIRRORED if strategy == "mirrored" else {"strategy": strategy}
    settings = {"hidden_layers": 2} | runs.CASES[name] | SYNCHRONISED | devices
    found = shared(tmp_path, settings, num_processes=1 if strategy == "mirrored" else 2)
    expect_the_same_everywhere(found)
    expect_as_one_device(found, settings)


@pytest.mark.slow
@pytest.mark.parametrize("num_devices", [2, 4])
def test_statistics_of_replicas(tmp_path, num_devices):
    """Each with its own: replicas end with the same bits, which are not those of one device."""
    settings = {"model": "pwl", "hidden_layers": 1} | MIRRORED | {"num_devices": num_devices}
    found = shared(tmp_path, settings, num_replicas=num_devices)
    expect_the_same_everywhere(found)
    _, metrics = shared_training.trained(runs.small_config(model="pwl", hidden_layers=1), STEPS)
    assert np.abs(found[0]["metrics"] - metrics).max() > 1e-3


@pytest.mark.parametrize(
    ("num", "batch_size", "rule"),
    [(3, 16, "must be divisible by the number of replicas .3."), (16, 16, "must be at least 2 for each replica .32")],
)
def test_a_batch_must_be_divisible(num, batch_size, rule):
    replicas = Replicas()
    replicas.num = num
    with pytest.raises(UserError, match=f"batch_size={batch_size}: {rule}"):
        replicas.check_batch(batch_size)
    Replicas().check_batch(3)
