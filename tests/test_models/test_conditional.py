"""Structured prediction's model: its estimates and its calls against enumeration."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from scipy import special

import reference
import reference_models
import tiny
from dvae.building import build_conditional_model
from models import rbm_posterior
from models.posterior import PosteriorDraws

MEAN_OBSERVED, MEAN_TARGET = tiny.MEAN_PIXEL[:2], tiny.MEAN_PIXEL[2:]
OBSERVED = np.array([[0, 0], [1, 0], [1, 1]], np.float32)
TARGET = np.random.default_rng(0).integers(0, 2, [3, 4]).astype(np.float32)
STATES = reference.all_states(4)
SYSTEMS = {"dvaess": 1, "gumbolt": 1, "pwl": 2}
every_system = pytest.mark.parametrize(("name", "num_groups"), SYSTEMS.items(), ids=SYSTEMS)


def make(name, num_groups, *, seed=0, **settings):
    """A model, its weights, and `log q(z | x_1)` of all states and examples, `[16, 3]`."""
    config = tiny.config(name, objective="structured", num_groups=num_groups, **settings)
    model = build_conditional_model(config, MEAN_OBSERVED[None], MEAN_TARGET[None])
    reference_models.randomize(model, seed)
    weights = reference_models.weights_of(model)
    log_q = reference_models.log_posterior(weights, MEAN_OBSERVED, OBSERVED, num_units=4, num_groups=num_groups)
    return model, weights, log_q


@every_system
def test_estimates_from_every_state_are_the_enumerated_values(name, num_groups):
    """Every state as a draw, with 16 q(z | x_1) as its weight: `log sum_z q(z | x_1) p(x_2 | z)`, its bound."""
    model, weights, log_q = make(name, num_groups)
    states = np.repeat(STATES[:, None], 3, axis=1)
    draws = PosteriorDraws(*(tf.constant(part, tf.float32) for part in (states, log_q, np.log(16) + log_q)), None)
    found = model.log_likelihood(TARGET, draws)
    log_p = reference_models.log_likelihood(weights, MEAN_TARGET, TARGET, states, training=False)
    wanted, elbo = special.logsumexp(log_q + log_p, axis=0), np.sum(np.exp(log_q) * log_p, axis=0)
    np.testing.assert_allclose(found.log_likelihood, wanted, rtol=1e-5)
    np.testing.assert_allclose(found.elbo, elbo, rtol=1e-5)
    np.testing.assert_allclose(found.entropy, -np.sum(np.exp(log_q) * log_q, axis=0), rtol=1e-5)
    shares = np.exp(log_q + log_p - wanted)
    np.testing.assert_allclose(found.effective_sample_size, 1 / np.sum(shares**2, axis=0), rtol=1e-4)
    assert np.max(wanted - elbo) > 0.02


@every_system
def test_calls_average_to_the_prediction(name, num_groups, monkeypatch):
    """`sum_z q(z | x_1) E[x_2 | z]`, enumerated: 1200 copies of each of 3 examples, which are independent.

    False-failure rate 1e-5 together. Power: the prediction from another observed part, and that at the mean latents,
    are noticed with a probability above 0.999.
    """
    monkeypatch.setattr(rbm_posterior, "_LEAST_CHAINS", 5)  # 500 temperatures make them nearly exact
    model, weights, log_q = make(name, num_groups, hidden_layers=0, seed=3)
    copies = np.repeat(OBSERVED, 1200, axis=0)
    calls = model(copies, seed=(1, 2)).numpy().astype(float).reshape(3, 1200, 4)
    np.testing.assert_array_equal(model(copies), model(copies, seed=(0, 0)))
    limit, mean_images = (
        reference.z_limit(1e-5, 12),
        functools.partial(reference_models.mean_images, weights, MEAN_TARGET),
    )
    images, qs = mean_images(STATES), np.exp(log_q).T
    for b, q in enumerate(qs):
        wanted, error = q @ images, reference.standard_error(calls[b])
        assert np.all(np.abs(calls[b].mean(axis=0) - wanted) < limit * error)
        for wrong in (qs[b - 1] @ images, mean_images(q @ STATES)):
            assert np.max(np.abs(wrong - wanted) / error) > limit + reference.z_limit(2e-3)
