"""Densities of relaxed zeta under an RBM prior, against sums over all 2^(N + M) binary states, in float64."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

import reference
import reference_models
from models.relaxations import LogComponents
from models.relaxed_prior import GaussianIntegralPrior, gaussian_integral, overlapping_bound, smallest_eigenvalue
from reference import finite_differences
from samplers.rbm import RBM

N, M = 3, 2
PRIOR = reference.machine(0, N, M)
LOG_Z = reference.log_z(PRIOR)
STATES = reference.all_states(N + M)
ZETA = np.random.default_rng(1).uniform(0.02, 0.98, size=[2, 3, N + M])
BETA = 9.0


def as_rbm(machine):
    return RBM(*(tf.constant(parameter) for parameter in machine))


def components(zeta, beta=BETA):
    return LogComponents(*map(tf.constant, reference_models.exponential(zeta, beta)))


def exact(log_r, machine=PRIOR):
    """`log sum_z p(z) prod_i r(zeta_i | z_i)` of one zeta, `log_r = (off [units], on [units])`."""
    log_p = reference.log_joint(machine).ravel() - reference.log_z(machine)
    return special.logsumexp(
        [lp + np.sum(np.where(z == 1, log_r[1], log_r[0])) for lp, z in zip(log_p, STATES, strict=True)]
    )


# Overlapping components.


def means_of(machine, log_r):
    """Five mean-field updates from 1/2, right units first."""
    a, b, w = machine
    c = log_r[1] - log_r[0]
    shifted, left = (a + c[:N], b + c[N:], w), np.full(N, 0.5)
    for _ in range(5):
        left, right = reference.mean_field_update(shifted, left)
    return shifted, left, right


def stated(machine, log_r):
    """The bound in loops."""
    return reference.mean_field_bound(*means_of(machine, log_r)) + np.sum(log_r[0]) - LOG_Z


def test_overlapping_value_matches_loops_and_is_below_the_exact_density():
    value = overlapping_bound(as_rbm(PRIOR), components(ZETA), tf.constant(LOG_Z)).numpy()
    gaps = np.zeros(ZETA.shape[:2])
    for index in np.ndindex(*gaps.shape):
        log_r = reference_models.exponential(ZETA[index], BETA)
        np.testing.assert_allclose(value[index], stated(PRIOR, log_r), rtol=1e-10)
        gaps[index] = exact(log_r) - value[index]
    assert np.all(gaps > 0)
    assert 1e-4 < gaps.max() < 0.5


def test_overlapping_is_exact_without_couplings_and_where_zeta_tells_z():
    """Limits in which the posterior of z given zeta is factorial, or certain."""
    independent = (*PRIOR[:2], np.zeros([N, M]))
    log_z, log_r = reference.log_z(independent), reference_models.exponential(ZETA[0, 0], BETA)
    value = overlapping_bound(as_rbm(independent), components(ZETA[0, 0]), tf.constant(log_z))
    np.testing.assert_allclose(value, exact(log_r, independent), rtol=1e-12)
    for z in STATES[::5]:
        zeta = np.where(z == 1, 0.99, 0.01)
        value = overlapping_bound(as_rbm(PRIOR), components(zeta, 40.0), tf.constant(LOG_Z))
        np.testing.assert_allclose(value, exact(reference_models.exponential(zeta, 40.0)), atol=1e-12)


def test_overlapping_gradient_holds_the_means_constant():
    """Finite differences of `-E(m) + c . m + d - log Z` at the m of the point, in zeta and in the prior."""
    zeta, prior = ZETA[0, 0], as_rbm(PRIOR)
    _, left, right = means_of(PRIOR, reference_models.exponential(zeta, BETA))
    m = np.concatenate([left, right])

    def function(zeta, machine=PRIOR):
        off, on = reference_models.exponential(zeta, BETA)
        return -reference.energy(machine, left, right) + np.sum((on - off) * m + off)

    variable = tf.constant(zeta)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([variable, prior])
        normaliser = np.log(BETA) - np.log(1 - np.exp(-BETA))
        components = LogComponents(normaliser - BETA * variable, normaliser - BETA * (1 - variable))
        value = overlapping_bound(prior, components, tf.constant(LOG_Z))
    np.testing.assert_allclose(tape.gradient(value, variable), finite_differences(function, zeta), rtol=1e-7)
    for number, gradient in enumerate(tape.gradient(value, prior)):
        replaced = lambda p: function(zeta, (*PRIOR[:number], p, *PRIOR[number + 1 :]))  # noqa: B023, E731
        np.testing.assert_allclose(gradient, finite_differences(replaced, PRIOR[number]), rtol=1e-6, atol=1e-9)


# The Gaussian integral.


def exact_gaussian_integral(machine, zeta, beta, log_z=None):
    """By SciPy's multivariate normal and all states."""
    _, _, w = machine
    precision = np.block([[np.zeros([N, N]), w], [w.T, np.zeros([M, M])]]) + beta * np.eye(N + M)
    log_z = reference.log_z(machine) if log_z is None else log_z
    log_r = [stats.multivariate_normal(z, np.linalg.inv(precision)).logpdf(zeta) for z in STATES]
    return special.logsumexp(reference.log_joint(machine).ravel() + log_r) - log_z


@pytest.mark.parametrize("beta", [6.0, 40.0])
def test_gaussian_integral_is_the_enumerated_density(beta):
    zeta = 2 * ZETA - 0.5
    prior = GaussianIntegralPrior(as_rbm(PRIOR), tf.constant(beta, tf.float64))
    value = gaussian_integral(prior, tf.constant(zeta), tf.constant(LOG_Z))
    for index in np.ndindex(2, 3):
        np.testing.assert_allclose(value[index], exact_gaussian_integral(PRIOR, zeta[index], beta), rtol=1e-9)


def test_gaussian_integral_gradients():
    """In zeta and in the prior, log Z and beta held constant, against differences of the enumerated density."""
    zeta, beta = 2 * ZETA[0, 0] - 0.5, 7.0
    rbm, variable = as_rbm(PRIOR), tf.constant(zeta)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([rbm, variable])
        prior = GaussianIntegralPrior(rbm, tf.constant(beta, tf.float64))
        value = gaussian_integral(prior, variable, tf.constant(LOG_Z))
    wanted = finite_differences(lambda z: exact_gaussian_integral(PRIOR, z, beta), zeta)
    np.testing.assert_allclose(tape.gradient(value, variable), wanted, rtol=1e-6, atol=1e-8)
    for number, gradient in enumerate(tape.gradient(value, rbm)):

        def value_at(parameter, number=number):
            return exact_gaussian_integral((*PRIOR[:number], parameter, *PRIOR[number + 1 :]), zeta, beta, LOG_Z)

        wanted = finite_differences(value_at, PRIOR[number])
        np.testing.assert_allclose(gradient, wanted, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("shape", [(3, 2), (2, 4), (3, 3)])
@pytest.mark.parametrize("scale", [0.1, 30.0])
def test_beta_keeps_the_matrix_positive_definite(shape, scale):
    """The smallest eigenvalue by the whole matrix; 5 is left of it, however strong the couplings."""
    _, _, w = machine = reference.machine(3, *shape, scale=scale)
    whole = np.block([[np.zeros([shape[0]] * 2), w], [w.T, np.zeros([shape[1]] * 2)]])
    smallest = np.linalg.eigvalsh(whole)[0]
    np.testing.assert_allclose(smallest_eigenvalue(as_rbm(machine)), smallest, rtol=1e-10)
    beta = float(GaussianIntegralPrior.smoothing(as_rbm(machine), least_beta=30.0).beta)
    np.testing.assert_allclose(beta, max(30.0, 5 - smallest), rtol=1e-10)
    assert np.linalg.eigvalsh(whole + beta * np.eye(sum(shape)))[0] > 5 - 1e-9
    assert (beta > 30) == (scale == 30.0)


def test_no_gradient_flows_through_beta_and_none_is_undefined():
    """At W = 0, where training starts, all eigenvalues coincide."""
    rbm = RBM(tf.zeros([3]), tf.zeros([3]), tf.zeros([3, 3]))
    with tf.GradientTape() as tape:
        tape.watch(rbm)
        prior = GaussianIntegralPrior.smoothing(rbm, least_beta=2.0)
        value = gaussian_integral(prior, tf.ones([6]), tf.constant(0.0))
    np.testing.assert_array_equal(prior.beta, 5)
    for gradient in tape.gradient(value, rbm):
        assert np.all(np.isfinite(gradient))

    rbm = as_rbm(reference.machine(3, 3, 3, scale=30.0))  # beta is above the least, a function of W
    with tf.GradientTape() as tape:
        tape.watch(rbm)
        beta = GaussianIntegralPrior.smoothing(rbm, least_beta=2.0).beta
    assert beta > 30
    assert tape.gradient(beta, rbm, unconnected_gradients="none") == RBM(None, None, None)


def test_float32_at_published_size():
    """100 + 100 units, beta 40, strong couplings, compiled: right to 1e-4 of a value of some hundred nats."""
    machine = reference.machine(5, 100, 100, scale=0.3)
    zeta = np.random.default_rng(6).normal(0.5, 0.5, size=[1, 4, 200])

    def densities(rbm, zeta):
        prior = GaussianIntegralPrior.smoothing(rbm, least_beta=40.0)
        zero, extra = tf.zeros([], zeta.dtype), tf.math.log_sigmoid(-zeta)
        bound = overlapping_bound(rbm, LogComponents(extra, extra + zeta), zero)
        return gaussian_integral(prior, zeta, zero), bound

    single, double = (
        function(RBM(*(tf.constant(p, dtype) for p in machine)), tf.constant(zeta, dtype))
        for dtype, function in ((tf.float32, tf.function(densities, jit_compile=True)), (tf.float64, densities))
    )
    for value, wanted in zip(single, double, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-4)
