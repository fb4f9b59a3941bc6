"""Training by Markov chains of the true posterior: the chains' kernel, the gradient, a small run; by enumeration."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from scipy import special

import reference
import reference_models
import runs
import tiny
from dvae.building import build_generative_model
from dvae.compiling import compiled
from dvae.data import make_dataset
from dvae.tasks.true_posterior import TruePosterior
from dvae.training import objectives
from samplers.log_partition import exact_log_z

X = np.random.default_rng(0).integers(0, 2, [3, 6]).astype(np.float32)
STATES = reference.all_states(4)
LEVEL = 1e-5


def make_model(**settings):
    config = dataclasses.replace(tiny.config("pwl", **settings), objective="mcmc")
    model = build_generative_model(config, tiny.EXAMPLES)
    reference_models.randomize(model, 4)
    return model


def log_joint(model, x):
    """`log p(x, z) + log Z` of all 16 states, in NumPy, moving averages in use."""
    weights = reference_models.weights_of(model)
    values = reference_models.log_likelihood(weights, tiny.MEAN_PIXEL, x[None], STATES[:, None], training=False)[:, 0]
    prior = reference_models.prior_of(weights)
    return values - [reference.energy(prior, z[:2], z[2:]) for z in STATES]


def sweep_matrix(log_p):
    """`T[old, new]` of one single-site sweep, bits 1 to 4, from the enumerated distribution alone."""
    kernel = np.eye(16)
    for unit in range(4):
        step = np.zeros([16, 16])
        for old in range(16):
            flipped = old ^ (8 >> unit)  # the first unit is the highest bit
            step[old, flipped] = special.expit(log_p[flipped] - log_p[old])
            step[old, old] = 1 - step[old, flipped]
        kernel = kernel @ step
    return kernel


def test_a_sweep_has_the_enumerated_kernel():
    """Chi-squared of the states after one and two sweeps from fixed ones, 3 examples; false-failure rate 1e-5.

    Power: bits in the opposite order, or the chains of another example, are noticed with a probability above 0.999.
    """
    model, num_chains = make_model(), 20_000
    start = np.array([5, 0, 14])
    z = tf.constant(np.tile(STATES[start][None], [num_chains, 1, 1]), tf.float32)
    sweeps = compiled(model.posterior_sweeps, autograph=True)
    matrices = [sweep_matrix(log_joint(model, x)) for x in X]
    for num_sweeps in (1, 2):
        moved = sweeps(X, z, tf.constant([1, 2]), num_sweeps=tf.constant(num_sweeps)).numpy()
        for b in range(3):
            wanted = np.linalg.matrix_power(matrices[b], num_sweeps)[start[b]]
            counts = np.bincount(reference.state_number(moved[:, b]), minlength=16)
            assert reference.chi_squared_p_value(counts, wanted) > LEVEL / 6
            other = np.linalg.matrix_power(matrices[b - 1], num_sweeps)[start[b]]
            assert reference.chi_squared_power(num_chains, wanted, other, LEVEL / 6) > 0.999
    np.testing.assert_allclose(reference.standard_error(z), 0)  # they did start where they should


def test_the_posterior_is_invariant():
    for x in X:
        log_p = log_joint(make_model(), x)
        p = special.softmax(log_p)
        np.testing.assert_allclose(p @ sweep_matrix(log_p), p, rtol=1e-10)


def test_gradient_is_that_of_the_enumerated_log_likelihood():
    """All 16 states weighed by the enumerated p(z | x): the gradient of the objective is that of -log p(x).

    A linear decoder, whose batch has no statistics; differences in float64; float32 rounds to 1e-6 or so.
    """
    model, x = make_model(hidden_layers=0), X[0]
    weights = special.softmax(log_joint(model, x))
    variables = reference_models.variables_of(model)
    with tf.GradientTape() as tape:
        log_z = tf.cast(exact_log_z(model.prior.rbm()), tf.float32)
        terms = model.joint_terms(x[None], tf.constant(STATES[:, None], tf.float32), log_z, training=True)
        share = tf.constant(16 * weights[:, None], tf.float32)
        objective = objectives.complete_data(share * terms.log_likelihood, share * terms.log_prior)
    found = tape.gradient(objective.generative_loss, [variable.value for variable in variables.values()])

    def nll(variable, value):
        before = variable.numpy()
        variable.assign(value)
        prior = reference_models.prior_of(reference_models.weights_of(model))
        result = reference.log_z(prior) - special.logsumexp(log_joint(model, x))
        variable.assign(before)
        return result

    for (name, variable), gradient in zip(variables.items(), found, strict=True):
        point = variable.numpy().astype(float)
        wanted = reference.finite_differences(lambda value: nll(variable, value), point, step=1e-2)  # noqa: B023
        np.testing.assert_allclose(gradient, wanted, atol=2e-3, err_msg=name)
        assert np.abs(wanted).max() > 0.01


def test_a_step_descends_the_numpy_loss():
    """Every entry of every tensor, by Adam's first moment after one step, given the chains and particles it moved to.

    -log p(x, z) of the moved chains, the decoder's batch normalisation with the statistics of the batch, and the
    particles' free energy for log Z; differences in float64.
    """
    config = dataclasses.replace(tiny.config("pwl", weight_decay=0.02, hidden_layers=1), objective="mcmc")
    pixels, index = np.random.default_rng(0).integers(0, 2, [7, 6]).astype(float), np.array([5, 0, 3, 6])
    task = TruePosterior(config, make_dataset("tiny", train=pixels, valid=pixels, test=pixels))
    state = task.new_state()
    reference_models.randomize(state.model, 2)
    before, start = reference_models.weights_of(state.model), state.chains.read(tf.range(7)).numpy()
    trainer = task.trainer(state)
    metrics = trainer.run_steps(tf.constant(index[None], tf.int32)).totals
    chains = state.chains.read(tf.range(7)).numpy().astype(float)
    np.testing.assert_array_equal(chains[:, [1, 2, 4]], start[:, [1, 2, 4]])
    assert np.any(chains != start)
    z, particles = chains[:, index], state.read_prior().left.numpy()

    def loss(weights):
        prior = reference_models.prior_of(weights)
        log_likelihood = reference_models.log_likelihood(weights, pixels.mean(axis=0), pixels[index], z, training=True)
        log_z = np.mean([-reference.free_energy(prior, left) for left in particles])
        decay = reference_models.weight_decay(weights, config.weight_decay)
        return np.mean(reference_models.energies(prior, z) - log_likelihood) + log_z + decay

    log_likelihood = reference_models.log_likelihood(before, pixels.mean(axis=0), pixels[index], z, training=True)
    np.testing.assert_allclose(metrics["log_likelihood_given_z"], log_likelihood.mean(), rtol=1e-5)
    by_id = runs.gradients_of_first_step(state)
    for name, variable in reference_models.variables_of(state.model).items():
        if id(variable) in by_id:
            replaced = lambda value: loss(before | {name: value})  # noqa: B023, E731
            wanted = reference.finite_differences(replaced, before[name], step=1e-6)
            np.testing.assert_allclose(by_id[id(variable)], wanted, atol=1e-4 * max(np.abs(wanted).max(), 0.1))
            assert np.abs(wanted).max() > 1e-3 or name.endswith("bias")


@pytest.fixture(scope="module")
def run(shared, tmp_path_factory):
    """A small run, finished, loaded by TensorFlow alone; its data and its results."""
    finished = shared.finished("mcmc", tmp_path_factory.mktemp("mcmc"))
    signatures = tf.saved_model.load(str(finished.run.directory.saved_model)).signatures
    return signatures, finished.run.dataset, finished.results


def test_results_are_enumerated(run):
    """The NLL by hand, from the exported decoder and energy; there are no samples and no bound."""
    signatures, dataset, results = run
    states = reference.all_states(8).astype(np.float32)
    log_p = special.log_softmax(-signatures["prior_energy"](z=tf.constant(states))["energy"].numpy().astype(float))
    logits = signatures["decode"](z=tf.constant(states))["logits"].numpy().astype(float)
    images = dataset.test
    log_likelihood = [special.logsumexp(log_p + reference_models.log_bernoulli(x, logits)) for x in images]
    np.testing.assert_allclose(results["nll"], -np.mean(log_likelihood), rtol=1e-5)
    assert results["exact_nll"] == results["nll"]
    assert results["nll"] < 16 * np.log(2) - 1  # it has learned something
    assert [results[name] for name in ("num_samples", "elbo", "effective_sample_size")] == [None] * 3


def test_reconstructions_come_from_the_posterior(run):
    """The mean over seeds of the reconstructed probabilities against the enumerated one."""
    functions, dataset, _ = run
    images = dataset.test[:2].astype(np.float32)
    x = tf.constant(np.repeat(images, 2000, axis=0))
    found = functions["reconstruct"](x=x, seed=tf.constant([1, 2]))["probabilities"].numpy().reshape(2, 2000, 16)
    states = reference.all_states(8).astype(np.float32)
    energy = functions["prior_energy"](z=tf.constant(states))["energy"].numpy().astype(float)
    logits = functions["decode"](z=tf.constant(states))["logits"].numpy().astype(float)
    for image, draws in zip(images, found, strict=True):
        posterior = special.softmax(reference_models.log_bernoulli(image, logits) - energy)
        np.testing.assert_allclose(draws.mean(axis=0), posterior @ special.expit(logits), atol=0.05)
