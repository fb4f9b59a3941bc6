"""The project from Python: train, evaluate, the trained model back; networks and a likelihood of one's own."""

import json
import pathlib
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special
from tensorflow_probability import distributions as tfd

import dvae
import reference
import runs
from dvae.evaluation import importance_weighted
from models.likelihood import Likelihood

QUICK = {"num_steps": 60, "report_every": 60, "eval_every": 60, "checkpoint_every": 60, "test_samples": 2000}
STATES = reference.all_states(8).astype(np.float32)


class NoisyChannel(Likelihood):
    """A pixel that is off arrives as on with probability 0.3, one that is on as off with probability 0.05."""

    def distribution(self, outputs):
        return tfd.Bernoulli(probs=0.3 + 0.65 * tf.sigmoid(outputs))


def convolutional():
    """Of 4 x 4 images; layers without names, which Keras numbers through the process."""
    return keras.Sequential(
        [
            keras.layers.Reshape((4, 4, 1)),
            keras.layers.Conv2D(5, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Conv2D(6, 2, activation="relu"),
            keras.layers.Flatten(),
        ]
    )


def perceptron():
    return keras.Sequential([keras.layers.Dense(9, activation="tanh"), keras.layers.Dense(7, activation="tanh")])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with everything handed in, and its results."""
    config = runs.small_config(model="pwl", log_dir=str(tmp_path_factory.mktemp("python") / "run"), **QUICK)
    said = []
    networks = {"encoder": convolutional(), "decoder": perceptron(), "likelihood": NoisyChannel}
    results = dvae.train(config, **networks, report=False, say=said.append)
    assert any("test NLL" in line for line in said)
    return config, results


def test_results_are_those_of_the_folder(trained):
    config, results = trained
    assert results == json.loads(pathlib.Path(config.log_dir, "results.json").read_text())


def test_a_likelihood_of_ones_own_is_evaluated_right(trained):
    """The exact NLL by NumPy from the exported energy and outputs, and the NLL by 2000 samples beside it."""
    config, results = trained
    functions = tf.saved_model.load(f"{config.log_dir}/saved_model").signatures
    energy = functions["prior_energy"](z=tf.constant(STATES))["energy"].numpy().astype(float)
    decoded = functions["decode"](z=tf.constant(STATES))
    assert set(decoded) == {"outputs"}  # they are no logits of pixels
    p_on = 0.3 + 0.65 * special.expit(decoded["outputs"].numpy().astype(float))
    images = dvae.load_dataset(config.dataset, config.data_dir).test[::10].astype(float)
    terms = images @ np.log(p_on).T + (1 - images) @ np.log(1 - p_on).T + special.log_softmax(-energy)
    exact = -special.logsumexp(terms, axis=1).mean()
    assert results["exact_nll"] == pytest.approx(exact, abs=1e-4)
    assert results["nll"] == pytest.approx(exact, abs=0.1)
    outputs = decoded["outputs"].numpy().astype(float)
    as_logits = images @ outputs.T - np.logaddexp(0, outputs).sum(1) + special.log_softmax(-energy)
    assert abs(-special.logsumexp(as_logits, axis=1).mean() - exact) > 0.01
    generated = functions["generate"](num_samples=tf.constant(5), seed=tf.constant([0, 1]))["probabilities"]
    assert 0.3 <= generated.numpy().min() < generated.numpy().max() <= 0.95


def test_evaluate_repeats_and_varies(trained, tmp_path):
    config, results = trained
    settings = {"num_examples": 32, "num_samples": 2000, "log_z_chains": 50, "log_z_temperatures": 50}
    table = tmp_path / "examples.csv"
    again = dvae.evaluate(config.log_dir, progress=False, examples_output=table, **settings)
    assert table.read_text() == (pathlib.Path(config.log_dir) / "test_examples.csv").read_text()
    assert {n: again[n] for n in ("nll", "exact_nll")} == pytest.approx({n: results[n] for n in ("nll", "exact_nll")})
    said = []
    other = dvae.evaluate(
        saved_model=f"{config.log_dir}/saved_model", split="valid", seed=3, flattening=(1.0, 2.0),
        posterior_temperatures=7, progress=False, say=said.append, **settings,
    )  # fmt: skip
    assert (other["split"], other["seed"], other["flattening"]) == ("valid", 3, [1.0, 2.0])
    assert str(said[0]).startswith("posterior_temperatures=7: has no effect")
    assert said[1].startswith(
        f"valid NLL {other['exact_nll']:.3f} +- {other['exact_nll_standard_error']:.3f} nats, exact"
    )
    assert other["posterior_temperatures"] is None


def test_the_same_again_in_one_process_shows_the_results(trained, capsys):
    """As a notebook's cell that is run twice; quietly, nothing else is said."""
    config, results = trained
    networks = {"encoder": convolutional(), "decoder": perceptron(), "likelihood": NoisyChannel}
    for quiet, first in ((False, "PWL with 8 latents"), (True, "test NLL")):
        said = []
        assert dvae.train(config, **networks, report=False, quiet=quiet, say=said.append) == results
        assert said[0].startswith(first)
        assert ("this run is complete; its results:" in said) is not quiet
    assert capsys.readouterr() == ("", "")


class Elsewhere:
    """Of Dask's client what an evaluation uses: what is sent is pickled, and done in another order."""

    class Future:
        def __init__(self, call):
            self._call = call

        def result(self):
            function, *arguments = pickle.loads(self._call)
            return pickle.loads(pickle.dumps(function(*arguments)))

    def submit(self, *call, pure):
        assert not pure
        return self.Future(pickle.dumps(call))


def test_an_evaluation_may_be_divided(trained, tmp_path, monkeypatch):
    """Blocks of a few examples done elsewhere: the same numbers, to the last bit."""
    config, _ = trained
    monkeypatch.setattr(importance_weighted, "_DRAWS", 600)
    settings = {"num_examples": 32, "num_samples": 100, "log_z_chains": 50, "log_z_temperatures": 50}
    tables = [tmp_path / name for name in ("here.csv", "elsewhere.csv")]
    here, elsewhere = (
        dvae.evaluate(config.log_dir, progress=False, client=client, examples_output=table, **settings)
        for client, table in zip((None, Elsewhere()), tables, strict=True)
    )
    assert here == elsewhere
    assert tables[0].read_text() == tables[1].read_text()


def test_the_trained_model_comes_back_with_the_same_networks(trained):
    config, results = trained
    found = dvae.trained_model(config.log_dir, encoder=convolutional(), decoder=perceptron(), likelihood=NoisyChannel)
    assert (found.config, found.step) == (config, results["step"])
    functions = tf.saved_model.load(f"{config.log_dir}/saved_model").signatures
    outputs = found.model.likelihood.outputs(tf.constant(STATES), training=False)
    np.testing.assert_allclose(outputs, functions["decode"](z=tf.constant(STATES))["outputs"], rtol=1e-5, atol=1e-5)
    x = found.dataset.test[:3].astype(np.float32)
    encoding = found.model.posterior.encode(x, training=False)
    logits = functions["posterior_parameters"](x=tf.constant(x))["logits"]
    np.testing.assert_allclose(encoding.outputs, logits, rtol=1e-5, atol=1e-5)
    assert found.model(x).shape == (3, 16)
    assert "likelihood" in summary_of(found.model)


def summary_of(model):
    lines = []
    model.summary(print_fn=lambda line, **_: lines.append(line))
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ({}, "encoder='published': the run in .* has Sequential of weights 3x3x1x5"),
        ({"encoder": "same", "decoder": "same"}, "likelihood='published': the run in .* has NoisyChannel"),
        ({"encoder": "other", "decoder": "same", "likelihood": NoisyChannel}, "encoder='Sequential of weights 16x9"),
    ],
)
def test_other_networks_are_refused(trained, networks, message):
    made = {"encoder": {"same": convolutional, "other": perceptron}, "decoder": {"same": perceptron}}
    handed_in = {name: made[name][value]() if name in made else value for name, value in networks.items()}
    with pytest.raises(ValueError, match=message):
        dvae.trained_model(trained[0].log_dir, **handed_in)
    with pytest.raises(ValueError, match=r"is not the one of the run in log_dir="):
        dvae.train(trained[0], say=lambda _: None, report=False, **handed_in)


@pytest.mark.slow
def test_a_run_with_networks_resumes_bit_for_bit(tmp_path):
    """Killed and opened again in the same process, where Keras has numbered the layers further."""
    config = runs.small_config(model="dvaess", num_steps=40, report_every=10, eval_every=40, checkpoint_every=10)
    whole = runs.open_run(config, tmp_path / "whole", encoder=convolutional())
    initial = [v.numpy() for v in whole.state.model.posterior.encoder.variables]
    whole.train()
    again = convolutional()
    again.build((None, 16))
    for variable, value in zip(again.variables, initial, strict=True):
        variable.assign(value)
    runs.train_until(runs.open_run(config, tmp_path / "killed", encoder=again), 15)
    resumed = runs.open_run(config, tmp_path / "killed", encoder=convolutional())
    assert resumed.step == 10
    resumed.train()
    assert runs.weights_equal(resumed, [v.numpy() for v in whole.state.model.variables])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dvae.configure(num_latents=201), r"num_latents=201: must be divisible by 2 \* num_groups \(2\)"),
        (dvae.evaluate, "log_dir=None saved_model=None: give one of the two"),
        (lambda: dvae.evaluate("/nowhere"), "log_dir='/nowhere': must be the folder of a run"),
        (lambda: dvae.evaluate("/nowhere", samples=3), "samples=3: is no setting of an evaluation"),
        (lambda: dvae.trained_model("/nowhere"), "log_dir='/nowhere': must be the folder of a run"),
        (lambda: dvae.load_dataset("mnist", ""), "dataset='mnist': must be one of"),
    ],
)
def test_mistakes_are_value_errors_that_name_the_argument(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_network_that_does_not_fit_leaves_no_folder(tmp_path):
    config = runs.small_config(log_dir=str(tmp_path / "run"))
    with pytest.raises(ValueError, match=r"encoder='.*': must be a Keras layer from \[rows, 16\] to features"):
        dvae.train(config, encoder=keras.layers.Reshape((5, 5)))
    assert not (tmp_path / "run").exists()


def test_the_folder_is_free_after_an_error(tmp_path):
    """A notebook may try again what was interrupted."""
    config = runs.small_config(model="pwl", log_dir=str(tmp_path / "run"))

    def interrupted(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dvae.train(config, say=interrupted)
    runs.open_run(config, tmp_path / "run").directory.release()


def test_a_run_that_has_not_been_evaluated(tmp_path):
    run = runs.open_run(runs.small_config(model="pwl"), tmp_path)
    run.directory.release()
    with pytest.raises(ValueError, match="has no evaluated checkpoint yet"):
        dvae.trained_model(tmp_path)
    with pytest.raises(ValueError, match="the run has not finished"):
        dvae.evaluate(tmp_path)
