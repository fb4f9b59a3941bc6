"""Networks that are handed in: their place in a model, what is refused, and the paths of their weights."""

import functools
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import reference_models
import tiny
from dvae.building import Networks, build_autoencoder, build_conditional_model
from dvae.errors import UserError
from dvae.systems import SYSTEMS, training_objective
from dvae.training.train_state import variables_by_path
from models.networks import feature_width

X = np.random.default_rng(0).integers(0, 2, [7, 6]).astype(np.float32)
every_system = pytest.mark.parametrize("name", SYSTEMS)
# One system for each kind of encoder; the others have the same networks.
every_encoder = pytest.mark.parametrize("name", ["dvaess", "pwl", "dvaes_gauss_int"])


# Networks that are handed in.


def convolutional():
    """From 2 x 3 pixels: a layer of each kind, one with a penalty of its own; 8 features."""
    return keras.Sequential(
        [
            keras.layers.Reshape([2, 3, 1]),
            keras.layers.Conv2D(4, 2, activation="tanh", kernel_regularizer=keras.regularizers.L2(0.05)),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
        ]
    )


def convolved(weights, x, *, training):
    """The same in loops, features `[rows, 8]`."""
    kernel, bias, gamma, beta, mean, variance = (weight.astype(float) for weight in weights)
    maps = np.zeros([len(x), 2, 4])
    for row, column, channel in np.ndindex(*maps.shape):
        window = x[row].reshape(2, 3)[:, column : column + 2]
        maps[row, column, channel] = np.tanh(np.sum(window * kernel[:, :, 0, channel]) + bias[channel])
    if training:
        mean, variance = maps.mean(axis=(0, 1)), maps.var(axis=(0, 1))
    return (gamma * (maps - mean) / np.sqrt(variance + 1e-3) + beta).reshape(len(x), 8)


def perceptron():
    """From 4 latents to 5 features, built at once."""
    return keras.Sequential([keras.Input([4]), keras.layers.Dense(5, activation="tanh")])


def with_networks(name, *, built=False, **settings):
    """A model with a network of each kind handed in, all its variables at random values."""
    networks = Networks(encoder=convolutional(), decoder=perceptron())
    if built:
        networks.encoder.build([None, 6])
    # One's own encoder is shared by the groups, whatever the settings say.
    model = build_autoencoder(tiny.config(name, shared_context=False, **settings), tiny.EXAMPLES, networks)
    rng = np.random.default_rng(4)
    for variable in model.variables:
        positive = variable.name in ("gamma", "moving_variance")
        value = rng.uniform(0.5, 1.5, variable.shape) if positive else rng.normal(scale=0.7, size=variable.shape)
        variable.assign(value)
    return model, networks


def named(layer, name):
    return {f"{name}/{variable.name}": variable.numpy().astype(float) for variable in layer.weights}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
def test_a_network_handed_in_takes_the_place_of_the_published_one(built, training):
    """Encoders of both kinds of posterior see x less its mean, decoders latents; heads are linear maps of features."""
    rbm_model, networks = with_networks("dvaess", built=built)
    features = convolved([v.numpy() for v in networks.encoder.weights], X - tiny.MEAN_PIXEL, training=training)
    posterior = rbm_model.posterior
    weights = named(posterior.head, "encoder/outputs") | named(posterior.coupling_norm, "encoder/coupling")
    wanted = reference_models.rbm_posterior(weights, 0, features, 2, 2, training=training)
    found = posterior.encode(X, training=training)
    for b, machine in enumerate(wanted):
        for got, parameter in zip(found, machine, strict=True):
            np.testing.assert_allclose(got[b], parameter, atol=1e-4)

    model, networks = with_networks("pwl", built=built, num_groups=2)
    features = convolved([v.numpy() for v in networks.encoder.weights], X - tiny.MEAN_PIXEL, training=training)
    encoding, heads = model.posterior.encode(X, training=training), model.posterior.group_heads
    np.testing.assert_allclose(encoding.context, features, atol=1e-5)
    weights = named(heads[0], "encoder/group/0") | named(heads[1], "encoder/group/1")
    z = np.random.default_rng(5).integers(0, 2, [2, len(X), 4]).astype(float)
    draw = lambda number, _: z[..., 2 * number : 2 * number + 2]  # noqa: E731
    _, logits = reference_models.directed(weights, 0, features, draw, num_samples=2, training=training)
    log_q = model.posterior.unnormalised_log_prob(encoding, tf.constant(z, tf.float32))
    np.testing.assert_allclose(log_q, reference_models.log_bernoulli(z, logits), rtol=1e-4)

    kernel, bias = (variable.numpy().astype(float) for variable in networks.decoder.weights)
    weights = named(model.likelihood.head, "decoder/outputs")
    rows = np.tanh(z.reshape(-1, 4) @ kernel + bias)
    mean = np.clip(tiny.MEAN_PIXEL, 0.001, 0.999)
    wanted = reference_models.dense(weights, "decoder/outputs", rows).reshape(2, 7, 6) + np.log(mean / (1 - mean))
    outputs = model.likelihood.outputs(tf.constant(z, tf.float32), training=training)
    np.testing.assert_allclose(outputs, wanted, rtol=1e-4, atol=1e-4)


def test_a_network_handed_in_is_trained_with_the_rest():
    """A gradient for every weight; moving averages at its own momentum, in training only; its own penalties only."""
    model, networks = with_networks("pwl", num_groups=2, weight_decay=0.3)
    objective = training_objective(tiny.config("pwl", num_groups=2), model.posterior)
    before = [variable.numpy() for variable in networks.encoder.non_trainable_variables]
    model.posterior.encode(X, training=False)
    for variable, value in zip(networks.encoder.non_trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    variables = [variable.value for variable in model.trainable_variables]
    with tf.GradientTape() as tape:
        sample = tiny.sample_relaxed(model, X)
        divergence = objective.divergence(sample, objective.smoothed(model.prior.rbm()), tf.constant(0.0))
        loss = tf.reduce_mean(divergence - model.likelihood.log_prob(X, sample.zeta, training=True))
    for variable, gradient in zip(model.trainable_variables, tape.gradient(loss, variables), strict=True):
        assert np.any(gradient != 0), variable.path
    handed_in = {id(variable) for network in networks[:2] for variable in network.trainable_variables}
    assert len(handed_in & {id(variable) for variable in model.trainable_variables}) == 4 + 2

    kernel, bias = (variable.numpy().astype(float) for variable in networks.encoder.weights[:2])
    identity = [kernel, bias, np.ones(4), np.zeros(4), np.zeros(4), np.full(4, 1 - 1e-3)]
    maps = convolved(identity, X - tiny.MEAN_PIXEL, training=False).reshape(-1, 4)
    for variable, old, new in zip(
        networks.encoder.non_trainable_variables, before, (maps.mean(axis=0), maps.var(axis=0)), strict=True
    ):
        np.testing.assert_allclose(variable, 0.99 * old + 0.01 * new, atol=1e-6)

    heads = [*model.posterior.group_heads, model.likelihood.head]
    penalised = [layer.kernel for layer in heads] + [model.prior.pairwise]
    penalty = 0.15 * sum(np.sum(variable.numpy().astype(float) ** 2) for variable in penalised)
    np.testing.assert_allclose(sum(model.losses), penalty + 0.05 * np.sum(kernel**2), rtol=1e-5)


@pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
def test_feature_width_is_that_of_the_network(built):
    network = convolutional()
    if built:
        network.build([None, 6])
    assert feature_width("encoder", network, 6) == 8
    assert len(network.weights) == 6
    assert feature_width("decoder", keras.layers.Identity(), 4) == 4


def test_the_encoder_of_a_prediction_sees_the_observed_part():
    """Its width is that part's; one for whole examples is refused."""
    build = functools.partial(build_conditional_model, tiny.config("pwl", objective="structured"))
    model = build(tiny.EXAMPLES[:, :2], tiny.EXAMPLES[:, 2:], Networks(encoder=keras.layers.Dense(3)))
    assert model.posterior.encoder.kernel.shape == (2, 3)
    assert model(X[:, :2]).shape == [7, 4]
    with pytest.raises(ValueError, match=r"\Aencoder='sequential\w*': must be a Keras layer from \[rows, 2\]"):
        build(tiny.EXAMPLES[:, :2], tiny.EXAMPLES[:, 2:], Networks(encoder=convolutional()))


class Failing(keras.layers.Layer):
    """What is wrong with it takes two lines to say."""

    def call(self, inputs):
        raise ValueError("no input\nis good enough")


UNFIT = {
    "no layer": (lambda: np.tanh, "it is a ufunc"),
    "a class": (lambda: keras.layers.Flatten, "it is a type"),
    "too few axes": (lambda: keras.layers.Lambda(lambda x: tf.reduce_sum(x, axis=1)), r"for 2 rows it makes \(2,\)"),
    "too many axes": (lambda: keras.layers.Reshape([2, -1]), r"for 2 rows it makes \(2, 2, [23]\)"),
    "other rows": (lambda: keras.layers.Lambda(tf.transpose), r"for 2 rows it makes \([64], 2\)"),
    "two outputs": (lambda: keras.layers.Lambda(lambda x: (x, x)), "for 2 rows it makes None"),
    "other inputs": (
        lambda: keras.Sequential([keras.Input([5]), keras.layers.Dense(3)]),
        "calling it fails: .* 5, but",
    ),
    "images": (lambda: keras.layers.Conv2D(3, 2), "calling it fails: .* expected min_ndim=4"),
    "its own mistake": (Failing, "calling it fails: .*no input is good enough"),
}


@pytest.mark.parametrize("role", ["encoder", "decoder"])
@pytest.mark.parametrize(("network", "reason"), UNFIT.values(), ids=UNFIT)
def test_a_network_that_does_not_fit_is_refused_in_one_line(network, reason, role):
    """Before anything is trained: what was handed in as what, what is wanted, what is wrong; no control characters."""
    width = {"encoder": 6, "decoder": 4}[role]
    wanted = rf"{role}=.*: must be a Keras layer from \[rows, {width}\] to features \[rows, width\]; {reason}"
    with pytest.raises(ValueError, match=rf"\A{wanted}[^\n]*\Z") as error:
        build_autoencoder(tiny.config("pwl"), tiny.EXAMPLES, Networks(**{role: network()}))
    assert str(error.value).isprintable()


def made(num_outputs, num_inputs):
    """A layer that would fit."""
    layer = keras.layers.Dense(num_outputs)
    layer.build([None, num_inputs])
    return layer


SWAPS = {
    "encoder": lambda model: setattr(model.posterior, "encoder", made(3, 6)),
    "decoder": lambda model: setattr(model.likelihood, "decoder", made(3, 4)),
    "head of the decoder": lambda model: setattr(model.likelihood, "head", made(6, 3)),
    "a further layer": lambda model: setattr(model.posterior, "extra", made(3, 6)),
    "a further weight": lambda model: model.prior.add_weight(shape=[2], name="extra"),
    "couplings": lambda model: setattr(model.prior, "pairwise", keras.Variable(np.zeros([2, 2]))),
}


@pytest.mark.parametrize("swap", SWAPS.values(), ids=SWAPS)
@every_encoder
def test_a_swapped_network_is_refused(name, swap):
    """Once a model is made: the old one would stay among its variables. Whether it was called before or not."""
    for is_called in (False, True):
        model = tiny.model(name)
        before = [id(variable) for variable in model.variables]
        if is_called:
            model(X)
        with pytest.raises(ValueError, match="already built"):
            swap(model)
        assert [id(variable) for variable in model.variables] == before


# The paths by which a checkpoint knows the weights.


@pytest.mark.parametrize("settings", [{}, {"shared_context": False, "num_groups": 2}], ids=["shared", "separate"])
@every_encoder
def test_every_variable_has_a_path_of_its_own_that_does_not_change(name, settings):
    """The second model of a process has the paths of the first, whatever was made in between."""
    settings = {} if name == "dvaess" else settings
    models = []
    for _ in range(2):
        models.append(tiny.model(name, **settings))
        keras.Sequential([keras.layers.Dense(2), keras.layers.Dense(2)]).build([None, 2])
    paths = [variables_by_path(model) for model in models]
    assert list(paths[0]) == list(paths[1])
    for model, by_path in zip(models, paths, strict=True):
        assert set(map(id, by_path.values())) == set(map(id, model.variables))
        shapes = {path: variable.shape for path, variable in by_path.items()}
        assert shapes["likelihood/decoder/dense_1/kernel"] == (3, 3)
        assert shapes["likelihood/outputs/kernel"] == (3, 6)
        assert shapes["prior/pairwise"] == (2, 2)
    values = [{path: variable.numpy() for path, variable in by_path.items()} for by_path in paths]
    for path, value in values[0].items():  # of the same random values in the same order
        np.testing.assert_array_equal(value, values[1][path])


@pytest.mark.parametrize("name", ["dvaess", "pwl"])
def test_paths_of_a_network_without_names_do_not_depend_on_what_was_made_before(name):
    """Keras numbers `sequential_3/conv2d_7` through the process; here numbers count within the network."""
    found = []
    for built in (False, True, False):
        model, networks = with_networks(name, built=built)
        by_path = variables_by_path(model)
        found.append(list(by_path))
        convolution, bias, *norm = networks.encoder.weights
        assert by_path["posterior/sequential/conv2d/kernel"] is convolution
        assert by_path["posterior/sequential/conv2d/bias"] is bias
        assert by_path["posterior/sequential/batch_normalization/moving_variance"] is norm[-1]
        assert by_path["likelihood/sequential/dense/kernel"] is networks.decoder.weights[0]
        assert len(by_path) == len(model.variables)
    assert found[0] == found[1] == found[2]


def test_layers_of_one_kind_are_told_apart_by_their_order():
    decoder = keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(3), keras.layers.Dense(3, name="last")])
    model = build_autoencoder(tiny.config("pwl"), tiny.EXAMPLES, Networks(decoder=decoder))
    by_path = variables_by_path(model)
    for path, layer in zip(("dense", "dense_1", "last"), decoder.layers, strict=True):
        assert by_path[f"likelihood/sequential/{path}/kernel"] is layer.kernel


class Twins(keras.layers.Layer):
    """Two layers of one name."""

    def __init__(self):
        super().__init__(name="twins")
        self.one, self.other = keras.layers.Dense(3, name="same"), keras.layers.Dense(3, name="same")

    def call(self, inputs):
        return self.one(inputs) + self.other(inputs)


@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_two_weights_with_one_path_are_refused(role):
    """A checkpoint would hold one of them only."""
    model = build_autoencoder(tiny.config("pwl"), tiny.EXAMPLES, Networks(**{role: Twins()}))
    part = {"encoder": "posterior", "decoder": "likelihood"}[role]
    wanted = f"{part}: two weights are called twins/same/kernel: give the layers of your network names of their own"
    with pytest.raises(UserError, match=rf"\A{re.escape(wanted)}\Z"):
        variables_by_path(model)


def test_one_network_in_two_places_is_refused():
    """Its weights would be trained by two losses, and a checkpoint would know them by two paths."""
    network = keras.layers.Dense(4)
    model = build_autoencoder(tiny.config("pwl"), tiny.EXAMPLES[:, :4], Networks(encoder=network, decoder=network))
    with pytest.raises(UserError, match="likelihood: shares weights with another part of the model"):
        variables_by_path(model)


def test_groups_cannot_be_swapped_either():
    posterior = tiny.model("pwl", num_groups=2).posterior
    for parts in (posterior.group_heads, posterior.group_hidden, posterior.relaxations, posterior.encoder.layers):
        with pytest.raises(TypeError, match="does not support item assignment"):
            parts[0] = made(3, 6)
