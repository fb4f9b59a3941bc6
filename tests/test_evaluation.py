"""Every system x evaluation: the importance-weighted NLL against the exact one, and against NumPy loops."""

import numpy as np
import pytest
import tensorflow as tf

from dvae.evaluation import evaluate, exact_nll

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

    return {"decode": decode, "prior_energy": prior_energy}, (w, b, quadratic)


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

    def log_likelihood(x, num_samples, log_z, seed):
        value = tf.reduce_sum(x, -1)
        return {"log_likelihood": value, "effective_sample_size": value, "elbo": value}

    def log_partition(num_chains, num_temperatures, seed):
        return {"log_z": tf.constant(1.5), "standard_error": tf.constant(0.1)}

    images = np.arange(11, dtype=np.float32)[:, None]
    for num_samples in (1, 4000, 5000, 100_000):  # blocks of 11, 5, 4, 1 images
        result = evaluate(
            {"log_likelihood": log_likelihood, "log_partition": log_partition, "prior_energy": None},
            images, num_samples=num_samples,
            log_z_chains=2, log_z_temperatures=3, seed=0,
        )  # fmt: skip
        assert (result.nll, result.log_z) == (-5.0, 1.5)
        assert result.nll_standard_error == pytest.approx(np.std(np.arange(11), ddof=1) / np.sqrt(11))


def test_importance_weighted_nll_agrees_with_exact(finished_run):
    """4000 samples on 32 images, 8 latents: within 0.02 nats of enumeration, and the ELBO below both.

    The two share the decoder and the energy only. After 240 steps a posterior is too sure of itself for importance
    sampling, so posterior and decoder are made softer first: then the standard error of the NLL is below 0.004
    (effective sample sizes above 500), and a wrong log Z, log q or AIS weight of 0.03 nats is seen.
    """
    model = finished_run.experiment.state.model
    before = [v.numpy() for v in model.weights]
    soften(model, 0.3)
    images = finished_run.experiment.dataset.test[::10]
    functions = finished_run.experiment.exportable.functions
    result = evaluate(functions, images, num_samples=4000, log_z_chains=1000, log_z_temperatures=300, seed=1)
    exact = exact_nll(functions, images)
    for variable, value in zip(model.weights, before, strict=True):
        variable.assign(value)
    assert result.effective_sample_size > 500
    assert result.nll == pytest.approx(exact, abs=0.02)
    assert -result.elbo > exact


def soften(model, factor):
    """Scales the last layers of encoder and decoder."""
    last = [model.likelihood.outputs]
    if hasattr(model.posterior, "coupling_norm"):
        last.append(model.posterior.outputs)
        model.posterior.coupling_norm.gamma.assign(model.posterior.coupling_norm.gamma * factor)
    else:
        last += model.posterior.group_outputs
    for layer in last:
        layer.kernel.assign(layer.kernel * factor)
        layer.bias.assign(layer.bias * factor)
