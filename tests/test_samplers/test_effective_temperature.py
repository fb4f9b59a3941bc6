"""The temperature that states show: against SciPy's maximum of the pseudo-likelihood by loops, and on exact samples."""

import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import optimize

import reference
from machines import as_rbm
from samplers import effective_temperature
from samplers.effective_temperature import MOST, effective_beta

N, M = 3, 2


def drawn(machine, beta, num_samples, seed=0):
    """Exact samples of the machine at an inverse temperature, by enumeration."""
    left, right = reference.all_states(N), reference.all_states(M)
    p = reference.joint(tuple(beta * parameter for parameter in machine))
    number = np.random.default_rng(seed).choice(p.size, size=num_samples, p=p.ravel())
    return left[number // len(right)], right[number % len(right)]


def objective(beta, machine, left, right):
    """By loops: each unit's probability is that of two energies."""
    total = -((beta - 1) ** 2) / 2
    for state in np.concatenate([left, right], axis=1):
        energy = reference.energy(machine, state[:N], state[N:])
        for unit in range(N + M):
            other = state.copy()
            other[unit] = 1 - other[unit]
            total -= np.logaddexp(0, beta * (energy - reference.energy(machine, other[:N], other[N:])))
    return total


@pytest.mark.parametrize("beta", [0.3, 1.0, 4.0])
def test_is_the_maximum_of_the_pseudo_likelihood(beta):
    machine = reference.machine(0, N, M)
    left, right = drawn(machine, beta, 60)
    found = optimize.minimize_scalar(
        lambda b: -objective(b, machine, left, right), bounds=(0, 20), method="bounded", options={"xatol": 1e-7}
    )
    np.testing.assert_allclose(effective_beta(as_rbm(machine, tf.float64), left, right), found.x, atol=1e-5)


def test_finds_the_temperature_of_exact_samples():
    """100 sets of 2000 samples: their mean is right within 4.4 of its standard errors (false failure 1e-5).

    An estimate 5 % off would be seen: it is required that this is 8.8 standard errors.
    """
    machine, beta = reference.machine(3, N, M), 0.7
    rbm = as_rbm(machine)
    found = [float(effective_beta(rbm, *drawn(machine, beta, 2000, seed=seed))) for seed in range(100)]
    limit = reference.z_limit(1e-5)
    assert 0.05 * beta / reference.standard_error(found) > 2 * limit
    assert abs(reference.z_score(found, beta)) < limit


def test_says_of_states_without_noise_that_they_are_cold():
    """Only the states of lowest energy, all alike: as cold as can be told."""
    machine = reference.machine(3, N, M)
    left, right = drawn(machine, 200.0, 500)
    assert effective_beta(as_rbm(machine), left, right) > 3
    tens = tuple(100 * parameter for parameter in machine)
    backwards = drawn(machine, -200.0, 500)
    assert float(effective_beta(as_rbm(tens), *backwards)) == pytest.approx(0, abs=MOST * 2.0**-29)


def test_is_one_where_the_states_tell_nothing():
    rbm = as_rbm(tuple(0 * parameter for parameter in reference.machine(0, N, M)))
    assert float(effective_beta(rbm, np.ones([5, N]), np.zeros([5, M]))) == pytest.approx(1, abs=1e-6)


def test_of_a_batch_is_each_machine_s_own():
    machines = reference.machine(5, N, M, batch=(2,))
    states = [drawn(reference.member(machines, i), 1.0 + i, 50) for i in range(2)]
    left, right = (np.stack(side, axis=1) for side in zip(*states, strict=True))
    found = effective_beta(as_rbm(machines), left, right)
    for i in range(2):
        alone = effective_beta(as_rbm(reference.member(machines, i)), *states[i])
        assert math.isclose(found[i], alone, rel_tol=1e-5)


def test_demands_binary_states():
    rbm = as_rbm(reference.machine(0, N, M))
    with pytest.raises(ValueError, match="left has 2 in it: must be 0 or 1"):
        effective_temperature.effective_beta(rbm, np.full([5, N], 2.0), np.ones([5, M]))
