"""Likelihoods of real pixels: SciPy's densities, quadrature, differences for gradients, draws, floors."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, special, stats

import tiny
from dvae.compiling import compiled
from dvae.systems import LIKELIHOODS
from models.continuous_likelihoods import LEAST_SIGMA, ZeroInflatedLogNormal
from models.likelihood import Likelihood

RNG = np.random.default_rng(0)
POSITIVE = RNG.random([40, 6]) < [0.2, 0.7, 0.5, 0.0, 1.0, 0.4]
EXAMPLES = {
    "unit": np.where(np.arange(6) == 3, 0, RNG.random([40, 6]) ** 2),  # a pixel that never changes
    "real": RNG.normal(300, [1, 20, 3, 0, 5, 80], [40, 6]),
    "non_negative": np.where(POSITIVE, RNG.lognormal([-4, 0, 2, 0, 5, 9], 1.5, [40, 6]), 0),
}
Z = RNG.uniform(size=[3, 5, 4]).astype(np.float32)  # [K, B, units]
REAL = [name for name in LIKELIHOODS if name != "bernoulli"]
every_likelihood = pytest.mark.parametrize("name", REAL)


def made(name, *, scale=0.7):
    """With weights of no special values, sigma's among them."""
    kind = LIKELIHOODS[name]
    return tiny.model("pwl", likelihood=kind, examples=EXAMPLES[kind.values].astype(np.float32), scale=scale).likelihood


def examples_of(likelihood, num=5):
    return EXAMPLES[likelihood.values][:num].astype(np.float32)


def sigma_of(likelihood):
    """In float64, `[D]`."""
    scale = LEAST_SIGMA + np.exp(likelihood.log_sigma.numpy().astype(float))
    return np.broadcast_to(likelihood.unit.astype(float) * scale, [6])


def frozen(likelihood, outputs):
    """SciPy's distribution of each pixel, and what is mirrored, or how often it is positive; of outputs."""
    outputs = np.asarray(outputs, float)
    if likelihood.values == "unit":
        # exp(l x) l / (exp(l) - 1) on [0, 1]: a truncated exponential, mirrored where l is positive.
        return stats.truncexpon(b=np.abs(outputs), scale=1 / np.abs(outputs)), outputs > 0
    if likelihood.values == "real":
        return stats.norm(outputs, sigma_of(likelihood)), None
    gate, mean_log = np.split(outputs, 2, axis=-1)
    return stats.lognorm(s=sigma_of(likelihood), scale=np.exp(mean_log)), special.expit(gate)


def log_density(likelihood, x, outputs):
    """By SciPy in float64, of each pixel."""
    x = np.asarray(x, float)
    distribution, further = frozen(likelihood, outputs)
    if likelihood.values == "unit":
        return distribution.logpdf(np.where(further, 1 - x, x))
    if likelihood.values == "real":
        return distribution.logpdf(x)
    with np.errstate(divide="ignore"):
        return np.where(x > 0, np.log(further) + distribution.logpdf(x), np.log1p(-further))


@pytest.mark.parametrize("training", [True, False])
@every_likelihood
def test_log_prob_is_that_of_scipy(name, training):
    likelihood = made(name)
    x, outputs = examples_of(likelihood), likelihood.outputs(Z, training=training)
    wanted = log_density(likelihood, x, outputs).sum(axis=-1)
    np.testing.assert_allclose(likelihood.log_prob(x, Z, training=training), wanted, rtol=2e-5, atol=1e-4)
    if not training:
        np.testing.assert_allclose(likelihood.log_prob_of_draws(tf.constant(x), tf.constant(Z)), wanted, rtol=2e-5)


@every_likelihood
def test_every_pair_is_that_of_scipy(name):
    """What enumeration is made of, in float64; closed forms agree with the general one."""
    likelihood = made(name)
    x, outputs = examples_of(likelihood), likelihood.outputs(Z.reshape(15, 4), training=False)
    pairs = likelihood.log_prob_of_pairs(tf.constant(x), outputs)
    assert pairs.dtype == tf.float64
    wanted = log_density(likelihood, x, outputs.numpy()[:, None]).sum(axis=-1)
    np.testing.assert_allclose(pairs, wanted, rtol=2e-5)
    np.testing.assert_allclose(pairs, Likelihood.log_prob_of_pairs(likelihood, tf.constant(x), outputs), rtol=2e-5)


def test_pairs_of_gaussians_survive_a_large_offset():
    """Values of 1e4 +- 1: without the mean example taken off, squares of 1e8 would cancel."""
    examples = (1e4 + RNG.normal(size=[30, 6])).astype(np.float32)
    likelihood = tiny.model("pwl", likelihood=LIKELIHOODS["gaussian"], examples=examples).likelihood
    outputs = likelihood.outputs(Z.reshape(15, 4), training=False)
    pairs = likelihood.log_prob_of_pairs(tf.constant(examples[:5]), outputs)
    np.testing.assert_allclose(
        pairs, log_density(likelihood, examples[:5], outputs.numpy()[:, None]).sum(-1), rtol=1e-6
    )


@every_likelihood
def test_densities_are_normalised(name):
    """Adaptive quadrature over each pixel's values, with the point mass at 0 where there is one; and the mean."""
    likelihood = made(name)
    outputs = tf.cast(likelihood.outputs(Z[0, 0], training=False), tf.float64)
    distribution, mean = likelihood.distribution(outputs), likelihood.mean(Z[0, 0], training=False).numpy()
    grid = np.polynomial.legendre.leggauss(400)
    scipys, further = frozen(likelihood, outputs)
    low, high = scipys.ppf(1e-13), scipys.isf(1e-13)
    if likelihood.values == "unit":
        low, high = np.zeros(6), np.ones(6)
    if likelihood.values == "non_negative":
        low, high = np.log(low), np.log(high)
    nodes = low + (high - low) * (grid[0][:, None] + 1) / 2  # [nodes, D], of x or of log x
    x, step = (np.exp(nodes), np.exp(nodes)) if likelihood.values == "non_negative" else (nodes, 1.0)
    terms = np.exp(distribution.log_prob(tf.constant(x)).numpy()) * step * grid[1][:, None] * (high - low) / 2
    mass = terms.sum(axis=0)
    if likelihood.values == "non_negative":
        np.testing.assert_allclose(mass, further, rtol=1e-6)
        mass += np.exp(distribution.log_prob(tf.zeros([6], tf.float64)).numpy())
    np.testing.assert_allclose(mass, 1, rtol=1e-6)
    np.testing.assert_allclose(mean, (terms * x).sum(axis=0), rtol=1e-4)


@pytest.mark.parametrize("logit", [-80.0, -20.0, -1.0, -0.01, 0.0, 1e-4, 0.3, 5.0, 40.0, 100.0])
def test_continuous_bernoulli_is_a_density_at_every_logit(logit):
    """Where its normaliser is 0/0, and where sigmoids are 0 or 1 in float32; Gauss quadrature of three intervals."""
    distribution = made("continuous_bernoulli").distribution(tf.constant(logit))
    near = 1 / max(abs(logit), 2.5)
    ends = [0, near, 1 - near, 1]

    def integral(f):
        return sum(integrate.fixed_quad(f, *interval, n=200)[0] for interval in itertools.pairwise(ends))

    def density(x):
        return np.exp(distribution.log_prob(x.astype(np.float32)).numpy().astype(float))

    total, first = integral(density), integral(lambda x: x * density(x))
    assert total == pytest.approx(1, abs=1e-4)
    assert float(distribution.mean()) == pytest.approx(first, abs=1e-4)


@every_likelihood
def test_gradients_are_those_of_differences(name):
    """In all outputs and in sigma's parameters, of float64 differences of SciPy's densities; zeros are among x."""
    likelihood = made(name)
    x = examples_of(likelihood)
    outputs = likelihood.outputs(Z[0], training=False)
    variables = [v.value for v in likelihood.trainable_variables if "log_sigma" in v.path]
    with tf.GradientTape() as tape:
        tape.watch([outputs, *variables])
        value = tf.reduce_sum(likelihood.distribution(outputs).log_prob(x))
    found, *of_sigma = tape.gradient(value, [outputs, *variables])
    exact = outputs.numpy().astype(float)

    def total():
        return log_density(likelihood, x, exact).sum()

    for place in np.ndindex(*exact.shape):
        kept, step = exact[place], 1e-4 * max(1.0, abs(exact[place]) ** 0.5)
        exact[place] = kept + step
        above = total()
        exact[place] = kept - step
        below = total()
        exact[place] = kept
        assert float(found[place]) == pytest.approx((above - below) / (2 * step), rel=2e-3, abs=2e-3)
    if of_sigma:
        variable = next(v for v in likelihood.trainable_variables if "log_sigma" in v.path)
        kept = np.array(variable.numpy())
        for place in np.ndindex(*kept.shape):
            values = []
            for step in (1e-2, -1e-2):
                moved = np.array(kept)
                moved[place] += step
                variable.assign(moved)
                values.append(total())
            variable.assign(kept)
            assert float(of_sigma[0][place]) == pytest.approx((values[0] - values[1]) / 2e-2, rel=5e-3, abs=5e-3)


@every_likelihood
def test_draws_have_the_distribution(name):
    """Kolmogorov-Smirnov against SciPy's, of 4,000 draws of each pixel; of zeros, by the binomial.

    False-failure rate 1e-5 together. Power: a scale of 1.2 times the right one moves the distribution function by
    0.043, 2.7 standard deviations of the largest difference; checked below to be refused.
    """
    likelihood, num = made(name), 4000
    z = np.repeat(Z[0, :1], num, axis=0)
    draws = likelihood.sample(tf.constant(z), tf.constant([3, 4])).numpy().astype(float)
    again = compiled(likelihood.sample)(tf.constant(z), tf.constant([3, 4])).numpy()
    np.testing.assert_allclose(draws, again, rtol=1e-2, atol=1e-5)  # in a tail the last bit of a uniform is as much
    outputs = likelihood.outputs(Z[0, :1], training=False)
    scipys, further = frozen(likelihood, outputs)
    refused = 0
    for d in range(6):
        of_pixel = draws[:, d]
        if likelihood.values == "unit" and further[0, d]:
            of_pixel = 1 - of_pixel
        if likelihood.values == "non_negative":
            positive = int((of_pixel > 0).sum())
            assert stats.binomtest(positive, num, further[0, d]).pvalue > 1e-6
            of_pixel = of_pixel[of_pixel > 0]
        if len(of_pixel) < 500:
            continue
        at = lambda values: scipys.cdf(np.repeat(values[:, None], 6, axis=1))[:, d]  # noqa: B023, E731
        assert stats.kstest(of_pixel, at).pvalue > 1e-6
        scaled = of_pixel * 1.2 if likelihood.values != "real" else outputs[0, d] + 1.2 * (of_pixel - outputs[0, d])
        refused += stats.kstest(np.asarray(scaled), at).pvalue < 1e-3
    assert refused


@every_likelihood
def test_starts_where_the_data_are(name):
    """z = 0 of new weights: each pixel's mean, or its share of positive values and their mean logarithm."""
    kind, seed = LIKELIHOODS[name], tiny.config("pwl")
    examples = EXAMPLES[kind.values].astype(np.float32)
    likelihood = tiny.build_autoencoder(seed, examples, tiny.Networks(likelihood=kind)).likelihood
    zero = np.zeros([1, 4], np.float32)
    outputs = likelihood.outputs(zero, training=False)
    if kind.values == "non_negative":
        found = {name: value.numpy()[0] for name, value in likelihood.parameters(outputs).items()}
        np.testing.assert_allclose(
            found["probability_positive"], np.clip((examples > 0).mean(0), 0.001, 0.999), rtol=1e-4
        )
        for d in (0, 1, 2, 4, 5):
            logs = np.log(examples[:, d][examples[:, d] > 0].astype(float))
            assert found["mean_log"][d] == pytest.approx(logs.mean(), rel=1e-4, abs=1e-4)
            if name.endswith("per_pixel"):
                assert found["sigma"][d] == pytest.approx(logs.std() * (1 + LEAST_SIGMA), rel=1e-4)
        return
    wanted = np.clip(examples.mean(axis=0), 0.02, 0.98) if kind.values == "unit" else examples.mean(axis=0)
    np.testing.assert_allclose(likelihood.mean(zero, training=False)[0], wanted, rtol=1e-4)
    if kind.values == "real":
        own = examples.std(axis=0, dtype=float)
        if name.endswith("per_pixel"):
            changes = own > 0
            np.testing.assert_allclose(sigma_of(likelihood)[changes], own[changes] * (1 + LEAST_SIGMA), rtol=1e-5)
        else:
            np.testing.assert_allclose(sigma_of(likelihood), np.sqrt((own**2).mean()) * (1 + LEAST_SIGMA), rtol=1e-5)


@pytest.mark.parametrize("name", [n for n in REAL if n != "continuous_bernoulli"])
def test_sigma_has_a_floor_and_says_so(name):
    """However small its parameter; the log-density stays finite, also of a pixel that never changes."""
    likelihood = made(name)
    likelihood.log_sigma.assign(np.zeros(likelihood.log_sigma.shape))
    assert likelihood.remarks() == []
    likelihood.log_sigma.assign(np.full(likelihood.log_sigma.shape, -50.0))
    np.testing.assert_allclose(likelihood.sigma(), np.broadcast_to(likelihood.unit, [6]) * LEAST_SIGMA, rtol=1e-5)
    assert np.all(sigma_of(likelihood) > 0)
    assert np.isfinite(likelihood.log_prob(examples_of(likelihood), Z, training=False)).all()
    [remark] = likelihood.remarks()
    assert ("6 of 6 pixels" if name.endswith("per_pixel") else "of all pixels") in remark
    assert "floor" in remark


@every_likelihood
def test_encoders_are_shown_numbers_of_order_one(name):
    """Whatever the unit: the same inputs, and the same density but for the unit's logarithm."""
    kind = LIKELIHOODS[name]
    examples = EXAMPLES[kind.values].astype(np.float32)
    shown = kind.inputs(examples)(tf.constant(examples)).numpy()
    np.testing.assert_allclose(shown.mean(axis=0), 0, atol=1e-3)
    assert 0.05 < np.sqrt((shown**2).mean()) < 1.5
    if kind.values != "unit":
        scaled = kind.inputs(1000 * examples)(tf.constant(1000 * examples)).numpy()
        np.testing.assert_allclose(scaled, shown, rtol=1e-2, atol=2e-3)


def test_the_point_mass_is_that_of_the_gate():
    """`tfd.Inflated` of this version would give sigmoid(2 logits)."""
    gate = tf.constant([-2.0, 0.0, 3.0])
    distribution = ZeroInflatedLogNormal(gate, tf.zeros([3]), tf.ones([3]))
    np.testing.assert_allclose(np.exp(distribution.log_prob(tf.zeros([3]))), special.expit(-gate.numpy()), rtol=1e-6)
    assert distribution.batch_shape == [3]
    quantiles = distribution.quantile(tf.fill([3], 0.5)).numpy()
    assert quantiles[0] == 0
    assert quantiles[2] == pytest.approx(stats.lognorm(1).ppf(1 - 0.5 / special.expit(3.0)), rel=1e-4)
