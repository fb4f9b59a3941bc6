"""RBMs as dimod's models and back, and dimod's samplers behind a training, with D-Wave's own solvers."""

import subprocess
import sys

import dimod
import numpy as np
import pytest
import tensorflow as tf
from dwave.samplers import SimulatedAnnealingSampler, TreeDecompositionSampler

import reference
from machines import as_rbm
from programs import ROOT
from samplers import dimod_bridge
from samplers.dimod_bridge import DimodSampler, find_sampler, from_bqm, to_bqm
from samplers.log_partition import exact_log_z

N, M = 3, 2
MACHINE = reference.machine(7, N, M)
ZERO, SEED = as_rbm(tuple(0 * parameter for parameter in MACHINE)), tf.constant([1, 2])
GEOMETRIC = {"beta_schedule_type": "geometric"}


@pytest.mark.parametrize("vartype", ["BINARY", "SPIN"])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_energies_agree_and_log_z_by_exact_solver(vartype, scale):
    """Every state's energy, as loops in NumPy give it; dimod's own enumeration for log Z."""
    machine = reference.machine(7, N, M, scale=scale)
    bqm = to_bqm(as_rbm(machine, tf.float64), vartype=vartype)
    assert (bqm.vartype.name, list(bqm.variables)) == (vartype, list(range(N + M)))
    for left in reference.all_states(N):
        for right in reference.all_states(M):
            z = np.concatenate([left, right])
            energy = bqm.energy(z if vartype == "BINARY" else 2 * z - 1)
            assert energy == pytest.approx(reference.energy(machine, left, right), abs=1e-5)
    energies = dimod.ExactSolver().sample(bqm).record.energy
    log_z = -energies.min() + np.log(np.exp(energies.min() - energies).sum())
    assert log_z == pytest.approx(float(exact_log_z(as_rbm(machine, tf.float64))), abs=1e-9)


@pytest.mark.parametrize("vartype", ["BINARY", "SPIN"])
def test_there_and_back_again(vartype):
    found = from_bqm(to_bqm(as_rbm(MACHINE, tf.float64), vartype=vartype), left=range(N))
    for got, wanted in zip(found.rbm, MACHINE, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-12)
    assert found.offset == pytest.approx(0, abs=1e-12)


def test_a_model_of_other_labels_becomes_a_machine():
    """Energies of all states, with an offset, sides that are mixed in the model, and a coupling that is missing."""
    bqm = dimod.BinaryQuadraticModel({"a": 0.5, "p": -1.0, "b": 0.25, "q": 2.0}, {"pa": -1.5, "bq": 0.75}, 3.0, "SPIN")
    machine = from_bqm(bqm, left="ab", right="qp")
    for state in reference.all_states(4):
        left, right = state[:2], state[2:]
        spins = dict(zip("abqp", 2 * state - 1, strict=True))
        energy = float(machine.rbm.energy(left, right)) + machine.offset
        assert energy == pytest.approx(bqm.energy(spins), abs=1e-12)


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        ("ap", "bq", "'p' and 'a': coupled, so they must be on different sides|'a' and 'p': coupled"),
        ("ab", "p", "must have each variable of the model once"),
        ("ab", "pqa", "must have each variable of the model once"),
        ("abx", "pq", "must have each variable of the model once"),
    ],
)
def test_a_model_without_two_sides_is_refused(left, right, message):
    bqm = dimod.BinaryQuadraticModel({"a": 0.5, "p": -1.0, "b": 0.25, "q": 2.0}, {"pa": -1.5, "bq": 0.75}, 3.0, "SPIN")
    with pytest.raises(ValueError, match=message):
        from_bqm(bqm, left=left, right=right)


def test_a_batch_of_machines_is_refused():
    with pytest.raises(ValueError, match="must be one machine, not a batch"):
        to_bqm(as_rbm(reference.machine(0, N, M, batch=(2,))))


# Samplers (the list of test_every_sampler.py has two of them as well).


def test_a_default_schedule_optimises_and_is_found_out():
    """The trap: of simulated annealing's own schedule all means are 0 or 1; of the bridge's they are p(z)'s.

    2000 exact means lie within 4.4 standard errors each with probability 1 - 5e-5.
    """
    rbm, wanted = as_rbm(MACHINE), reference.p_left(MACHINE) @ reference.all_states(N)
    found = {}
    for name, arguments in {"ours": {}, "own": GEOMETRIC}.items():
        sampler = DimodSampler(SimulatedAnnealingSampler(), arguments=arguments)
        state = sampler.initial_state(rbm, num_chains=2000, seed=SEED)
        found[name] = sampler.step(rbm, state, SEED, num_sweeps=100)
        assert (sampler.remark is None) == (name == "ours")
    state, info = found["ours"]
    assert np.all(np.abs(reference.z_score(state.left.numpy(), wanted)) < reference.z_limit(1e-5))
    assert float(info.effective_beta) == pytest.approx(1, abs=0.15)
    state, info = found["own"]
    assert set(np.mean(state.left, axis=0)) <= {0.0, 1.0}
    assert float(info.effective_beta) > 5


class Cold(dimod.Sampler):
    """A stand-in for hardware: draws at beta = 4, counts equal states together, and names units backwards."""

    parameters = {"num_reads": [], "seed": []}  # noqa: RUF012
    properties = {}  # noqa: RUF012

    def sample(self, bqm, num_reads, seed):
        drawn = TreeDecompositionSampler().sample(bqm, beta=4.0, num_reads=num_reads, seed=seed)
        backwards = drawn.record.sample[:, ::-1], list(drawn.variables)[::-1]
        energy = drawn.record.energy
        return dimod.SampleSet.from_samples(backwards, "BINARY", energy, aggregate_samples=True, sort_labels=False)


def test_energies_are_divided_by_the_temperature_of_hardware():
    """5000 exact draws; an effective beta that is off by a factor of 4 would be seen."""
    rbm, betas = as_rbm(MACHINE), {}
    for beta in (1.0, 4.0):
        sampler = DimodSampler(Cold(), beta=beta)
        state = sampler.initial_state(rbm, num_chains=5000, seed=SEED)
        state, info = sampler.step(rbm, state, SEED, num_sweeps=1)
        assert state.left.shape == [5000, N]
        betas[beta] = float(info.effective_beta)
    assert betas[1.0] == pytest.approx(4, rel=0.15)
    assert betas[4.0] == pytest.approx(1, rel=0.15)
    assert "Cold is taken at its word" in sampler.remark


class Echo(dimod.Sampler):
    """Gives back where it is to start from."""

    parameters = {"num_reads": [], "initial_states": []}  # noqa: RUF012
    properties = {}  # noqa: RUF012

    def sample(self, bqm, num_reads, initial_states):
        return dimod.SampleSet.from_samples_bqm(initial_states, bqm)


def test_chains_of_a_sampler_that_takes_initial_states_go_on():
    rbm, sampler = as_rbm(MACHINE), DimodSampler(Echo())
    state = sampler.initial_state(rbm, num_chains=9, seed=SEED)
    after, _ = sampler.step(rbm, state, tf.constant([3, 4]), num_sweeps=1)
    assert len(np.unique(np.concatenate([state.left, state.right], axis=1), axis=0)) > 2
    np.testing.assert_array_equal(after.left, state.left)
    np.testing.assert_array_equal(after.right, state.right)


def test_log_z_is_carried_by_the_states_of_before():
    old, new = (as_rbm(reference.machine(seed, N, M)) for seed in (0, 1))
    sampler = DimodSampler(TreeDecompositionSampler())
    state = sampler.initial_state(old, num_chains=40, seed=SEED)._replace(rbm=old)
    after, info = sampler.step(new, state, SEED, num_sweeps=1)
    growth = [
        reference.free_energy(reference.machine(0, N, M), s) - reference.free_energy(reference.machine(1, N, M), s)
        for s in state.left.numpy()
    ]
    weights = np.exp(growth)
    np.testing.assert_allclose(after.log_z, state.log_z + np.log(weights.mean()), rtol=1e-6)
    np.testing.assert_allclose(info.effective_sample_size, weights.sum() ** 2 / np.sum(weights**2), rtol=1e-4)


@pytest.mark.parametrize(
    ("sampler", "arguments", "message"),
    [
        (
            SimulatedAnnealingSampler,
            {"sweeps": 3},
            "sweeps is no argument of SimulatedAnnealingSampler: must be",
        ),
        (SimulatedAnnealingSampler, {"seed": 3}, "seed is given by training in every step: must be left out"),
        (SimulatedAnnealingSampler, {"beta_schedule_type": "x"}, "SimulatedAnnealingSampler failed .ValueError: "),
        (dimod.ExactSolver, {}, "ExactSolver gave 32 states where 7 were asked for: must be a sampler that takes"),
    ],
)
def test_what_a_sampler_cannot_do_is_said_at_the_start(sampler, arguments, message):
    with pytest.raises(ValueError, match=message):
        DimodSampler(sampler(), arguments=arguments).initial_state(ZERO, num_chains=7, seed=SEED)


def test_beta_is_checked():
    with pytest.raises(ValueError, match="beta = 0"):
        DimodSampler(SimulatedAnnealingSampler(), beta=0.0)


COLD = Cold()


def offline():
    raise ConnectionError("no such machine")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_package.Sampler", "must be the path of a dimod sampler that can be imported .No module named"),
        ("Sampler", "must be the path of a dimod sampler"),
        ("dwave.samplers.NoSampler", "has no attribute 'NoSampler'"),
        ("math.pi", "must be a dimod.Sampler"),
        ("stand_ins.offline", r"could not be made \(ConnectionError: no such machine\)"),
    ],
)
def test_samplers_are_found_by_their_path(path, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "stand_ins", sys.modules[__name__])
    with pytest.raises(ValueError, match=message):
        find_sampler(path)
    assert find_sampler("stand_ins.COLD") is COLD
    assert isinstance(find_sampler("stand_ins.Cold"), Cold)
    assert isinstance(find_sampler("dwave.samplers.SimulatedAnnealingSampler"), SimulatedAnnealingSampler)


def test_without_the_extra_there_is_one_clear_line(tmp_path):
    """In an interpreter where dimod cannot be imported."""
    code = (
        "import sys; sys.modules['dimod'] = None\n"
        "import dvae\n"
        "try: dvae.configure(prior_sampler='dimod:dwave.samplers.SimulatedAnnealingSampler')\n"
        "except dvae.UserError as error: print(error.on_command_line())"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert found.stdout.startswith("--prior_sampler=dimod:dwave.samplers.SimulatedAnnealingSampler: dimod is not")
    assert "pip install 'discrete-vae[dwave]'" in found.stdout
    assert found.stdout.count("\n") == 1
    assert dimod_bridge.dimod is dimod
