"""log Z from two bases: what each alone misses, when they agree, and that no known error is far too small."""

import numpy as np
import pytest
import tensorflow as tf

import reference
from machines import as_rbm
from samplers import annealed_importance
from samplers.annealing_path import biases_base, uniform_base
from samplers.annealing_schedules import linear_betas
from samplers.log_partition import exact_log_z
from samplers.log_z_estimates import LogZ
from samplers.rbm import RBM
from samplers.two_bases import agreement, from_two_bases, own_means
from samplers.weights import effective_sample_size, log_mean_exp, log_mean_exp_standard_error


def two_modes(offset):
    """10+10 units, all on or all off: `-E = 2 n m - 10 (n + m) + offset (n + m) / 20` of n and m units that are on.

    The log-probability of all on is `offset` above that of all off.
    """
    bias = np.full(10, -10 + offset / 20)
    return RBM(bias, bias, np.full((10, 10), 2.0))


def test_the_biases_see_one_of_two_modes_and_the_second_opinion_the_other():
    """Biases of -10 each: without couplings all is off. The mode that is on has 0.62 of the probability."""
    rbm = two_modes(np.log(0.62 / 0.38))
    exact, seed = float(exact_log_z(rbm)), tf.constant([0, 1])
    alone = annealed_importance.sample(rbm, biases_base(rbm), betas=linear_betas(1000), num_chains=500, seed=seed)
    assert float(alone.log_z) == pytest.approx(exact + np.log(0.38), abs=0.01)  # by a confident wrong number
    assert float(alone.standard_error) < 0.001
    found = from_two_bases(rbm, biases_base(rbm), betas=linear_betas(1000), num_chains=1000, seed=seed)
    assert found.together.standard_error == np.inf
    assert float(found.together.log_z) == pytest.approx(exact, abs=0.1)
    uniform = from_two_bases(rbm, uniform_base(rbm), betas=linear_betas(1000), num_chains=1000, seed=seed)
    assert abs(float(uniform.first.log_z) - exact) < 4 * float(uniform.first.standard_error)


@pytest.mark.parametrize(
    ("scale", "num_temperatures", "least_known"), [(0.7, 100, 60), (3.0, 3, 0), (3.0, 10, 0), (3.0, 100, 20)]
)
def test_no_error_is_far_too_small(scale, num_temperatures, least_known):
    """64 machines of 14+14 units: where the error is known, log Z is within 4 of it, however few the temperatures.

    Weights of deviation 3 collapse at few temperatures, and a delta-method error never exceeds 1. Normal errors would
    be off by more than 4 of themselves in 6e-5 of runs: false-failure rate below 2 %, with one fixed seed.
    """
    rbm = as_rbm(reference.machine(7, 14, 14, batch=(64,), scale=scale))
    exact, seed = exact_log_z(rbm).numpy(), tf.constant([2, num_temperatures])
    found = from_two_bases(
        rbm, uniform_base(rbm), betas=linear_betas(num_temperatures), num_chains=400, seed=seed
    ).together
    error, known = np.abs(found.log_z - exact), np.isfinite(found.standard_error)
    assert known.sum() >= least_known
    assert np.all(error[known] <= 4 * found.standard_error[known])
    assert np.max(found.log_z - exact) < 3  # E[exp(log_z - exact)] = 1: above 3 with a probability below 0.05 each


def test_agreement():
    """Each pair of (log Z, error): the mean of the Z that agree, else the larger with an unknown error."""
    infinite = float("inf")
    first = np.array([[1.0, 0.1], [1.0, 0.1], [2.0, 0.1], [1.0, infinite], [1.0, 0.0], [1.0, 0.1]])
    second = np.array([[1.3, 0.2], [3.0, 0.1], [1.0, infinite], [2.0, 0.1], [1.0, 0.0], [1.0, infinite]])
    given = [LogZ(*tf.constant(pairs.T), tf.constant([20.0] * 6, tf.float64)) for pairs in (first, second)]
    result = agreement(*given)
    z = np.exp([1.0, 1.3])
    error = np.sqrt((z[0] * 0.1) ** 2 + (z[1] * 0.2) ** 2) / z.sum()
    size = z.sum() ** 2 / (z**2 / 20).sum()
    np.testing.assert_allclose(result.log_z, [np.log(z.mean()), 3, 2, 2, 1, 1])
    np.testing.assert_allclose(result.standard_error, [error, infinite, infinite, infinite, 0, infinite])
    np.testing.assert_allclose(result.effective_sample_size, [size, 20, 20, 20, 40, 20])


def test_agreeing_estimates_are_those_of_all_chains():
    """Pooled by hand: the mean of all weights of both halves, and the effective size of all of them."""
    halves = np.random.default_rng(0).normal(scale=0.3, size=[2, 50])
    of = lambda w: LogZ(log_mean_exp(w, 0), log_mean_exp_standard_error(w, 0), effective_sample_size(w, 0))  # noqa: E731
    one, other = (of(tf.constant(half)) for half in halves)
    whole, pooled = of(tf.constant(halves.ravel())), agreement(one, other)
    np.testing.assert_allclose(pooled.log_z, whole.log_z, rtol=1e-12)
    np.testing.assert_allclose(pooled.effective_sample_size, whole.effective_sample_size, rtol=1e-12)
    np.testing.assert_allclose(pooled.standard_error, whole.standard_error, rtol=0.02)


def test_own_means_of_a_machine():
    """Those by enumeration, within 5 deviations of a mean over 4000 particles."""
    machine = reference.machine(6, 5, 4, scale=0.8)
    base = own_means(as_rbm(machine), betas=linear_betas(50), num_particles=4000, seed=tf.constant([0, 0])).base
    found = np.concatenate([tf.sigmoid(bias) for bias in base])
    joint = reference.joint(machine)
    exact = np.concatenate([joint.sum(1) @ reference.all_states(5), joint.sum(0) @ reference.all_states(4)])
    np.testing.assert_allclose(found, exact, atol=5 * 0.5 / np.sqrt(4000))
