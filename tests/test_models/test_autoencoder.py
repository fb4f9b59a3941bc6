"""The joint density, what is estimated from draws of q, and the model as a function, against enumeration and loops."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from scipy import special

import reference
import reference_models
import tiny
from dvae.compiling import compiled
from models import rbm_posterior
from models.posterior import PosteriorDraws

X = np.random.default_rng(0).integers(0, 2, [3, 6]).astype(np.float32)
STATES = reference.all_states(4)
# Small weights: then no state has both a large share of p(x) and a small q, and importance sampling is precise.
SYSTEMS = {"dvaess": 1, "gumbolt": 1, "pwl": 2}
every_system = pytest.mark.parametrize(("name", "num_groups"), SYSTEMS.items(), ids=SYSTEMS)


def log_joint(weights, x, z, log_z):
    """Of one example and one binary state."""
    logits = reference_models.log_likelihood(weights, tiny.MEAN_PIXEL, x[None], z[None, None], training=False)
    return logits[0, 0] - reference.energy(reference_models.prior_of(weights), z[:2], z[2:]) - log_z


def enumerated_log_q(weights, num_groups):
    """Of all states and examples, `[16, 3]`."""
    return reference_models.log_posterior(weights, tiny.MEAN_PIXEL, X, num_units=4, num_groups=num_groups)


def test_log_joint_matches_loops():
    model = tiny.model("dvaess")
    weights, z = reference_models.weights_of(model), np.random.default_rng(1).integers(0, 2, [5, 3, 4]).astype(float)
    values = model.log_joint(X, tf.constant(z, tf.float32), tf.constant(1.25))
    assert values.shape == [5, 3]
    for k, b in np.ndindex(5, 3):
        np.testing.assert_allclose(values[k, b], log_joint(weights, X[b], z[k, b], 1.25), rtol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_joint_terms_match_loops(training):
    """Apart: batch statistics concern the likelihood only."""
    model = tiny.model("pwl")
    weights, z = reference_models.weights_of(model), np.random.default_rng(1).integers(0, 2, [5, 3, 4]).astype(float)
    terms = model.joint_terms(X, tf.constant(z, tf.float32), tf.constant(1.25), training=training)
    wanted = reference_models.log_likelihood(weights, tiny.MEAN_PIXEL, X, z, training=training)
    np.testing.assert_allclose(terms.log_likelihood, wanted, rtol=1e-4)
    wanted = -reference_models.energies(reference_models.prior_of(weights), z) - 1.25
    np.testing.assert_allclose(terms.log_prior, wanted, rtol=1e-5)


def test_joint_sums_to_one():
    """Over all images and all latents, with log Z exact."""
    model, images = tiny.model("dvaess"), reference.all_states(6).astype(np.float32)
    log_z = reference.log_z(reference_models.prior_of(reference_models.weights_of(model)))
    z = np.repeat(STATES[:, None], len(images), axis=1).astype(np.float32)
    np.testing.assert_allclose(np.sum(np.exp(model.log_joint(images, z, tf.constant(log_z, tf.float32)))), 1, rtol=1e-5)


# Estimates from draws of q.


def test_estimates_of_weighted_draws_match_loops():
    """In float64, and where the ratios are far beyond what can be exponentiated."""
    rng = np.random.default_rng(2)
    log_q, log_weights, log_ratio = rng.normal(size=[3, 7, 2])
    z = rng.integers(0, 2, [7, 2, 4]).astype(np.float32)
    draws = PosteriorDraws(tf.constant(z), tf.constant(log_q), tf.constant(log_weights), None)
    for b, unit in np.ndindex(2, 4):
        mean = sum(np.exp(log_weights[k, b]) * z[k, b, unit] for k in range(7)) / 7
        np.testing.assert_allclose(draws.mean(draws.z)[b, unit], mean, rtol=1e-12)
    for offset in (0.0, -2000.0, 2000.0):
        found = draws.estimate(tf.constant(log_ratio + offset))
        mean = draws.mean(tf.constant(log_ratio))
        assert [value.shape for value in found] == [[2]] * 4
        for b in range(2):
            v = [np.exp(log_weights[k, b]) for k in range(7)]
            w = [v[k] * np.exp(log_ratio[k, b]) for k in range(7)]
            np.testing.assert_allclose(found.log_likelihood[b], np.log(sum(w) / 7) + offset, rtol=1e-12)
            np.testing.assert_allclose(found.effective_sample_size[b], sum(w) ** 2 / sum(x * x for x in w), rtol=1e-9)
            elbo = sum(v[k] * (log_ratio[k, b] + offset) for k in range(7)) / 7
            np.testing.assert_allclose(found.elbo[b], elbo, rtol=1e-12)
            np.testing.assert_allclose(found.entropy[b], -sum(v[k] * log_q[k, b] for k in range(7)) / 7, rtol=1e-12)
            np.testing.assert_allclose(mean[b], sum(v[k] * log_ratio[k, b] for k in range(7)) / 7, rtol=1e-12)


@every_system
def test_estimates_from_every_state_are_the_enumerated_values(name, num_groups):
    """Every state as a draw, with 16 q(z | x) as its weight: log p(x), the ELBO below it and the entropy, exactly."""
    model = tiny.model(name, num_groups=num_groups)
    weights = reference_models.weights_of(model)
    log_z = reference.log_z(reference_models.prior_of(weights))
    log_q = enumerated_log_q(weights, num_groups)
    np.testing.assert_allclose(np.sum(np.exp(log_q), axis=0), 1, rtol=1e-12)
    states = tf.constant(np.repeat(STATES[:, None], 3, axis=1), tf.float32)
    draws = PosteriorDraws(states, tf.constant(log_q, tf.float32), tf.constant(np.log(16) + log_q, tf.float32), None)
    found = model.log_likelihood(X, draws, tf.constant(log_z, tf.float32))
    for b in range(3):
        log_p, q = np.array([log_joint(weights, X[b], z, log_z) for z in STATES]), np.exp(log_q[:, b])
        log_p_of_x = special.logsumexp(log_p)
        np.testing.assert_allclose(found.log_likelihood[b], log_p_of_x, rtol=1e-5)
        np.testing.assert_allclose(found.elbo[b], q @ (log_p - log_q[:, b]), rtol=1e-5)
        np.testing.assert_allclose(found.entropy[b], -q @ log_q[:, b], rtol=1e-5)
        shares = np.exp(log_p - log_p_of_x)
        np.testing.assert_allclose(found.effective_sample_size[b], 1 / np.sum(shares**2), rtol=1e-4)
        assert log_p_of_x - q @ (log_p - log_q[:, b]) > 0.05


@every_system
def test_importance_sampling_estimates_the_enumerated_p_of_x(name, num_groups):
    """`mean_k exp(log_weights) p(x, z_k) / q(z_k | x)`, for 40 copies of 3 examples, which are independent replicates.

    False-failure rate 1e-5 together. Power: the standard error is below 2 %, so an error of 15 % is noticed.
    """
    model = tiny.model(name, num_groups=num_groups, scale=0.3)
    weights = reference_models.weights_of(model)
    log_z, x = reference.log_z(reference_models.prior_of(weights)), np.repeat(X, 40, axis=0)
    encoding = model.posterior.encode(x, training=False)
    draws = model.posterior.draw(encoding, num_samples=1000, seed=tf.constant([2, 3]), num_temperatures=3)
    terms = draws.log_weights + model.log_joint(x, draws.z, tf.constant(log_z, tf.float32)) - draws.log_q
    estimates = np.mean(np.exp(terms), axis=0)
    found = compiled(model.log_likelihood)(x, draws, tf.constant(log_z, tf.float32))
    np.testing.assert_allclose(found.log_likelihood, np.log(estimates), atol=1e-5)
    estimates = estimates.reshape(3, 40)
    for b in range(3):
        p_of_x = np.sum(np.exp([log_joint(weights, X[b], z, log_z) for z in STATES]))
        assert abs(reference.z_score(estimates[b], p_of_x)) < reference.z_limit(1e-5, 3)
        assert reference.standard_error(estimates[b]) < 0.02 * p_of_x


# The model as a function.


@every_system
def test_a_call_is_the_mean_image_at_a_draw(name, num_groups):
    """One of the 16 images that the decoder makes of binary latents; the same for the same seed only."""
    model, x = tiny.model(name, num_groups=num_groups), np.repeat(X, 5, axis=0)
    images = reference_models.mean_images(reference_models.weights_of(model), tiny.MEAN_PIXEL, STATES)
    unsaid, same, other = model(x), model(x, seed=(0, 0)), model(x, seed=(0, 1))
    assert unsaid.shape == [15, 6]
    for image in (*unsaid.numpy(), *other.numpy()):
        assert np.abs(images - image).max(axis=1).min() < 1e-5
    np.testing.assert_array_equal(unsaid, same)
    assert np.abs(unsaid - other).max() > 0.01


@every_system
def test_calls_average_to_the_expectation_under_q(name, num_groups, monkeypatch):
    """`sum_z q(z | x) E[x | z]`, enumerated: 2 seeds for 600 copies of each of 3 examples, which are independent.

    False-failure rate 1e-5 together. Power: the expectation for another example, and the image at the mean latents, are
    noticed with a probability above 0.999.
    """
    monkeypatch.setattr(rbm_posterior, "_LEAST_CHAINS", 5)  # 500 temperatures make them nearly exact
    model = tiny.model(name, num_groups=num_groups, hidden_layers=0, seed=1)
    weights, copies = reference_models.weights_of(model), np.repeat(X, 600, axis=0)
    calls = [model(copies, seed=(1, s)).numpy().astype(float).reshape(3, 600, 6) for s in range(2)]
    calls, limit = np.concatenate(calls, axis=1), reference.z_limit(1e-5, 18)
    mean_images = functools.partial(reference_models.mean_images, weights, tiny.MEAN_PIXEL)
    images, qs = mean_images(STATES), np.exp(enumerated_log_q(weights, num_groups)).T
    for b, q in enumerate(qs):
        wanted, error = q @ images, reference.standard_error(calls[b])
        assert np.all(np.abs(calls[b].mean(axis=0) - wanted) < limit * error)
        for wrong in (qs[b - 1] @ images, mean_images(q @ STATES)):
            assert np.max(np.abs(wrong - wanted) / error) > limit + reference.z_limit(2e-3)
