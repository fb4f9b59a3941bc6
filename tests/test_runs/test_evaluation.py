"""Evaluation by a model's functions: enumeration against NumPy loops, blocks, and what is said of how it was done."""

import numpy as np
import pytest
import tensorflow as tf

from dvae.config import EvaluationSettings
from dvae.errors import UserError
from dvae.evaluation import enumeration, importance_weighted
from dvae.evaluation.enumeration import exact_log_likelihood
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
    assert -exact_log_likelihood(functions, images).mean() == pytest.approx(nll, abs=1e-5)


def test_there_is_no_enumeration_of_too_many_latents():
    spec = tf.TensorSpec([None, 21], tf.float32, "z")
    functions = {"decode": tf.function(lambda z: {"logits": z}, input_signature=[spec])}
    assert exact_log_likelihood(functions, np.zeros((1, 2))) is None


def partition(log_z, standard_error):
    """What the signature of the prior's log Z returns."""
    halves = {name: tf.constant(log_z) for name in ("log_z", "from_uniform", "from_own_means")}
    return halves | {"standard_error": standard_error, "effective_sample_size": tf.constant(12.0)}


def test_blocks_cover_every_image_once():
    """Whatever the block size, each image counts once: log p(x) here is the image's first pixel times its number."""

    def log_likelihood(x, **_):
        value = tf.reduce_sum(x, -1)
        return {"log_likelihood": value, "effective_sample_size": value + 1, "elbo": value}

    def log_partition(num_chains, num_temperatures, seed):
        return partition(1.5, tf.constant(0.1))

    @tf.function(input_signature=[tf.TensorSpec([None, LATENTS], tf.float32, "z")])
    def decode(z):
        return {"logits": z}

    def posterior_settings():
        return {"is_annealed": tf.constant(True)}

    functions = {
        "estimate_log_likelihood": log_likelihood, "log_partition": log_partition, "prior_energy": None,
        "posterior_settings": posterior_settings, "decode": decode,
    }  # fmt: skip
    images = np.arange(11, dtype=np.float32)[:, None]
    for num_samples in (1, 4000, 5000, 100_000):  # blocks of 11, 5, 4, 1 images
        settings = EvaluationSettings(
            num_samples=num_samples,
            posterior_temperatures=4,
            posterior_base="fields",
            log_z_chains=2,
            log_z_temperatures=3,
        )
        result = evaluate(functions, images, settings)
        assert (result.nll, result.log_z) == (pytest.approx(-5.0), 1.5)
        assert result.nll_standard_error == pytest.approx(np.std(np.arange(11), ddof=1) / np.sqrt(11))
        assert result.num_examples == 11
        assert (result.num_samples, result.posterior_temperatures, result.flattening) == (num_samples, 4, (1.0,))
        assert result.posterior_base == "fields"
        assert (result.log_z_chains, result.log_z_temperatures, result.log_z_error) == (2, 3, None)
        assert result.posterior_sampler == "annealed importance sampling"


def test_many_samples_are_drawn_in_parts(monkeypatch):
    """28 samples in parts of at most 9, multiples of the 4 flattening factors; together they say what all draws say."""
    drawn = []

    def log_likelihood(x, num_samples, seed, **_):
        log_weights = np.random.default_rng(abs(int(seed.numpy()[0]))).normal(size=[int(num_samples), len(x)])
        drawn.append(log_weights)
        weights = np.exp(log_weights)
        return {
            "log_likelihood": tf.constant(np.log(weights.mean(0))),
            "effective_sample_size": tf.constant(weights.sum(0) ** 2 / (weights**2).sum(0)),
            "elbo": tf.constant(log_weights.mean(0)),
        }

    @tf.function(input_signature=[tf.TensorSpec([None, LATENTS], tf.float32, "z")])
    def decode(z):
        return {"logits": z}

    monkeypatch.setattr(importance_weighted, "_DRAWS", 9)
    functions = {
        "estimate_log_likelihood": log_likelihood,
        "posterior_settings": lambda: {"is_annealed": tf.constant(False)},
        "decode": decode,
    }
    settings = EvaluationSettings(
        num_samples=28, posterior_temperatures=1, posterior_base="biases", flattening=(1, 2, 3, 4)
    )
    result = evaluate(functions, np.zeros([1, PIXELS]), settings)
    assert [len(part) for part in drawn] == [8, 8, 8, 4]
    weights = np.exp(np.concatenate(drawn)[:, 0])
    assert result.nll == pytest.approx(-np.log(weights.mean()))
    assert result.effective_sample_size == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert result.elbo == pytest.approx(np.log(weights).mean())


def test_log_z_to_a_wanted_error():
    """The temperatures double from 250 until the error is met; those that it took are what is reported."""

    def log_partition(num_chains, num_temperatures, seed):
        return partition(1.5, 10 / tf.cast(num_temperatures, tf.float32))

    functions, _ = toy_functions()
    functions |= {"log_partition": log_partition}
    settings = EvaluationSettings(
        posterior_temperatures=1, posterior_base="biases", log_z_error=0.011, log_z_temperatures=10_000
    )
    assert settings_in_use(functions) == {
        "num_examples", "seed", "log_z_chains", "log_z_temperatures", "log_z_error",
    }  # fmt: skip
    result = evaluate(functions, np.zeros((2, PIXELS)), settings)
    assert (result.log_z_temperatures, result.log_z_error) == (1000, 0.011)
    assert result.log_z_standard_error == pytest.approx(0.01)
    assert result.posterior_sampler == "enumeration"
    assert [result.num_samples, result.flattening, result.posterior_temperatures, result.elbo] == [None] * 4


@pytest.mark.parametrize(("numbers", "states"), [(1, 1), (3 * 4, 4), (2**23, 16)])
def test_enumeration_decodes_a_few_states_at_a_time(numbers, states, monkeypatch):
    """However wide the outputs: the same NLL by blocks of 1, 4 and all 16 states."""
    functions, _ = toy_functions()
    images, decoded = np.array([[0, 1, 1], [1, 0, 0]], np.uint8), []
    whole, decode = exact_log_likelihood(functions, images), functions["decode"]

    def recording(z):
        decoded.append(z.shape[0])
        return decode(z)

    recording.get_concrete_function = decode.get_concrete_function
    monkeypatch.setattr(enumeration, "_NUMBERS", numbers)
    found = exact_log_likelihood(functions | {"decode": recording}, images)
    np.testing.assert_allclose(found, whole, rtol=1e-12)
    assert max(decoded) == states


@pytest.mark.parametrize(("latents", "num_samples", "at_once"), [(4, 10, 11), (2**14, 100, 10), (2**22, 10, 1)])
def test_an_evaluation_draws_for_a_few_images_at_a_time(latents, num_samples, at_once):
    """By the number of latents and samples: draws, and the couplings of an RBM posterior, are bounded."""
    calls = []

    def log_likelihood(x, **_):
        calls.append(len(x))
        return {"log_likelihood": x[:, 0], "effective_sample_size": x[:, 0]}

    @tf.function(input_signature=[tf.TensorSpec([None, latents], tf.float32, "z")])
    def decode(z):
        return {"logits": z}

    functions = {
        "estimate_log_likelihood": log_likelihood, "decode": decode,
        "posterior_settings": lambda: {"is_annealed": tf.constant(False)},
    }  # fmt: skip
    settings = EvaluationSettings(num_samples=num_samples, posterior_temperatures=1, posterior_base="biases")
    result = evaluate(functions, np.arange(11, dtype=np.float32)[:, None], settings)
    assert result.nll == -5.0
    assert set(calls) == {min(at_once, max(1, 2**24 // (latents // 2) ** 2), 11)}


def test_what_is_not_finite_is_no_result():
    """An example whose likelihood is NaN or infinite is named."""
    spec = tf.TensorSpec([None, LATENTS], tf.float32, "z")
    functions = {
        "estimate_log_likelihood": lambda x, **_: {"log_likelihood": tf.where(x[:, 0] == 3, np.nan, x[:, 0])},
        "decode": tf.function(lambda z: {"logits": z}, input_signature=[spec]),
        "posterior_settings": lambda: {"is_annealed": tf.constant(False)},
    }
    settings = EvaluationSettings(num_samples=3, posterior_temperatures=1, posterior_base="biases")
    with pytest.raises(UserError, match="the log_likelihood of example 3 is nan"):
        evaluate(functions, np.arange(5, dtype=np.float32)[:, None], settings)


def test_a_model_that_cannot_be_evaluated():
    spec = tf.TensorSpec([None, 21], tf.float32, "z")
    functions = {"decode": tf.function(lambda z: {"logits": z}, input_signature=[spec])}
    with pytest.raises(UserError, match="no posterior, and too many latents"):
        evaluate(functions, np.zeros((1, 2)), EvaluationSettings(posterior_temperatures=1, posterior_base="biases"))


def test_examples_are_annealed_until_each_has_the_wanted_error():
    """The error of example i here is `(1 + i) / T`; what is not known is annealed on, up to the most temperatures."""
    calls, num_samples = [], 20

    def annealed(x, true_posterior_temperatures, seed, **_):
        temperatures = int(true_posterior_temperatures)
        calls.append((temperatures, [int(i) for i in x[:, 0]], tuple(seed.numpy())))
        squared = ((1 + x[:, 0]) / temperatures) ** 2
        return {
            "log_likelihood": -x[:, 0] - 1 / temperatures,
            "effective_sample_size": num_samples / (1 + (num_samples - 1) * squared),
        }

    @tf.function(input_signature=[tf.TensorSpec([None, LATENTS], tf.float32, "z")])
    def decode(z):
        return {"logits": z}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, PIXELS], tf.float32, "x"), tf.TensorSpec([None, PIXELS], tf.float32, "outputs"),
        ]
    )  # fmt: skip
    def log_prob_of_pairs(x, outputs):
        return {"log_prob": x}

    functions = {
        "estimate_log_likelihood": None, "anneal_log_likelihood": annealed, "decode": decode,
        "log_prob_of_pairs": log_prob_of_pairs, "posterior_settings": lambda: {"is_annealed": tf.constant(False)},
    }  # fmt: skip
    common = {"num_samples": num_samples, "posterior_temperatures": 1, "posterior_base": "biases"}
    settings = EvaluationSettings(true_posterior_temperatures=150, example_error=0.0301, **common)
    images = np.tile(np.arange(6, dtype=np.float32)[:, None], [1, PIXELS])
    result = evaluate(functions, images, settings)
    assert [(temperatures, sorted(set(of_block))) for temperatures, of_block, _ in calls] == [
        (50, [0, 1, 2, 3, 4, 5]), (100, [1, 2, 3, 4, 5]), (150, [3, 4, 5]),
    ]  # fmt: skip
    assert len({seed for *_, seed in calls}) == 3
    taken = np.array([50, 100, 100, 150, 150, 150])
    np.testing.assert_allclose(result.of_examples["log_likelihood"], -np.arange(6) - 1 / taken, rtol=1e-6)
    np.testing.assert_allclose(result.of_examples["standard_error"], np.arange(1, 7) / taken, rtol=1e-4)
    assert result.nll_sampling_error == pytest.approx(np.sqrt(np.sum((np.arange(1, 7) / taken) ** 2)) / 6, rel=1e-4)
    assert (result.true_posterior_temperatures, result.example_error) == (150, 0.0301)
    calls.clear()
    evaluate(functions, images, EvaluationSettings(true_posterior_temperatures=70, **common))
    assert [temperatures for temperatures, *_ in calls] == [70]
    del functions["anneal_log_likelihood"]
    with pytest.raises(UserError, match="true_posterior_temperatures=150: needs a model"):
        evaluate(functions, images, settings)


def test_errors_of_few_effective_samples_are_not_known():
    """`std(w) / (mean(w) sqrt(K))` in loops; below ten effective samples, or an eighth of them, it is infinite."""
    weights = np.random.default_rng(0).lognormal(size=200)
    size = weights.sum() ** 2 / np.sum(weights**2)
    wanted = np.std(weights, ddof=1) / weights.mean() / np.sqrt(200)
    np.testing.assert_allclose(importance_weighted.standard_error(np.array([size]), 200), wanted, rtol=1e-9)
    errors = importance_weighted.standard_error(np.array([9.9, 24.9, 25.1, 200.0]), 200)
    assert np.isinf(errors).tolist() == [True, True, False, False]
    assert errors[-1] == 0
