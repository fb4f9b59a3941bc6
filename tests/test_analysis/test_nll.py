"""The bracket of log p(x) of simulated images: against enumeration."""

import csv

import numpy as np
import pytest
import scipy.special
import tensorflow as tf

import reference
import reference_models
import tiny
from dvae.analysis import likelihoods, nll
from dvae.data import make_dataset
from dvae.runs.trained_model import TrainedModel

IMAGES = reference.all_states(6).astype(np.float32)


def log_joint(model):
    """`log p(z)` of all states, `[16]`, and `log p(x | z)` of all images too, `[16, 64]`, from the weights alone."""
    weights, states = reference_models.weights_of(model), reference.all_states(4)
    prior = reference_models.prior_of(weights)
    log_prior = -np.array([reference.energy(prior, z[:2], z[2:]) for z in states]) - reference.log_z(prior)
    repeated = np.repeat(states[:, None], len(IMAGES), axis=1)
    return log_prior, reference_models.log_likelihood(weights, tiny.MEAN_PIXEL, IMAGES, repeated, training=False)


def test_simulated_images_and_latents_are_of_the_joint_distribution():
    """3000 pairs. Frequencies of images by chi-squared; pairs by their mean log p(x | z).

    False failures 2e-4; latents of other images would be 0.3 nats off, 15 standard errors.
    """
    model = tiny.model("dvaess", scale=0.8)
    model.likelihood.head.kernel.assign(10 * model.likelihood.head.kernel)
    log_prior, log_likelihood = log_joint(model)
    images, latents = nll.simulated(model, likelihoods.functions_of(model), 3000, tf.constant([3, 4]))
    numbers = reference.state_number(images)
    joint = np.exp(log_prior[:, None] + log_likelihood)
    probabilities, counts = joint.sum(axis=0), np.bincount(numbers, minlength=64)
    seen = probabilities > 1e-3
    assert (
        reference.chi_squared_p_value(
            np.append(counts[seen], counts[~seen].sum()), np.append(probabilities[seen], probabilities[~seen].sum())
        )
        > 1e-4
    )
    of_pairs = log_likelihood[reference.state_number(latents), numbers]
    wanted, limit = np.sum(np.where(joint > 0, joint * log_likelihood, 0)), reference.z_limit(1e-4)
    assert abs(reference.z_score(of_pairs, wanted)) < limit
    others = log_likelihood[reference.state_number(np.roll(latents, 1, axis=0)), numbers]
    assert abs(reference.z_score(others, wanted)) > 3 * limit


def test_the_bracket_holds_the_enumerated_likelihood():
    """Of 200 images of the model: both sides come nearer with more temperatures, the lower from below.

    The upper one is as good as 200 draws of p(z | x), one for each image: on average 0.01 nats.
    """
    model = tiny.model("dvaess", scale=0.5)
    log_prior, log_likelihood = log_joint(model)
    functions = likelihoods.functions_of(model)
    log_z = likelihoods.log_z_of(model, functions, tf.constant([1, 2]))
    images, latents = nll.simulated(model, functions, 200, tf.constant([3, 4]))
    exact = scipy.special.logsumexp(log_prior[:, None] + log_likelihood, axis=0)[reference.state_number(images)]
    widths = []
    for temperatures in (20, 200):
        settings = nll.Settings(num_samples=100, chains=20, temperatures=temperatures)
        found = nll.estimates_of(functions, images, settings, log_z=log_z, seed=tf.constant([5, 6]))
        reverse = nll.reverse_estimate(model, images, latents, settings, log_z=log_z, seed=tf.constant([7, 8]))
        np.testing.assert_allclose(found[nll.EXACT].value.nats, exact, atol=1e-4)
        lower, upper = (value.nats - exact for value in (found[nll.ANNEALED].value, reverse.value))
        assert lower.mean() < 0
        assert upper.mean() > -0.03
        widths.append(np.abs(upper - lower).mean())
    assert widths[1] < 0.5 * widths[0]


def test_command(tmp_path, capsys):
    images = {split: np.random.default_rng(0).integers(0, 2, [5, 6]) for split in ("train", "valid", "test")}
    trained = TrainedModel(tiny.model("pwl"), tiny.config("pwl"), make_dataset("six pixels", **images), 0)
    nll.analyse(trained, nll.Settings(num_examples=3, num_samples=20, chains=12, temperatures=2), tmp_path)
    with open(tmp_path / "nll.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 4 + 3 * 5
    assert {row["way"] for row in rows if row["images"] == "simulated"} >= {nll.REVERSE, nll.EXACT}
    assert len(capsys.readouterr().out.splitlines()) == 2 + 4 + 5


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ([0.3, 0.4], "2.00 +- 1.00 (0.25)"),
        ([0.3, np.inf], "2.00 +- 1.00 (0.30, not known of 1)"),
        ([np.inf, np.inf], "2.00 +- 1.00 (not known of 2)"),
    ],
)
def test_a_mean_over_images_leaves_out_errors_that_are_not_known(errors, said):
    assert likelihoods.shown(likelihoods.Value(np.array([1.0, 3.0]), np.array(errors))) == said
