"""Energies and conditionals of the RBM against loops over units and sums over states."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

import reference
from samplers.annealing_path import Base
from samplers.rbm import RBM, free_energy_difference

TOLERANCE = {tf.float32: 1e-5, tf.float64: 1e-12}
BATCHES = [(), (2,), (2, 3)]
SAMPLES = [(), (5,), (4, 5)]


def case(batch, samples, dtype, *, num_left=3, num_right=2, relaxed=False):
    """A machine, its states `[*samples, *batch, units]` in NumPy, and the RBM."""
    machine = reference.machine(0, num_left, num_right, batch=batch)
    rng = np.random.default_rng(1)
    left, right = (rng.uniform(size=[*samples, *batch, units]) for units in (num_left, num_right))
    if not relaxed:
        left, right = np.round(left), np.round(right)
    return machine, left, right, RBM(*(tf.constant(parameter, dtype) for parameter in machine))


def expected(function, machine, *states, batch, samples):
    """`function(machine, *states)` for every sample and every member of the batch, one at a time."""
    result = np.empty([*samples, *batch], object)
    for sample in itertools.product(*map(range, samples)):
        for index in itertools.product(*map(range, batch)):
            result[sample + index] = function(reference.member(machine, index), *(s[sample + index] for s in states))
    return np.array(result.tolist())


@pytest.mark.parametrize("relaxed", [False, True])
@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("samples", SAMPLES)
def test_energies_and_logits_match_loops(samples, batch, dtype, relaxed):
    machine, left, right, rbm = case(batch, samples, dtype, relaxed=relaxed)
    left_tensor, right_tensor = tf.constant(left, dtype), tf.constant(right, dtype)

    def right_logits(machine, left):  # the logit of a unit: the energy with the unit off minus that with it on
        off = np.zeros(2)
        return [reference.energy(machine, left, off) - reference.energy(machine, left, on) for on in np.eye(2)]

    def left_logits(machine, right):
        off = np.zeros(3)
        return [reference.energy(machine, off, right) - reference.energy(machine, on, right) for on in np.eye(3)]

    for actual, function, states in [
        (rbm.energy(left_tensor, right_tensor), reference.energy, (left, right)),
        (rbm.free_energy(left_tensor), reference.free_energy, (left,)),
        (rbm.right_logits(left_tensor), right_logits, (left,)),
        (rbm.left_logits(right_tensor), left_logits, (right,)),
    ]:
        assert actual.dtype == dtype
        wanted = expected(function, machine, *states, batch=batch, samples=samples)
        assert actual.shape == wanted.shape
        np.testing.assert_allclose(actual, wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_logits_are_those_of_the_enumerated_conditionals():
    machine, _, _, rbm = case((), (), tf.float64)
    p = reference.joint(machine)
    left, right = reference.all_states(3), reference.all_states(2)
    p_right = p @ right / p.sum(axis=1, keepdims=True)  # P(right_j = 1 | left), [8, 2]
    p_left = p.T @ left / p.T.sum(axis=1, keepdims=True)  # P(left_i = 1 | right), [4, 3]
    np.testing.assert_allclose(tf.sigmoid(rbm.right_logits(tf.constant(left))), p_right, rtol=1e-12)
    np.testing.assert_allclose(tf.sigmoid(rbm.left_logits(tf.constant(right))), p_left, rtol=1e-12)


def test_free_energy_does_not_overflow():
    rbm = RBM(tf.zeros([1]), tf.constant([1e4, -1e4]), tf.zeros([1, 2]))
    assert float(rbm.free_energy(tf.zeros([1]))) == -1e4


@pytest.mark.parametrize("batch", BATCHES)
def test_split(batch):
    *_, left, right, rbm = case(batch, (4,), tf.float32)
    actual_left, actual_right = rbm.split(tf.constant(np.concatenate([left, right], axis=-1)))
    np.testing.assert_array_equal(actual_left, left)
    np.testing.assert_array_equal(actual_right, right)


@pytest.mark.parametrize("batch", BATCHES)
def test_transpose_is_the_same_distribution(batch):
    _, left, right, rbm = case(batch, (4,), tf.float64, relaxed=True)
    transposed = rbm.transpose()
    assert (transposed.num_left, transposed.num_right) == (rbm.num_right, rbm.num_left)
    np.testing.assert_allclose(transposed.energy(right, left), rbm.energy(left, right), rtol=1e-12)
    for parameter, again in zip(rbm, transposed.transpose(), strict=True):
        np.testing.assert_array_equal(parameter, again)


def test_is_a_nest_structure():
    *_, rbm = case((2,), (), tf.float32)
    doubled = tf.function(lambda machine: tf.nest.map_structure(lambda parameter: 2 * parameter, machine))(rbm)
    assert isinstance(doubled, RBM)
    np.testing.assert_array_equal(doubled.weights, 2 * rbm.weights)


# Precision: sums of large terms.


def test_difference_of_large_free_energies():
    """Of 20,000 nats each and 0.1 apart, in float32: the error is that of the difference, not of the terms."""
    rng = np.random.default_rng(0)
    old = 40 * rng.normal(size=1000), 40 * rng.normal(size=500), rng.normal(size=(1000, 500))
    new = tuple(parameter + 1e-5 * rng.normal(size=parameter.shape) for parameter in old)
    single = [tuple(np.float32(parameter) for parameter in machine) for machine in (old, new)]
    left = rng.integers(0, 2, [20, 1000]).astype(np.float32)

    def free_energy(machine):  # in float64
        a, b, w = map(np.float64, machine)
        return -(left @ a) - np.logaddexp(0, b + left @ w).sum(axis=-1)

    wanted = free_energy(single[0]) - free_energy(single[1])
    found = free_energy_difference(RBM(*single[0]), RBM(*single[1]), tf.constant(left))
    naive = RBM(*single[0]).free_energy(left) - RBM(*single[1]).free_energy(left)
    assert found.dtype == tf.float64
    assert np.abs(wanted).max() < 1
    assert np.abs(free_energy(single[0])).max() > 1e4
    assert np.abs(found - wanted).max() < 0.2 * np.abs(naive - wanted).max()


def test_log_z_of_a_large_base_is_summed_in_double():
    biases = np.random.default_rng(0).normal(size=50_000).astype(np.float32)
    base = Base(tf.constant(biases), tf.constant(biases[:100]))
    wanted = sum(np.logaddexp(0, np.float64(part)).sum() for part in base)
    np.testing.assert_allclose(base.log_z(), wanted, rtol=1e-12)


@pytest.mark.parametrize("batch", BATCHES)
def test_machine_of_spins_has_the_ising_model_s_energies(batch):
    """But for a constant, by loops over all states of spins -1 and 1."""
    fields_left, fields_right, couplings = reference.machine(3, 3, 2, batch=batch)
    rbm = RBM.of_spins(*(tf.constant(part) for part in (fields_left, fields_right, couplings)))
    states = reference.all_states(5)
    for index in itertools.product(*map(range, batch)):
        u, v, j = fields_left[index], fields_right[index], couplings[index]
        ising = [-(u @ s[:3] + v @ s[3:] + s[:3] @ j @ s[3:]) for s in 2 * states - 1]
        own = [reference.energy([np.asarray(part[index]) for part in rbm], z[:3], z[3:]) for z in states]
        np.testing.assert_allclose(np.diff(own), np.diff(ising), atol=1e-12)
