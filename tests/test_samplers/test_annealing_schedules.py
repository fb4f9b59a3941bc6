"""Schedules of inverse temperatures: the plain ones by their values, the adaptive one against enumeration."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

import reference
from machines import as_rbm
from samplers.annealing_path import means_base, uniform_base
from samplers.annealing_schedules import adaptive_betas, geometric_betas, linear_betas, stretched


def test_linear_betas():
    np.testing.assert_allclose(linear_betas(4), [0, 0.25, 0.5, 0.75, 1], rtol=0)
    assert linear_betas(tf.constant(7)).dtype == tf.float64


def test_geometric_betas():
    np.testing.assert_allclose(geometric_betas(4, first=0.001), [0, 0.001, 0.01, 0.1, 1], rtol=1e-12)
    assert geometric_betas(tf.constant(7), first=0.5).shape == [8]


def exact_ess_fraction(machine, old, new):
    """`(E w)^2 / E w^2` of `w = f_new / f_old` under f_old, with f = exp(-beta E) and the right units summed out."""

    def log_f(beta):
        hot = tuple(beta * parameter for parameter in machine)
        return -np.array([reference.free_energy(hot, left) for left in reference.all_states(3)])

    p = np.exp(log_f(old) - np.logaddexp.reduce(log_f(old)))
    w = np.exp(log_f(new) - log_f(old))
    return np.sum(p * w) ** 2 / np.sum(p * w**2)


@pytest.mark.parametrize("ess_fraction", [0.7, 0.95])
def test_adaptive_increments_have_the_wanted_effective_sample_size(ess_fraction):
    """Enumerated, for 100,000 particles: each to 1 % of the wanted loss of sample size, or better than wanted."""
    machine = reference.machine(5, 3, 4, scale=2.0)
    rbm = as_rbm(machine)
    betas = adaptive_betas(
        rbm, uniform_base(rbm), ess_fraction=ess_fraction, num_particles=100_000, seed=tf.constant([0, 1])
    ).numpy()
    assert (betas[0], betas[-1]) == (0, 1)
    assert np.all(np.diff(betas) > 0)
    exact = [exact_ess_fraction(machine, old, new) for old, new in itertools.pairwise(betas)]
    assert len(exact) >= 3
    np.testing.assert_allclose(1 - np.array(exact[:-1]), 1 - ess_fraction, rtol=0.03)
    assert exact[-1] > ess_fraction - 0.01


def test_adaptive_betas_of_a_batch_suit_its_worst_machine():
    """One machine without couplings or biases, which could be reached in one step, and one that could not."""
    machine = reference.machine(5, 3, 4, scale=2.0)
    both = tuple(np.stack([parameter, 0 * parameter]) for parameter in machine)
    options = {"ess_fraction": 0.8, "num_particles": 20_000, "seed": tf.constant([0, 1])}
    alone = adaptive_betas(as_rbm(machine), uniform_base(as_rbm(machine)), **options)
    together = adaptive_betas(as_rbm(both), uniform_base(as_rbm(both)), **options)
    np.testing.assert_allclose(alone, together, atol=0.01)
    easy = as_rbm(tuple(0 * parameter for parameter in machine))
    np.testing.assert_array_equal(adaptive_betas(easy, uniform_base(easy), **options), [0, 1])


def test_mistakes_of_adaptive_betas():
    rbm = as_rbm(reference.machine(5, 3, 4, scale=2.0))
    options = {"num_particles": 100, "seed": tf.constant([0, 1])}
    with pytest.raises(ValueError, match=r"ess_fraction = 1.0: must be in \(0, 1\)"):
        adaptive_betas(rbm, uniform_base(rbm), ess_fraction=1.0, **options)
    with pytest.raises(ValueError, match="more than 3 temperatures"):
        adaptive_betas(rbm, uniform_base(rbm), ess_fraction=0.99, most_temperatures=3, **options)


def test_stretched():
    np.testing.assert_allclose(stretched(linear_betas(5), 20), linear_betas(20), rtol=1e-12)
    betas = tf.constant([0, 0.1, 0.4, 1], tf.float64)
    np.testing.assert_allclose(stretched(betas, 3), betas, rtol=1e-12)
    np.testing.assert_allclose(stretched(betas, 6), [0, 0.05, 0.1, 0.25, 0.4, 0.7, 1], rtol=1e-12)
    # A last step of half the size of the one before takes half the time.
    np.testing.assert_allclose(
        stretched(tf.constant([0, 0.4, 0.8, 1], tf.float64), 5), [0, 0.2, 0.4, 0.6, 0.8, 1], rtol=1e-12
    )
    np.testing.assert_allclose(stretched(tf.constant([0, 1], tf.float64), 4), linear_betas(4), rtol=1e-12)


def test_means_base_has_the_means():
    left, right = np.array([0.2, 0.5, 1.0]), np.array([0.7, 0.0])
    base = means_base(tf.constant(left), tf.constant(right), least=0.01)
    np.testing.assert_allclose(tf.sigmoid(base.bias_left), [0.2, 0.5, 0.99], rtol=1e-12)
    np.testing.assert_allclose(tf.sigmoid(base.bias_right), [0.7, 0.01], rtol=1e-12)
