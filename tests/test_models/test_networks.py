"""Networks: the dense / batch normalisation / tanh stack, its averages, penalties and initial weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import reference_models
import tiny
from dvae.building import build_autoencoder
from dvae.systems import SYSTEMS, training_objective
from models.networks import LayerFactory, feature_width

X = np.random.default_rng(0).integers(0, 2, [7, 6]).astype(np.float32)
every_system = pytest.mark.parametrize("name", SYSTEMS)
# One system for each kind of encoder; the others have the same networks.
every_encoder = pytest.mark.parametrize("name", ["dvaess", "pwl", "dvaes_gauss_int"])


def factory(seed=0, hidden_units=3):
    seeds = keras.random.SeedGenerator(seed)
    return LayerFactory(hidden_units=hidden_units, weight_decay=0.1, momentum=0.99, epsilon=0.01, seeds=seeds)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("num_layers", [0, 1, 2])
def test_stack_matches_numpy(num_layers, training):
    """Layer by layer and unit by unit: statistics of the batch in training, moving averages otherwise."""
    stack, rng = factory().hidden_stack(6, num_layers, name="hidden"), np.random.default_rng(1)
    for variable in stack.weights:
        variable.assign(rng.uniform(0.3, 1.5, variable.shape) * rng.choice([-1, 1] if "mean" in variable.name else [1]))
    layers = [[w.numpy().astype(float) for w in layer.weights] for layer in stack.layers if layer.weights]
    wanted = X.astype(float)
    for (kernel, bias), (gamma, beta, mean, variance) in zip(layers[::2], layers[1::2], strict=True):
        new = np.zeros([len(X), 3])
        for unit in range(3):
            inputs = np.array([sum(row * kernel[:, unit]) + bias[unit] for row in wanted])
            centre, spread = (inputs.mean(), inputs.var()) if training else (mean[unit], variance[unit])
            new[:, unit] = np.tanh(gamma[unit] * (inputs - centre) / np.sqrt(spread + 1e-2) + beta[unit])
        wanted = new
    np.testing.assert_allclose(stack(X, training=training), wanted, atol=2e-6)
    assert feature_width("encoder", stack, 6) == wanted.shape[1]


def moving_averages(model):
    return {name: value for name, value in reference_models.weights_of(model).items() if "moving" in name}


@every_encoder
def test_training_moves_the_averages_by_one_hundredth(name):
    """By the batch's mean and (biased) variance, through `encode` and `log_prob`; the decoder sees K B rows."""
    model = tiny.model(name)
    before, num_samples = reference_models.weights_of(model), 2
    zeta = tiny.sample_relaxed(model, X, num_samples).zeta
    assert moving_averages(model)["decoder/hidden/0/norm/moving_mean"] == pytest.approx(
        before["decoder/hidden/0/norm/moving_mean"], abs=0
    )
    model.likelihood.log_prob(X, zeta, training=True)

    inputs = {"encoder": X - tiny.MEAN_PIXEL, "decoder": zeta.numpy().reshape(-1, 4)}
    batches = {}
    for network, rows in inputs.items():
        for number in range(2):
            layer = f"{network}/hidden/{number}"
            batches[f"{layer}/norm"] = rows = reference_models.dense(before, layer, rows)
            rows = np.tanh(reference_models.batch_norm(before, f"{layer}/norm", rows, training=True))
        if network == "encoder" and name == "dvaess":
            batches["encoder/coupling"] = reference_models.dense(before, "encoder/outputs", rows)[:, 4:]
    after = moving_averages(model)
    assert len(after) == 2 * len(batches)
    for layer, rows in batches.items():
        for statistic, value in (("mean", rows.mean(axis=0)), ("variance", rows.var(axis=0))):
            wanted = 0.99 * before[f"{layer}/moving_{statistic}"] + 0.01 * value
            np.testing.assert_allclose(after[f"{layer}/moving_{statistic}"], wanted, atol=1e-6, err_msg=layer)


@every_encoder
def test_evaluation_leaves_the_averages_alone(name):
    model = tiny.model(name)
    before, seed, log_z = moving_averages(model), tf.constant([1, 2]), tf.constant(0.0)
    encoding = model.posterior.encode(X, training=False)
    draws = model.posterior.draw(encoding, num_samples=2, seed=seed)
    model.posterior.sample(encoding, num_samples=2, seed=seed)
    model.posterior.parameters(encoding, seed=seed)
    model.posterior.unnormalised_log_prob(encoding, draws.z)
    model.log_joint(X, draws.z, log_z)
    model.log_likelihood(X, draws, log_z)
    model.posterior_sweeps(X, draws.z, seed, num_sweeps=tf.constant(1))
    model.likelihood.outputs(draws.z, training=False)
    model.likelihood.mean(draws.z, training=False)
    model.likelihood.sample(draws.z, seed)
    model(X)
    for key, value in moving_averages(model).items():
        np.testing.assert_array_equal(value, before[key])


@every_encoder
def test_penalty_is_on_kernels_scales_and_the_priors_weights_only(name):
    """Removing any one of them, or adding any other variable, would change the sum by far more than the tolerance."""
    model = tiny.model(name, weight_decay=0.3)
    trained = {id(variable) for variable in model.trainable_variables}
    wanted = 0.0
    for key, variable in reference_models.variables_of(model).items():
        if reference_models.is_penalised(key):
            wanted += 0.15 * np.sum(variable.numpy().astype(float) ** 2)
            assert 0.15 * np.sum(variable.numpy() ** 2) > 1e-2
        assert (id(variable) in trained) == ("moving" not in key)
    np.testing.assert_allclose(sum(model.losses), wanted, rtol=1e-6)
    assert len(trained) == sum("moving" not in key for key in reference_models.variables_of(model))


@every_system
def test_every_trainable_variable_has_a_gradient(name):
    settings = {"num_groups": 1 if name == "dvaess" else 2}
    model = tiny.model(name, **settings)
    objective = training_objective(tiny.config(name, **settings), model.posterior)
    with tf.GradientTape() as tape:
        sample = tiny.sample_relaxed(model, X)
        divergence = objective.divergence(sample, objective.smoothed(model.prior.rbm()), tf.constant(0.0))
        loss = tf.reduce_mean(divergence - model.likelihood.log_prob(X, sample.zeta, training=True))
    for variable, gradient in zip(
        model.trainable_variables,
        tape.gradient(loss, [variable.value for variable in model.trainable_variables]),
        strict=True,
    ):
        assert gradient is not None, variable.path


def test_initial_kernels():
    """Variance 2 / fan_in, cut at two standard deviations; each layer its own, the same for the same seed."""
    layer = factory(hidden_units=300).dense(200, 300, name="outputs")
    kernel = layer.kernel.numpy()
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / 200), rtol=0.015)  # 60,000 draws: 0.2 % standard error
    np.testing.assert_allclose(kernel.mean(), 0, atol=5 * np.sqrt(2 / 200 / kernel.size))  # false failures: 6e-7
    uncut = np.sqrt(2 / 200) / 0.87962566  # 0.8796: what cutting leaves of a standard normal's deviation
    assert 1.95 * uncut < np.abs(kernel).max() < 2.001 * uncut
    np.testing.assert_array_equal(layer.bias, 0)


@every_encoder
def test_initial_weights_differ_between_layers_and_follow_the_seed(name):
    settings = {"num_groups": 1 if name == "dvaess" else 2}
    one, same, other = (
        reference_models.weights_of(build_autoencoder(tiny.config(name, seed=seed, **settings), tiny.EXAMPLES))
        for seed in (0, 0, 1)
    )
    kernels = [key for key in one if key.endswith("kernel")]
    assert len(kernels) > 4
    for key, value in one.items():
        np.testing.assert_array_equal(value, same[key])
        assert (key in kernels) == np.any(value != other[key]), key
    firsts = [one[key].ravel()[0] for key in kernels]
    assert len(set(firsts)) == len(firsts)
