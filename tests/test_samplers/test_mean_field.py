"""Mean field against loops, and the bound that its updates climb."""

import numpy as np
import pytest
import tensorflow as tf

import reference
from samplers.mean_field import mean_field
from samplers.rbm import RBM


def as_rbm(machine, dtype=tf.float64):
    return RBM(*(tf.constant(parameter, dtype) for parameter in machine))


@pytest.mark.parametrize("num_updates", [1, 2, 7])
def test_matches_loops(num_updates):
    machines = reference.machine(0, 4, 3, batch=(2,))
    start = np.random.default_rng(1).uniform(size=[5, 2, 4])  # [starts, batch, N]
    means = mean_field(as_rbm(machines), tf.constant(start), num_updates=num_updates)
    for sample, index in np.ndindex(5, 2):
        left = start[sample, index]
        for _ in range(num_updates):
            left, right = reference.mean_field_update(reference.member(machines, index), left)
        np.testing.assert_allclose(means.left[sample, index], left, rtol=1e-12)
        np.testing.assert_allclose(means.right[sample, index], right, rtol=1e-12)


@pytest.mark.parametrize("scale", [0.5, 4.0])
def test_bound_climbs_and_stays_below_log_z(scale):
    machine = reference.machine(3, 4, 5, scale=scale)
    left, bounds = tf.constant(np.random.default_rng(2).uniform(size=[6, 4])), []
    for _ in range(15):
        left, right = mean_field(as_rbm(machine), left, num_updates=1)
        bounds.append(
            [reference.mean_field_bound(machine, *means) for means in zip(left.numpy(), right.numpy(), strict=True)]
        )
    assert np.all(np.diff(bounds, axis=0) > -1e-10)
    assert np.max(bounds) < reference.log_z(machine)


def test_exact_in_one_update_without_couplings():
    a, b, _ = reference.machine(0, 4, 3)
    machine = a, b, np.zeros([4, 3])
    means = mean_field(as_rbm(machine), tf.fill([4], tf.constant(0.9, tf.float64)), num_updates=1)
    p = reference.joint(machine)
    np.testing.assert_allclose(means.left, p.sum(axis=1) @ reference.all_states(4), rtol=1e-12)
    np.testing.assert_allclose(means.right, p.sum(axis=0) @ reference.all_states(3), rtol=1e-12)
    bound = reference.mean_field_bound(machine, means.left, means.right)
    np.testing.assert_allclose(bound, reference.log_z(machine), rtol=1e-12)
