"""The joint density and its parts, against enumeration and loops."""

import numpy as np
import pytest
import reference
import reference_models
import tensorflow as tf
import tiny

from models.autoencoder import DiscreteVAE, RelaxedTerms

X = np.random.default_rng(0).integers(0, 2, [3, 6]).astype(np.float32)
STATES = reference.all_states(4)
# Small weights: then no state has both a large share of p(x) and a small q, and importance sampling is precise.
SYSTEMS = {"dvaess": 1, "gumbolt": 1, "pwl": 2}
every_system = pytest.mark.parametrize(("name", "num_groups"), SYSTEMS.items(), ids=SYSTEMS)


def log_joint(weights, x, z, log_z):
    """Of one example and one binary state."""
    logits = reference_models.log_likelihood(weights, tiny.MEAN_PIXEL, x[None], z[None, None], training=False)
    return logits[0, 0] - reference.energy(reference_models.prior_of(weights), z[:2], z[2:]) - log_z


def test_log_joint_matches_loops():
    model = tiny.model("dvaess")
    weights, z = reference_models.weights_of(model), np.random.default_rng(1).integers(0, 2, [5, 3, 4]).astype(float)
    values = model.log_joint(X, tf.constant(z, tf.float32), tf.constant(1.25))
    assert values.shape == [5, 3]
    for k, b in np.ndindex(5, 3):
        np.testing.assert_allclose(values[k, b], log_joint(weights, X[b], z[k, b], 1.25), rtol=1e-5)


def test_joint_sums_to_one():
    """Over all images and all latents, with log Z exact."""
    model, images = tiny.model("dvaess"), reference.all_states(6).astype(np.float32)
    log_z = reference.log_z(reference_models.prior_of(reference_models.weights_of(model)))
    z = np.repeat(STATES[:, None], len(images), axis=1).astype(np.float32)
    np.testing.assert_allclose(np.sum(np.exp(model.log_joint(images, z, tf.constant(log_z, tf.float32)))), 1, rtol=1e-5)


@every_system
def test_importance_sampling_estimates_the_enumerated_p_of_x(name, num_groups):
    """`mean_k exp(log_weights) p(x, z_k) / q(z_k | x)`, for 40 copies of 3 examples, which are independent replicates.

    False-failure rate 1e-5 together. Power: the standard error is below 2 %, so an error of 15 % is noticed.
    """
    model = tiny.model(name, num_groups=num_groups, scale=0.3)
    model.posterior.anneal_for(3)
    weights = reference_models.weights_of(model)
    log_z, x = reference.log_z(reference_models.prior_of(weights)), np.repeat(X, 40, axis=0)
    draws = model.posterior.draw(tf.constant(x), num_samples=1000, seed=tf.constant([2, 3]))
    terms = draws.log_weights + model.log_joint(x, draws.z, tf.constant(log_z, tf.float32)) - draws.log_q
    estimates = np.mean(np.exp(terms), axis=0).reshape(3, 40)
    for b in range(3):
        p_of_x = np.sum(np.exp([log_joint(weights, X[b], z, log_z) for z in STATES]))
        assert abs(reference.z_score(estimates[b], p_of_x)) < reference.z_limit(1e-5, 3)
        assert reference.standard_error(estimates[b]) < 0.02 * p_of_x


def test_relaxed_terms_hand_each_part_what_it_needs():
    """zeta goes to the decoder, in training mode; the whole sample, the prior and log Z to the divergence."""
    handed = []

    def divergence(*arguments):
        handed.append(arguments)
        return tf.fill([2, 3], 7.0)

    base = tiny.model("pwl", num_groups=2)
    model = DiscreteVAE(prior=base.prior, posterior=base.posterior, likelihood=base.likelihood, divergence=divergence)
    weights, x, chains = reference_models.weights_of(base), tf.constant(X), tf.zeros([2, 3, 0])
    sample = base.posterior.sample_relaxed(x, num_samples=2, seed=tf.constant([2, 3]), chains=chains)
    prior, log_z = base.prior.rbm(), tf.constant(1.5)
    terms = model.relaxed_terms(x, sample, prior=prior, log_z=log_z)
    [(given_sample, given_prior, given_log_z)] = handed
    assert isinstance(terms, RelaxedTerms)
    assert given_sample is sample
    assert given_prior is prior
    assert given_log_z is log_z
    wanted = reference_models.log_likelihood(weights, tiny.MEAN_PIXEL, X, sample.zeta.numpy(), training=True)
    np.testing.assert_allclose(terms.log_likelihood, wanted, rtol=1e-4)
    np.testing.assert_array_equal(terms.divergence, np.full([2, 3], 7.0))
