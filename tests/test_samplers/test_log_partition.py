"""The exact log Z against sums over all states, and the tensor that carries its gradient."""

import numpy as np
import pytest
import tensorflow as tf

import machines
import reference
from samplers.log_partition import all_states, exact_log_z, exact_sample, log_z_with_gradient
from samplers.rbm import RBM


def as_rbm(machine, dtype=tf.float64):
    return machines.as_rbm(machine, dtype)


def test_all_states():
    states = all_states(5).numpy()
    np.testing.assert_array_equal(states[:, ::-1], reference.all_states(5))  # here the first unit is the lowest bit
    np.testing.assert_array_equal(all_states(5, first=8, count=4), states[8:12])


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
@pytest.mark.parametrize(("num_left", "num_right"), [(2, 5), (5, 2), (4, 4), (1, 1)])
def test_exact_log_z(num_left, num_right, batch):
    machine = reference.machine(0, num_left, num_right, batch=batch, scale=2.0)
    log_z = exact_log_z(as_rbm(machine))
    assert (log_z.dtype, log_z.shape) == (tf.float64, batch)
    for index in np.ndindex(*batch):
        np.testing.assert_allclose(log_z[index], reference.log_z(reference.member(machine, index)), rtol=1e-12)


def test_exact_log_z_of_float32_parameters_is_summed_in_float64():
    machine = tuple(parameter.astype(np.float32) for parameter in reference.machine(0, 3, 4))
    np.testing.assert_allclose(exact_log_z(as_rbm(machine, tf.float32)), reference.log_z(machine), rtol=1e-12)


def test_exact_log_z_of_more_states_than_a_block():
    """15 + 15 units coupled in pairs: log Z is the sum of those of 15 machines of 1 + 1 units."""
    a, b, diagonal = np.random.default_rng(0).normal(scale=2.0, size=[3, 15])
    pairs = sum(reference.log_z((a[[i]], b[[i]], diagonal[[i], None])) for i in range(15))
    np.testing.assert_allclose(exact_log_z(as_rbm((a, b, np.diag(diagonal)))), pairs, rtol=1e-12)


def test_exact_log_z_does_not_overflow():
    np.testing.assert_allclose(exact_log_z(as_rbm(([1e4], [-1e4], [[2e4]]))), 2e4, rtol=1e-15)


def test_too_many_units_is_an_error():
    with pytest.raises(ValueError, match="25: at most 24"):
        exact_log_z(RBM(tf.zeros([25]), tf.zeros([26]), tf.zeros([25, 26])))


def test_published_log_z_of_the_multimodal_machine():
    np.testing.assert_allclose(exact_log_z(as_rbm(machines.multimodal_4x4())), 59.6749019652, atol=1e-9)


def test_published_log_z_of_the_mnist_machine():
    np.testing.assert_allclose(exact_log_z(as_rbm(machines.mnist_784x15())), 215.138405525316, atol=1e-9)


@pytest.mark.parametrize(("num_left", "num_right"), [(2, 3), (3, 2)])
def test_exact_samples_are_distributed_as_the_machine(num_left, num_right):
    """Chi-squared of whole states, two machines at once. False-failure rate 1e-5; the other machine is noticed."""
    num_samples, several = 20_000, reference.machine(11, num_left, num_right, batch=(2,))
    state = exact_sample(as_rbm(several, tf.float32), num_samples, tf.constant([0, 5]))
    assert (state.left.shape, state.right.shape) == ([num_samples, 2, num_left], [num_samples, 2, num_right])
    assert state.left.dtype == state.right.dtype == tf.float32
    number = reference.state_number(np.concatenate(state, axis=-1))
    joint = [reference.joint(reference.member(several, k)).ravel() for k in range(2)]
    for k in range(2):
        counts = np.bincount(number[:, k], minlength=32)
        assert reference.chi_squared_p_value(counts, joint[k]) > 1e-5 / 2
        assert reference.chi_squared_power(num_samples, joint[k], joint[1 - k], 1e-5 / 2) > 0.999


def test_exact_samples_of_more_states_than_a_block():
    """15 pairs of units: each pair has the distribution of a machine of its own. False-failure rate 1e-5."""
    a, b, diagonal = np.random.default_rng(0).normal(size=[3, 15])
    left, right = exact_sample(as_rbm((a, b, np.diag(diagonal))), 5000, tf.constant([1, 5]))
    for i in range(15):
        joint = reference.joint((a[[i]], b[[i]], diagonal[[i], None])).ravel()
        counts = np.bincount(2 * left[:, i].numpy().astype(int) + right[:, i].numpy().astype(int), minlength=4)
        assert reference.chi_squared_p_value(counts, joint) > 1e-5 / 15


def integer_machine():
    """A machine with couplings whose `exp(-F(left))` are integers, and particles in exactly that proportion.

    exp(a), exp(b) and exp(W) are integers, so exp(-F) = prod_i exp(a_i)^left_i prod_j (1 + exp(b_j) exp(left' W)_j).
    """
    machine = np.log([2, 1, 3]), np.log([1, 2]), np.log([[2, 1], [1, 4], [2, 2]])
    left = reference.all_states(3)
    counts = np.array([np.exp(-reference.free_energy(machine, state)) for state in left])
    np.testing.assert_allclose(counts, np.round(counts), rtol=1e-12)
    return machine, np.repeat(left, np.round(counts).astype(int), axis=0)


def gradients(function, rbm):
    with tf.GradientTape() as tape:
        tape.watch(rbm)
        value = function(rbm)
    return value, tape.gradient(value, rbm)


def test_gradient_is_that_of_the_exact_log_z():
    """Particles in exact proportion to p(left): no tolerance for chance. Oracles: autodiff, finite differences."""
    machine, particles = integer_machine()
    rbm, log_z = as_rbm(machine), tf.constant(3.25, tf.float64)
    value, actual = gradients(lambda rbm: log_z_with_gradient(rbm, tf.constant(particles), log_z), rbm)
    assert float(value) == 3.25
    _, differentiated = gradients(exact_log_z, rbm)
    for k, parameter in enumerate(machine):
        np.testing.assert_allclose(actual[k], differentiated[k], rtol=1e-10)
        for index in np.ndindex(*parameter.shape):
            low, high = (reference.log_z(shifted(machine, k, index, step)) for step in (-1e-5, 1e-5))
            np.testing.assert_allclose(actual[k][index], (high - low) / 2e-5, atol=1e-8)


def shifted(machine, k, index, step):
    machine = [parameter.copy() for parameter in machine]
    machine[k][index] += step
    return tuple(machine)


def test_gradient_from_exact_samples():
    """30,000 exact samples. False-failure rate 1e-4 together; an error of 0.021 is seen with probability 0.99."""
    machine, num = reference.machine(2, 3, 5), 30_000
    p = reference.p_left(machine)
    particles = reference.all_states(3)[np.random.default_rng(0).choice(8, size=num, p=p)]
    rbm = as_rbm(machine)
    _, actual = gradients(lambda rbm: log_z_with_gradient(rbm, tf.constant(particles), exact_log_z(rbm)), rbm)
    _, exact = gradients(exact_log_z, rbm)
    limit = reference.z_limit(1e-4, num_comparisons=23)
    standard_error = 0.5 / np.sqrt(num)  # at most: a mean of numbers in [0, 1]
    assert (limit + 2.4) * standard_error < 0.021
    for estimate, truth in zip(actual, exact, strict=True):
        assert np.max(np.abs(estimate - truth)) < limit * standard_error


def test_particles_carry_no_gradient():
    rbm = as_rbm(reference.machine(0, 2, 2))
    left = tf.constant(reference.all_states(2))
    with tf.GradientTape() as tape:
        tape.watch(left)
        value = log_z_with_gradient(rbm, left, exact_log_z(rbm))
    assert tape.gradient(value, left) is None


def test_float32_machine_takes_the_float64_log_z_of_its_sampler():
    """The samplers track log Z in float64, whatever the machine's precision."""
    machine, particles = integer_machine()
    log_z = tf.constant(3.25, tf.float64)
    value = log_z_with_gradient(as_rbm(machine, tf.float32), tf.constant(particles, tf.float32), log_z)
    assert float(value) == 3.25
