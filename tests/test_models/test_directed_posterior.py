"""Directed posteriors of 1, 2 and 4 groups against enumeration and NumPy loops."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

import reference
import reference_models
import tiny
from dvae.building import build_autoencoder

X = np.random.default_rng(0).integers(0, 2, [3, 6]).astype(np.float32)
STATES = reference.all_states(4)
SEED = tf.constant([4, 5])
BETA = 1.0
every_depth = pytest.mark.parametrize("num_groups", [1, 2, 4])
every_context = pytest.mark.parametrize("shared", [True, False], ids=["shared", "separate"])


class Parts:
    """A model's posterior as `reference_models` reads it."""

    def __init__(self, num_groups, shared=True, name="pwl"):
        # Not validated: a user's groups lie on one side of the prior, these may have one unit each.
        config = dataclasses.replace(tiny.config(name, beta=BETA), num_groups=num_groups, shared_context=shared)
        model = build_autoencoder(config, tiny.EXAMPLES)
        reference_models.randomize(model, 25, scale=1.0)
        self.posterior, self.weights = model.posterior, reference_models.weights_of(model)

    def encode(self):
        return self.posterior.encode(X, training=False)

    def sample(self, num_samples):
        return self.posterior.sample(self.encode(), num_samples=num_samples, seed=SEED)

    def sample_relaxed(self, num_samples=2, chains=None):
        encoding = self.posterior.encode(X, training=True)
        return self.posterior.sample_relaxed(encoding, num_samples=num_samples, seed=SEED, chains=chains)

    def log_q(self, x, z, factor=1.0):
        """`log q(z | x)` of one example and one binary state, group by group; of q flattened by `factor`."""
        draw = lambda number, _: np.split(z, self.posterior.num_groups)[number][None, None]  # noqa: E731
        _, logits = reference_models.directed(
            self.weights, tiny.MEAN_PIXEL, x[None], draw, num_samples=1, training=False
        )
        return reference_models.log_bernoulli(z, logits[0, 0] / factor)

    def enumerated(self, x, factor=1.0):
        return np.exp([self.log_q(x, z, factor) for z in STATES])


@every_context
@every_depth
def test_enumerated_q_sums_to_one_and_sample_returns_it(num_groups, shared):
    parts = Parts(num_groups, shared)
    z, log_q = parts.sample(20)
    assert z.shape == [20, 3, 4]
    assert set(np.unique(z)) == {0, 1}
    for b, x in enumerate(X):
        np.testing.assert_allclose(parts.enumerated(x).sum(), 1, rtol=1e-12)
        wanted = [parts.log_q(x, state) for state in z[:, b].numpy().astype(float)]
        np.testing.assert_allclose(log_q[:, b], wanted, rtol=1e-5, atol=1e-5)


@every_context
@every_depth
def test_samples_follow_the_enumerated_q(num_groups, shared):
    """Chi-squared for 3 examples. False-failure rate 1e-5 for each posterior.

    Power: draws for another example, or from q without the dependence between its units, are noticed with a
    probability above 0.999.
    """
    parts, num_samples, level = Parts(num_groups, shared), 20_000, 1e-5 / 3
    z, _ = parts.sample(num_samples)
    for b, x in enumerate(X):
        q = parts.enumerated(x)
        counts = np.bincount(reference.state_number(z[:, b].numpy()), minlength=16)
        assert reference.chi_squared_p_value(counts, q) > level
        wrongs = [parts.enumerated(X[b - 1])]
        if num_groups > 1:
            means = q @ STATES
            wrongs.append(np.prod(np.where(STATES == 1, means, 1 - means), axis=1))
        for wrong in wrongs:
            assert reference.chi_squared_power(num_samples, q, wrong, level) > 0.999


@every_depth
def test_draws_are_exact_samples_with_weights_of_one(num_groups):
    parts = Parts(num_groups)
    posterior, encoding = parts.posterior, parts.encode()
    draws, (z, log_q) = (method(encoding, num_samples=7, seed=SEED) for method in (posterior.draw, posterior.sample))
    np.testing.assert_array_equal(draws.z, z)
    np.testing.assert_array_equal(draws.log_q, log_q)
    np.testing.assert_array_equal(draws.log_weights, np.zeros([7, 3]))
    again = posterior.draw(encoding, num_samples=7, seed=SEED, num_temperatures=3)  # of which there are none
    np.testing.assert_array_equal(again.z, z)
    assert not posterior.is_annealed


@every_depth
def test_flattened_draws_are_a_mixture(num_groups):
    """A third of the draws follows q, a third each flattened q; the weights are `log q - log mixture`, enumerated.

    Chi-squared of 9 tables, false-failure rate 1e-5 for each posterior. Power: draws from q in place of a flattened
    one, and from one in place of q, are noticed with a probability above 0.999.
    """
    parts, factors, num_samples = Parts(num_groups), [1.0, 2.0, 5.0], 60_000
    draws = parts.posterior.draw(parts.encode(), num_samples=num_samples, seed=SEED, flattening=factors)
    number, level = reference.state_number(draws.z.numpy()), 1e-5 / 9
    for b, x in enumerate(X):
        q = np.stack([parts.enumerated(x, factor) for factor in factors])
        np.testing.assert_allclose(draws.log_q[:, b], np.log(q[0])[number[:, b]], atol=1e-4)
        weights = np.log(q[0]) - np.log(q.mean(axis=0))
        np.testing.assert_allclose(draws.log_weights[:, b], weights[number[:, b]], atol=1e-4)
        assert np.std(weights) > 0.1
        for i, of_factor in enumerate(np.split(number[:, b], 3)):
            counts = np.bincount(of_factor, minlength=16)
            assert reference.chi_squared_p_value(counts, q[i]) > level
            assert reference.chi_squared_power(num_samples // 3, q[i], q[1 if i == 0 else 0], level) > 0.999


@every_context
@every_depth
def test_relaxed_sample_matches_numpy(num_groups, shared):
    """Batch statistics, the right uniforms for each group, and what stands for z in a linear term."""
    parts = Parts(num_groups, shared)
    seeds, size = reference_models.split(SEED, num_groups), 4 // num_groups

    def draw(number, logits):
        return reference_models.pwl(logits, reference_models.uniform([2, 3, size], seeds[number]), BETA)

    zeta, logits = reference_models.directed(parts.weights, tiny.MEAN_PIXEL, X, draw, num_samples=2, training=True)
    sample = parts.sample_relaxed(chains="untouched")
    np.testing.assert_allclose(sample.logits, logits, atol=1e-4)
    np.testing.assert_allclose(sample.zeta, zeta, atol=1e-4)
    assert np.mean((zeta > 0) & (zeta < 1)) > 0.2
    means = 1 / (1 + np.exp(-logits))
    if num_groups > 1:
        means[..., :2] = zeta[..., :2]
    np.testing.assert_allclose(sample.means, means, atol=1e-4)
    assert sample.chains == "untouched"


@pytest.mark.parametrize(("num_groups", "shared"), [(1, True), (2, True), (4, True), (2, False)])
def test_groups_depend_on_earlier_groups_only(num_groups, shared):
    """The Jacobian of zeta and of the logits in the groups' biases is block-triangular, the lower blocks full."""
    parts, size = Parts(num_groups, shared), 4 // num_groups
    biases = [layer.bias.value for layer in parts.posterior.group_heads]
    with tf.GradientTape(persistent=True) as tape:
        sample = parts.sample_relaxed(50)
        totals = [tf.reduce_sum(units, axis=[0, 1]) for units in (sample.zeta, sample.logits)]  # [units]
    for source, bias in enumerate(biases):
        for total in totals:
            jacobian = tape.jacobian(total, bias, experimental_use_pfor=False).numpy()  # [units, size]
            blocks = jacobian.reshape(num_groups, size, size)
            assert np.all(blocks[:source] == 0)
            assert np.all(np.diagonal(blocks[source]) > 1)
            np.testing.assert_array_equal(blocks[source], np.diag(np.diagonal(blocks[source])))  # given its parents
            assert np.all(np.abs(blocks[source + 1 :]) > 1e-3)


@every_depth
def test_parameters_are_the_logits_given_a_sample(num_groups):
    """Of all units; those of one group do not depend on the sample."""
    parts = Parts(num_groups)
    logits = parts.posterior.parameters(parts.encode(), seed=SEED)["logits"].numpy().astype(float)
    z, log_q = parts.sample(1)
    np.testing.assert_allclose(reference_models.log_bernoulli(z[0].numpy(), logits), log_q[0], rtol=1e-5)
    assert parts.posterior.is_amortized_whole == (num_groups == 1)
    if num_groups == 1:
        for b, unit in itertools.product(range(3), range(4)):
            p_on = 1 / (1 + np.exp(-logits[b, unit]))
            np.testing.assert_allclose(p_on, parts.enumerated(X[b]) @ STATES[:, unit], atol=1e-5)


@every_context
def test_networks_are_shared_or_not(shared):
    """Two hidden layers in all with shared context, two for each group without, the second of which sees group one."""
    parts = Parts(2, shared)
    inputs = {n.removesuffix("/kernel"): k.shape[0] for n, k in parts.weights.items() if n.endswith("kernel")}
    inputs = {name: number for name, number in inputs.items() if name.startswith("encoder")}
    wanted = {"encoder/hidden/0": 6, "encoder/hidden/1": 3, "encoder/group/0": 3, "encoder/group/1": 5}
    if not shared:
        wanted = {"encoder/group/0/hidden/0": 6, "encoder/group/0/hidden/1": 3, "encoder/group/0": 3}
        wanted |= {"encoder/group/1/hidden/0": 8, "encoder/group/1/hidden/1": 3, "encoder/group/1": 3}
    assert inputs == wanted


@every_context
def test_densities_of_relaxed_units_are_those_of_their_groups(shared):
    """Gaussian integral, four groups with scales and shifts of their own: every unit by its formula."""
    parts, outputs = Parts(4, shared, "dvaes_gauss_int"), []
    sample = parts.sample_relaxed()
    zeta = sample.zeta.numpy().astype(float)

    def draw(number, group_outputs):
        outputs.append(group_outputs)
        return zeta[..., number : number + 1]

    _, logits = reference_models.directed(parts.weights, tiny.MEAN_PIXEL, X, draw, num_samples=2, training=True)
    np.testing.assert_allclose(sample.logits, logits, atol=1e-4)
    for unit in range(4):
        shift = 0.5 * (reference_models.sigmoid(outputs[unit][..., 1]) - 0.5)
        scale = abs(0.2 * parts.weights[f"encoder/group/{unit}/relaxation/free_scale"][0]) + 0.05
        wanted = reference_models.gaussian_integral(zeta[..., unit], shift, scale)
        for got, log_r in zip(sample.log_components, wanted, strict=True):
            np.testing.assert_allclose(got[..., unit], log_r, rtol=1e-3, atol=1e-3)
    assert len({float(value[0]) for name, value in parts.weights.items() if name.endswith("free_scale")}) == 4


def test_a_transform_has_no_densities():
    assert Parts(2).sample_relaxed().log_components == ()


@pytest.mark.parametrize(("name", "shared"), [("pwl", True), ("dvaes_gauss_int", False)])
def test_a_frozen_sample_is_a_function_of_zeta_alone(name, shared):
    """The same densities; no derivative in the encoder but through zeta; moving averages stay where they are."""
    parts = Parts(2, shared, name)
    posterior = parts.posterior
    variables = [variable.value for variable in posterior.trainable_variables]
    with tf.GradientTape(persistent=True) as tape:
        sample = parts.sample_relaxed()
        sample = sample._replace(zeta=tf.stop_gradient(sample.zeta))
        tape.watch(sample.zeta)
        averages = [variable.numpy() for variable in posterior.non_trainable_variables]
        frozen = posterior.frozen(sample)
        of_second_group = tf.reduce_sum(frozen.logits[..., 2:] ** 2)
        everything = tf.add_n([tf.reduce_sum(part**2) for part in (frozen.logits, *frozen.log_components)])
    of_zeta = tape.gradient(of_second_group, sample.zeta)
    assert np.all(np.abs(of_zeta[..., :2]) > 1e-4)
    np.testing.assert_array_equal(of_zeta[..., 2:], tf.zeros([2, 3, 2]))
    for gradient in tape.gradient(everything, variables, unconnected_gradients="zero"):
        np.testing.assert_array_equal(gradient, tf.zeros_like(gradient))
    assert frozen.means is sample.zeta
    for got, wanted in zip(
        (frozen.logits, *frozen.log_components), (sample.logits, *sample.log_components), strict=True
    ):
        np.testing.assert_allclose(got, wanted, atol=1e-5)
    for before, variable in zip(averages, posterior.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(variable, before)
