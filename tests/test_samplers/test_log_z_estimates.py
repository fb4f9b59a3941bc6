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
from samplers.log_z_estimates import LogZ, agreement, bracket, estimate_many, from_two_bases, own_means, refine
from samplers.rbm import RBM
from samplers.weights import effective_sample_size, log_mean_exp, log_mean_exp_standard_error

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


# From two bases.


def two_modes(offset):
    """10+10 units, all on or all off: `-E = 2 n m - 10 (n + m) + offset (n + m) / 20` of n and m units that are on.

    The log-probability of all on is `offset` above that of all off.
    """
    bias = np.full(10, -10 + offset / 20)
    return RBM(bias, bias, np.full((10, 10), 2.0))


def test_the_biases_see_one_of_two_modes_and_the_second_opinion_the_other():
    """Biases of -10 each: without couplings all is off. The mode that is on has 0.62 of the probability."""
    rbm = two_modes(np.log(0.62 / 0.38))
    exact, seed = float(exact_log_z(rbm)), tf.constant([0, 1])
    alone = annealed_importance.sample(rbm, biases_base(rbm), betas=linear_betas(1000), num_chains=500, seed=seed)
    assert float(alone.log_z) == pytest.approx(exact + np.log(0.38), abs=0.01)  # by a confident wrong number
    assert float(alone.standard_error) < 0.001
    found = from_two_bases(rbm, biases_base(rbm), betas=linear_betas(1000), num_chains=1000, seed=seed)
    assert found.together.standard_error == np.inf
    assert float(found.together.log_z) == pytest.approx(exact, abs=0.1)
    uniform = from_two_bases(rbm, uniform_base(rbm), betas=linear_betas(1000), num_chains=1000, seed=seed)
    assert abs(float(uniform.first.log_z) - exact) < 4 * float(uniform.first.standard_error)


@pytest.mark.parametrize(
    ("scale", "num_temperatures", "least_known"), [(0.7, 100, 60), (3.0, 3, 0), (3.0, 10, 0), (3.0, 100, 20)]
)
def test_no_error_is_far_too_small(scale, num_temperatures, least_known):
    """64 machines of 14+14 units: where the error is known, log Z is within 4 of it, however few the temperatures.

    With weights of deviation 3 and up to 10 temperatures more than half of the runs of AIS from either base alone are
    off by more (its delta-method error never exceeds 1). Normal errors would be off by 4 in 6e-5 of runs.
    """
    rbm = as_rbm(reference.machine(7, 14, 14, batch=(64,), scale=scale))
    exact, seed = exact_log_z(rbm).numpy(), tf.constant([2, num_temperatures])
    found = from_two_bases(
        rbm, uniform_base(rbm), betas=linear_betas(num_temperatures), num_chains=400, seed=seed
    ).together
    error, known = np.abs(found.log_z - exact), np.isfinite(found.standard_error)
    assert known.sum() >= least_known
    assert np.all(error[known] <= 4 * found.standard_error[known])
    assert np.max(found.log_z - exact) < 3  # E[exp(log_z - exact)] = 1: above 3 with a probability below 0.05 each


def test_agreement():
    """Each pair of (log Z, error): the mean of the Z that agree, else the larger with an unknown error."""
    infinite = float("inf")
    first = np.array([[1.0, 0.1], [1.0, 0.1], [2.0, 0.1], [1.0, infinite], [1.0, 0.0], [1.0, 0.1]])
    second = np.array([[1.3, 0.2], [3.0, 0.1], [1.0, infinite], [2.0, 0.1], [1.0, 0.0], [1.0, infinite]])
    given = [LogZ(*tf.constant(pairs.T), tf.constant([20.0] * 6, tf.float64)) for pairs in (first, second)]
    result = agreement(*given)
    z = np.exp([1.0, 1.3])
    error = np.sqrt((z[0] * 0.1) ** 2 + (z[1] * 0.2) ** 2) / z.sum()
    size = z.sum() ** 2 / (z**2 / 20).sum()
    np.testing.assert_allclose(result.log_z, [np.log(z.mean()), 3, 2, 2, 1, 1])
    np.testing.assert_allclose(result.standard_error, [error, infinite, infinite, infinite, 0, infinite])
    np.testing.assert_allclose(result.effective_sample_size, [size, 20, 20, 20, 40, 20])


def test_agreeing_estimates_are_those_of_all_chains():
    """Pooled by hand: the mean of all weights of both halves, and the effective size of all of them."""
    halves = np.random.default_rng(0).normal(scale=0.3, size=[2, 50])
    of = lambda w: LogZ(log_mean_exp(w, 0), log_mean_exp_standard_error(w, 0), effective_sample_size(w, 0))  # noqa: E731
    one, other = (of(tf.constant(half)) for half in halves)
    whole, pooled = of(tf.constant(halves.ravel())), agreement(one, other)
    np.testing.assert_allclose(pooled.log_z, whole.log_z, rtol=1e-12)
    np.testing.assert_allclose(pooled.effective_sample_size, whole.effective_sample_size, rtol=1e-12)
    np.testing.assert_allclose(pooled.standard_error, whole.standard_error, rtol=0.02)


def test_own_means_of_a_machine():
    """Those by enumeration, within 5 deviations of a mean over 4000 particles."""
    machine = reference.machine(6, 5, 4, scale=0.8)
    base = own_means(as_rbm(machine), betas=linear_betas(50), num_particles=4000, seed=tf.constant([0, 0])).base
    found = np.concatenate([tf.sigmoid(bias) for bias in base])
    joint = reference.joint(machine)
    exact = np.concatenate([joint.sum(1) @ reference.all_states(5), joint.sum(0) @ reference.all_states(4)])
    np.testing.assert_allclose(found, exact, atol=5 * 0.5 / np.sqrt(4000))


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
