"""Evaluation by a model's functions: enumeration against NumPy loops, blocks, and what is said of how it was done."""

import numpy as np
import pytest
import tensorflow as tf

from dvae.config import EvaluationSettings
from dvae.errors import UserError
from dvae.evaluation.enumeration import exact_nll
from dvae.evaluation.estimates import evaluate, settings_in_use

LATENTS, PIXELS = 4, 3


def toy_functions():
    """A model of 4 latents and 3 pixels as signatures, with a factorial posterior that does not look at x."""
    rng = np.random.default_rng(5)
    w, b, quadratic = rng.normal(size=(LATENTS, PIXELS)), rng.normal(size=PIXELS), rng.normal(size=(LATENTS, LATENTS))

    @tf.function(input_signature=[tf.TensorSpec([None, LATENTS], tf.float32, "z")])
    def decode(z):
        return {"logits": z @ tf.constant(w, tf.float32) + tf.constant(b, tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None, LATENTS], tf.float32, "z")])
    def prior_energy(z):
        return {"energy": -tf.reduce_sum((z @ tf.constant(quadratic, tf.float32)) * z, -1)}

    def log_prob_of_pairs(x, outputs):
        p_on = tf.sigmoid(tf.cast(outputs, tf.float64))[:, None]
        return {"log_prob": tf.reduce_sum(tf.math.log(tf.where(x == 1, p_on, 1 - p_on)), -1)}

    functions = {"decode": decode, "prior_energy": prior_energy, "log_prob_of_pairs": log_prob_of_pairs}
    return functions, (w, b, quadratic)


def test_exact_nll_against_loops():
    functions, (w, b, quadratic) = toy_functions()
    images = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)
    states = [[(s >> i) & 1 for i in range(LATENTS)] for s in range(2**LATENTS)]
    prior = [np.exp(np.array(z) @ quadratic @ np.array(z)) for z in states]
    nll = 0.0
    for x in images:
        probability = 0.0
        for z, weight in zip(states, prior, strict=True):
            likelihood = 1.0
            for d in range(PIXELS):
                p = 1 / (1 + np.exp(-(sum(z[i] * w[i, d] for i in range(LATENTS)) + b[d])))
                likelihood *= p if x[d] else 1 - p
            probability += likelihood * weight / sum(prior)
        nll -= np.log(probability) / len(images)
    assert exact_nll(functions, images) == pytest.approx(nll, abs=1e-5)


def test_exact_nll_is_none_where_there_are_too_many_latents():
    spec = tf.TensorSpec([None, 21], tf.float32, "z")
    assert exact_nll({"decode": tf.function(lambda z: {"logits": z}, input_signature=[spec])}, np.zeros((1, 2))) is None


def test_blocks_cover_every_image_once():
    """Whatever the block size, each image counts once: log p(x) here is the image's first pixel times its number."""

    def log_likelihood(x, **_):
        value = tf.reduce_sum(x, -1)
        return {"log_likelihood": value, "effective_sample_size": value, "elbo": value}

    def log_partition(num_chains, num_temperatures, seed):
        return {"log_z": tf.constant(1.5), "standard_error": tf.constant(0.1)}

    def posterior_settings():
        return {"is_annealed": tf.constant(True)}

    functions = {
        "estimate_log_likelihood": log_likelihood, "log_partition": log_partition, "prior_energy": None,
        "posterior_settings": posterior_settings,
    }  # fmt: skip
    images = np.arange(11, dtype=np.float32)[:, None]
    for num_samples in (1, 4000, 5000, 100_000):  # blocks of 11, 5, 4, 1 images
        settings = EvaluationSettings(
            num_samples=num_samples, posterior_temperatures=4, log_z_chains=2, log_z_temperatures=3
        )
        result = evaluate(functions, images, settings)
        assert (result.nll, result.log_z) == (-5.0, 1.5)
        assert result.nll_standard_error == pytest.approx(np.std(np.arange(11), ddof=1) / np.sqrt(11))
        assert result.num_examples == 11
        assert (result.num_samples, result.posterior_temperatures, result.flattening) == (num_samples, 4, (1.0,))
        assert (result.log_z_chains, result.log_z_temperatures, result.log_z_error) == (2, 3, None)
        assert result.posterior_sampler == "annealed importance sampling"


def test_log_z_to_a_wanted_error():
    """The temperatures double from 250 until the error is met; those that it took are what is reported."""

    def log_partition(num_chains, num_temperatures, seed):
        error = 10 / tf.cast(num_temperatures, tf.float32)
        return {"log_z": tf.constant(1.5), "standard_error": error}

    functions, _ = toy_functions()
    functions |= {"log_partition": log_partition}
    settings = EvaluationSettings(posterior_temperatures=1, log_z_error=0.011, log_z_temperatures=10_000)
    assert settings_in_use(functions) == {
        "num_examples", "seed", "log_z_chains", "log_z_temperatures", "log_z_error",
    }  # fmt: skip
    result = evaluate(functions, np.zeros((2, PIXELS)), settings)
    assert (result.log_z_temperatures, result.log_z_error) == (1000, 0.011)
    assert result.log_z_standard_error == pytest.approx(0.01)
    assert result.posterior_sampler == "enumeration"
    assert [result.num_samples, result.flattening, result.posterior_temperatures, result.elbo] == [None] * 4


def test_a_model_that_cannot_be_evaluated():
    spec = tf.TensorSpec([None, 21], tf.float32, "z")
    functions = {"decode": tf.function(lambda z: {"logits": z}, input_signature=[spec])}
    with pytest.raises(UserError, match="no posterior, and too many latents"):
        evaluate(functions, np.zeros((1, 2)), EvaluationSettings(posterior_temperatures=1))
