"""log Z to a wanted error, from both sides, of many machines; standard errors against the spread of runs."""

import numpy as np
import pytest
import tensorflow as tf

import reference
from machines import as_rbm, mnist_784x15, multimodal_4x4, reference_data
from samplers import annealed_importance, population_annealing
from samplers.annealing_path import biases_base, means_base, uniform_base
from samplers.annealing_schedules import linear_betas
from samplers.log_partition import exact_log_z, exact_sample
from samplers.log_z_estimates import LogZ, bracket, estimate_many, refine
from samplers.rbm import RBM

NUM_RUNS, NUM_CHAINS = 200, 200


# Standard errors.


@pytest.fixture(scope="module", params=[20, 100])
def many_runs(request):
    """200 runs of AIS and of PA on a 16+16 machine: number of temperatures, errors, standard errors by method."""
    machine = reference.machine(3, 16, 16, scale=0.7)
    exact = float(exact_log_z(as_rbm(machine)))
    rbm = RBM(*(tf.broadcast_to(parameter, [NUM_RUNS, *parameter.shape]) for parameter in as_rbm(machine)))
    base, betas, seed = uniform_base(rbm), linear_betas(request.param), tf.constant([4, 2])
    ais = annealed_importance.sample(rbm, base, betas=betas, num_chains=NUM_CHAINS, seed=seed)
    pa = population_annealing.sample(rbm, base, betas=betas, num_particles=NUM_CHAINS, seed=seed)
    return {
        name: (estimate.log_z.numpy() - exact, estimate.standard_error.numpy())
        for name, estimate in (("ais", ais), ("pa", pa))
    }


@pytest.mark.parametrize("method", ["ais", "pa"])
def test_standard_errors_cover_the_exact_value(many_runs, method):
    """Within 2 standard errors in 95.4 % of runs, if all is right: 90 to 99 % are 3.4 and 2.4 deviations away.

    False-failure rate 1 %, with one fixed seed. A standard error that is 1.5 times too large covers 99.7 %, one that is
    1.5 times too small 82 %: both are seen with a probability above 0.8 and 0.99.
    """
    error, standard_error = many_runs[method]
    coverage = np.mean(np.abs(error) < 2 * standard_error)
    assert 0.90 <= coverage <= 0.99


@pytest.mark.parametrize("method", ["ais", "pa"])
def test_standard_errors_are_the_spread_of_runs(many_runs, method):
    """The spread of 200 nearly normal runs is known to 5 %: 20 % are 4 deviations, a false-failure rate of 1e-4."""
    error, standard_error = many_runs[method]
    np.testing.assert_allclose(np.sqrt(np.mean(standard_error**2)) / np.std(error, ddof=1), 1, atol=0.2)


# To a wanted error.


class Estimates:
    """Estimates that are given, by round."""

    def __init__(self, *log_z_and_errors):
        self.given, self.asked, self.seeds = list(log_z_and_errors), [], []

    def __call__(self, num_temperatures, seed):
        self.asked.append(num_temperatures)
        self.seeds.append(tuple(seed.numpy()))
        log_z, error = (tf.constant(value, tf.float64) for value in self.given[len(self.asked) - 1])
        return LogZ(log_z, error, tf.ones_like(log_z))


def refined(estimates, **options):
    defaults = {"standard_error": 0.1, "seed": tf.constant([0, 0]), "first_temperatures": 100}
    return refine(estimates, **(defaults | options))


def test_temperatures_double_until_the_error_is_as_wanted():
    estimates = Estimates((3.0, 0.5), (3.2, 0.2), (3.1, 0.09))
    result = refined(estimates)
    assert estimates.asked == [100, 200, 400]
    assert len(set(estimates.seeds)) == 3
    assert (result.estimate.log_z, result.num_temperatures, result.is_reached) == (3.1, 400, True)


def test_two_rounds_must_agree():
    """A small standard error in the first round, and in rounds that contradict each other, is not believed."""
    estimates = Estimates((3.0, 0.01), (3.5, 0.01), (3.51, 0.01))
    assert refined(estimates).num_temperatures == 400
    assert refined(Estimates((3.0, 0.01), (3.02, 0.01))).num_temperatures == 200


def test_the_worst_machine_of_a_batch_counts():
    estimates = Estimates(([3.0, 4.0], [0.01, 0.3]), ([3.0, 4.0], [0.01, 0.2]), ([3.0, 4.0], [0.01, 0.1]))
    assert refined(estimates).num_temperatures == 400


def test_the_most_temperatures_end_it():
    estimates = Estimates(*[(3.0, 0.5)] * 3)
    result = refined(estimates, most_temperatures=250)
    assert estimates.asked == [100, 200, 250]
    assert not result.is_reached


def test_a_collapse_is_not_reached():
    """An unknown error is no small one, and a round whose error is unknown confirms nothing."""
    unknown, known = (3.0, float("inf")), (3.0, 0.01)
    assert not refined(Estimates(unknown, unknown), most_temperatures=200).is_reached
    assert not refined(Estimates(unknown, known), most_temperatures=200).is_reached
    assert refined(Estimates(unknown, known, known)).num_temperatures == 400


def test_refined_log_z_of_a_machine():
    """log Z of 8+8 units to 0.01, found within 4 standard errors (false-failure rate 6e-5)."""
    machine = reference.machine(6, 8, 8, scale=0.8)
    rbm = as_rbm(machine)

    def estimate(num_temperatures, seed):
        betas = linear_betas(num_temperatures)
        annealed = annealed_importance.sample(rbm, biases_base(rbm), betas=betas, num_chains=500, seed=seed)
        return LogZ.of(annealed)

    result = refine(estimate, standard_error=0.01, seed=tf.constant([0, 1]), first_temperatures=10)
    assert result.is_reached
    assert result.num_temperatures > 10
    assert abs(result.estimate.log_z - float(exact_log_z(rbm))) < 0.04


# Of many machines.


def test_many_machines_a_few_at_a_time():
    """7 machines, 3 at a time: each within 4.5 standard errors of its own exact value (false-failure rate 5e-5)."""
    rbm = as_rbm(reference.machine(3, 5, 4, batch=(7,)))
    result = estimate_many(
        rbm,
        biases_base(rbm),
        betas=linear_betas(300),
        num_chains=500,
        seed=tf.constant([1, 1]),
        machines_at_once=3,
    )
    exact = exact_log_z(rbm)
    assert result.log_z.shape == result.standard_error.shape == [7]
    assert np.all(np.abs(result.log_z - exact) < 4.5 * result.standard_error)
    assert np.min(np.abs(np.subtract.outer(exact, exact)[~np.eye(7, dtype=bool)])) > 0.05  # none is another's
    assert np.max(result.standard_error) < 0.01


# Bracket.


def test_bracket_contains_log_z():
    """Two machines, 8+8 units: each bound is on its side by 5 standard errors, and not far away."""
    rbm = as_rbm(reference.machine(6, 8, 8, batch=(2,), scale=0.8))
    exact, left = exact_log_z(rbm), exact_sample(rbm, 1000, tf.constant([1, 0])).left
    base, options = biases_base(rbm), {"num_chains": 1000, "seed": tf.constant([0, 3])}
    lower, upper = bracket(rbm, base, left, betas=linear_betas(8), **options)
    assert np.all(lower.log_z + 5 * lower.standard_error < exact)
    assert np.all(upper.log_z - 5 * upper.standard_error > exact)
    assert np.all(upper.log_z - lower.log_z < 1)
    closer = bracket(rbm, base, left, betas=linear_betas(100), **options)
    assert np.all(closer.upper.log_z - closer.lower.log_z < 0.2 * (upper.log_z - lower.log_z))


# The reference machines. Their full length, over 20 seeds, is for `make test-slow`.

MULTIMODAL, MNIST = 59.6749019652, 215.138405525316  # exact log Z


def mnist_data_mean():
    """Hidden units left, pixels summed out; the base has the data's mean image and the machine's hidden means."""
    images = np.unpackbits(np.load(reference_data("binarized_mnist.npz"))["train"], axis=1)[:, :784]
    rbm = as_rbm(mnist_784x15()).transpose()
    hidden_means = tf.reduce_mean(exact_sample(rbm, 1000, tf.constant([0, 6])).left, axis=0)
    return rbm, means_base(hidden_means, tf.constant(images.mean(axis=0), tf.float32))


@pytest.mark.parametrize(
    ("num_seeds", "num_chains", "num_temperatures", "tolerance"),
    [(1, 200, 200, 0.15), pytest.param(20, 1000, 1000, 0.05, marks=pytest.mark.slow)],
    ids=["short", "full"],
)
def test_log_z_and_bracket_of_the_mnist_machine(num_seeds, num_chains, num_temperatures, tolerance):
    """784+15 units. The standard errors are 0.04 and 0.011; a bracket is missed once in 10,000 runs."""
    rbm, base = mnist_data_mean()
    options = {"betas": linear_betas(num_temperatures), "num_chains": num_chains}
    for number in range(num_seeds):
        ais = annealed_importance.sample(rbm, base, seed=tf.constant([number, 7]), **options)
        assert abs(ais.log_z - MNIST) < tolerance, number
        left = exact_sample(rbm, num_chains, tf.constant([number, 8])).left
        lower, upper = bracket(rbm, base, left, seed=tf.constant([number, 9]), **options)
        assert lower.log_z - 2 * lower.standard_error < MNIST < upper.log_z + 2 * upper.standard_error, number


@pytest.mark.parametrize(
    ("num_seeds", "num_temperatures", "tolerance"),
    [(1, 1000, 0.02), pytest.param(20, 10_000, 0.02, marks=pytest.mark.slow)],
    ids=["short", "full"],
)
@pytest.mark.parametrize("method", ["ais", "pa"])
def test_log_z_of_the_multimodal_machine(method, num_seeds, num_temperatures, tolerance):
    """4+4 units, weights up to 60; the runs are a batch. The standard error of a short run is 0.0035."""
    rbm = as_rbm(multimodal_4x4())
    rbm = RBM(*(tf.broadcast_to(parameter, [num_seeds, *parameter.shape]) for parameter in rbm))
    options = {"betas": linear_betas(num_temperatures), "seed": tf.constant([0, 0])}
    if method == "ais":
        estimate = annealed_importance.sample(rbm, uniform_base(rbm), num_chains=1000, **options)
    else:
        estimate = population_annealing.sample(rbm, uniform_base(rbm), num_particles=1000, **options)
    assert np.max(np.abs(estimate.log_z - MULTIMODAL)) < tolerance
    assert np.max(estimate.standard_error) < tolerance / 3
