"""The path of densities against sums over right states, and its sweep against the enumerated kernel."""

import numpy as np
import pytest
import tensorflow as tf

import reference
from machines import as_rbm
from samplers import gibbs
from samplers.annealing_path import Path, biases_base, uniform_base
from samplers.rbm import softplus_difference

NUM_LEFT, NUM_RIGHT = 3, 2
MACHINES = reference.machine(74, NUM_LEFT, NUM_RIGHT, batch=(2,), scale=0.9)
EACH = [reference.member(MACHINES, 0), reference.member(MACHINES, 1)]
BASES = {"uniform": uniform_base, "biases": biases_base}
LEVEL = 1e-5  # false-failure rate of a test


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softplus_difference(dtype):
    values = np.array([-1e4, -100, -20, -1, 0, 0.5, 1, 20, 100, 1e4], dtype)
    x, y = (grid.ravel() for grid in np.meshgrid(values, values))
    exact = np.logaddexp(0, x.astype(np.float64)) - np.logaddexp(0, y.astype(np.float64))
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(softplus_difference(tf.constant(x), tf.constant(y)), exact, rtol=2 * eps, atol=4 * eps)


def log_density(machine, base, beta):
    """`(1 - beta) log f_0 + beta (-E)` of every state with the right units summed out, `[2^N]`."""
    independent = *base, np.zeros([NUM_LEFT, NUM_RIGHT])
    log_f = (1 - beta) * reference.log_joint(independent) + beta * reference.log_joint(machine)
    return np.logaddexp.reduce(log_f, axis=1)


@pytest.mark.parametrize("base_of", BASES.values(), ids=BASES)
def test_path_ratio_matches_sums_over_right_states(base_of):
    rbm = as_rbm(MACHINES, tf.float64)
    path, base = Path.between(base_of(rbm), rbm), base_of(rbm)
    states = np.repeat(reference.all_states(NUM_LEFT)[:, None], 2, axis=1)  # [8, machines, N]
    left = gibbs.to_columns(tf.constant(states))
    for old, new in [(0.0, 0.3), (0.3, 0.9), (0.9, 1.0), (1.0, 0.0)]:
        ratio = path.log_ratio(
            tf.constant(old, tf.float64), tf.constant(new, tf.float64), left, path.end.right_input(left)
        )
        for number, machine in enumerate(EACH):
            member = [bias[number].numpy() for bias in base]
            exact = log_density(machine, member, new) - log_density(machine, member, old)
            np.testing.assert_allclose(ratio[number], exact, atol=1e-12)


@pytest.mark.parametrize("base_of", BASES.values(), ids=BASES)
def test_path_sweep_has_the_enumerated_kernel_at_an_intermediate_temperature(base_of):
    """False-failure rate 1e-5 for all 8 starts together; beta = 0.5 for 0.4 is missed with a probability below 1e-6."""
    machine, num_chains = EACH[0], 20_000
    base = [bias.numpy() for bias in base_of(as_rbm(machine, tf.float64))]

    def kernel(beta):
        biases = [(1 - beta) * start + beta * end for start, end in zip(base, machine[:2], strict=True)]
        return reference.sweep_kernel((*biases, beta * machine[2])).reshape(8, -1)

    @tf.function(jit_compile=True)
    def sweep(rbm, left):
        path, left = Path.between(base_of(rbm), rbm), gibbs.to_columns(left)
        left, right = path.at(0.4).sweep(path.end.right_input(left), 0.4, tf.constant([2, 0]))
        return gibbs.from_columns(right), gibbs.from_columns(left)

    starts = np.repeat(reference.all_states(NUM_LEFT), num_chains, axis=0)
    states = np.concatenate(sweep(as_rbm(machine), tf.constant(starts, tf.float32)), axis=-1)
    outcomes = reference.state_number(states).reshape(8, num_chains)
    misses = []
    for outcome, exact, wrong in zip(outcomes, kernel(0.4), kernel(0.5), strict=True):
        assert reference.chi_squared_p_value(np.bincount(outcome, minlength=32), exact) > LEVEL / 8
        misses.append(1 - reference.chi_squared_power(num_chains, exact, wrong, LEVEL / 8))
    assert np.prod(misses) < 1e-6


def test_bases():
    rbm = as_rbm(MACHINES, tf.float64)
    np.testing.assert_allclose(uniform_base(rbm).log_z(), np.full(2, 5 * np.log(2)), rtol=1e-14)
    independent = [(a, b, np.zeros_like(w)) for a, b, w in EACH]
    np.testing.assert_allclose(
        biases_base(rbm).log_z(), [reference.log_z(machine) for machine in independent], rtol=1e-14
    )
    left = biases_base(rbm).sample_left(100_000, tf.constant([0, 0]))
    assert left.shape == [100_000, 2, NUM_LEFT]
    for number, machine in enumerate(independent):
        counts = np.bincount(reference.state_number(left[:, number]), minlength=8)
        assert reference.chi_squared_p_value(counts, reference.p_left(machine)) > LEVEL / 2
