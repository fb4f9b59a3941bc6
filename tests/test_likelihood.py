"""Bernoulli pixels: log-probabilities by loops, and the mean image at the start."""

import itertools
import math

import numpy as np
import pytest
import reference
import reference_models
import tiny

from dvae.systems import build_model

X = np.random.default_rng(0).integers(0, 2, [5, 6]).astype(np.float32)
Z = np.random.default_rng(1).uniform(size=[3, 5, 4]).astype(np.float32)  # [K, B, units]


@pytest.mark.parametrize("num_layers", [0, 2])
@pytest.mark.parametrize("training", [True, False])
def test_log_prob_matches_loops(training, num_layers):
    """Rows of the decoder are (sample, example) pairs, K major; in training all of them are one batch."""
    model = tiny.model("pwl", hidden_layers=num_layers)
    weights = reference_models.weights_of(model)
    logits = model.likelihood.logits(Z, training=training)
    log_prob = model.likelihood.log_prob(X, Z, training=training)
    assert logits.shape == [3, 5, 6]
    assert log_prob.shape == [3, 5]

    rows = reference_models.hidden(weights, "decoder/hidden", Z.reshape(15, 4).astype(float), training=training)
    rows = rows @ weights["decoder/outputs/kernel"] + weights["decoder/outputs/bias"]
    for k, b in itertools.product(range(3), range(5)):
        wanted = 0.0
        for d, mean in enumerate(np.clip(tiny.MEAN_PIXEL, 0.001, 0.999)):
            p_on = 1 / (1 + math.exp(-rows[5 * k + b, d]) * (1 - mean) / mean)
            np.testing.assert_allclose(logits[k, b, d], math.log(p_on / (1 - p_on)), rtol=1e-4, atol=1e-5)
            wanted += math.log(p_on if X[b, d] else 1 - p_on)
        np.testing.assert_allclose(log_prob[k, b], wanted, rtol=1e-5)
    np.testing.assert_allclose(
        log_prob, reference_models.log_likelihood(weights, tiny.MEAN_PIXEL, X, Z, training=training), rtol=1e-5
    )


def test_probabilities_of_all_images_sum_to_one():
    likelihood, images = tiny.model("pwl").likelihood, reference.all_states(6).astype(np.float32)
    log_prob = likelihood.log_prob(images, np.repeat(Z[:, :1], 64, axis=1), training=False)
    np.testing.assert_allclose(np.sum(np.exp(log_prob), axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("num_layers", [0, 2])
def test_starts_at_the_clipped_mean_image(num_layers):
    """All biases start at 0, so z = 0 gives the mean image; pixels that never change are not certain."""
    likelihood = build_model(tiny.config("pwl", hidden_layers=num_layers), tiny.MEAN_PIXEL).likelihood
    probabilities = 1 / (1 + np.exp(-likelihood.logits(np.zeros([1, 4], np.float32), training=False)))
    np.testing.assert_allclose(probabilities[0], [0.2, 0.7, 0.5, 0.001, 0.999, 0.4], rtol=1e-5)


def test_any_number_of_leading_dimensions():
    likelihood = tiny.model("pwl").likelihood
    many = likelihood.logits(Z[None, :, :, None], training=False)
    assert many.shape == [1, 3, 5, 1, 6]
    np.testing.assert_allclose(many[0, :, :, 0], likelihood.logits(Z, training=False), atol=1e-6)
