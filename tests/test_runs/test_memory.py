"""What does not fit into memory is refused before anything is made, with the number of bytes."""

import re
import zipfile

import numpy as np
import pytest

import runs
from dvae import data, memory
from dvae.data import headers
from dvae.errors import UserError
from dvae.runs.needs import check_memory, needs
from dvae.settings.complete import complete
from dvae.tasks import TASKS


def task_of(**settings):
    config = complete({"dataset": "bars_and_stripes", "model": "pwl", **settings})
    return TASKS[config.objective](config, data.load_dataset(config.dataset, config.data_dir))


def test_what_is_free_is_told():
    """More than this process has taken of nothing, and no more than any machine has."""
    assert 2**20 < memory.available() < 2**50
    assert memory.too_much(2**60).startswith("needs about 1,073,741,824.0 GiB of memory, ")
    assert memory.too_much(1) is None


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("num_latents", 2 * 10**7),
        ("hidden_units", 10**7),
        ("num_particles", 2**31 - 1),
        ("log_z_chains", 2**31 - 1),
        ("test_log_z_temperatures", 2**31 - 1),
    ],
)
def test_settings_that_cannot_fit_are_refused(monkeypatch, setting, value):
    monkeypatch.setattr(memory, "available", lambda: 8 * 2**30)
    with pytest.raises(UserError, match=rf"^{setting}={value}: the run needs about [\d,.]+ GiB of memory, 8.0 GiB are"):
        check_memory(task_of(**{setting: value}))


def test_a_container_has_a_limit_of_its_own(tmp_path):
    """What is used less the files that give way; `max` is none."""
    for name, text in (("memory.max", "1000\n"), ("memory.current", "700\n"), ("memory.stat", "anon 1\nfile_in 300\n")):
        (tmp_path / name).write_text(text)
    container = (tmp_path, "memory.max", "memory.current", "file_in")
    assert memory._free_in_a_container(*container) == 600
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._free_in_a_container(*container) is None
    assert memory._free_in_a_container(tmp_path / "none", *container[1:]) is None


def test_parallel_tempering_counts_its_levels(monkeypatch):
    one, ten = (
        needs(task_of(prior_sampler="parallel_tempering", tempering_levels=levels))["num_particles"]
        for levels in (10, 100)
    )
    assert ten == 10 * one


@pytest.mark.parametrize("name", ["dvaess", "pwl-2-groups", "dvaes_gauss-2-groups", "mcmc", "dvaess-structured"])
def test_the_need_of_weights_is_no_less_and_little_more_than_what_a_model_has(name):
    """A float and its gradient, moments and best value for each weight: biases and normalisation are left out."""
    config = runs.small_config(**runs.CASES[name], hidden_layers=2)
    task = TASKS[config.objective](config, data.load_dataset(config.dataset, config.data_dir))
    variables = task.new_model().trainable_variables
    kernels = sum(int(np.prod(v.shape)) for v in variables if len(v.shape) == 2)
    found = (needs(task)["hidden_units"] + needs(task)["num_latents"]) / 20
    assert 0.7 * kernels < found <= sum(int(np.prod(v.shape)) for v in variables) * 1.3


def test_a_small_archive_of_large_arrays_is_refused_unread(tmp_path, monkeypatch):
    """100 MB of zeros in 100 kB; and a header that says more than the archive holds."""
    path = tmp_path / "bomb.npz"
    small = np.zeros((5, 1000), np.uint8)
    np.savez_compressed(path, train=np.zeros((100_000, 1000), np.uint8), valid=small, test=small)
    assert path.stat().st_size < 2**20
    monkeypatch.setattr(memory, "available", lambda: 2**29)
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(UserError, match=r"bomb.npz: needs about 953.7 MiB of memory, 512.0 MiB are free"):
        data.load_dataset(str(path), tmp_path)


def test_sizes_that_disagree_are_refused(tmp_path):
    path = tmp_path / "lies.npz"
    rows = np.zeros((5, 16), np.uint8)
    np.savez(tmp_path / "good.npz", train=rows, valid=rows, test=rows)
    with zipfile.ZipFile(tmp_path / "good.npz") as good, zipfile.ZipFile(path, "w") as made:
        for name in good.namelist():
            content = good.read(name)
            made.writestr(name, content.replace(b"(5, 16)", b"(9, 99)") if name == "train.npy" else content)
    with pytest.raises(UserError, match=r"array train says 891 bytes, the archive 208"):
        data.load_dataset(str(path), tmp_path)
    wanted = headers.of_archive(tmp_path / "good.npz", ["train"])
    assert (wanted["train"].num_bytes, wanted["valid"]) == (80, None)


def test_counts_have_an_end():
    for name in ("hidden_layers", "num_groups", "num_relaxed_sweeps"):
        with pytest.raises(UserError, match=re.escape(f"{name}=1001: must be at most 1000")):
            complete({name: 1001, "model": "pwl"})
