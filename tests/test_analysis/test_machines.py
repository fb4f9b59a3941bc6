"""Modes and curves of log Z: against machines whose modes are known, and enumeration."""

import csv

import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from dvae.analysis import log_z, machines, modes
from dvae.runs.exported import exported
from samplers.log_partition import all_states, exact_log_z, exact_sample
from samplers.rbm import RBM

SEED = tf.constant([5, 6])


def ferromagnet(coupling, num=4, field=0.0):
    """In spins `coupling sum_ij s_i t_j + field sum s`, as a machine of units."""
    weights = np.full([num, num], 4 * coupling)
    biases = np.full(num, 2 * (field - num * coupling))
    return RBM(*(tf.constant(parameter, tf.float32) for parameter in (biases, biases, weights)))


@pytest.mark.parametrize(("coupling", "expected"), [(0.02, 1), (1.0, 2)])
def test_a_ferromagnet_has_two_modes_when_it_is_cold(coupling, expected):
    rbm = ferromagnet(coupling)
    found = modes.modes_of(rbm, exact_sample(rbm, 500, SEED).left, float(exact_log_z(rbm)))
    assert (found.num_modes, found.share) == (expected, 1.0)


def test_the_divergence_of_the_mean_field_is_the_enumerated_one():
    """KL(m || machine) over all states; 0 without couplings."""
    rng = np.random.default_rng(0)
    rbm = RBM(*(tf.constant(rng.normal(size=shape), tf.float32) for shape in ([3], [4], [3, 4])))
    found = modes.modes_of(rbm, exact_sample(rbm, 200, SEED).left, float(exact_log_z(rbm)))
    left = np.full(3, 0.5)
    a, b, w = (parameter.numpy().astype(float) for parameter in rbm)
    for _ in range(1000):
        right = scipy.special.expit(b + left @ w)
        left = scipy.special.expit(a + w @ right)
    m, divergence = np.concatenate([left, right]), 0.0
    for z in all_states(7).numpy():
        q = np.prod(np.where(z == 1, m, 1 - m))
        log_p = a @ z[:3] + b @ z[3:] + z[:3] @ w @ z[3:] - float(exact_log_z(rbm))
        divergence += q * (np.log(q) - log_p)
    assert found.num_modes == 1
    assert found.kl_divergence == pytest.approx(divergence, abs=1e-4)
    factorial = rbm._replace(weights=tf.zeros([3, 4]))
    found = modes.modes_of(factorial, exact_sample(factorial, 200, SEED).left, float(exact_log_z(factorial)))
    assert found.kl_divergence == pytest.approx(0, abs=1e-5)


def test_a_mean_field_goes_on_for_as_long_as_it_is_told():
    """Near its critical coupling a ferromagnet's comes to rest slowly: few updates leave many points, many the one."""
    rbm = ferromagnet(0.24)
    left = exact_sample(rbm, 500, SEED).left
    few, many = (modes.modes_of(rbm, left, float(exact_log_z(rbm)), num_updates=number) for number in (3, 1000))
    assert few.num_modes > many.num_modes == 1
    assert (few.share, many.share) == (pytest.approx(1, abs=0.1), 1.0)


def test_a_curve_falls_to_the_exact_log_z():
    """Two machines together; errors of single estimates, and where their deviation passes a given one."""
    rng = np.random.default_rng(1)
    rbm = RBM(*(tf.constant(2 * rng.normal(size=[2, *shape]), tf.float32) for shape in ([4], [4], [4, 4])))
    settings = log_z.Settings(log2_temperatures=7, log2_temperatures_of_truth=11, num_chains=50)
    curve = log_z.curve_of(rbm, settings, SEED, description="two")
    np.testing.assert_allclose(curve.log_z, exact_log_z(rbm), atol=0.02)
    assert curve.absolute_error.shape == curve.variance.shape == (8, 2)
    assert (curve.absolute_error[-1] < curve.absolute_error[0] / 3).all()
    middle = np.sqrt(curve.variance.mean(axis=1))[3]
    assert curve.temperatures_for(middle) == pytest.approx(8)
    assert curve.temperatures_for(1e-9) == np.inf
    assert curve.temperatures_for(1e9) == 1


def test_the_deviation_passes_between_powers_of_two():
    """Where the variance falls as 1 / temperatures, so does the interpolated one."""
    temperatures = 2 ** np.arange(6)
    curve = log_z.Curve(temperatures, None, np.repeat(4.0 / temperatures[:, None], 3, axis=1), None, None)
    assert curve.temperatures_for(0.5) == pytest.approx(16)
    assert curve.temperatures_for(np.sqrt(4 / 11)) == pytest.approx(11)


def of_variance(temperatures, variance):
    return log_z.Curve(np.array(temperatures), None, np.array(variance)[:, None], None, np.array([0.003]))


def test_prior_and_posterior_are_compared_where_both_come():
    """At 0.01 nats; or, where the prior is not tried for so long, at the least deviation that it has."""
    posterior = of_variance([1, 2, 4, 8], [8e-4, 4e-4, 2e-4, 1e-4])
    said = log_z.summary({"posterior": posterior, "prior": of_variance([1, 16, 64], [0.0064, 4e-4, 1e-4])})
    assert said[0] == "posterior: 8 temperatures for a standard deviation of 0.01 nats (truth known to 0.003)"
    assert said[2] == "for 0.01 nats a posterior needs 8.0 times fewer (published, for 0.01 nats: about 10)"
    said = log_z.summary({"posterior": posterior, "prior": of_variance([1, 16], [0.0064, 4e-4])})
    assert said[1] == "prior: 16 temperatures leave 0.02 nats, not 0.01 (truth known to 0.003)"
    assert said[2] == "for 0.02 nats a posterior needs 8.0 times fewer (published, for 0.01 nats: about 10)"


@pytest.fixture(scope="module", params=["dvaess", "pwl", "dvaess-structured"])
def model(request, shared, tmp_path_factory):
    finished = shared.finished(request.param, tmp_path_factory.mktemp("analysed"))
    return finished, exported(finished.run.directory.path)


def test_the_machines_are_those_of_the_model(model):
    finished, loaded = model
    images = finished.run.dataset.test[:3]
    prior = machines.prior_of(loaded.functions)
    assert (prior is None) == (finished.config.objective == "structured")
    if prior is not None:
        with finished.run.state.best_weights():
            expected = finished.run.functions["prior_parameters"]()
        for name, parameter in expected.items():
            np.testing.assert_array_equal(getattr(prior, name), parameter)
    posteriors = machines.posteriors_of(loaded.functions, images)
    assert (posteriors is None) == (finished.config.model == "pwl")
    if posteriors is not None:
        assert posteriors.weights.shape == (3, 4, 4)


def test_analyses_write_their_tables_and_figures(model, tmp_path, capsys):
    finished, loaded = model
    images, numbers = finished.run.dataset.test[:3], np.array([0, 5, 9])
    modes.analyse(
        loaded, images, numbers, modes.Settings(num_samples=50, temperatures=20, prior_temperatures=50), tmp_path
    )
    log_z.analyse(
        loaded,
        images,
        numbers,
        log_z.Settings(log2_temperatures=2, log2_temperatures_of_truth=5, num_chains=10, num_repeats=3),
        tmp_path,
    )
    of_posteriors = [] if finished.config.model == "pwl" else ["0", "5", "9"]
    expected = of_posteriors + ([] if finished.config.objective == "structured" else ["prior"])
    for name in ("modes", "log_z"):
        with (tmp_path / f"{name}.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert list(dict.fromkeys(row["machine"] for row in rows)) == expected
        numbers_in = [float(value) for row in rows for key, value in row.items() if key != "machine"]
        assert not np.isnan(numbers_in).any()
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    assert ("published: about 90 %" in said) == bool(of_posteriors)
    assert ("published: 10 to 20" in said) == ("prior" in expected)


def test_a_model_of_before_is_told_of(model):
    finished, loaded = model
    if finished.config.objective == "structured":
        return
    functions = {name: function for name, function in loaded.functions.items() if name != "prior_parameters"}
    with pytest.raises(ValueError, match="earlier version"):
        machines.prior_of(functions)
