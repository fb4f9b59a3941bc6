"""Every relaxation that transforms a uniform has its formula, its quantile, its monotony and its gradient."""

import dataclasses
import importlib
import inspect
import pkgutil

import numpy as np
import pytest
import tensorflow as tf

import models
import reference
from models.mixtures import GaussianIntegral
from models.relaxations import Concrete, PiecewiseLinear, Relaxation, SpikeAndExponential
from relaxation_cases import MIXTURES, TRANSFORMS

every_relaxation = pytest.mark.parametrize("relaxation", TRANSFORMS, ids=lambda relaxation: relaxation.__name__)
# Those with values on both sides of 1/2 in the binary proportions; the spike has them at and above 0.
centred = pytest.mark.parametrize("relaxation", [PiecewiseLinear, Concrete], ids=lambda r: r.__name__)
every_beta = pytest.mark.parametrize("beta", [0.5, 1.0, 4.0, 10.0])
# The Gaussian integral has no sharpness of its own: its scales are trained.
FROZEN = [relaxation for relaxation in (*TRANSFORMS, *MIXTURES) if relaxation is not GaussianIntegral]

LOGITS = np.array([-30.0, -6.0, -2.0, -0.5, 0.0, 1e-3, 1.0, 3.0, 9.0, 30.0])
RHO = np.array([0.0, 2**-24, 1e-5, 0.01, 0.2, 0.49, 0.5, 0.51, 0.8, 0.99, 1 - 1e-5, 1 - 2**-24])
GRID = tuple(np.meshgrid(LOGITS, RHO, indexing="ij"))  # [logits, rho]


def descendants(cls):
    return {cls}.union(*(descendants(child) for child in cls.__subclasses__()))


def test_every_relaxation_has_a_case():
    for module in pkgutil.iter_modules(models.__path__, "models."):
        importlib.import_module(module.name)
    concrete = {relaxation for relaxation in descendants(Relaxation) if not inspect.isabstract(relaxation)}
    assert concrete == {*TRANSFORMS, *MIXTURES}, "add the new relaxation to tests/helpers/relaxation_cases.py"


@pytest.mark.parametrize("relaxation", FROZEN, ids=lambda r: r.__name__)
def test_a_relaxation_cannot_be_changed(relaxation):
    """A compiled step would go on with the old sharpness."""
    made = relaxation(2.0)
    for name in ("beta", "other"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, name, 3.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        del made.beta
    assert made.beta == 2.0


@every_beta
@every_relaxation
def test_formula(relaxation, beta):
    """In float64 to rounding. In float32 the rounding of q and rho, 6e-8, is multiplied by the slope.

    The slope is at most 25 beta for PWL, and `(e^beta - 1) e^(-beta zeta) / (beta q)` for the spike. For Concrete
    float32's `1 - 1e-5` is off by 3e-8, 0.3 % of its distance to 1.
    """
    wanted = TRANSFORMS[relaxation](*GRID, beta)
    zeta = relaxation(beta).transform(*map(tf.constant, GRID))
    np.testing.assert_allclose(zeta, wanted, rtol=1e-9, atol=1e-12)
    zeta = relaxation(beta).transform(*(tf.constant(grid, tf.float32) for grid in GRID)).numpy()
    error = {
        PiecewiseLinear: 25 * beta * 2**-22,
        Concrete: 1e-3 * beta,
        SpikeAndExponential: 1e-6 + 2**-22 * np.expm1(beta) * np.exp(-beta * wanted) / beta * (1 + np.exp(-GRID[0])),
    }[relaxation]
    assert np.all(np.abs(zeta - wanted) <= error)
    assert zeta.min() >= 0
    assert zeta.max() <= 1


@every_beta
@centred
def test_more_than_one_half_with_probability_q(relaxation, beta):
    """By quadrature: midpoints of 2^16 cells, of which at most one lies across the threshold."""
    rho, logits = (np.arange(2**16) + 0.5) / 2**16, LOGITS[1:-1]
    zeta = relaxation(beta).transform(tf.constant(logits[:, None] + 0 * rho), tf.constant(0 * logits[:, None] + rho))
    np.testing.assert_allclose(np.mean(zeta > 0.5, axis=1), 1 / (1 + np.exp(-logits)), atol=1.01 / 2**16)


@every_beta
def test_spike_and_exponential_distribution(beta):
    """By quadrature: an atom of `1 - q` at 0, and `q` times the density `beta e^(beta zeta) / (e^beta - 1)`."""
    rho, logits = (np.arange(2**16) + 0.5) / 2**16, LOGITS[1:-1]
    transform = SpikeAndExponential(beta).transform
    zeta = transform(tf.constant(logits[:, None] + 0 * rho), tf.constant(0 * logits[:, None] + rho)).numpy()
    q = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(np.mean(zeta > 0, axis=1), q, atol=1.01 / 2**16)
    for point in (0.1, 0.5, 0.9):
        midpoints = (np.arange(2**12) + 0.5) / 2**12 * point
        below = np.mean(beta * np.exp(beta * midpoints) / np.expm1(beta)) * point
        np.testing.assert_allclose(np.mean(zeta <= point, axis=1), 1 - q + q * below, atol=2 / 2**16)


@every_beta
@every_relaxation
def test_nondecreasing_in_both(relaxation, beta):
    logits, rho = np.linspace(-12, 12, 241), np.linspace(0, 1 - 2**-24, 201)
    zeta = relaxation(beta).transform(*map(tf.constant, np.meshgrid(logits, rho, indexing="ij"))).numpy()
    assert np.all(np.diff(zeta, axis=0) >= -1e-12)
    assert np.all(np.diff(zeta, axis=1) >= -1e-12)
    assert zeta[0, 100] < 0.01
    assert zeta[-1, 100] > (0.5 if relaxation is SpikeAndExponential else 0.99)


def gradient(relaxation, logits, rho):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        zeta = relaxation.transform(logits, tf.constant(rho, logits.dtype))
    return tape.gradient(zeta, logits).numpy()


@every_beta
@every_relaxation
def test_gradient_in_the_logits(relaxation, beta):
    """Against central differences, at random points (none of which lies within the step of a kink)."""
    rng, step = np.random.default_rng(0), 1e-5
    logits, rho = rng.normal(scale=3, size=1000), rng.uniform(size=1000)
    formula = TRANSFORMS[relaxation]
    wanted = (formula(logits + step, rho, beta) - formula(logits - step, rho, beta)) / (2 * step)
    np.testing.assert_allclose(gradient(relaxation(beta), logits, rho), wanted, rtol=1e-6, atol=1e-8)
    assert np.mean(wanted > 0.01) > 0.05  # most points are not saturated, or the test would be empty


def test_gradient_includes_that_of_the_slope():
    """Off the centre, `zeta != 1/2`, the gradient with a constant slope is another: the test above tells them apart."""
    logits, rho, beta = np.array([1.5, -1.5]), np.array([0.25, 0.75]), 1.0
    q = 1 / (1 + np.exp(-logits))
    slope, d_q = beta / (4 * (q * (1 - q) + 0.01)), q * (1 - q)
    d_slope = -slope * (1 - 2 * q) * d_q / (q * (1 - q) + 0.01)
    wanted = slope * d_q + d_slope * (rho - (1 - q))
    np.testing.assert_allclose(gradient(PiecewiseLinear(beta), logits, rho), wanted, rtol=1e-12)
    assert np.all(np.abs(wanted / (slope * d_q) - 1) > 0.03)


@every_relaxation
def test_gradient_is_finite_where_saturated(relaxation):
    logits, rho = (
        a.ravel() for a in np.meshgrid(np.float32([-200, -40, 0, 40, 200]), np.float32([0, 0.5, 1 - 2**-24]))
    )
    assert np.all(np.isfinite(gradient(relaxation(4.0), logits, rho)))


@centred
def test_sharp_limit_is_the_binary_step(relaxation):
    logits, rho = (a.ravel() for a in np.meshgrid(LOGITS[1:-1], np.linspace(0.0005, 0.9995, 1000)))
    clear = np.abs(rho - 1 / (1 + np.exp(logits))) > 1e-4
    zeta = relaxation(1e6).transform(tf.constant(logits), tf.constant(rho)).numpy()
    np.testing.assert_allclose(zeta[clear], (rho > 1 / (1 + np.exp(logits)))[clear], atol=1e-9)
    assert np.mean(clear) > 0.99


@every_relaxation
def test_sample_transforms_uniforms_of_its_seed(relaxation):
    """One independent uniform for each logit, of the logits' type."""
    for dtype in (tf.float32, tf.float64):
        logits, seed = tf.random.stateless_normal([3, 4, 5], [1, 1], dtype=dtype), tf.constant([2, 3])
        zeta = relaxation(2.0).sample(logits, seed)
        rho = reference.uniform((3, 4, 5), seed.numpy(), double=dtype == tf.float64)
        np.testing.assert_allclose(zeta, TRANSFORMS[relaxation](logits.numpy(), rho, 2.0), atol=1e-5)
        assert zeta.dtype == dtype
        assert np.any(zeta != relaxation(2.0).sample(logits, tf.constant([2, 4])))
