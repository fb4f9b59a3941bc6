"""The implemented sweep has the enumerated transition matrix, and its draws depend on the seed as they should."""

import time

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import reference
from machines import as_rbm
from samplers import gibbs

STARTS = reference.all_states(2)
NUM_CHAINS = 2**17  # from every starting state
LENGTHS = 1, 3
MACHINES = reference.machine(4, 2, 2, batch=(2,), scale=1.5)
LEVEL = 1e-4 / (len(LENGTHS) * len(MACHINES[0]) * len(STARTS))  # of one chi-squared test


def kernel_of(machine, num_sweeps):
    """`p(right, left_new | left_old)` after several sweeps, `[left_old, right, left_new]`."""
    earlier = np.linalg.matrix_power(reference.transition_matrix(machine), num_sweeps - 1)
    return np.tensordot(earlier, reference.sweep_kernel(machine), 1)


def test_reference_leaves_p_left_invariant():
    for machine in (reference.member(MACHINES, 0), reference.member(MACHINES, 1), reference.machine(0, 3, 2)):
        p_left, transition = reference.p_left(machine), reference.transition_matrix(machine)
        np.testing.assert_allclose(transition.sum(axis=1), 1, rtol=1e-14)
        np.testing.assert_allclose(p_left @ transition, p_left, rtol=1e-14)
        flow = p_left[:, None] * transition
        np.testing.assert_allclose(flow, flow.T, rtol=1e-13)  # reversible: reverse AIS relies on it


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_sweep_has_the_enumerated_kernel(dtype):
    """Chi-squared of (right, left) from every starting state, for two machines at once, after 1 and 3 sweeps.

    False-failure rate: 1e-4 for all 16 tests of a precision together. Power: see the next test.
    """
    rbm = as_rbm(MACHINES, dtype)
    left = np.repeat(np.repeat(STARTS, NUM_CHAINS, axis=0)[:, None], 2, axis=1)  # [chains, machines, N]
    for num_sweeps in LENGTHS:
        state = gibbs.sweep(rbm, tf.constant(left, dtype), tf.constant([1, 0]), num_sweeps=tf.constant(num_sweeps))
        assert state.left.dtype == state.right.dtype == dtype
        outcome = reference.state_number(np.concatenate([state.right, state.left], axis=-1))
        outcome = outcome.reshape(len(STARTS), NUM_CHAINS, 2)
        for machine, start in np.ndindex(2, len(STARTS)):
            counts = np.bincount(outcome[start, :, machine], minlength=16)
            wanted = kernel_of(reference.member(MACHINES, machine), num_sweeps)[start]
            assert reference.chi_squared_p_value(counts, wanted.ravel()) > LEVEL, (num_sweeps, machine, start)


def test_power_of_the_chi_squared_test():
    """It misses with a probability below 1e-3: 3 % in one conditional; the other machine; a sweep more or less."""
    for number in range(2):
        machine = reference.member(MACHINES, number)
        wrong_conditional = reference.sweep_kernel(machine)  # P(left_0 = 1 | right) times 1.03, whatever right
        on, off = STARTS[:, 0] == 1, STARTS[:, 0] == 0
        p_on = wrong_conditional[:, :, on].sum(axis=2, keepdims=True)
        p_off = wrong_conditional[:, :, off].sum(axis=2, keepdims=True)
        wrong_conditional[:, :, on] *= 1.03
        wrong_conditional[:, :, off] *= 1 - 0.03 * p_on / p_off
        np.testing.assert_allclose(wrong_conditional.sum(axis=(1, 2)), 1)
        other_machine = kernel_of(reference.member(MACHINES, 1 - number), 1)
        for wrong, right in [
            (wrong_conditional, kernel_of(machine, 1)),
            (other_machine, kernel_of(machine, 1)),
            (kernel_of(machine, 2), kernel_of(machine, 1)),
            (kernel_of(machine, 2), kernel_of(machine, 3)),
            (kernel_of(machine, 4), kernel_of(machine, 3)),
        ]:
            misses = [
                1 - reference.chi_squared_power(NUM_CHAINS, right[start].ravel(), wrong[start].ravel(), LEVEL)
                for start in range(len(STARTS))
            ]
            assert np.prod(misses) < 1e-3


def infection(num_units):
    """A machine without chance: a unit is on if one of its two neighbours on the other side is; all else is off."""
    weights = 80 * (np.eye(num_units) + np.eye(num_units, k=1))
    return as_rbm((np.full(num_units, -40.0), np.full(num_units, -40.0), weights))


def test_number_of_sweeps_and_tracing():
    """A unit that is on infects its right neighbour in every sweep. One trace serves every number of sweeps."""
    rbm, left, seed = infection(9), tf.eye(1, 9), tf.constant([0, 0])
    gibbs.sweep(rbm, left, seed, num_sweeps=tf.constant(1))
    traces = gibbs._sweeps.experimental_get_tracing_count()
    for num_sweeps in range(1, 9):
        state = gibbs.sweep(rbm, left, seed, num_sweeps=tf.constant(num_sweeps))
        np.testing.assert_array_equal(state.left[0], np.arange(9) <= num_sweeps)
        np.testing.assert_array_equal(state.right[0], np.arange(9) <= num_sweeps)
    assert gibbs._sweeps.experimental_get_tracing_count() == traces


def test_one_compilation_serves_every_number_of_sweeps():
    """Compiling takes a few hundred times as long as the sweeps themselves; the fastest of 5 calls is no accident."""
    rbm, seconds = infection(11), []
    for num_sweeps in range(1, 7):
        start = time.perf_counter()
        gibbs.sweep(rbm, tf.eye(1, 11), tf.constant([0, 0]), num_sweeps=tf.constant(num_sweeps))
        seconds.append(time.perf_counter() - start)
    assert min(seconds[1:]) < seconds[0] / 10


def fair_coins(seed, num_sweeps):
    """The bits of 64 chains of a machine whose every draw is a fair coin."""
    rbm = as_rbm([np.zeros(20), np.zeros(10), np.zeros([20, 10])])
    state = gibbs.sweep(rbm, tf.zeros([64, 20]), tf.constant(seed), num_sweeps=tf.constant(num_sweeps))
    return np.concatenate(state, axis=-1)


def test_same_seed_same_draws():
    np.testing.assert_array_equal(fair_coins([3, 4], 2), fair_coins([3, 4], 2))


@pytest.mark.parametrize(
    ("seed", "num_sweeps"), [([4, 4], 2), ([3, 5], 2), ([3, 5], 1), ([3, 3], 3), ([3, 4], 1), ([3, 4], 3)]
)
def test_other_seeds_and_other_sweeps_draw_independently(seed, num_sweeps):
    """Two sweeps with seed [3, 4] against others; consecutive seeds too: seeds made by counting are common.

    Of 1920 pairs of independent coins, half agree. False-failure rate 1e-6 each; identical draws agree in all.
    """
    agree = np.sum(fair_coins([3, 4], 2) == fair_coins(seed, num_sweeps))
    assert stats.binomtest(int(agree), 1920).pvalue > 1e-6


@pytest.mark.parametrize("num_chains", [1, 2, 7])
def test_halves_draw_independently(num_chains):
    """Chains of one machine move in two halves. Fair coins of 7 sweeps: no two chains share a sweep's numbers.

    Of 30 coins a chain, two independent ones agree in all with probability 1e-9.
    """
    rbm = as_rbm([np.zeros(20), np.zeros(10), np.zeros([20, 10])])
    state = gibbs.sweep(rbm, tf.zeros([num_chains, 20]), tf.constant([3, 4]), num_sweeps=tf.constant(7))
    coins = np.concatenate(state, axis=-1)
    assert coins.shape == (num_chains, 30)
    assert len(np.unique(coins, axis=0)) == num_chains


def test_columns_round_trip():
    states = tf.reshape(tf.range(2 * 3 * 4 * 5), [2, 3, 4, 5])
    columns = gibbs.to_columns(states)
    assert columns.shape == [3, 4, 5, 2]
    np.testing.assert_array_equal(columns[1, 2, 3], states[:, 1, 2, 3])
    np.testing.assert_array_equal(gibbs.from_columns(columns), states)
