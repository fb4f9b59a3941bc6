"""Likelihoods, the published one and some of one's own: log-probabilities by loops, and the mean image at the start."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import models.likelihood
import reference
import reference_models
import tiny
from dvae.building import build_autoencoder
from dvae.compiling import compiled
from models.likelihood import BernoulliLikelihood, Likelihood

X = np.random.default_rng(0).integers(0, 2, [5, 6]).astype(np.float32)
Z = np.random.default_rng(1).uniform(size=[3, 5, 4]).astype(np.float32)  # [K, B, units]


@pytest.mark.parametrize("num_layers", [0, 2])
@pytest.mark.parametrize("training", [True, False])
def test_log_prob_matches_loops(training, num_layers):
    """Rows of the decoder are (sample, example) pairs, K major; in training all of them are one batch."""
    model = tiny.model("pwl", hidden_layers=num_layers)
    weights = reference_models.weights_of(model)
    logits = model.likelihood.outputs(Z, training=training)
    log_prob = model.likelihood.log_prob(X, Z, training=training)
    mean = model.likelihood.mean(Z, training=training)
    assert logits.shape == mean.shape == [3, 5, 6]
    assert log_prob.shape == [3, 5]

    rows = outputs_of(weights, training=training)
    for k, b in itertools.product(range(3), range(5)):
        wanted = 0.0
        for d, mean_pixel in enumerate(np.clip(tiny.MEAN_PIXEL, 0.001, 0.999)):
            p_on = 1 / (1 + math.exp(-rows[k, b, d]) * (1 - mean_pixel) / mean_pixel)
            np.testing.assert_allclose(logits[k, b, d], math.log(p_on / (1 - p_on)), rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(mean[k, b, d], p_on, rtol=1e-4)
            wanted += math.log(p_on if X[b, d] else 1 - p_on)
        np.testing.assert_allclose(log_prob[k, b], wanted, rtol=1e-5)
    np.testing.assert_allclose(
        log_prob, reference_models.log_likelihood(weights, tiny.MEAN_PIXEL, X, Z, training=training), rtol=1e-5
    )


def outputs_of(weights, *, training):
    """Of the head, `[3, 5, num_outputs]`, for Z."""
    rows = reference_models.hidden(weights, "decoder/hidden", Z.reshape(15, 4).astype(float), training=training)
    return reference_models.dense(weights, "decoder/outputs", rows).reshape(3, 5, -1)


@pytest.mark.parametrize("num_layers", [0, 2])
def test_starts_at_the_clipped_mean_image(num_layers):
    """All biases start at 0, so z = 0 gives the mean image; pixels that never change are not certain."""
    likelihood = build_autoencoder(tiny.config("pwl", hidden_layers=num_layers), tiny.EXAMPLES).likelihood
    probabilities = 1 / (1 + np.exp(-likelihood.outputs(np.zeros([1, 4], np.float32), training=False)))
    np.testing.assert_allclose(probabilities[0], [0.2, 0.7, 0.5, 0.001, 0.999, 0.4], rtol=1e-5)


def test_any_number_of_leading_dimensions():
    likelihood = tiny.model("pwl").likelihood
    many = likelihood.outputs(Z[None, :, :, None], training=False)
    assert many.shape == [1, 3, 5, 1, 6]
    np.testing.assert_allclose(many[0, :, :, 0], likelihood.outputs(Z, training=False), atol=1e-6)


def test_pixels_are_on_where_a_uniform_of_the_seed_is_below_the_mean():
    likelihood, seed = tiny.model("pwl").likelihood, tf.constant([4, -7])
    draws, mean = likelihood.sample(Z, seed), likelihood.mean(Z, training=False).numpy()
    uniform = reference.uniform((3, 5, 6), seed.numpy())
    assert np.abs(uniform - mean).min() > 1e-5
    np.testing.assert_array_equal(draws, uniform < mean)


# Likelihoods of one's own.


class NoisyChannel(Likelihood):
    """A pixel is sent as its output says; 4 % arrive as a fair coin."""

    def distribution(self, outputs):
        return tfd.Bernoulli(probs=0.02 + 0.96 * tf.sigmoid(outputs))

    @staticmethod
    def p_on(outputs, d):
        return 0.02 + 0.96 / (1 + math.exp(-outputs[d]))


class DroppedPixels(Likelihood):
    """A pixel is drawn, and then kept or not: two outputs for each."""

    outputs_per_pixel = 2

    def distribution(self, outputs):
        drawn, kept = tf.split(tf.sigmoid(outputs), 2, axis=-1)
        return tfd.Bernoulli(probs=drawn * kept)

    @staticmethod
    def p_on(outputs, d):
        return 1 / (1 + math.exp(-outputs[d])) / (1 + math.exp(-outputs[len(tiny.MEAN_PIXEL) + d]))


class NoisyBernoulli(BernoulliLikelihood):
    """The published outputs, which start at the mean image, through the channel."""

    def distribution(self, outputs):
        return tfd.Bernoulli(probs=0.02 + 0.96 * tf.sigmoid(outputs))

    @staticmethod
    def p_on(outputs, d):
        mean = float(np.clip(tiny.MEAN_PIXEL[d], 0.001, 0.999))
        return 0.02 + 0.96 / (1 + math.exp(-outputs[d]) * (1 - mean) / mean)


OWN = [NoisyChannel, DroppedPixels, NoisyBernoulli]
every_own = pytest.mark.parametrize("likelihood", OWN, ids=lambda own: own.__name__)


@pytest.mark.parametrize("training", [True, False])
@every_own
def test_a_likelihood_of_ones_own_matches_loops(likelihood, training):
    """`log_prob` and `mean`, from `distribution` alone; of all pixels first the first outputs, then the second."""
    model = tiny.model("pwl", likelihood=likelihood)
    outputs = outputs_of(reference_models.weights_of(model), training=training)
    log_prob = model.likelihood.log_prob(X, Z, training=training)
    mean = model.likelihood.mean(Z, training=training)
    assert model.likelihood.num_outputs == outputs.shape[-1] == 6 * likelihood.outputs_per_pixel
    assert log_prob.shape == [3, 5]
    assert mean.shape == [3, 5, 6]
    for k, b in np.ndindex(3, 5):
        p_on = [likelihood.p_on(outputs[k, b], d) for d in range(6)]
        np.testing.assert_allclose(mean[k, b], p_on, rtol=1e-4)
        wanted = sum(math.log(p_on[d] if X[b, d] else 1 - p_on[d]) for d in range(6))
        np.testing.assert_allclose(log_prob[k, b], wanted, rtol=1e-5)


@pytest.mark.parametrize("likelihood", [BernoulliLikelihood, *OWN], ids=lambda own: own.__name__)
def test_probabilities_of_all_images_sum_to_one(likelihood):
    likelihood, images = tiny.model("pwl", likelihood=likelihood).likelihood, reference.all_states(6).astype(np.float32)
    log_prob = likelihood.log_prob(images, np.repeat(Z[:, :1], 64, axis=1), training=False)
    np.testing.assert_allclose(np.sum(np.exp(log_prob), axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("mode", [lambda function: function, tf.function, compiled], ids=["eager", "graph", "compiled"])
@pytest.mark.parametrize(("outputs_at_once", "samples_at_once"), [(1, 1), (5 * 6 * 2, 2), (2**24, 3)])
def test_draws_are_decoded_a_few_at_a_time(outputs_at_once, samples_at_once, mode, monkeypatch):
    """3 samples of 5 images, one, two or all at a time: the same values, summed in float64."""
    likelihood, decoded = tiny.model("pwl").likelihood, []
    outputs = likelihood.outputs
    wanted = reference_models.log_bernoulli(X, outputs(tf.constant(Z), training=False).numpy().astype(float))

    def recording(z, **how):
        decoded.append(z.shape[0])
        return outputs(z, **how)

    monkeypatch.setattr(models.likelihood, "_OUTPUTS_AT_ONCE", outputs_at_once)
    monkeypatch.setattr(likelihood, "outputs", recording)
    found = mode(likelihood.log_prob_of_draws)(tf.constant(X), tf.constant(Z))
    assert found.dtype == tf.float64
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert set(decoded) <= {None, samples_at_once}


@pytest.mark.parametrize("mode", [lambda function: function, tf.function, compiled], ids=["eager", "graph", "compiled"])
@every_own
def test_every_pair_matches_loops(likelihood, mode):
    """Every image given every outputs, in float64: what enumeration is made of, in all its modes."""
    model = tiny.model("pwl", likelihood=likelihood)
    z, outputs = Z.reshape(15, 4), outputs_of(reference_models.weights_of(model), training=False).reshape(15, -1)
    given = model.likelihood.outputs(z, training=False)
    pairs = mode(model.likelihood.log_prob_of_pairs)(tf.constant(X), given)
    assert pairs.shape == [15, 5]
    assert pairs.dtype == tf.float64
    for s, n in np.ndindex(15, 5):
        p_on = [likelihood.p_on(outputs[s], d) for d in range(6)]
        wanted = sum(math.log(p_on[d] if X[n, d] else 1 - p_on[d]) for d in range(6))
        np.testing.assert_allclose(pairs[s, n], wanted, rtol=1e-5)


def test_closed_form_of_pairs_is_the_general_one():
    """As accurate as its logits, however large: the general one is of the same logits in float64."""
    likelihood = tiny.model("pwl").likelihood
    outputs = 40 * np.random.default_rng(2).normal(size=[7, 6])
    general = Likelihood.log_prob_of_pairs(likelihood, tf.constant(X, tf.float64), tf.constant(outputs))
    closed = likelihood.log_prob_of_pairs(tf.constant(X), tf.constant(outputs))
    np.testing.assert_allclose(closed, general, rtol=1e-12, atol=1e-12)
    for s, n in np.ndindex(7, 5):
        np.testing.assert_allclose(
            closed[s, n], reference_models.log_bernoulli(X[n], outputs[s]), rtol=1e-12, atol=1e-12
        )


class Plain(NoisyBernoulli):
    """Goes back to the published distribution, by another way to write it."""

    def distribution(self, outputs):
        return tfd.Bernoulli(probs=tf.sigmoid(outputs))


class Negative(BernoulliLikelihood):
    """Black for white, with closed forms of its own."""

    def distribution(self, outputs):
        return tfd.Bernoulli(logits=-outputs)

    def log_prob_of_pairs(self, x, outputs):
        return super().log_prob_of_pairs(1 - x, outputs)

    def mean(self, z, *, training):
        return 1 - tf.sigmoid(self.outputs(z, training=training))


@pytest.mark.parametrize("likelihood", [*OWN, Plain], ids=lambda own: own.__name__)
def test_another_distribution_does_not_inherit_closed_forms(likelihood):
    """Pairs, single values, means and draws are of one distribution.

    Draws: z-scores of 60 pixels of 20,000 draws, false-failure rate 1e-5 together. Power: the channel's noise moves
    some pixel by more than 10 standard errors, twice the limit.
    """
    own, z, num_draws = tiny.model("pwl", likelihood=likelihood, scale=2.0).likelihood, Z.reshape(15, 4)[:10], 20_000
    pairs = own.log_prob_of_pairs(tf.constant(X), own.outputs(z, training=False))
    single = own.log_prob(X, np.repeat(z[:, None], 5, axis=1), training=False)
    np.testing.assert_allclose(pairs, single, rtol=1e-5)

    mean = own.mean(z, training=False).numpy().astype(float)
    draws = own.sample(np.broadcast_to(z, [num_draws, *z.shape]), tf.constant([1, 2])).numpy()
    assert draws.dtype == np.float32
    assert set(np.unique(draws)) == {0, 1}
    deviation = np.sqrt(mean * (1 - mean) / num_draws)
    assert np.all(np.abs(draws.mean(axis=0) - mean) < reference.z_limit(1e-5, mean.size) * deviation)
    if likelihood in (NoisyChannel, NoisyBernoulli):
        noiseless = (mean - 0.02) / 0.96
        assert np.max(np.abs(mean - noiseless) / deviation) > 10


def test_what_a_subclass_defines_itself_is_kept():
    """Its closed forms are used, and agree with the general ones, which it has for the rest."""
    base, negative = (tiny.model("pwl", likelihood=each).likelihood for each in (BernoulliLikelihood, Negative))
    assert negative.mean.__func__ is Negative.mean
    np.testing.assert_allclose(negative.mean(Z, training=False), 1 - base.mean(Z, training=False), atol=1e-6)
    outputs, flipped = base.outputs(Z.reshape(15, 4), training=False), tf.constant(1 - X)
    pairs = negative.log_prob_of_pairs(flipped, outputs)
    np.testing.assert_array_equal(pairs, base.log_prob_of_pairs(tf.constant(X), outputs))
    np.testing.assert_allclose(pairs, Likelihood.log_prob_of_pairs(negative, flipped, outputs), rtol=1e-5)
    single, of_base = negative.log_prob(flipped, Z, training=False), base.log_prob(X, Z, training=False)
    np.testing.assert_allclose(single, of_base, rtol=1e-5)


@pytest.mark.parametrize("parent", [Likelihood, BernoulliLikelihood, NoisyChannel])
def test_log_prob_without_that_of_pairs_is_refused(parent):
    """Training would be of one distribution, enumeration of another."""
    with pytest.raises(TypeError, match=r"\AHalf: overrides log_prob, so it must override log_prob_of_draws as well\Z"):
        type("Half", (parent,), {"log_prob": lambda self, x, z, *, training: tf.zeros([])})
