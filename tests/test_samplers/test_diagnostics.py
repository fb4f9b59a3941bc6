"""Diagnostics of mixing against chains whose mixing is known."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import mcmc

import reference
from machines import as_rbm
from samplers import diagnostics
from samplers.log_partition import exact_sample
from samplers.transition_kernel import BlockGibbs


def test_independent_states():
    """Without couplings every sweep draws afresh. 400 chains x 40 sweeps; limits are 5 deviations over seeds."""
    a, b, w = reference.machine(1, 5, 4)
    rbm = as_rbm((a, b, 0 * w))
    left = exact_sample(rbm, 400, tf.constant([0, 0])).left
    mixing = diagnostics.mixing(rbm, left, num_sweeps=40, seed=tf.constant([1, 0]))
    assert abs(mixing.autocorrelation_sweeps - 1) < 0.1
    assert abs(mixing.split_r_hat - 1) < 0.01
    exact = np.sum(
        reference.p_left((a, b, 0 * w)) * [reference.free_energy((a, b, 0 * w), s) for s in reference.all_states(5)]
    )
    assert abs(mixing.free_energy - exact) < 0.1


def exact_autocorrelation_time(machine):
    """`1 + 2 sum_t rho_t` of the free energy, by the spectrum of the transition matrix."""
    p, transition = reference.p_left(machine), reference.transition_matrix(machine)
    energy = np.array([reference.free_energy(machine, left) for left in reference.all_states(len(machine[0]))])
    centred = energy - p @ energy
    total, moved = 1.0, centred
    for _ in range(2000):
        moved = transition @ moved
        total += 2 * (p * centred) @ moved / ((p * centred) @ centred)
    return total


def test_autocorrelation_of_slow_chains():
    """Against the transition matrix; 500 chains x 400 sweeps know it to 2 %, 10 % are allowed."""
    machine = np.full(3, -3.0), np.full(3, -3.2), np.full([3, 3], 2.2)  # two modes, all off and all on
    exact = exact_autocorrelation_time(machine)
    assert exact > 3
    left = exact_sample(as_rbm(machine), 500, tf.constant([0, 0])).left
    mixing = diagnostics.mixing(as_rbm(machine), left, num_sweeps=400, seed=tf.constant([1, 0]))
    np.testing.assert_allclose(mixing.autocorrelation_sweeps, exact, rtol=0.1)
    assert mixing.split_r_hat < 1.05


def test_chains_that_are_stuck_in_modes_are_noticed():
    """Two machines at once: one whose chains never leave their modes, of different energy, and one that mixes."""
    stuck = np.array([-20.0, 0.0]), np.array([-20.0, 0.0]), np.diag([43.0, 0.0])
    free = np.array([0.5, 1.0]), np.array([0.0, -1.0]), np.zeros([2, 2])
    rbm = as_rbm(tuple(np.stack(pair) for pair in zip(stuck, free, strict=True)))
    left = tf.constant(np.tile(reference.all_states(2)[:, None], [50, 2, 1]), tf.float32)
    mixing = diagnostics.mixing(rbm, left, num_sweeps=20, seed=tf.constant([0, 0]))
    assert mixing.split_r_hat.shape == [2]
    assert mixing.split_r_hat[0] > 3
    assert mixing.split_r_hat[1] < 1.1


def test_kernel_in_sample_chain():
    """Traces, thinning by `num_sweeps`, and the free energy of each state. (Distribution: tests/test_samplers.py.)"""
    machine = reference.machine(0, 3, 2)
    rbm, start = as_rbm(machine), tf.zeros([6, 3])
    left, results = mcmc.sample_chain(
        5, start, kernel=BlockGibbs(rbm, num_sweeps=2), trace_fn=lambda _, results: results, seed=[0, 1]
    )
    assert (left.shape, results.right.shape) == ([5, 6, 3], [5, 6, 2])
    assert set(np.unique(results.right)) <= {0, 1}
    for chain in np.ndindex(5, 6):
        wanted = reference.free_energy(machine, left[chain].numpy())
        np.testing.assert_allclose(results.free_energy[chain], wanted, rtol=1e-5)
    assert BlockGibbs(rbm).is_calibrated
    with pytest.raises(TypeError):
        BlockGibbs(rbm, 2)
