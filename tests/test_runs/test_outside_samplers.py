"""Samplers of the prior from outside: a package with an entry point, D-Wave's solvers, and what may go wrong."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import dvae
import runs
from dvae.config import prior_samplers
from dvae.errors import UserError
from dvae.evaluation import saved_model
from dvae.settings import rules
from dvae.settings.complete import complete
from dvae.training.prior_sampler import PriorSampler
from programs import ROOT, run
from samplers import pcd
from samplers.persistent_chains import PersistentInfo
from samplers.rbm import RBM

ANNEALER = "dimod:dwave.samplers.SimulatedAnnealingSampler"
# What another package has in it: the sampler that docs/annealers.md shows.
[TEN_LINES] = [
    piece
    for piece in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "annealers.md").read_text(), re.DOTALL)
    if "def make(" in piece
]


def install(folder, entry_points, code=TEN_LINES):
    """What pip leaves of a package: its module, and the description that entry points are read from."""
    (folder / "ten_lines.py").write_text(code)
    described = folder / "ten_lines-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: ten-lines\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[dvae.prior_samplers]\n" + "\n".join(entry_points) + "\n")
    return folder


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs a package for this process."""

    def of(*entry_points, code=TEN_LINES):
        monkeypatch.syspath_prepend(str(install(tmp_path, entry_points, code)))
        monkeypatch.delitem(sys.modules, "ten_lines", raising=False)

    yield of
    sys.modules.pop("ten_lines", None)


def test_the_program_finds_a_package_of_ten_lines(tmp_path):
    """It shows it in its help, and names it where a name is wrong."""
    environment = os.environ | {"PYTHONPATH": str(install(tmp_path, ["numpy_gibbs = ten_lines:make"]))}

    def program(*flags):
        command = [sys.executable, str(ROOT / "run_training.py"), *flags]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    helped = program("--helpshort")
    assert "| numpy_gibbs | dimod:MODULE.NAME" in " ".join(helped.stdout.split())
    wrong = program("--prior_sampler=numpy_gibs")
    assert wrong.returncode == 2
    assert wrong.stderr == (
        "--prior_sampler=numpy_gibs: must be one of population_annealing, pcd, parallel_tempering, numpy_gibbs, "
        "dimod:MODULE.NAME\n"
    )


def test_it_trains(installed, tmp_path):
    """Up to the evaluation, which has no part in it; what the run notes, and its chains, which are independent."""
    installed("numpy_gibbs = ten_lines:make")
    config = runs.small_config(
        model="pwl", prior_sampler="numpy_gibbs", num_steps=20, report_every=5, eval_every=20, hidden_layers=0
    )
    training = runs.open_run(config, tmp_path / "run")
    runs.train_until(training, 20)
    noted = json.loads(training.directory.config_file.read_text())
    assert noted["settings"]["prior_sampler"] == "numpy_gibbs"
    lines = [json.loads(line) for line in training.directory.metrics_file.read_text().splitlines()]
    assert [line["step"] for line in lines] == [5, 10, 15]
    assert all(line["prior_effective_sample_size"] > 19 for line in lines)


def test_it_passes_the_list_of_checks(installed):
    installed("numpy_gibbs = ten_lines:make")
    assert prior_samplers()[3] == "numpy_gibbs"
    import ten_lines  # noqa: PLC0415

    lines = dvae.check_prior_sampler(ten_lines.make(None))
    assert len(lines) == 7
    assert "in a training's graph: called as Python" in lines
    assert "biases off by 0.1 would be seen with probability > 0.99" in lines[4]


@pytest.mark.parametrize(
    ("entry_points", "code", "message"),
    [
        (["numpy_gibbs = ten_lines:make"], "import no_such_module", "ten_lines:make could not be imported (ModuleNot"),
        (["numpy_gibbs = ten_lines:made"], TEN_LINES, "ten_lines:made could not be imported (AttributeError"),
        (["numpy_gibbs = ten_lines:make"], "make = str", "its package must make a PriorSampler, not a str"),
        (["pcd = ten_lines:make"], TEN_LINES, "must be one of population_annealing, pcd, parallel_tempering, dimod:"),
    ],
)
def test_what_is_wrong_with_a_package_is_one_line(installed, entry_points, code, message):
    """(One under a built-in name is not seen.)"""
    installed(*entry_points, code=code)
    with pytest.raises(UserError) as caught:
        complete({"prior_sampler": "numpy_gibbs"})
    assert str(caught.value).startswith(f"prior_sampler='numpy_gibbs': {message}")


def test_a_name_that_two_packages_offer_is_refused(installed):
    installed("numpy_gibbs = ten_lines:make", "numpy_gibbs = other:make")
    with pytest.raises(UserError, match=r"by one installed package; is by .*:make and .*:make"):
        complete({"prior_sampler": "numpy_gibbs"})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sampler_arguments": "{sweeps"}, "sampler_arguments='{sweeps': must be a JSON object"),
        ({"sampler_arguments": "[3]"}, "sampler_arguments='[3]': must be a JSON object"),
        ({"sampler_arguments": '{"sweeps": 3}'}, f"prior_sampler='{ANNEALER}': sweeps is no argument of Simulated"),
        (
            {"strategy": "mirrored"},
            f"prior_sampler='{ANNEALER}': is called as Python, and would draw another population",
        ),
        ({"prior_sampler": "dimod:dwave.samplers.None"}, "prior_sampler='dimod:dwave.samplers.None': dwave.samplers.N"),
        ({"sampler_beta": 0.0}, "sampler_beta=0.0: must be above 0"),
    ],
)
def test_mistakes_with_dimod(given, message):
    with pytest.raises(UserError) as caught:
        complete({"prior_sampler": ANNEALER} | given)
    assert str(caught.value).startswith(message)


def test_an_annealing_schedule_is_remarked():
    given = {"prior_sampler": ANNEALER, "sampler_arguments": "{}", "sampler_beta": 1.0}
    assert rules.remarks(given, complete(given)) == []
    given["sampler_arguments"] = '{"beta_schedule_type": "geometric"}'
    [line] = rules.remarks(given, complete(given))
    assert "SimulatedAnnealingSampler with beta_schedule_type is taken at its word" in line.on_command_line()
    with pytest.warns(UserWarning, match="must stay near 1"):
        dvae.configure(**given)


def test_a_resumed_run_of_an_annealer_ends_with_the_same_bits(tmp_path):
    """Killed at its last step before that is saved; then again, from the checkpoint before. Nothing is evaluated."""
    config = runs.small_config(
        model="pwl", prior_sampler=ANNEALER, num_steps=60, checkpoint_every=20, eval_every=60, hidden_layers=0
    )
    whole = runs.open_run(config, tmp_path)
    runs.train_until(whole, 60)
    resumed = runs.open_run(config, tmp_path)
    assert resumed.step == 40
    runs.train_until(resumed, 60)
    assert runs.weights_equal(resumed, [v.numpy() for v in whole.state.model.variables])
    np.testing.assert_array_equal(resumed.state.read_prior().left, whole.state.read_prior().left)


def test_a_sampler_that_fails_in_training_is_one_line(tmp_path, monkeypatch):
    calls = []

    def step(rbm, state, seed, *, num_sweeps):
        calls.append(num_sweeps)
        if len(calls) > 3:
            raise ConnectionError("the machine is gone")
        return pcd.step(rbm, state, seed, num_sweeps=num_sweeps)

    failing = PriorSampler(pcd.initial_state, step, PersistentInfo._fields, compiled=False)
    monkeypatch.setattr("dvae.tasks.task.prior_sampler", lambda config: failing)
    with pytest.raises(UserError, match=r"ConnectionError: the machine is gone\); the same") as caught:
        runs.open_run(runs.small_config(model="pwl", prior_sampler="pcd"), tmp_path / "run").train()
    assert isinstance(caught.value.__cause__, ConnectionError)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_an_annealer_trains_as_well_as_population_annealing(tmp_path, seed):
    """Bars and stripes, 1000 steps with 1000 particles and 10 sweeps: the exact NLL is no more than 0.1 nats above."""
    nll = {}
    for sampler in (ANNEALER, "population_annealing"):
        folder = tmp_path / str(len(nll))
        flags = (
            "--dataset=bars_and_stripes --model=pwl --num_steps=1000 --prior_sweeps=10 --noreport --eval_every=500 "
            "--valid_pictures=0 --test_samples=100 --valid_samples=50 --test_log_z_temperatures=2000"
        ).split()
        completed = run(
            "run_training.py", *flags, f"--prior_sampler={sampler}", f"--seed={seed}", f"--log_dir={folder}"
        )
        assert completed.returncode == 0, completed.stderr
        nll[sampler] = json.loads((folder / "results.json").read_text())["exact_nll"]
    assert nll[ANNEALER] < nll["population_annealing"] + 0.1


def test_the_exported_prior_is_a_binary_quadratic_model(tmp_path):
    """Of a prior that is learned in spins, too: its energies are the signature's."""
    config = runs.small_config(model="pwl", prior_spins=True, hidden_layers=0)
    run_of = runs.open_run(config, tmp_path / "run")
    rng = np.random.default_rng(0)
    for variable in run_of.state.model.prior.variables:
        variable.assign(rng.normal(size=variable.shape))
    functions = {name: run_of.functions[name] for name in ("prior_energy", "prior_parameters", "log_prob_of_pairs")}
    origin = {"settings": vars(config), "checksum": run_of.dataset.checksum, "step": 0, "seconds": 0.0}
    saved_model.save(run_of.directory.saved_model, run_of.state.model, functions, None, origin=origin)
    run_of.directory.release()
    z = rng.integers(0, 2, [20, 8]).astype(np.float32)
    energies = tf.saved_model.load(str(run_of.directory.saved_model)).signatures["prior_energy"](z=tf.constant(z))
    for given in ({"log_dir": tmp_path / "run"}, {"saved_model": run_of.directory.saved_model}):
        for vartype, states in (("BINARY", z), ("SPIN", 2 * z - 1)):
            bqm = dvae.prior_bqm(**given, vartype=vartype)
            np.testing.assert_allclose(bqm.energies(states), energies["energy"], atol=1e-5)
    assert isinstance(dvae.prior_rbm(tmp_path / "run"), RBM)
