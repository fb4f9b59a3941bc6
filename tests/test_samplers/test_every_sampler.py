"""What every sampler that moves chains must do: the list that other packages' samplers are put through too.

A move is a function of (machines, left, seed, sweeps) to the next left; each sampler is put behind it once.
"""

import functools
import typing

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import mcmc

import reference
from dvae.training import conformance
from dvae.training.conformance import MOVE_CHECKS, SAMPLER_CHECKS, Demands, Move
from dvae.training.prior_sampler import PriorSampler
from machines import as_rbm
from samplers import gibbs, parallel_tempering, pcd, population_annealing
from samplers.dimod_bridge import DimodInfo, DimodSampler, find_sampler
from samplers.parallel_tempering import TemperedInfo, TemperedState
from samplers.persistent_chains import PersistentInfo, uniform_log_z
from samplers.rbm import RBM
from samplers.transition_kernel import BlockGibbs

N, M = 3, 2
NUM_LEVELS = 3
BATCHES = (), (2,), (2, 3)
OURS = Demands(batches=BATCHES, dtypes=(tf.float32, tf.float64))


def swept(rbm, left, seed, num_sweeps):
    return gibbs.sweep(rbm, left, seed, num_sweeps=tf.constant(num_sweeps)).left


def by_kernel(rbm, left, seed, num_sweeps):
    kernel = BlockGibbs(rbm, num_sweeps=num_sweeps)
    return mcmc.sample_chain(1, left, kernel=kernel, trace_fn=None, seed=seed)[0]


def tempered(rbm, left):
    """Hot replicas from their own distributions: sweeps of the tempered machines, which are hot and mix fast."""
    hot = []
    for number, beta in enumerate(np.linspace(1, 0, NUM_LEVELS)[1:]):
        machine = RBM(*(tf.cast(beta, parameter.dtype) * parameter for parameter in rbm))
        hot.append(swept(machine, left, tf.constant([number, 99]), 30))
    return TemperedState(left, tf.stack(hot), rbm, uniform_log_z(rbm))


def of_dwave(name):
    sampler = DimodSampler(find_sampler(f"dwave.samplers.{name}"))
    return PriorSampler(sampler.initial_state, sampler.step, DimodInfo._fields, compiled=False)


SAMPLERS = {
    "pcd": PriorSampler(pcd.initial_state, pcd.step, PersistentInfo._fields),
    "population_annealing": PriorSampler(
        population_annealing.initial_state, population_annealing.step, PersistentInfo._fields
    ),
    "parallel_tempering": PriorSampler(
        functools.partial(parallel_tempering.initial_state, num_levels=NUM_LEVELS),
        parallel_tempering.step,
        TemperedInfo._fields,
    ),
    "simulated_annealing": of_dwave("SimulatedAnnealingSampler"),
    "tree_decomposition": of_dwave("TreeDecompositionSampler"),
}
# A binary quadratic model is one machine; the levels of tempered ones take their time.
DEMANDS = {
    "simulated_annealing": Demands(),
    "tree_decomposition": Demands(),
    "parallel_tempering": Demands(batches=((2, 3),), dtypes=(tf.float32, tf.float64)),
}


class MoveCase(typing.NamedTuple):
    move: Move
    demands: Demands = OURS


MOVES = {"gibbs": MoveCase(swept), "tfp_kernel": MoveCase(by_kernel)} | {
    name: MoveCase(
        conformance.move_of(sampler, tempered if name == "parallel_tempering" else None), DEMANDS.get(name, OURS)
    )
    for name, sampler in SAMPLERS.items()
}
PERSISTENT = ("pcd", "population_annealing", "parallel_tempering")


@pytest.mark.parametrize("check", MOVE_CHECKS)
@pytest.mark.parametrize("case", MOVES.values(), ids=MOVES)
def test_every_move(case, check):
    check(case.move, case.demands)


@pytest.mark.parametrize("check", SAMPLER_CHECKS)
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler(name, check):
    check(SAMPLERS[name], DEMANDS.get(name, OURS))


@pytest.mark.parametrize("name", PERSISTENT)
@pytest.mark.parametrize("batch", BATCHES, ids=str)
def test_persistent_samplers_reweight_every_machine(name, batch):
    """`log_z += log mean exp(F_old - F_new)` over the chains at beta = 1, in each machine of a batch by itself."""
    old, new = reference.machine(0, N, M, batch=batch), reference.machine(1, N, M, batch=batch)
    sampler = SAMPLERS[name]
    state = sampler.initial_state(as_rbm(old), num_chains=40, seed=tf.constant([0, 0]))._replace(rbm=as_rbm(old))
    after, info = sampler.step(as_rbm(new), state, tf.constant([0, 0]), num_sweeps=2)
    for index in np.ndindex(*batch):
        machines = reference.member(old, index), reference.member(new, index)
        growth = [np.subtract(*(reference.free_energy(m, s) for m in machines)) for s in state.left.numpy()[:, *index]]
        weights = np.exp(growth)
        np.testing.assert_allclose(after.log_z[index], state.log_z[index] + np.log(weights.mean()), rtol=1e-6)
        np.testing.assert_allclose(
            info.effective_sample_size[index], weights.sum() ** 2 / np.sum(weights**2), rtol=1e-4
        )


# The list itself.


def test_the_list_expects_what_loops_over_all_states_give():
    machine = reference.machine(4, N, M)
    np.testing.assert_allclose(conformance.left_probabilities(*machine), reference.p_left(machine), rtol=1e-12)
    np.testing.assert_array_equal(conformance.all_states(N), reference.all_states(N))
    p, wrong = reference.p_left(machine), reference.p_left((machine[0] + 0.1, *machine[1:]))
    assert conformance._power(900, p, wrong, 1e-3) == reference.chi_squared_power(900, p, wrong, 1e-3)


def of_other_machine(rbm, left, seed, num_sweeps):
    return swept(rbm._replace(bias_left=rbm.bias_left + 0.1), left, seed, num_sweeps)


def stuck(rbm, left, seed, num_sweeps):
    return left


def slow(rbm, left, seed, num_sweeps):
    """One unit in ten is moved."""
    moves = np.random.default_rng(seed.numpy()).uniform(size=left.shape) < 0.01
    return tf.where(moves, swept(rbm, left, seed, num_sweeps), left)


def deaf(rbm, left, seed, num_sweeps):
    return swept(rbm, left, tf.constant([8, 8]), num_sweeps)


@pytest.mark.parametrize(
    ("move", "check"),
    [
        (of_other_machine, conformance.check_invariance),
        (of_other_machine, conformance.check_convergence),
        (stuck, conformance.check_invariance),
        (slow, conformance.check_convergence),
        (deaf, conformance.check_seeds_of_move),
    ],
)
def test_the_list_finds_a_wrong_move(move, check):
    with pytest.raises(AssertionError):
        check(move, Demands())


def test_the_list_demands_power():
    with pytest.raises(AssertionError, match=r"500 chains see an error of .* with probability 0"):
        conformance.check_invariance(swept, Demands(num_chains=500))
    conformance.check_invariance(swept, Demands(num_chains=1000, bias_error=0.5))


class NoFamilies(typing.NamedTuple):
    effective_sample_size: tf.Tensor


def grown(rbm, state, seed, *, num_sweeps):
    """With a state of another shape."""
    state, info = pcd.step(rbm, state, seed, num_sweeps=num_sweeps)
    return state._replace(left=tf.concat([state.left, state.left], 0)), info


def silent(rbm, state, seed, *, num_sweeps):
    state, info = pcd.step(rbm, state, seed, num_sweeps=num_sweeps)
    return state, NoFamilies(info.effective_sample_size)


def positional(rbm, state, seed, num_sweeps):
    return pcd.step(rbm, state, seed, num_sweeps=num_sweeps)


def unseeded(rbm, state, seed, *, num_sweeps):
    seed = tf.constant(np.random.default_rng().integers(0, 2**31, 2), tf.int32)
    return pcd.step(rbm, state, seed, num_sweeps=num_sweeps)


@pytest.mark.parametrize(
    ("step", "check", "message"),
    [
        (grown, conformance.check_state, "state: a step makes"),
        (silent, conformance.check_state, "info: "),
        (positional, conformance.check_signature, "signature: num_sweeps must be keyword-only"),
        (unseeded, conformance.check_seeds, "the same seed must draw the same numbers"),
    ],
)
def test_the_list_finds_a_wrong_sampler(step, check, message):
    sampler = PriorSampler(pcd.initial_state, step, PersistentInfo._fields, compiled=False)
    with pytest.raises(AssertionError, match=message):
        check(sampler, Demands())
    if step is unseeded:
        check(sampler, Demands(is_reproducible=False))
