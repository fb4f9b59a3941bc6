"""Every mixture: its densities, its distributions, its draws, and its implicit derivative against three others."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, optimize, stats

import reference
import reference_models
from models.mixtures import Gaussian, GaussianIntegral, OverlappingExponential, PowerFunction
from relaxation_cases import MIXTURES

FREE_SCALES = np.array([1.0, -0.6, 0.1])
every_mixture = pytest.mark.parametrize("mixture", MIXTURES, ids=lambda mixture: mixture.__name__)
every_beta = pytest.mark.parametrize("beta", [1.5, 8.0, 40.0])
EDGE = 2.0**-24


class Case:
    """One unit of a mixture in float64: `log_r(zeta)` is a pair of floats, in NumPy and quadrature alone.

    Attributes: `beta`, whose place a scale takes in the Gaussian integral; `outputs(logit)`, of the network.
    """

    def __init__(self, mixture, beta, *, u=0.7):
        self.bounded = mixture not in (Gaussian, GaussianIntegral)
        self.extra = []
        if mixture is GaussianIntegral:
            self.relaxation = GaussianIntegral(1)
            self.relaxation.free_scale.assign([5 * (beta**-0.5 - 0.05)])
            self.extra, self.shift = [u], 0.5 * (1 / (1 + np.exp(-u)) - 0.5)
            self.scale = 0.2 * float(self.relaxation.free_scale.numpy()[0]) + 0.05
            self.log_r = functools.partial(reference_models.gaussian_integral, shift=self.shift, scale=self.scale)
        else:
            self.relaxation = mixture(beta)
            self.log_r = functools.partial(MIXTURES[mixture], beta=beta)
        width = 0 if self.bounded else 12 * beta**-0.5
        self.support = (-width, 1 + width)

    def outputs(self, logits, dtype=tf.float64):
        """For logits `[...]`, one unit: `[..., outputs_per_unit]`."""
        return tf.constant(np.stack([logits, *(np.full_like(logits, e) for e in self.extra)], axis=-1), dtype)

    def cdf(self, zeta, z):
        """`R(zeta | z)` by adaptive quadrature. The power function's pole at 0 or 1 is substituted away: t = v^40."""
        low, _ = self.support
        if isinstance(self.relaxation, PowerFunction):
            if z:
                return 1 - self.cdf(1 - zeta, 0)
            substituted = lambda v: np.exp(self.log_r(min(max(v**40, 1e-300), 1 - 1e-15))[0]) * 40 * v**39  # noqa: E731
            return integrate.quad(substituted, 1e-7, zeta ** (1 / 40), epsabs=1e-11)[0]
        points = [p for p in (0, 0.5, 1) if low < p < zeta]
        return integrate.quad(lambda t: np.exp(self.log_r(t)[z]), low, zeta, points=points, epsabs=1e-11)[0]

    def mixture_cdf(self, zeta, logit):
        q = 1 / (1 + np.exp(-logit))
        return (1 - q) * self.cdf(zeta, 0) + q * self.cdf(zeta, 1)

    def density(self, zeta, logit):
        q = 1 / (1 + np.exp(-logit))
        off, on = self.log_r(zeta)
        return (1 - q) * np.exp(off) + q * np.exp(on)


def points(case):
    low, high = (0.001, 0.999) if case.bounded else (-0.3, 1.3)
    return np.linspace(low, high, 9)


@every_beta
@every_mixture
def test_components_are_densities(mixture, beta):
    """Each integrates to 1; values as in NumPy."""
    case, zeta = Case(mixture, beta), points(Case(mixture, beta))
    for z in (0, 1):
        np.testing.assert_allclose(case.cdf(case.support[1], z), 1, atol=1e-6)
    components = case.relaxation.log_components(tf.constant(zeta[:, None]), case.outputs(0 * zeta))
    for got, wanted in zip(components, case.log_r(zeta), strict=True):
        np.testing.assert_allclose(got[:, 0], wanted, rtol=1e-9, atol=1e-9)


@every_beta
@every_mixture
def test_mixture_log_density(mixture, beta):
    case = Case(mixture, beta)
    zeta, logits = (grid.ravel() for grid in np.meshgrid(points(case), [-9.0, -1.0, 0.5, 4.0]))
    got = case.relaxation.log_prob(tf.constant(zeta[:, None]), case.outputs(logits))[:, 0]
    np.testing.assert_allclose(got, np.log(case.density(zeta, logits)), rtol=1e-9, atol=1e-9)


@every_beta
@every_mixture
def test_distributions_of_the_components(mixture, beta):
    """By quadrature, on the whole support for `R(. | 0)`, up to 1/2 for `R(. | 1)`."""
    case = Case(mixture, beta)
    shift = getattr(case, "shift", 0.0)
    for zeta in points(case):
        y = tf.constant([zeta])
        np.testing.assert_allclose(case.relaxation.cdf_off(y), [case.cdf(zeta + shift, 0)], atol=1e-7)
        if zeta <= 0.5:
            np.testing.assert_allclose(case.relaxation.cdf_on(y), [case.cdf(zeta + shift, 1)], atol=1e-7)


KS_DRAWS, KS_LEVEL, KS_BETA = 100_000, 1e-6, 10.0
KS_DISTANCE = np.sqrt(-np.log(KS_LEVEL / 2) / (2 * KS_DRAWS))  # at which the test rejects, 0.0085


def grid_of(case):
    """Points between which a distribution is nearly linear, in `transform`ed units, and that transform."""
    if case.bounded:  # in the logit of zeta a power function is smooth at both ends
        return 1 / (1 + np.exp(-np.linspace(-16.8, 16.8, 401))), lambda t: np.log(t / (1 - t))
    return np.linspace(*case.support, 401), lambda t: t


def probability_integral_transform(case, zeta, values, rng):
    """`F(zeta)`, by interpolation of its `values` on the grid; a draw at an edge may have been any beyond it."""
    grid, transform = grid_of(case)
    inner = np.clip(zeta, EDGE, 1 - EDGE) if case.bounded else zeta
    probabilities = np.interp(transform(inner), transform(grid), values)
    if isinstance(case.relaxation, PowerFunction):
        low, high = np.interp(transform(np.array([EDGE, 1 - EDGE])), transform(grid), values)
        at_low, at_high = zeta <= EDGE, zeta >= 1 - EDGE
        probabilities[at_low] = rng.uniform(0, low, np.sum(at_low))
        probabilities[at_high] = rng.uniform(high, 1, np.sum(at_high))
    return probabilities


@every_mixture
def test_samples_follow_the_mixture(mixture):
    """Kolmogorov-Smirnov, compiled, float32. False-failure rate 1e-6 for each of the 5 mixtures.

    Power: a logit off by 0.25 or a beta off by 25 % is missed with a probability below 1e-3, by the
    Dvoretzky-Kiefer-Wolfowitz inequality: the distributions differ by more than the distance of rejection and what
    100,000 draws stray with that probability together.
    """
    case, logit, rng = Case(mixture, KS_BETA), -0.7, np.random.default_rng(0)
    grid, _ = grid_of(case)
    values = np.array([case.mixture_cdf(t, logit) for t in grid])
    sample = tf.function(case.relaxation.sample, jit_compile=True)
    outputs = case.outputs(np.full(KS_DRAWS, logit), tf.float32)
    zeta = sample(outputs, tf.constant([1, 2])).numpy()[:, 0].astype(float)
    uniform = probability_integral_transform(case, zeta, values, rng)
    assert stats.kstest(uniform, "uniform").pvalue > KS_LEVEL

    strays = np.sqrt(-np.log(1e-3 / 2) / (2 * KS_DRAWS))
    for wrong, wrong_logit in ((case, logit + 0.25), (Case(mixture, 1.25 * KS_BETA), logit)):
        distance = max(abs(wrong.mixture_cdf(t, wrong_logit) - v) for t, v in zip(grid[::8], values[::8], strict=True))
        assert distance > KS_DISTANCE + strays


def derivatives(case, zeta, logits):
    """Of `reparameterize` in the network's outputs `[points, outputs]`, and in the free scale if any."""
    outputs, layer = case.outputs(logits), case.relaxation if case.extra else None
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(outputs)
        value = case.relaxation.reparameterize(tf.constant(zeta[:, None]), outputs)
        rows = tf.unstack(value)
    np.testing.assert_array_equal(value[:, 0], zeta)
    in_scale = [] if layer is None else [float(tape.gradient(row, layer.free_scale.value)[0]) for row in rows]
    return tape.gradient(value, outputs).numpy(), in_scale


def quantile(case, probability, logit):
    return optimize.brentq(lambda t: case.mixture_cdf(t, logit) - probability, *case.support, xtol=1e-13)


@pytest.mark.parametrize("beta", [1.5, 10.0])
@every_mixture
def test_implicit_derivative_is_that_of_the_quantile_function(mixture, beta):
    """Central differences of the inverse, found by bisection, of the distribution, found by quadrature."""
    case, step = Case(mixture, beta), 1e-3
    zeta, logits = np.array([0.05, 0.3, 0.6, 0.97]), np.array([-1.5, 0.2, 1.0, 2.0])
    got = derivatives(case, zeta, logits)[0][:, 0]
    for point, logit, found in zip(zeta, logits, got, strict=True):
        probability = case.mixture_cdf(point, logit)
        ends = [quantile(case, probability, logit + sign * step) for sign in (1, -1)]
        np.testing.assert_allclose(found, (ends[0] - ends[1]) / (2 * step), rtol=1e-4)
    assert np.all(got > 0)


def test_implicit_derivatives_in_shift_and_scale():
    """As above, in the network's second output u and in v."""
    u, v, step, beta = 0.7, 1.0, 1e-3, (0.25) ** -2
    zeta, logits = np.array([-0.2, 0.3, 0.6, 1.1]), np.array([-1.5, 0.2, 1.0, 2.0])
    case = Case(GaussianIntegral, beta, u=u)
    np.testing.assert_allclose(case.relaxation.free_scale, [v], rtol=1e-6)
    in_outputs, in_scale = derivatives(case, zeta, logits)
    for row, (point, logit) in enumerate(zip(zeta, logits, strict=True)):
        probability = case.mixture_cdf(point, logit)
        moved_u = [quantile(Case(GaussianIntegral, beta, u=u + d), probability, logit) for d in (step, -step)]
        np.testing.assert_allclose(in_outputs[row, 1], (moved_u[0] - moved_u[1]) / (2 * step), rtol=1e-4)
        scales = [0.2 * abs(v + d) + 0.05 for d in (step, -step)]
        moved_v = [quantile(Case(GaussianIntegral, scale**-2, u=u), probability, logit) for scale in scales]
        np.testing.assert_allclose(in_scale[row], (moved_v[0] - moved_v[1]) / (2 * step), rtol=1e-3, atol=1e-4)


def test_scales_and_shifts_belong_to_their_units():
    """The scale `|0.2 v| + 0.05` of v = 1 at first, trained; the shift between -1/4 and 1/4."""
    relaxation = GaussianIntegral(3)
    [free_scale] = relaxation.trainable_variables
    np.testing.assert_array_equal(free_scale, [1, 1, 1])
    free_scale.assign(FREE_SCALES)
    np.testing.assert_allclose(relaxation.scale(tf.float32), np.abs(0.2 * FREE_SCALES) + 0.05, rtol=1e-6)
    outputs = tf.constant([[30.0, 30.0, -30.0, 0.0, 100.0, -100.0]])
    np.testing.assert_allclose(relaxation.shift(outputs), [[0, 0.25, -0.25]], atol=1e-7)
    draws = relaxation.sample(tf.repeat(outputs, 400, axis=0), tf.constant([0, 1])).numpy()
    wanted = np.abs(0.2 * FREE_SCALES) + 0.05
    # 6 standard errors: false-failure rate 1e-8. A scale or shift of another unit is 7 or more away.
    assert np.all(np.abs(draws.mean(axis=0) - [1, 1.25, -0.25]) < 6 * wanted / np.sqrt(400))
    assert np.all(np.abs(draws.std(axis=0) / wanted - 1) < 6 / np.sqrt(800))


@pytest.mark.parametrize("beta", [0.5, 4.0, 14.0])
def test_closed_form_agrees_with_the_implicit_derivative(beta):
    """The overlapping exponential's quantile inverts its distribution; its automatic derivative is the implicit one."""
    relaxation, case = OverlappingExponential(beta), Case(OverlappingExponential, beta)
    logits, rho = (a.ravel() for a in np.meshgrid([-9.0, -2.0, 0.0, 0.4, 3.0, 9.0], np.linspace(0.02, 0.98, 25)))
    outputs = tf.constant(logits[:, None])
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        zeta = relaxation.quantile(outputs, tf.constant(rho[:, None]))
    closed = tape.gradient(zeta, outputs)[:, 0]
    zeta = zeta.numpy()[:, 0]
    for point in range(0, len(rho), 7):
        np.testing.assert_allclose(case.mixture_cdf(zeta[point], logits[point]), rho[point], atol=1e-9)
    np.testing.assert_allclose(closed, derivatives(case, zeta, logits)[0][:, 0], rtol=1e-6, atol=1e-12)


@every_mixture
def test_mean_derivative_is_that_of_the_mean(mixture):
    """`E[d zeta / d l] = d E[zeta] / d l = q (1 - q) (E[zeta | 1] - E[zeta | 0])`, compiled, float32.

    False-failure rate 1e-6 for each mixture. Power: the standard error is below 2 %, a factor of 0.85 is noticed with a
    probability above 0.99.
    """
    case, logits = Case(mixture, 4.0), np.full(100_000, -0.8)
    low, high = case.support

    @tf.function(jit_compile=True)
    def gradient(outputs):
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            zeta = case.relaxation.sample(outputs, tf.constant([5, 6]))
        return tape.gradient(zeta, outputs)

    slopes = gradient(case.outputs(logits, tf.float32)).numpy()[:, 0].astype(float)
    # E[zeta | z] = high - the integral of R(zeta | z), by midpoints.
    midpoints = low + (high - low) * (np.arange(300) + 0.5) / 300
    means = [high - (high - low) * np.mean([case.cdf(t, z) for t in midpoints]) for z in (0, 1)]
    q = 1 / (1 + np.exp(0.8))
    wanted = q * (1 - q) * (means[1] - means[0])
    assert abs(reference.z_score(slopes, wanted)) < reference.z_limit(1e-6)
    assert reference.standard_error(slopes) < 0.02 * wanted


@pytest.mark.parametrize("beta", [1.0, 40.0])
@every_mixture
def test_float32_is_stable(mixture, beta):
    """Compiled, logits up to +-30 and far beyond: everything is finite, and right where float64 can tell.

    The same zeta in both: at logits of +-30 and the edges, where densities differ by factors of 1e26.
    """
    case = Case(mixture, beta)
    logits = np.repeat([-200.0, -30.0, -12.0, -1.0, 0.0, 3.0, 30.0, 200.0], 500)

    def evaluate(outputs, zeta):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(outputs)
            zeta = case.relaxation.reparameterize(zeta, outputs)
            off, on = case.relaxation.log_components(zeta, outputs)
            ratio, log_prob = on - off, case.relaxation.log_prob(zeta, outputs)
        slopes = [tape.gradient(value, outputs)[:, :1] for value in (zeta, ratio, log_prob)]
        return zeta, off, on, log_prob, *slopes

    @tf.function(jit_compile=True)
    def compiled(outputs):
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            zeta = case.relaxation.sample(outputs, tf.constant([7, 8]))
        return tape.gradient(zeta, outputs), *evaluate(outputs, zeta)

    slope, *single = compiled(case.outputs(logits, tf.float32))
    for value in (slope, *single):
        assert np.all(np.isfinite(value))
    zeta = single[0].numpy()
    if case.bounded:
        assert zeta.min() >= 0
        assert zeta.max() <= 1
    assert 0.3 < np.mean(zeta > 0.5) < 0.7
    double = evaluate(case.outputs(logits), tf.constant(zeta, tf.float64))
    for value, wanted in zip(single, double, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=2e-3, atol=2e-5 * max(1, beta))
