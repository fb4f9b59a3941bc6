"""The exported model in other people's hands: Keras, a server's requests, ONNX, LiteRT, a machine without XLA."""

import json
import re
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

import rest
from dvae import UserError, export_for_servers
from dvae.runs.run_directory import RunDirectory
from programs import ROOT

X = np.array([[0, 0, 0, 0] * 4, [1, 1, 1, 1, 0, 0, 0, 0] * 2, [1, 0, 1, 0] * 4], np.float32)
Z = ((np.arange(16)[:, None] >> np.arange(8)) & 1).astype(np.float32)


@pytest.fixture(scope="module", params=["pwl", pytest.param("dvaess", marks=pytest.mark.slow)])
def run(request, shared, tmp_path_factory):
    """The directory of a short run."""
    folder = tmp_path_factory.mktemp(request.param)
    shared.copy(request.param, folder)
    return RunDirectory(folder)


@pytest.fixture(scope="module")
def loaded(run):
    """Keeps the variables that the signatures use."""
    return tf.saved_model.load(str(run.saved_model))


@pytest.fixture
def signatures(loaded):
    return loaded.signatures


def layer(run, **endpoint):
    return keras.layers.TFSMLayer(str(run.saved_model), **endpoint)


# Keras.


def test_a_layer_of_keras_reconstructs_encodes_and_decodes(run, signatures):
    """Also within a Keras model, which knows nothing of the batch."""
    inputs = keras.Input([16])
    outputs = [layer(run)(inputs), layer(run, call_endpoint="encode")(inputs)]
    reconstructed, encoded = keras.Model(inputs, outputs).predict(X, verbose=0)
    for i in range(3):  # as batches of one, by the signatures of the contract
        seed = tf.constant([0, 0])
        alone = signatures["reconstruct"](x=tf.constant(X[i : i + 1]), seed=seed)["probabilities"]
        np.testing.assert_allclose(reconstructed["probabilities"][i], alone[0], rtol=1e-5)
        drawn = signatures["sample_posterior"](x=tf.constant(X[i : i + 1]), num_samples=tf.constant(1), seed=seed)
        np.testing.assert_array_equal(encoded["z"][i], drawn["z"][0, 0])
        np.testing.assert_allclose(encoded["log_q"][i], drawn["log_q"][0, 0], rtol=1e-4)
    decoded = layer(run, call_endpoint="decode")(encoded["z"])["logits"]
    np.testing.assert_allclose(tf.sigmoid(decoded), reconstructed["probabilities"], rtol=1e-5)
    assert layer(run, call_endpoint="serving_default").weights


# A server.


def test_rows_do_not_depend_on_their_batch(signatures):
    """In another order and among others, the same answers: a server may join the requests of several clients."""
    one, other = np.array([0, 1, 2]), np.array([2, 1, 0, 1])
    numbers = np.array([5, 6, 7], np.int32)
    inputs = {
        "reconstruct_rows": {"x": X, "seed": numbers},
        "encode_rows": {"x": X, "seed": numbers},
        "log_likelihood_rows": {"x": X, "num_samples": numbers, "log_z": np.float32([5, 6, 7]), "seed": numbers},
        "generate_rows": {"seed": numbers},
        "serving_default": {"x": X},
    }
    for name, rows in inputs.items():
        first, second = (
            signatures[name](**{key: tf.constant(values[order]) for key, values in rows.items()})
            for order in (one, other)
        )
        for output in first:
            assert first[output].shape[0] == 3
            np.testing.assert_array_equal(tf.gather(first[output], other), second[output], err_msg=f"{name} {output}")
    same = signatures["encode_rows"](x=tf.constant(np.repeat(X[:1], 40, 0)), seed=tf.range(40))["z"].numpy()
    assert len(np.unique(same, axis=0)) > 1  # other seeds, other draws


def test_what_rows_are_of(signatures):
    """The signatures of the contract at one row, with its seed, samples and log Z."""
    seed = tf.constant([9, 0])
    asked = {"num_samples": 6, "log_z": 5.0}
    alone = signatures["log_likelihood"](
        x=tf.constant(X[1:2]), seed=seed, **{k: tf.constant(v) for k, v in asked.items()}
    )
    among = signatures["log_likelihood_rows"](
        x=tf.constant(X), seed=tf.constant([1, 9, 1]), **{k: tf.constant([v] * 3) for k, v in asked.items()}
    )
    assert set(alone) == set(among)
    for name in alone:
        np.testing.assert_allclose(among[name][1], alone[name][0], rtol=1e-4)
    generated = signatures["generate"](num_samples=tf.constant(1), seed=seed)["probabilities"]
    np.testing.assert_allclose(
        signatures["generate_rows"](seed=tf.constant([9]))["probabilities"], generated, rtol=1e-5
    )


def bodies():
    """The requests that `docs/serving.md` shows."""
    text = (ROOT / "docs" / "serving.md").read_text()
    return re.findall(r"^    (\{.*\})$", text, re.MULTILINE)


def widened(body):
    """A request for images of 16 pixels, where the page shows `...` for the rest."""
    return body.replace("[0, 1, ...]", json.dumps(X[1].tolist())).replace("[0, 1, 0, ...]", json.dumps(Z[5].tolist()))


def test_the_requests_of_the_page_are_answered(signatures):
    rows, seeded, scored, decoded, columns = (rest.predict(signatures, widened(body)) for body in bodies())
    images = signatures["serving_default"](x=tf.constant(X[[1, 1]]))["probabilities"]
    np.testing.assert_allclose(rows["predictions"], images, rtol=1e-5)
    assert np.shape(seeded["predictions"]) == (2, 16)
    assert set(scored["predictions"][0]) == {"log_likelihood", "effective_sample_size", "elbo", "entropy"}
    np.testing.assert_allclose(decoded["predictions"], signatures["decode"](z=tf.constant(Z[5:6]))["logits"], rtol=1e-5)
    assert np.shape(columns["outputs"]) == (10, 16)


@pytest.mark.parametrize("name", ["reconstruct", "generate", "log_likelihood"])
def test_signatures_with_a_seed_of_the_batch_cannot_be_sent_in_rows(signatures, name):
    """What the others are for; if this fails, they are needed no longer."""
    body = json.dumps({"signature_name": name, "instances": [{"x": X[0].tolist(), "seed": [0, 1]}]})
    with pytest.raises(ValueError, match="row format"):
        rest.predict(signatures, body)


# Without XLA.


@pytest.mark.slow
def test_a_server_without_xla_gives_the_same_answers(run, signatures, tmp_path):
    """Nothing asks for XLA any more; draws are the same, and all else to rounding."""
    folder = export_for_servers(run.path, output=tmp_path / "models" / "bars" / "1")
    assert asking_for_xla(run.saved_model)
    assert not asking_for_xla(folder)
    plain = tf.saved_model.load(str(folder)).signatures
    assert set(plain) == set(signatures)
    seed, counts = tf.constant([3, 4]), tf.constant(5)
    for name, inputs in {
        "serving_default": {"x": tf.constant(X)},
        "sample_posterior": {"x": tf.constant(X), "num_samples": counts, "seed": seed},
        "sample_prior": {"num_samples": counts, "seed": seed},
        "log_likelihood": {"x": tf.constant(X), "num_samples": counts, "log_z": tf.constant(5.0), "seed": seed},
    }.items():
        wanted, got = signatures[name](**inputs), plain[name](**inputs)
        for output in wanted:
            np.testing.assert_allclose(got[output], wanted[output], rtol=1e-4, atol=1e-5, err_msg=f"{name} {output}")
    with pytest.raises(UserError, match=r"output=.*: must be a folder that does not exist yet"):
        export_for_servers(run.path, output=folder)


def asking_for_xla(folder):
    model = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    functions = [f for graph in model.meta_graphs for f in graph.graph_def.library.function]
    nodes = [node for f in functions for node in f.node_def]
    return [part for part in functions + nodes if part.attr["_XlaMustCompile"].b]


# ONNX.


@pytest.mark.parametrize("name", ["decode", "render", "pixel_parameters", "prior_energy", "posterior_parameters"])
def test_what_draws_nothing_goes_into_onnx(run, signatures, name, tmp_path, monkeypatch):
    """By the converter's own command, and answers in ONNX Runtime as in TensorFlow, for any batch."""
    onnxruntime, convert = pytest.importorskip("onnxruntime"), pytest.importorskip("tf2onnx.convert")
    path, signature = tmp_path / f"{name}.onnx", signatures[name]
    [spec] = signature.structured_input_signature[1].values()
    command = f"tf2onnx --saved-model {run.saved_model} --signature_def {name} --tag serve --output {path}"
    monkeypatch.setattr(sys, "argv", command.split())
    convert.main()
    session = onnxruntime.InferenceSession(path)
    rows = {"x": X, "z": Z}[spec.name]
    for batch in (rows, rows[:1]):
        wanted = signature(**{spec.name: tf.constant(batch)})
        for output, got in zip(wanted, session.run(list(wanted), {spec.name: batch}), strict=True):
            np.testing.assert_allclose(got, wanted[output], rtol=1e-4, atol=1e-5)


# LiteRT.


@pytest.mark.parametrize("name", ["decode", "posterior_parameters"])
def test_what_draws_nothing_goes_into_litert(loaded, signatures, name):
    """By its concrete function, whose variables become constants; for any batch."""
    signature = signatures[name]
    [spec] = signature.structured_input_signature[1].values()
    content = tf.lite.TFLiteConverter.from_concrete_functions([signature], loaded).convert()
    rows = {"x": X, "z": Z}[spec.name]
    for batch in (rows, rows[:1]):
        converted = tf.lite.Interpreter(model_content=content).get_signature_runner()
        wanted, got = signature(**{spec.name: tf.constant(batch)}), converted(**{spec.name: batch})
        assert set(got) == set(wanted)
        for output in wanted:
            np.testing.assert_allclose(got[output], wanted[output], rtol=1e-4, atol=1e-5)
