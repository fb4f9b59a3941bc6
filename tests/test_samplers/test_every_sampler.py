"""What every sampler that moves chains must do, as one list: signature, seeds, shapes, types, the right distribution.

A move is a function of (machines, left, seed) to the next left; each sampler is put behind it once, in `MOVES`.
"""

import functools
import inspect

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import mcmc

import reference
from machines import as_rbm
from samplers import gibbs, parallel_tempering, pcd, population_annealing
from samplers.parallel_tempering import TemperedState
from samplers.persistent_chains import PersistentState, number_chains, uniform_log_z
from samplers.rbm import RBM
from samplers.transition_kernel import BlockGibbs

N, M = 3, 2
NUM_CHAINS = 20_000
NUM_LEVELS = 3
LEVEL = 1e-5  # false-failure rate of one test
BATCHES = (), (2,), (2, 3)
PERSISTENT = {"pcd": pcd, "population_annealing": population_annealing, "parallel_tempering": parallel_tempering}


def swept(rbm, left, seed, num_sweeps):
    return gibbs.sweep(rbm, left, seed, num_sweeps=tf.constant(num_sweeps)).left


def by_kernel(rbm, left, seed, num_sweeps):
    kernel = BlockGibbs(rbm, num_sweeps=num_sweeps)
    return mcmc.sample_chain(1, left, kernel=kernel, trace_fn=None, seed=seed)[0]


def persistent(step):
    def move(rbm, left, seed, num_sweeps):
        state = PersistentState(left, rbm, uniform_log_z(rbm), number_chains(left))
        return step(rbm, state, seed, num_sweeps=num_sweeps)[0].left

    return move


def tempered(rbm, left, seed, num_sweeps):
    """Hot replicas from their own distributions: sweeps of the tempered machines, which are hot and mix fast."""
    hot = []
    for number, beta in enumerate(np.linspace(1, 0, NUM_LEVELS)[1:]):
        machine = RBM(*(tf.cast(beta, parameter.dtype) * parameter for parameter in rbm))
        hot.append(swept(machine, left, tf.constant([number, 99]), 100))
    state = TemperedState(left, tf.stack(hot), rbm, uniform_log_z(rbm))
    return parallel_tempering.step(rbm, state, seed, num_sweeps=num_sweeps)[0].left


MOVES = {
    "gibbs": swept,
    "tfp_kernel": by_kernel,
    "pcd": persistent(pcd.step),
    "population_annealing": persistent(population_annealing.step),
    "parallel_tempering": tempered,
}
every_move = pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)


def exact_states(machines, batch, num_chains):
    """Independent draws of p(left), `[num_chains, *batch, N]`."""
    rng, states = np.random.default_rng(1), np.zeros([num_chains, *batch, N])
    for index in np.ndindex(*batch):
        p = reference.p_left(reference.member(machines, index))
        states[:, *index] = reference.all_states(N)[rng.choice(len(p), size=num_chains, p=p)]
    return states


def assert_distributed_as(machines, batch, left):
    """Chi-squared of the left states of every machine, at LEVEL together; 10 % in one bias would be seen."""
    level = LEVEL / max(1, np.prod(batch))
    for index in np.ndindex(*batch):
        machine = reference.member(machines, index)
        p, wrong = reference.p_left(machine), reference.p_left((machine[0] + 0.1, *machine[1:]))
        counts = np.bincount(reference.state_number(left[:, *index]), minlength=2**N)
        assert reference.chi_squared_p_value(counts, p) > level
        assert reference.chi_squared_power(len(left), p, wrong, level) > 0.99


def test_persistent_samplers_have_one_signature():
    for sampler in PERSISTENT.values():
        assert [*inspect.signature(sampler.initial_state).parameters][:3] == ["rbm", "num_chains", "seed"]
        parameters = inspect.signature(sampler.step).parameters.values()
        assert [parameter.name for parameter in parameters] == ["rbm", "state", "seed", "num_sweeps"]
        assert [parameter.kind.name for parameter in parameters][-1] == "KEYWORD_ONLY"


@every_move
@pytest.mark.parametrize("dtype", [tf.float32, tf.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("batch", BATCHES, ids=str)
def test_leaves_the_distribution_invariant(move, batch, dtype):
    """Exact samples stay exact samples, and do move."""
    machines = reference.machine(21, N, M, batch=batch)
    start = exact_states(machines, batch, NUM_CHAINS)
    left = move(as_rbm(machines, dtype), tf.constant(start, dtype), tf.constant([1, 2]), 2)
    assert (left.dtype, left.shape) == (dtype, [NUM_CHAINS, *batch, N])
    assert np.mean(np.any(left != start, axis=-1)) > 0.4
    assert_distributed_as(machines, batch, left.numpy())


@every_move
def test_finds_the_distribution(move):
    """From all units off, after 30 sweeps: what stays where it is, or goes elsewhere, is found out."""
    machines = reference.machine(21, N, M, batch=(2,))
    left = move(as_rbm(machines), tf.zeros([NUM_CHAINS, 2, N]), tf.constant([3, 2]), 30)
    assert_distributed_as(machines, (2,), left.numpy())


@every_move
def test_same_seed_same_states_other_seed_other_states(move):
    rbm, start = as_rbm(reference.machine(0, N, M)), tf.zeros([200, N])
    one, same, other, neighbour = (
        move(rbm, start, tf.constant(seed), 2).numpy() for seed in ([5, 6], [5, 6], [6, 6], [5, 7])
    )
    np.testing.assert_array_equal(one, same)
    assert np.any(one != other)
    assert np.any(one != neighbour)


@pytest.mark.parametrize("sampler", PERSISTENT.values(), ids=PERSISTENT)
@pytest.mark.parametrize("batch", BATCHES, ids=str)
def test_persistent_samplers_reweight_every_machine(sampler, batch):
    """`log_z += log mean exp(F_old - F_new)` over the chains at beta = 1, in each machine of a batch by itself."""
    old, new = reference.machine(0, N, M, batch=batch), reference.machine(1, N, M, batch=batch)
    if sampler is parallel_tempering:
        initial_state = functools.partial(parallel_tempering.initial_state, num_levels=NUM_LEVELS)
    else:
        initial_state = sampler.initial_state
    state = initial_state(as_rbm(old), num_chains=40, seed=tf.constant([0, 0]))._replace(rbm=as_rbm(old))
    after, info = sampler.step(as_rbm(new), state, tf.constant([0, 0]), num_sweeps=2)
    for index in np.ndindex(*batch):
        machines = reference.member(old, index), reference.member(new, index)
        growth = [np.subtract(*(reference.free_energy(m, s) for m in machines)) for s in state.left.numpy()[:, *index]]
        weights = np.exp(growth)
        np.testing.assert_allclose(after.log_z[index], state.log_z[index] + np.log(weights.mean()), rtol=1e-6)
        np.testing.assert_allclose(
            info.effective_sample_size[index], weights.sum() ** 2 / np.sum(weights**2), rtol=1e-4
        )
    anchored = after.anchored(tf.fill(batch, 4.5))
    np.testing.assert_array_equal(anchored.log_z, np.full(batch, 4.5))
    assert anchored.log_z.dtype == tf.float64
