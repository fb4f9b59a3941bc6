"""The prior's two sets of parameters: of one family of distributions."""

import numpy as np
import pytest
import tensorflow as tf

import reference
from models.prior import RBMPrior


@pytest.mark.parametrize("spins", [False, True])
def test_gradient_is_that_of_its_own_parameters(spins):
    """Of an energy, by central differences in fields and couplings of units -1 and 1, or biases and weights of 0, 1."""
    prior = RBMPrior(3, 2, spins=spins)
    machine = reference.machine(0, 3, 2)
    prior.set_weights(machine)
    z = np.array([1.0, 0.0, 1.0, 0.0, 1.0], np.float32)
    with tf.GradientTape() as tape:
        rbm = prior.rbm()
        difference = rbm.energy(z[:3], z[3:]) - rbm.energy(1 - z[:3], 1 - z[3:])
    units = (2 * z - 1, 1 - 2 * z) if spins else (z, 1 - z)

    def energy(a, b, w, s):
        return -(a @ s[:3] + b @ s[3:] + s[:3] @ w @ s[3:])

    def wanted(parameters):
        return energy(*parameters, units[0]) - energy(*parameters, units[1])

    np.testing.assert_allclose(difference, wanted(machine), rtol=1e-5)
    gradients = tape.gradient(difference, prior.trainable_variables, unconnected_gradients="zero")
    for number, gradient in enumerate(gradients):
        for index in np.ndindex(*gradient.shape):
            shifted = [[part.astype(np.float64).copy() for part in machine] for _ in range(2)]
            for sign, parameters in zip((1, -1), shifted, strict=True):
                parameters[number][index] += sign * 1e-3
            slope = (wanted(shifted[0]) - wanted(shifted[1])) / 2e-3
            np.testing.assert_allclose(gradient[index], slope, atol=1e-4)


def test_it_starts_uniform_in_spins_too():
    rbm = RBMPrior(3, 2, spins=True).rbm()
    assert all(np.all(part == 0) for part in rbm)
