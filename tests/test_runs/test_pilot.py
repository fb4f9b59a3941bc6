"""The choice of base and temperatures, on functions whose answers are known, and on enumerated machines."""

import numpy as np
import pytest
import tensorflow as tf

import reference
from dvae.config import PROTOCOLS
from dvae.errors import UserError
from dvae.evaluation.pilot import PUBLISHED, annealing
from models.posterior import BASES
from models.rbm_posterior import RBMPosterior
from samplers.log_z_estimates import LogZ
from samplers.rbm import RBM

IMAGES = np.zeros([50, 3], np.float32)  # the pilot takes 20


def posterior(log_partition):
    return {
        "posterior_settings": lambda: {"is_annealed": tf.constant(True)},
        "posterior_log_partition": log_partition,
    }


def pretended(log_z, share):
    """A posterior whose estimates are `log_z(base, temperatures)` +- 0.01, and evenness `share` of the same."""

    def log_partition(x, num_samples, posterior_temperatures, posterior_base, seed):
        given = BASES[int(posterior_base)], int(posterior_temperatures)
        same = lambda value: tf.fill([len(x)], tf.constant(value, tf.float32))  # noqa: E731
        return {
            "log_z": same(log_z(*given)),
            "standard_error": same(0.01),
            "effective_sample_size": same(share(*given) * float(num_samples)),
        }

    return posterior(log_partition)


def chosen(functions, **given):
    found = annealing(functions, IMAGES, protocol="pilot", seed=1, **given)
    return found.base, found.temperatures


def test_one_mode_is_annealed_quickly():
    functions = pretended(lambda base, number: 5.0, lambda base, number: 0.9)
    found = annealing(functions, IMAGES, protocol="pilot", seed=1)
    assert found[:2] == ("mean_field", 5)
    assert found.pilot == (20, 0.9, 0.0)


def test_uneven_weights_ask_for_more_temperatures():
    assert chosen(pretended(lambda base, number: 5.0, lambda base, number: number / 100)) == ("mean_field", 50)


def test_a_base_that_misses_modes_is_not_taken():
    functions = pretended(lambda base, number: 5.0 - 0.5 * (base == "mean_field"), lambda base, number: 0.8)
    assert chosen(functions) == ("fields", 5)
    assert chosen(functions, base="mean_field") == ("mean_field", 500)  # as asked for, with all that can be done
    assert chosen(functions, temperatures=25) == ("fields", 25)


def test_what_is_given_needs_no_pilot():
    given = annealing(posterior(None), IMAGES, protocol="pilot", seed=1, base="fields", temperatures=7)
    assert given == ("fields", 7, None)
    assert annealing(posterior(None), IMAGES, protocol="published", seed=1) == ("biases", 500, None) == PUBLISHED
    assert annealing({}, IMAGES, protocol="pilot", seed=1) == PUBLISHED  # its draws are exact


def test_a_model_of_an_earlier_version_has_no_pilot():
    functions = posterior(None)
    del functions["posterior_log_partition"]
    for protocol in PROTOCOLS[1:]:
        annealing(functions, IMAGES, protocol=protocol, seed=1)
    with pytest.raises(UserError, match="protocol='pilot': needs a model exported by this version"):
        annealing(functions, IMAGES, protocol="pilot", seed=1)


@pytest.mark.parametrize(
    ("coupling", "base"), [(0.1, "mean_field"), (1.5, "fields")], ids=["one mode", "two modes of equal weight"]
)
def test_chooses_what_finds_every_mode(coupling, base):
    """On 6+6 units: a weak coupling has one mode, a strong one two, of which the mean field sees one: log 2 too little.

    Couplings of spins and no fields, a little disturbed, so that the fixed point is that of one of the modes.
    """
    rng = np.random.default_rng(3)
    weights = (4 * coupling + 0.02 * rng.standard_normal([3, 6, 6])).astype(np.float32)
    tilt = np.float32(0.01)
    rbm = RBM(tilt - weights.sum(2) / 2, tilt - weights.sum(1) / 2, weights)

    def log_partition(x, num_samples, posterior_temperatures, posterior_base, seed):
        return RBMPosterior.log_partition(
            None, rbm, num_chains=num_samples, num_temperatures=posterior_temperatures, base=posterior_base, seed=seed
        )._asdict()

    functions = posterior(log_partition)
    found = annealing(functions, IMAGES[:3], protocol="pilot", seed=1)
    assert found.base == base
    estimates = log_partition(
        None, tf.constant(2000), tf.constant(found.temperatures), tf.constant(BASES.index(base)), tf.constant([5, 6])
    )
    exact = [reference.log_z(tuple(np.asarray(p[i], np.float64) for p in rbm)) for i in range(3)]
    np.testing.assert_allclose(estimates["log_z"], exact, atol=0.2)


def test_in_structured_prediction_it_shows_the_posterior_what_is_observed():
    """By the names of signatures: a pilot is what a training ends with by default, whatever its objective."""
    shown = []

    def posterior_log_partition(x, **_):
        shown.append(x.numpy())
        return {name: tf.zeros(len(x)) for name in LogZ._fields} | {"effective_sample_size": tf.fill([len(x)], 500.0)}

    functions = {
        "posterior_settings": lambda: {"is_annealed": tf.constant(True)},
        "posterior_log_partition": posterior_log_partition,
        "pixels": lambda: {"observed": tf.constant([4, 1]), "target": tf.constant([0, 2, 3])},
    }
    images = np.arange(15.0).reshape(3, 5)
    found = annealing(functions, images, protocol="pilot", seed=0)
    assert (found.base, found.temperatures) == ("mean_field", 5)
    assert shown
    for x in shown:
        np.testing.assert_array_equal(x, images[:, [4, 1]].astype(np.float32))
