"""Every system x SavedModel: the documented signatures, used with `tf.saved_model.load` alone."""

import json

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from dvae.evaluation import exact_log_likelihood
from dvae.exporting import read_origin

SEED = tf.constant([3, 4])
X = np.array([[0, 0, 0, 0] * 4, [1, 1, 1, 1, 0, 0, 0, 0] * 2, [1, 0, 1, 0] * 4], np.float32)
STATES = ((np.arange(256)[:, None] >> np.arange(8)) & 1).astype(np.float32)


@pytest.fixture(scope="session")
def loaded(finished_run):
    """Loaded once for each system: a loaded function is compiled when it is first called."""
    return tf.saved_model.load(str(finished_run.experiment.run.saved_model))


@pytest.fixture
def signatures(loaded):
    return loaded.signatures


def call(signatures, name, **inputs):
    as_tensors = {k: v if tf.is_tensor(v) else tf.constant(v) for k, v in inputs.items()}
    return {k: v.numpy() for k, v in signatures[name](**as_tensors).items()}


def test_contract_of_names_shapes_and_types(signatures, finished_run):
    expected = {
        ("decode", "logits"): (call(signatures, "decode", z=STATES[:5]), (5, 16)),
        ("prior_energy", "energy"): (call(signatures, "prior_energy", z=STATES[:5]), (5,)),
        ("sample_prior", "z"): (call(signatures, "sample_prior", num_samples=7, seed=SEED), (7, 8)),
        ("generate", "probabilities"): (call(signatures, "generate", num_samples=7, seed=SEED), (7, 16)),
        ("reconstruct", "probabilities"): (call(signatures, "reconstruct", x=X, seed=SEED), (3, 16)),
    }
    posterior = call(signatures, "sample_posterior", x=X, num_samples=4, seed=SEED)
    expected |= {("sample_posterior", "z"): (posterior, (4, 3, 8)), ("sample_posterior", "log_q"): (posterior, (4, 3))}
    partition = call(signatures, "log_partition", num_chains=9, num_temperatures=11, seed=SEED)
    expected |= {("log_partition", name): (partition, ()) for name in ("log_z", "standard_error")}
    of_likelihood = "log_likelihood", "effective_sample_size", "elbo", "entropy"
    likelihood = call(signatures, "log_likelihood", x=X, num_samples=6, log_z=np.float32(5), seed=SEED)
    expected |= {("log_likelihood", name): (likelihood, (3,)) for name in of_likelihood}
    for (signature, name), (outputs, shape) in expected.items():
        assert outputs[name].shape == shape, (signature, name)
        assert outputs[name].dtype == np.float32, (signature, name)
    if finished_run.config.model == "dvaess":
        shapes = {"bias_left": (3, 4), "bias_right": (3, 4), "weights": (3, 4, 4)}
    elif finished_run.config.num_groups == 1:
        shapes = {"logits": (3, 8)}
    else:
        assert "posterior_parameters" not in signatures
        return
    assert {k: v.shape for k, v in call(signatures, "posterior_parameters", x=X).items()} == shapes


def test_loaded_functions_are_those_in_place(signatures, finished_run):
    """Same inputs, same seed: the exported model answers as the one that was trained."""
    finished_run.experiment.state.model.posterior.anneal_for(finished_run.config.test_temperatures)
    in_place = finished_run.experiment.exportable.functions
    assert set(signatures) == set(in_place)
    for name, inputs in {
        "decode": {"z": STATES},
        "prior_energy": {"z": STATES},
        "generate": {"num_samples": 5, "seed": SEED},
        "sample_posterior": {"x": X, "num_samples": 5, "seed": SEED},
        "log_likelihood": {"x": X, "num_samples": 5, "log_z": np.float32(5), "seed": SEED},
    }.items():
        got, expected = call(signatures, name, **inputs), call(in_place, name, **inputs)
        for output in expected:
            np.testing.assert_allclose(got[output], expected[output], rtol=1e-5, atol=1e-5, err_msg=f"{name} {output}")


def test_seed_decides(signatures):
    draw = lambda seed: call(signatures, "sample_posterior", x=X, num_samples=40, seed=seed)["z"]  # noqa: E731
    np.testing.assert_array_equal(draw(SEED), draw(SEED))
    assert (draw(SEED) != draw(SEED + 1)).any()


def test_log_q_is_normalised_and_describes_the_samples(signatures):
    """log q at the sampled states equals the enumerated posterior's, where its parameters are exported."""
    outputs = call(signatures, "sample_posterior", x=X, num_samples=200, seed=SEED)
    assert set(np.unique(outputs["z"])) <= {0, 1}
    if "posterior_parameters" not in signatures:
        return
    parameters = call(signatures, "posterior_parameters", x=X)
    for b in range(3):
        unnormalised = [log_unnormalised(parameters, b, z) for z in STATES]
        log_normaliser = scipy.special.logsumexp(unnormalised)
        expected = [log_unnormalised(parameters, b, z) - log_normaliser for z in outputs["z"][:, b]]
        # AIS of 10 temperatures and 200 chains estimates log Z_phi of a posterior trained for 24 steps to about 0.02.
        np.testing.assert_allclose(outputs["log_q"][:, b], expected, atol=0.15)


def log_unnormalised(parameters, b, z):
    """log of the posterior's unnormalised probability of one state, in loops."""
    if "logits" in parameters:
        return sum(z[i] * parameters["logits"][b, i] for i in range(8))
    pairs = sum(z[i] * parameters["weights"][b, i, j] * z[4 + j] for i in range(4) for j in range(4))
    linear = sum(z[i] * parameters["bias_left"][b, i] + z[4 + i] * parameters["bias_right"][b, i] for i in range(4))
    return pairs + linear


def test_prior_samples_and_log_partition_follow_the_energy(signatures):
    """Chi-squared of 4000 samples against exp(-E)/Z; false-failure rate 1e-4.

    The untrained prior is nearly uniform over 256 states; a sampler stuck on half of them fails with certainty.
    """
    log_p = -call(signatures, "prior_energy", z=STATES)["energy"].astype(np.float64)
    log_z = scipy.special.logsumexp(log_p)
    estimate = call(signatures, "log_partition", num_chains=1000, num_temperatures=200, seed=SEED)
    assert abs(estimate["log_z"] - log_z) < 4 * estimate["standard_error"] + 1e-4
    samples = call(signatures, "sample_prior", num_samples=4000, seed=SEED)["z"]
    counts = np.bincount((samples @ (2 ** np.arange(8))).astype(int), minlength=256)
    expected = 4000 * np.exp(log_p - log_z)
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert statistic < scipy.stats.chi2.isf(1e-4, 255)


def test_more_temperatures_can_be_asked_for(loaded, finished_run):
    if finished_run.config.model != "dvaess":
        assert not hasattr(loaded, "posterior_temperatures")
        return
    assert loaded.posterior_temperatures.numpy() == finished_run.config.test_temperatures
    inputs = {"x": X, "num_samples": 50, "log_z": np.float32(5), "seed": SEED}
    before = call(loaded.signatures, "log_likelihood", **inputs)
    loaded.posterior_temperatures.assign(100)
    after = call(loaded.signatures, "log_likelihood", **inputs)
    loaded.posterior_temperatures.assign(finished_run.config.test_temperatures)
    assert (before["log_likelihood"] != after["log_likelihood"]).all()


def test_a_flattened_posterior_can_be_asked_for(loaded):
    """After it was exported: other draws, and the exact likelihood from them too."""
    energy = call(loaded.signatures, "prior_energy", z=STATES)["energy"]
    inputs = {"x": X, "num_samples": 4000, "log_z": scipy.special.logsumexp(-energy), "seed": SEED}
    estimates = []
    for factors in ([1.0], [1.0, 2.0, 4.0, 8.0]):
        loaded.posterior_flattening.assign(factors)
        estimates.append(call(loaded.signatures, "log_likelihood", **inputs)["log_likelihood"])
    loaded.posterior_flattening.assign([1.0])
    exact = exact_log_likelihood(loaded.signatures, X)
    assert (estimates[0] != estimates[1]).all()
    np.testing.assert_allclose(estimates[1], exact, atol=0.1)


def test_origin_is_kept_beside_the_model(finished_run):
    origin = json.loads((finished_run.experiment.run.saved_model / "assets.extra" / "run.json").read_text())
    assert origin["settings"]["model"] == finished_run.config.model
    assert origin["step"] == finished_run.results["step"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("not json", "Expecting value"),
        ("[1]", "is not of this program"),
        ('{"settings": 3}', "is not of this program"),
        ('{"settings": {"model": "pwl"}, "checksum": "", "step": 1}', "lacks seconds"),
        ('{"settings": {"model": "pwl"}, "checksum": "", "step": 1, "seconds": 2}', "lacks data_dir, dataset"),
    ],
)
def test_origin_that_cannot_be_used(content, reason, tmp_path):
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra" / "run.json").write_text(content)
    with pytest.raises(ValueError, match=reason):
        read_origin(tmp_path)
