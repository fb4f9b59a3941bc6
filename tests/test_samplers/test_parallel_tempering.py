"""Parallel tempering: exchanges are accepted as often as they should be, and carry chains between modes."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

import reference
from machines import as_rbm, multimodal_4x4
from samplers import gibbs, parallel_tempering
from samplers.log_partition import exact_sample

LEVEL = 1e-5  # false-failure rate of a test


def tempered_p_left(machine, beta):
    return reference.p_left(tuple(beta * parameter for parameter in machine))


def expected_acceptance(machine, betas):
    """`E min(1, f_1(y) f_2(x) / (f_1(x) f_2(y)))` for x, y from two levels, over all pairs of left states."""
    p_1, p_2 = (tempered_p_left(machine, beta) for beta in betas)
    return np.sum(np.minimum(np.outer(p_1, p_2), np.outer(p_2, p_1)))


@pytest.mark.parametrize("num_levels", [2, 3])
def test_acceptance_is_that_of_the_enumerated_distributions(num_levels):
    """After 20 sweeps, which are in equilibrium but for the first. The worst pair of levels is reported."""
    machine, num_chains, num_sweeps = reference.machine(8, 3, 3, scale=1.2), 20_000, 20
    rbm, betas = as_rbm(machine), np.linspace(1, 0, num_levels)
    state = parallel_tempering.initial_state(
        rbm, num_chains=num_chains, seed=tf.constant([0, 1]), num_levels=num_levels
    )
    state, _ = parallel_tempering.step(rbm, state, tf.constant([1, 1]), num_sweeps=50)
    _, info = parallel_tempering.step(rbm, state, tf.constant([2, 1]), num_sweeps=num_sweeps)
    wanted = min(expected_acceptance(machine, pair) for pair in itertools.pairwise(betas))
    # Chains are independent, sweeps of a chain are not: as if there were one sweep of each.
    standard_error = np.sqrt(wanted * (1 - wanted) / num_chains)
    assert 0.2 < wanted < 0.9
    assert abs(info.swap_acceptance - wanted) < reference.z_limit(LEVEL) * standard_error
    _, info = parallel_tempering.step(rbm, state, tf.constant([3, 1]), num_sweeps=1)  # odd pairs are not proposed
    assert info.swap_acceptance > 0.2


def test_every_level_has_its_distribution():
    """From wrong states at every level; chi-squared, the next level's distribution is noticed."""
    machine, num_chains = reference.machine(8, 3, 3, scale=1.2), 20_000
    rbm = as_rbm(machine)
    state = parallel_tempering.initial_state(rbm, num_chains=num_chains, seed=tf.constant([0, 1]), num_levels=4)
    state = state._replace(left=tf.zeros_like(state.left), hot=tf.ones_like(state.hot))
    state, _ = parallel_tempering.step(rbm, state, tf.constant([1, 1]), num_sweeps=60)
    p = [tempered_p_left(machine, beta) for beta in np.linspace(1, 0, 4)]
    for level, left in enumerate([state.left, *tf.unstack(state.hot)]):
        counts = np.bincount(reference.state_number(left), minlength=8)
        assert reference.chi_squared_p_value(counts, p[level]) > LEVEL / 4
        assert reference.chi_squared_power(num_chains, p[level], p[level - 1], LEVEL / 4) > 0.999


def two_modes(tilt):
    """3 + 3 units that are on together or off together: sweeps hardly cross. P(on) = sigma(tilt), nearly."""
    return np.full(3, -9.0), np.full(3, -9.0 + tilt / 3), np.full([3, 3], 6.0)


def test_crosses_between_modes_where_gibbs_does_not():
    """All chains start in the rarer mode. After 300 sweeps the tempered ones are distributed as the machine."""
    machine, num_chains = two_modes(1.0), 5000
    rbm, p_left = as_rbm(machine), reference.p_left(machine)
    alone = gibbs.sweep(rbm, tf.zeros([num_chains, 3]), tf.constant([0, 2]), num_sweeps=tf.constant(300)).left
    assert np.mean(alone) < 0.3 * p_left[-1]
    state = parallel_tempering.initial_state(rbm, num_chains=num_chains, seed=tf.constant([0, 3]), num_levels=8)
    state = state._replace(left=tf.zeros_like(state.left))
    state, _ = parallel_tempering.step(rbm, state, tf.constant([1, 3]), num_sweeps=300)
    is_on = np.all(state.left.numpy() == 1, axis=-1)
    deviation = reference.z_limit(LEVEL) * np.sqrt(p_left[-1] * (1 - p_left[-1]) / num_chains)
    assert abs(is_on.mean() - p_left[-1]) < deviation
    assert deviation < 0.035


def test_samples_the_multimodal_reference_machine():
    """The mean energy after 500 sweeps from fair coins, against exact samples. False-failure rate 1e-5."""
    rbm, num_chains = as_rbm(multimodal_4x4()), 2000
    state = parallel_tempering.initial_state(rbm, num_chains=num_chains, seed=tf.constant([0, 4]), num_levels=20)
    state, _ = parallel_tempering.step(rbm, state, tf.constant([1, 4]), num_sweeps=500)
    exact = exact_sample(rbm, 20_000, tf.constant([2, 4]))
    here, there = rbm.free_energy(state.left).numpy(), rbm.free_energy(exact.left).numpy()
    error = np.hypot(reference.standard_error(here), reference.standard_error(there))
    assert abs(here.mean() - there.mean()) < reference.z_limit(LEVEL) * error
