"""Importance-weighted objectives: coefficients by loops, the gradient against TFP's and against the score function."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import special
from tensorflow_probability import distributions as tfd

import reference
import reference_models
import tiny
from dvae.systems import training_objective
from dvae.training import objectives
from models.directed_posterior import DirectedSample
from models.divergences import gaussian_integral_to_rbm
from models.mixtures import GaussianIntegral
from models.relaxed_prior import GaussianIntegralPrior
from samplers import random
from samplers.rbm import RBM

RNG = np.random.default_rng(0)
LOG_LIKELIHOOD, LOG_RATIO = RNG.normal(size=[4, 3]), RNG.normal(size=[4, 3])
BOTH = [objectives.importance_weighted, objectives.doubly_reparameterized]


def slopes(function, num_samples, annealing):
    """Of both losses in both arguments, and the objective."""
    arguments = [tf.constant(array[:num_samples]) for array in (LOG_LIKELIHOOD, LOG_RATIO)]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(arguments)
        objective = function(*arguments, kl_weight=tf.constant(annealing, tf.float64))
    losses = objective.generative_loss, objective.inference_loss
    return [tape.gradient(loss, arguments, unconnected_gradients="zero") for loss in losses], objective


@pytest.mark.parametrize("annealing", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("function", BOTH)
def test_coefficients_match_loops(function, annealing):
    """`w~` for the generator; for the encoder `w~` too (IWAE), or `lambda w~^2 + (1 - lambda) w~`."""
    found, objective = slopes(function, 4, annealing)
    wanted, sizes = np.zeros([2, 4, 3]), []
    for b in range(3):
        log_weights = [LOG_LIKELIHOOD[k, b] - annealing * LOG_RATIO[k, b] for k in range(4)]
        shares = [np.exp(w) / sum(np.exp(v) for v in log_weights) for w in log_weights]
        sizes.append(1 / sum(share**2 for share in shares))
        for k, share in enumerate(shares):
            wanted[0, k, b] = share
            doubly = annealing * share**2 + (1 - annealing) * share
            wanted[1, k, b] = share if function is objectives.importance_weighted else doubly
    for slope, coefficients in zip(found, wanted, strict=True):
        np.testing.assert_allclose(slope[0], -coefficients / 3, rtol=1e-12)
        np.testing.assert_allclose(slope[1], annealing * coefficients / 3, rtol=1e-12)
    np.testing.assert_allclose(objective.metrics["iw_effective_sample_size"], np.mean(sizes), rtol=1e-12)
    np.testing.assert_allclose(objective.metrics["relaxed_log_likelihood"], LOG_LIKELIHOOD.mean(), rtol=1e-12)


def test_structured_matches_loops():
    """`w~` of the likelihoods alone, and lambda for the entropy, which every sample estimates; one replicate."""
    arguments, weight = [tf.constant(array)[:, None] for array in (LOG_LIKELIHOOD, LOG_RATIO)], 0.3
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        objective = objectives.structured(*arguments, entropy_weight=tf.constant(weight, tf.float64))
    assert objective.inference_loss is objective.generative_loss
    assert tuple(objective.metrics) == objectives.STRUCTURED_METRICS
    value = 0.0
    for b in range(3):
        value -= np.log(sum(np.exp(LOG_LIKELIHOOD[k, b]) for k in range(4)) / 4) / 3
        value += weight * sum(LOG_RATIO[k, b] for k in range(4)) / 4 / 3
    np.testing.assert_allclose(objective.generative_loss, value, rtol=1e-12)
    of_likelihood, of_entropy = (slope[:, 0] for slope in tape.gradient(objective.generative_loss, arguments))
    np.testing.assert_allclose(of_likelihood, -special.softmax(LOG_LIKELIHOOD, axis=0) / 3, rtol=1e-12)
    np.testing.assert_allclose(of_entropy, np.full([4, 3], weight / 12), rtol=1e-12)


@pytest.mark.parametrize(("num_left", "num_samples", "num_replicates"), [(3, 1, 2), (1, 1, 3), (1, 2, 2)])
def test_term_1_is_unbiased(num_left, num_samples, num_replicates):
    """Of functions of the chains' states alone: the mean over all their combinations, against the exact gradient.

    `V` is a table of numbers, so that all of the gradient is term I. The law is that of an RBM's left units, whose
    log Z is left out.
    """
    rng = np.random.default_rng(1)
    parameters = [tf.constant(rng.normal(size=shape)) for shape in (num_left, 2, [num_left, 2])]
    states = reference.all_states(num_left)
    log_likelihoods, entropies = tf.constant(rng.normal(size=[2, len(states)]))
    weight = tf.constant(0.3, tf.float64)
    combinations = np.stack(np.meshgrid(*[np.arange(len(states))] * (num_samples * num_replicates)), -1)
    combinations = combinations.reshape(-1, num_samples, num_replicates)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(parameters)
        log_law = -RBM(*parameters).free_energy(tf.constant(states))
        probabilities = tf.nn.softmax(log_law)
        shares = [float(tf.reduce_prod(tf.gather(probabilities, c))) for c in combinations]
        losses = [
            objectives.structured(
                tf.gather(log_likelihoods, c)[..., None],
                tf.gather(entropies, c)[..., None],
                entropy_weight=weight,
                log_law=tf.gather(log_law, c)[..., None],
            ).inference_loss
            for c in combinations
        ]
        mean = tf.add_n([share * loss for share, loss in zip(shares, losses, strict=True)])
        each = combinations[:, :, 0]  # of one replicate; the others have the same mean
        likelihood = tf.reduce_logsumexp(tf.gather(log_likelihoods, each), axis=1) - np.log(num_samples)
        values = likelihood - weight * tf.reduce_mean(tf.gather(entropies, each), axis=1)
        together = tf.reduce_prod(tf.gather(probabilities, combinations), axis=[1, 2])
        exact = -tf.reduce_sum(together * values)
    found, wanted = tape.gradient(mean, parameters), tape.gradient(exact, parameters)
    for slope, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(slope, other, rtol=1e-10, atol=1e-14)
        assert np.abs(other).max() > 1e-3


@pytest.mark.parametrize("function", BOTH)
def test_one_sample_is_the_elbo(function):
    found, _ = slopes(function, 1, 0.3)
    elbo, _ = slopes(objectives.elbo, 1, 0.3)
    np.testing.assert_allclose(found, elbo, rtol=1e-14)


def test_gradient_of_a_gaussian_model_is_that_of_tensorflow_probability():
    """TFP's doubly reparameterized gradient of the same draws: 50 times K = 5, two latents, float64."""
    num_draws, num_samples = 50, 5
    loc, log_scale = tf.constant([0.3, -0.8], tf.float64), tf.constant([0.2, -0.5], tf.float64)
    mixing = tf.constant([[1.0, 0.5], [-0.3, 2.0], [0.7, 0.7]], tf.float64)
    prior = tfd.MultivariateNormalDiag(tf.zeros(2, tf.float64))
    observed = tf.constant([1.0, -2.0, 0.5], tf.float64)

    def surrogate(loc, log_scale):
        return tfd.MultivariateNormalDiag(loc, tf.exp(log_scale))

    def log_likelihood(z):
        return tfd.MultivariateNormalDiag(tf.linalg.matvec(mixing, z), 0.6 * tf.ones(3, tf.float64)).log_prob(observed)

    with tf.GradientTape() as tape:
        tape.watch([loc, log_scale])
        loss = tfp.vi.monte_carlo_variational_loss(
            lambda z: prior.log_prob(z) + log_likelihood(z),
            surrogate(loc, log_scale),
            sample_size=num_draws,
            importance_sample_size=num_samples,
            gradient_estimator=tfp.vi.GradientEstimators.DOUBLY_REPARAMETERIZED,
            stopped_surrogate_posterior=surrogate(tf.stop_gradient(loc), tf.stop_gradient(log_scale)),
            seed=(1, 2),
        )
    wanted = tape.gradient(loss, [loc, log_scale])

    seed = tfp.random.split_seed((1, 2), 2)[0]
    with tf.GradientTape() as tape:
        tape.watch([loc, log_scale])
        z = surrogate(loc, log_scale).sample(num_draws * num_samples, seed=seed)
        z = tf.transpose(tf.reshape(z, [num_draws, num_samples, 2]), [1, 0, 2])  # [K, B, latents]
        log_q = surrogate(tf.stop_gradient(loc), tf.stop_gradient(log_scale)).log_prob(z)
        one = tf.constant(1.0, tf.float64)
        objective = objectives.doubly_reparameterized(log_likelihood(z), log_q - prior.log_prob(z), kl_weight=one)
    found = tape.gradient(objective.inference_loss, [loc, log_scale])
    np.testing.assert_allclose(found, wanted, rtol=1e-10)
    np.testing.assert_array_less(0.01, np.abs(wanted))


def test_gradients_have_the_mean_of_the_score_function():
    """A 3+3 prior, DVAE#'s Gaussian integral (both densities of zeta exact), K = 3, lambda = 0.6, float64.

    The gradient in the 12 encoder outputs, 60,000 draws, by DReG, by IWAE and by the score function written out in
    NumPy. The means agree, false-failure rate 1e-5 together; one without the square of `w~` would be 20 standard errors
    off in some coordinate. DReG's total variance is at most two thirds of IWAE's.
    """
    annealing, num_samples, num_draws, beta = 0.6, 3, 60_000, 12.0
    machine, rng = reference.machine(1, 3, 3), np.random.default_rng(3)
    prior, log_z = RBM(*(tf.constant(parameter) for parameter in machine)), tf.constant(reference.log_z(machine))
    smoothed = GaussianIntegralPrior.smoothing(prior, least_beta=beta)
    encoder, mixing, target = rng.normal(size=12), rng.normal(size=[6, 6]), rng.normal(size=6)
    relaxation = GaussianIntegral(6)

    def log_likelihood(zeta):
        return -0.5 * tf.reduce_sum(tf.square(tf.tanh(zeta @ mixing) - target), axis=-1)

    def log_ratio(zeta, outputs):
        components = relaxation.log_components(zeta, outputs)
        sample = DirectedSample(zeta, outputs[..., :6], None, None, None, components)
        return gaussian_integral_to_rbm(sample, smoothed, log_z)

    weight, piece = tf.constant(annealing, tf.float64), 6_000  # all draws at once would take 2 GB

    def gradients(number):
        outputs = tf.constant(np.tile(encoder, [piece, 1]))  # a copy for each draw: gradients come one by one
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(outputs)
            copies = tf.tile(outputs[None], [num_samples, 1, 1])
            zeta = relaxation.sample(copies, tf.constant([1, number]))
            iwae = objectives.importance_weighted(log_likelihood(zeta), log_ratio(zeta, copies), kl_weight=weight)
            ratio = log_ratio(zeta, tf.stop_gradient(copies))
            dreg = objectives.doubly_reparameterized(log_likelihood(zeta), ratio, kl_weight=weight)
        losses = (iwae.inference_loss, dreg.inference_loss, dreg.generative_loss)
        return *(-piece * tape.gradient(loss, outputs)[None] for loss in losses), zeta, ratio

    by_iwae, by_dreg, unsquared, zeta, ratio = (
        tf.concat(pieces, axis=1) for pieces in zip(*map(gradients, range(num_draws // piece)), strict=True)
    )
    by_iwae, by_dreg, unsquared = (estimates[0].numpy() for estimates in (by_iwae, by_dreg, unsquared))

    log_weights = (log_likelihood(zeta) - weight * ratio).numpy()
    shares = special.softmax(log_weights, axis=0)
    bounds = special.logsumexp(log_weights, axis=0) - np.log(num_samples)
    logits, shift, scale = encoder[:6], 0.5 * (special.expit(encoder[6:]) - 0.5), 0.25
    off, on = reference_models.gaussian_integral(zeta.numpy(), shift, scale)
    p_on = special.expit(logits + on - off)
    d_shift = 0.5 * special.expit(encoder[6:]) * special.expit(-encoder[6:])
    scores = np.concatenate(  # [K, B, 12]
        [p_on - special.expit(logits), (zeta.numpy() - shift - p_on) / scale**2 * d_shift], axis=-1
    )
    by_score = np.sum(scores * ((bounds - bounds.mean()) - annealing * shares)[..., None], axis=0)

    limit = reference.z_limit(1e-5, 2 * 12)
    for estimate in (by_iwae, by_dreg):
        assert np.all(np.abs(reference.z_score(estimate - by_score, 0)) < limit)
    assert np.max(np.abs(reference.z_score(unsquared - by_score, 0))) > 20
    assert np.sum(np.var(by_dreg, axis=0)) < 2 / 3 * np.sum(np.var(by_iwae, axis=0))


@pytest.mark.parametrize("name", ["dvaess", "pwl", "dvaes_exp"])
def test_gradient_vanishes_where_q_is_the_posterior(name):
    """DReG's, in all of the encoder, sample by sample: q(z | x) = p(z) and a likelihood that z does not enter.

    IWAE's is zero in the mean only.
    """
    settings = {"objective": "iw", "num_samples": 3, "num_groups": 1 if name == "dvaess" else 2}
    x, seed, largest = np.random.default_rng(1).integers(0, 2, [4, 6]).astype(np.float32), tf.constant([3, 4]), {}
    for gradient in ("dreg", "iwae"):
        config = tiny.config(name, iw_gradient=gradient, **settings)
        model = tiny.model(name, iw_gradient=gradient, **settings)
        posterior, objective = model.posterior, training_objective(config, model.posterior)
        last = [posterior.head] if name == "dvaess" else posterior.group_heads
        for layer in (model.likelihood.head, *last):
            layer.kernel.assign(tf.zeros_like(layer.kernel))
        if name == "dvaess":
            machine = [parameter[0] for parameter in posterior.encode(x, training=True)]
        else:
            machine = [layer.bias for layer in last] + [tf.zeros([2, 2])]
        for variable, value in zip(model.prior.trainable_variables, machine, strict=True):
            variable.assign(value)
        chains = tf.cast(random.uniform([3, 4, posterior.chain_units], tf.constant([1, 2])) < 0.5, tf.float32)
        with tf.GradientTape() as tape:
            encoding = posterior.encode(x, training=True)
            sample = posterior.sample_relaxed(encoding, num_samples=3, seed=seed, chains=chains)
            log_likelihood = model.likelihood.log_prob(x, sample.zeta, training=True)
            prior = objective.smoothed(model.prior.rbm())
            divergence = objective.divergence(sample, prior, tf.constant(0.0))
            losses = objective.combine(log_likelihood, divergence, kl_weight=1.0)
        variables = [variable.value for variable in posterior.trainable_variables]
        found = tape.gradient(losses.inference_loss, variables, unconnected_gradients="zero")
        largest[gradient] = max(float(tf.reduce_max(tf.abs(value))) for value in found)
    assert largest["dreg"] < 1e-6
    assert largest["iwae"] > 1e-2


@pytest.mark.parametrize("name", ["dvaes_exp", "dvaes_power", "dvaes_gauss_int"])
def test_log_q_at_stopped_parameters(name):
    """The same value and another gradient: that of DReG with K = 1, whose mean is the same (tested above)."""
    x, seed = np.random.default_rng(1).integers(0, 2, [4, 6]).astype(np.float32), tf.constant([3, 4])
    model = tiny.model(name, num_groups=2)
    losses, gradients = [], []
    for settings in ({}, {"stopped_log_q": True}, {"objective": "iw", "iw_gradient": "dreg"}):
        objective = training_objective(tiny.config(name, num_groups=2, num_samples=1, **settings), model.posterior)
        with tf.GradientTape() as tape:
            encoding = model.posterior.encode(x, training=True)
            sample = model.posterior.sample_relaxed(encoding, num_samples=1, seed=seed, chains=tf.zeros([1, 4, 0]))
            log_likelihood = model.likelihood.log_prob(x, sample.zeta, training=True)
            divergence = objective.divergence(sample, objective.smoothed(model.prior.rbm()), tf.constant(0.7))
            found = objective.combine(log_likelihood, divergence, kl_weight=0.6)
        losses.append(-np.mean(log_likelihood - 0.6 * divergence))
        gradients.append(tape.gradient(found.inference_loss, [v.value for v in model.posterior.trainable_variables]))
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)
    assert any(np.max(np.abs(a - b)) > 1e-2 for a, b in zip(gradients[0], gradients[1], strict=True))
    for stopped, dreg in zip(gradients[1], gradients[2], strict=True):
        np.testing.assert_allclose(stopped, dreg, rtol=1e-4, atol=1e-6)
