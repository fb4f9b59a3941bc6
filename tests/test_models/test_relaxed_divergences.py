"""The divergences of DVAE, DVAE++ and DVAE#: values and gradients against quadrature of KL(q || p), in float64.

The expectation over samples is a sum over quadrature nodes with fixed weights, each a sample that depends on the
encoder as the relaxation says. It is compared with an integral in NumPy and its central differences.
"""

import functools

import numpy as np
import pytest
import tensorflow as tf
from scipy import special

import reference
import reference_models
from models.directed_posterior import DirectedSample
from models.divergences import (
    gaussian_integral_to_rbm,
    mixture_to_rbm,
    overlapping_to_rbm,
    spike_and_exponential_to_rbm,
)
from models.mixtures import Gaussian, GaussianIntegral, OverlappingExponential
from models.relaxations import LogComponents, SpikeAndExponential
from models.relaxed_prior import GaussianIntegralPrior
from samplers.log_partition import exact_log_z
from samplers.rbm import RBM

BETA, STEP = 3.0, 1e-5
NODES, WEIGHTS = np.polynomial.legendre.leggauss(24)
NODES, WEIGHTS = (NODES + 1) / 2, WEIGHTS / 2  # on [0, 1]
sigmoid = special.expit


def as_rbm(machine):
    return RBM(*(tf.constant(parameter) for parameter in machine))


def finite_differences(function, arguments, number):
    point = arguments[number]
    gradient = np.zeros_like(point)
    for entry in np.ndindex(point.shape):
        step = np.zeros_like(point)
        step[entry] = STEP
        above, below = ([*arguments[:number], point + d, *arguments[number + 1 :]] for d in (step, -step))
        gradient[entry] = (function(*above) - function(*below)) / (2 * STEP)
    return gradient


def grid(*nodes_and_weights):
    """The product of one-dimensional rules: points `[n, units]`, weights `[n]`."""
    points = np.stack([g.ravel() for g in np.meshgrid(*(n for n, _ in nodes_and_weights), indexing="ij")], axis=-1)
    weights = functools.reduce(np.multiply.outer, [w for _, w in nodes_and_weights]).ravel()
    return points, weights


def compare(estimate, oracle, arguments, *, rtol=1e-6):
    """`estimate(*tensors) -> (weights [n], divergence [n])` in the mean, and its gradients, with `oracle(*arrays)`."""
    tensors = [tf.constant(argument) for argument in arguments]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        weights, value = estimate(*tensors)
        mean = tf.reduce_sum(tf.stop_gradient(weights) * value)
    np.testing.assert_allclose(mean, oracle(*arguments), rtol=min(rtol, 1e-8))
    assert np.std(value) > 0.05
    for number, gradient in enumerate(tape.gradient(mean, tensors)):
        wanted = finite_differences(oracle, arguments, number)
        np.testing.assert_allclose(gradient, wanted, rtol=rtol, atol=rtol * np.abs(wanted).max(), err_msg=str(number))
        assert np.abs(wanted).max() > 1e-3


def energy(a, b, w, left, right):
    """Of rows `[n, units]`."""
    return -left @ a - right @ b - np.einsum("ni,ij,nj->n", left, w, right)


# Two groups of two units: encoder parameters are the left logits, and right logits = bias + zeta_left coupling.

N = M = 2
RNG = np.random.default_rng(0)
TWO_GROUPS = [RNG.normal(size=N), RNG.normal(size=M), RNG.normal(size=[N, M]), *reference.machine(1, N, M)]


def entropies(left_logits, right_logits):
    return reference_models.bernoulli_entropy(left_logits) + reference_models.bernoulli_entropy(right_logits)


def two_groups_sample(zeta_left, left_logits, right_bias, coupling, components=()):
    left_logits = tf.broadcast_to(left_logits, tf.shape(zeta_left))
    logits = tf.concat([left_logits, right_bias + zeta_left @ coupling], axis=-1)[:, None]  # [n, 1, units]
    zeta = tf.concat([zeta_left, tf.fill(tf.shape(zeta_left), tf.constant(0.5, tf.float64))], axis=-1)[:, None]
    return DirectedSample(zeta, logits, logits * np.nan, None, None, components)


def test_spike_and_exponential():
    """DVAE: the gradient at the jump of z. The nodes of rho: one below `1 - q`, where nothing moves, 24 above."""

    def oracle(*arguments):
        """An atom at `zeta = 0`, `z = 0`, and on (0, 1] the density of `z = 1`."""
        left_logits, right_bias, coupling, a, b, w = arguments
        q = sigmoid(left_logits)
        density = BETA * np.exp(BETA * NODES) / np.expm1(BETA)
        rules = [(np.array([0, *NODES]), np.array([1 - p, *(p * density * WEIGHTS)])) for p in q]
        zeta, weights = grid(*rules)
        right_logits = right_bias + zeta @ coupling
        terms = energy(a, b, w, (zeta > 0).astype(float), sigmoid(right_logits)) - entropies(left_logits, right_logits)
        return weights @ terms + reference.log_z((a, b, w))

    def estimate(left_logits, right_bias, coupling, *prior):
        q = sigmoid(left_logits.numpy())
        rules = [(np.array([(1 - p) / 2, *(1 - p + p * NODES)]), np.array([1 - p, *(p * WEIGHTS)])) for p in q]
        rho, weights = grid(*rules)
        zeta_left = SpikeAndExponential(BETA).transform(left_logits + tf.zeros_like(rho), tf.constant(rho))
        sample = two_groups_sample(zeta_left, left_logits, right_bias, coupling)
        prior = RBM(*prior)
        return weights, spike_and_exponential_to_rbm(sample, prior, exact_log_z(prior), num_groups=2)[:, 0]

    compare(estimate, oracle, TWO_GROUPS)


def test_spike_and_exponential_with_four_groups_matches_loops():
    """The last group only is at its means; the fields, and the cap of q; the value is an estimate of the KL."""
    machine, rng = reference.machine(2, 4, 4), np.random.default_rng(3)
    a, b, w = machine
    logits, zeta = rng.normal(scale=2, size=[5, 3, 8]), np.maximum(rng.uniform(-1, 1, size=[5, 3, 8]), 0)
    logits[0, 0, 0], logits[0, 1, 0] = 9.0, 5.0  # q = 0.9999, 0.993
    zeta[0, :2, 0] = 0
    variable = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        sample = DirectedSample(tf.constant(zeta), variable, None, None, None)
        value = spike_and_exponential_to_rbm(sample, as_rbm(machine), tf.constant(1.5, tf.float64), num_groups=4)
    got = tape.gradient(value, variable)
    for k, i in np.ndindex(5, 3):
        q = sigmoid(logits[k, i])
        z = np.array([*(zeta[k, i, :6] > 0), *q[6:]], float)
        wanted = reference.energy(machine, z[:4], z[4:]) + 1.5 - reference_models.bernoulli_entropy(logits[k, i])
        np.testing.assert_allclose(value[k, i], wanted, rtol=1e-10)
        for unit in range(8):
            if unit < 4:
                g = (1 - z[unit]) / (1 - min(q[unit], 0.999))
                slope = logits[k, i, unit] - a[unit] - g * (w[unit] @ z[4:])
            else:
                slope = logits[k, i, unit] - b[unit - 4] - z[:4] @ w[:, unit - 4]
            np.testing.assert_allclose(got[k, i, unit], slope * q[unit] * (1 - q[unit]), rtol=1e-9)


def exponential_rule(logit):
    """Nodes on [0, 1] weighted by the mixture's density."""
    off, on = reference_models.exponential(NODES, BETA)
    q = sigmoid(logit)
    return NODES, WEIGHTS * ((1 - q) * np.exp(off) + q * np.exp(on))


def test_mixture():
    """DVAE++. Against `sum_{z_1} int q(z_1) r(zeta_1 | z_1) [...]`: the left units stay binary."""

    def oracle(*arguments):
        left_logits, right_bias, coupling, a, b, w = arguments
        total, q = 0.0, sigmoid(left_logits)
        log_r = reference_models.exponential(NODES, BETA)
        for z in reference.all_states(N):
            rules = [(NODES, WEIGHTS * np.exp(log_r[int(unit)])) for unit in z]
            zeta, weights = grid(*rules)
            right_logits = right_bias + zeta @ coupling
            terms = energy(a, b, w, np.tile(z, [len(zeta), 1]), sigmoid(right_logits))
            total += np.prod(np.where(z == 1, q, 1 - q)) * weights @ (terms - entropies(left_logits, right_logits))
        return total + reference.log_z((a, b, w))

    def estimate(left_logits, right_bias, coupling, *prior):
        zeta, weights = grid(*(exponential_rule(logit) for logit in left_logits.numpy()))
        relaxation, outputs = OverlappingExponential(BETA), left_logits + tf.zeros_like(zeta)
        zeta_left = relaxation.reparameterize(tf.constant(zeta), outputs)
        both = tf.concat([zeta_left, 0.5 * tf.ones_like(zeta_left)], axis=-1)[
            :, None
        ]  # those of the right side are not used
        components = relaxation.log_components(both, both)
        sample = two_groups_sample(zeta_left, left_logits, right_bias, coupling, components)
        prior = RBM(*prior)
        return weights, mixture_to_rbm(sample, prior, exact_log_z(prior))[:, 0]

    compare(estimate, oracle, TWO_GROUPS)


# DVAE#: one unit on each side, the right one's logit = bias + coupling * zeta_left; both are sampled.

ONE_AND_ONE = [np.array([0.7]), np.array([-0.4]), np.array([[1.3]])]


def two_units_nodes(rule, left_logits, right_bias, coupling):
    """Points `[n, 2]` and weights `[n]`: for each node of the left unit the right unit's own rule."""
    nodes, weights = rule(left_logits[0])
    points, products = [], []
    for node, weight in zip(nodes, weights, strict=True):
        right_nodes, right_weights = rule(right_bias[0] + coupling[0, 0] * node)
        points += [(node, right) for right in right_nodes]
        products += list(weight * right_weights)
    return np.array(points), np.array(products)


def log_mixture(logits, log_r):
    return np.logaddexp(special.log_expit(-logits) + log_r[0], special.log_expit(logits) + log_r[1])


def log_p(log_r, machine):
    """`log sum_z p(z) r(zeta | z)` of rows, `log_r = (off [n, 2], on [n, 2])`."""
    terms = [lp + np.choose(z.astype(int)[None], log_r).sum(axis=-1) for lp, z in states(machine)]
    return special.logsumexp(terms, axis=0) - reference.log_z(machine)


def states(machine):
    return zip(reference.log_joint(machine).ravel(), reference.all_states(2), strict=True)


def two_units_sample(relaxation, points, left_logits, right_bias, coupling):
    points = tf.constant(points)
    left_outputs = left_logits + tf.zeros_like(points[:, :1])
    left = relaxation.reparameterize(points[:, :1], left_outputs)
    right_outputs = right_bias + left @ coupling
    right = relaxation.reparameterize(points[:, 1:], right_outputs)
    zeta, logits = (tf.concat(parts, axis=-1)[:, None] for parts in ((left, right), (left_outputs, right_outputs)))
    return DirectedSample(zeta, logits, None, None, None, relaxation.log_components(zeta, logits))


@pytest.mark.parametrize("coupled", [0.0, 0.6])
def test_overlapping(coupled):
    """Without couplings the mean-field bound is exact: value and gradient are those of the KL.

    With a coupling of 0.6, five updates come so near to the fixed point that the gradient with m held constant is that
    of the mean-field bound to 1e-4; the value is above the KL, by less than 0.01 nats.
    """
    machine = [np.array([0.5]), np.array([-0.8]), np.array([[coupled]])]

    def log_q(points, left_logits, right_bias, coupling):
        logits = np.concatenate([left_logits + 0 * points[:, :1], right_bias + points[:, :1] @ coupling], axis=-1)
        return np.sum(log_mixture(logits, reference_models.exponential(points, BETA)), axis=-1)

    def kl(*arguments, bound):
        encoder, prior = arguments[:3], arguments[3:]
        points, weights = two_units_nodes(exponential_rule, *encoder)
        log_r = reference_models.exponential(points, BETA)
        if bound:
            log_prior = np.array([bound_of(prior, log_r[0][n], log_r[1][n]) for n in range(len(points))])
        else:
            log_prior = log_p(log_r, prior)
        return weights @ (log_q(points, *encoder) - log_prior)

    def bound_of(machine, off, on):
        a, b, w = machine
        c = on - off
        shifted, left = (a + c[:1], b + c[1:], w), np.array([0.5])
        for _ in range(5):
            left, right = reference.mean_field_update(shifted, left)
        return reference.mean_field_bound(shifted, left, right) + np.sum(off) - reference.log_z(machine)

    def estimate(left_logits, right_bias, coupling, *prior):
        points, weights = two_units_nodes(exponential_rule, left_logits.numpy(), right_bias.numpy(), coupling.numpy())
        sample = two_units_sample(OverlappingExponential(BETA), points, left_logits, right_bias, coupling)
        prior = RBM(*prior)
        return weights, overlapping_to_rbm(sample, prior, exact_log_z(prior))[:, 0]

    arguments = [*ONE_AND_ONE, *machine]
    if coupled:
        compare(estimate, functools.partial(kl, bound=True), arguments, rtol=1e-4)
        assert 1e-5 < kl(*arguments, bound=True) - kl(*arguments, bound=False) < 0.01
    else:
        [*encoder], [*biases, weights] = ONE_AND_ONE, machine
        exact = lambda *arguments: kl(*arguments, weights, bound=False)  # noqa: E731
        compare(lambda *tensors: estimate(*tensors, tf.constant(weights)), exact, [*encoder, *biases])


def test_overlapping_on_the_real_line():
    """As above for Gaussian components and no couplings."""
    beta, w = 8.0, np.zeros([1, 1])

    def rule(logit):
        nodes = np.linspace(-2.5, 3.5, 61)  # the trapezoidal rule is exponentially precise for these
        return nodes, 0.1 * np.exp(log_mixture(logit, reference_models.gaussian(nodes, beta)))

    def oracle(left_logits, right_bias, coupling, a, b):
        points, weights = two_units_nodes(rule, left_logits, right_bias, coupling)
        logits = np.concatenate([left_logits + 0 * points[:, :1], right_bias + points[:, :1] @ coupling], axis=-1)
        log_r = reference_models.gaussian(points, beta)
        return weights @ (np.sum(log_mixture(logits, log_r), axis=-1) - log_p(log_r, (a, b, w)))

    def estimate(left_logits, right_bias, coupling, a, b):
        points, weights = two_units_nodes(rule, left_logits.numpy(), right_bias.numpy(), coupling.numpy())
        sample = two_units_sample(Gaussian(beta), points, left_logits, right_bias, coupling)
        prior = RBM(a, b, tf.constant(w))
        return weights, overlapping_to_rbm(sample, prior, exact_log_z(prior))[:, 0]

    compare(estimate, oracle, [*ONE_AND_ONE, np.array([0.5]), np.array([-0.8])], rtol=1e-5)


def test_gaussian_integral():
    """Value, and gradients in the logits, the shifts and the prior, in one group; beta as it comes from least_beta.

    The scale's are compared in float32, as v is.
    """
    beta, machine = 7.0, [np.array([0.5]), np.array([-0.8]), np.array([[1.1]])]
    relaxation, outputs = GaussianIntegral(2), np.array([0.7, -0.4, 0.9, -1.4])  # two logits, two u
    relaxation.free_scale.assign([1.0, 0.75])

    def parts(outputs, v):
        return outputs[:2], 0.5 * (sigmoid(outputs[2:]) - 0.5), np.abs(0.2 * np.array(v)) + 0.05

    def log_q(points, outputs, v):
        logits, shift, scale = parts(outputs, v)
        return log_mixture(logits, reference_models.gaussian_integral(points, shift, scale))

    def nodes(outputs, v):
        one = np.linspace(-2.2, 3.2, 161)
        points = np.stack([g.ravel() for g in np.meshgrid(one, one, indexing="ij")], axis=-1)
        return points, np.exp(np.sum(log_q(points, outputs, v), axis=-1)) * (one[1] - one[0]) ** 2

    def log_prior(points, a, b, w):
        """By the enumerated mixture of correlated normals, beta as at the point where derivatives are taken."""
        precision = np.array([[beta, w[0, 0]], [w[0, 0], beta]])
        total = []
        for log_joint, z in states((a, b, w)):
            d = points - z
            total.append(log_joint + 0.5 * np.log(np.linalg.det(precision)) - np.log(2 * np.pi))
            total[-1] = total[-1] - 0.5 * np.einsum("ni,ij,nj->n", d, precision, d)
        return special.logsumexp(total, axis=0) - reference.log_z((a, b, w))

    def oracle(outputs, *machine, v=(1.0, 0.75)):
        points, weights = nodes(outputs, v)
        return weights @ (np.sum(log_q(points, outputs, v), axis=-1) - log_prior(points, *machine))

    def estimate(outputs, *prior):
        points, weights = nodes(outputs.numpy(), np.float32([1.0, 0.75]).astype(float))
        given = outputs + tf.zeros([len(points), 1], tf.float64)
        zeta = relaxation.reparameterize(tf.constant(points), given)[:, None]
        components = relaxation.log_components(zeta, given[:, None])
        sample = DirectedSample(zeta, given[:, None, :2], None, None, None, components)
        prior = RBM(*prior)
        smoothed = GaussianIntegralPrior.smoothing(prior, least_beta=beta)
        return weights, gaussian_integral_to_rbm(sample, smoothed, exact_log_z(prior))[:, 0]

    compare(estimate, oracle, [outputs, *machine], rtol=1e-5)
    with tf.GradientTape() as tape:
        weights, value = estimate(tf.constant(outputs), *map(tf.constant, machine))
        mean = tf.reduce_sum(weights * value)
    wanted = finite_differences(lambda v: oracle(outputs, *machine, v=v), [np.array([1.0, 0.75])], 0)
    np.testing.assert_allclose(tape.gradient(mean, relaxation.free_scale.value), wanted, rtol=1e-4)


def test_all_vanish_where_q_is_p():
    """With a factorial prior whose biases are the logits: DVAE#'s terms are 0 sample by sample."""
    logits, rng = np.array([0.7, -0.4, 1.2, -2.0]), np.random.default_rng(5)
    prior, zeta = (logits[:2], logits[2:], np.zeros([2, 2])), rng.uniform(0.01, 0.99, size=[6, 1, 4])
    components = LogComponents(*map(tf.constant, reference_models.exponential(zeta, 12.0)))
    sample = DirectedSample(tf.constant(zeta), tf.constant(logits + 0 * zeta), None, None, None, components)
    value = overlapping_to_rbm(sample, as_rbm(prior), tf.constant(reference.log_z(prior)))
    np.testing.assert_allclose(value, np.zeros([6, 1]), atol=1e-12)
    value = mixture_to_rbm(sample, as_rbm(prior), tf.constant(reference.log_z(prior)))
    np.testing.assert_allclose(value, np.zeros([6, 1]), atol=1e-12)
