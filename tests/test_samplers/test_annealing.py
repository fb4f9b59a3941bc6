"""AIS and population annealing: unbiased for Z, and weighted states distributed as the machine says.

Unbiasedness is tested on the ratio exp(log_z - exact), whose mean over independent runs is 1, and not on its log. The
runs are the first batch dimension of a batch of machines, two different machines the second. There are few
temperatures, so that each run is in error by 5 % and more, and a sampler that is wrong in a detail has room to show it.
"""

import numpy as np
import pytest
import tensorflow as tf

import reference
from machines import as_rbm
from samplers import annealed_importance, population_annealing
from samplers.annealing_path import biases_base, uniform_base
from samplers.annealing_schedules import linear_betas
from samplers.rbm import RBM

NUM_LEFT, NUM_RIGHT = 3, 2
MACHINES = reference.machine(74, NUM_LEFT, NUM_RIGHT, batch=(2,), scale=0.9)  # no state is rare
EACH = [reference.member(MACHINES, 0), reference.member(MACHINES, 1)]
LOG_Z = np.array([reference.log_z(machine) for machine in EACH])
NUM_RUNS, NUM_CHAINS = 2000, 64
BETAS = linear_betas(3)
BASES = {"uniform": uniform_base, "biases": biases_base}
LEVEL = 1e-5  # false-failure rate of a test, nominal: means of 2000 and more draws are taken as normal


def runs():
    """`[runs, machines]` of them."""
    return RBM(*(tf.broadcast_to(parameter, [NUM_RUNS, *parameter.shape]) for parameter in as_rbm(MACHINES)))


def assert_mean_is_one(ratio):
    """Of `ratio [runs, machines]`, at LEVEL; an error of 1.4 % would be seen with a probability above 0.999."""
    limit = reference.z_limit(LEVEL, num_comparisons=2)
    assert np.max(np.abs(reference.z_score(ratio, 1))) < limit
    assert np.max(reference.standard_error(ratio)) * (limit + 3.1) < 0.014


def assert_right_is_conditional_on_left(counts, machine):
    """Chi-squared of right for each left state: whatever the distribution of left, the conditional is exact."""
    conditional = reference.joint(machine) / reference.p_left(machine)[:, None]
    for row, exact in zip(counts.reshape(conditional.shape), conditional, strict=True):
        assert reference.chi_squared_p_value(row, exact) > LEVEL / conditional.size


def assert_standard_error_is_the_spread_of_runs(estimate):
    """Of 2000 nearly normal runs the spread is known to 1.6 %, so 12 % is more than 7 standard errors."""
    spread = np.std(estimate.log_z, axis=0, ddof=1)
    typical = np.sqrt(np.mean(np.square(estimate.standard_error), axis=0))
    np.testing.assert_allclose(typical / spread, 1, atol=0.12)


def joint_states(sample):
    """One-hot number of the state `(left, right)`, `[chains, runs, machines, 2^(N + M)]`."""
    number = reference.state_number(np.concatenate([sample.left, sample.right], axis=-1))
    return np.eye(2 ** (NUM_LEFT + NUM_RIGHT))[number]


def assert_means_are_joint_probabilities(estimates):
    """`estimates [runs, machines, 2^(N + M)]` are unbiased for p(left, right)."""
    exact = np.array([reference.joint(machine).ravel() for machine in EACH])
    limit = reference.z_limit(LEVEL, num_comparisons=exact.size)
    assert np.max(np.abs(reference.z_score(estimates, exact))) < limit


# Annealed importance sampling.


@pytest.fixture(scope="module", params=BASES.values(), ids=BASES)
def ais(request):
    """2000 runs of 64 chains for two machines."""
    base = request.param(runs())
    return annealed_importance.sample(runs(), base, betas=BETAS, num_chains=NUM_CHAINS, seed=tf.constant([7, 0]))


def test_ais_is_unbiased_for_z(ais):
    assert ais.log_z.dtype == ais.log_weights.dtype == tf.float64
    assert_mean_is_one(np.exp(ais.log_z - LOG_Z))


def test_ais_weighted_states_are_distributed_as_the_machine(ais):
    weights = np.exp(ais.log_weights - LOG_Z)[..., None]
    assert_means_are_joint_probabilities(np.mean(weights * joint_states(ais), axis=0))


def test_ais_right_units_are_conditional_on_the_left(ais):
    for number, machine in enumerate(EACH):
        assert_right_is_conditional_on_left(joint_states(ais)[:, :, number].sum(axis=(0, 1)), machine)


def test_ais_standard_error_is_the_spread_of_runs(ais):
    assert_standard_error_is_the_spread_of_runs(ais)


def exact_left_samples():
    rng = np.random.default_rng(0)
    draws = [rng.choice(8, size=[NUM_CHAINS, NUM_RUNS], p=reference.p_left(machine)) for machine in EACH]
    return tf.constant(reference.all_states(NUM_LEFT)[np.stack(draws, axis=-1)], tf.float32)


@pytest.mark.parametrize("base_of", BASES.values(), ids=BASES)
def test_reverse_ais_is_unbiased_for_one_over_z(base_of):
    estimate = annealed_importance.reverse(
        runs(), base_of(runs()), exact_left_samples(), betas=BETAS, seed=tf.constant([8, 0])
    )
    assert_mean_is_one(np.exp(LOG_Z - estimate.log_z))
    assert_standard_error_is_the_spread_of_runs(estimate)


@pytest.mark.parametrize("base_of", BASES.values(), ids=BASES)
def test_forward_and_reverse_ais_bracket_log_z(base_of):
    """The means over 2000 runs of a single chain lie on the two sides of log Z, each by 9 to 15 standard errors."""
    base, seed = base_of(runs()), tf.constant([8, 0])
    forward = annealed_importance.sample(runs(), base, betas=BETAS, num_chains=1, seed=seed)
    reverse = annealed_importance.reverse(runs(), base, exact_left_samples()[:1], betas=BETAS, seed=seed)
    assert np.all(reference.z_score(forward.log_z, LOG_Z) < -7)
    assert np.all(reference.z_score(reverse.log_z, LOG_Z) > 7)


def test_without_couplings_all_estimates_are_exact_and_in_float64():
    """From the biases, that is: every weight is Z_0 = Z, whatever the number of temperatures."""
    a, b, w = MACHINES
    rbm, exact = as_rbm((a, b, 0 * w), tf.float64), [reference.log_z((a, b, 0 * w)) for a, b, w in EACH]
    base, seed, tolerance = biases_base(rbm), tf.constant([0, 0]), 1e-14
    forward = annealed_importance.sample(rbm, base, betas=BETAS, num_chains=10, seed=seed)
    np.testing.assert_allclose(forward.log_weights, np.broadcast_to(exact, [10, 2]), rtol=tolerance)
    np.testing.assert_allclose(forward.log_z, exact, rtol=tolerance)
    np.testing.assert_allclose(forward.standard_error, 0, atol=1e-15)
    np.testing.assert_allclose(forward.effective_sample_size, [10, 10])
    reverse = annealed_importance.reverse(rbm, base, forward.left, betas=BETAS, seed=seed)
    np.testing.assert_allclose(reverse.log_z, exact, rtol=tolerance)
    np.testing.assert_allclose(reverse.standard_error, 0, atol=1e-15)
    population = population_annealing.sample(rbm, base, betas=BETAS, num_particles=10, seed=seed)
    np.testing.assert_allclose(population.log_z, exact, rtol=tolerance)
    np.testing.assert_array_equal(population.num_families, [10, 10])
    assert forward.left.dtype == population.left.dtype == tf.float64


@pytest.mark.parametrize("compiled", ["annealed_importance._forward", "population_annealing._anneal"])
def test_one_compilation_serves_many_lengths(compiled):
    """And the length is the one asked for: the last temperature is 1 whatever follows in the padding."""
    rbm, name = as_rbm(EACH[0]), compiled.partition(".")[0]
    module = {"annealed_importance": annealed_importance, "population_annealing": population_annealing}[name]
    size = "num_chains" if module is annealed_importance else "num_particles"
    log_z, function = [], getattr(module, compiled.partition(".")[2])
    for number, length in enumerate((1, 2, 700, 1023)):
        betas = linear_betas(length)
        log_z.append(module.sample(rbm, uniform_base(rbm), betas=betas, seed=tf.constant([0, 0]), **{size: 500}).log_z)
        if number == 0:
            traces = function.experimental_get_tracing_count()
    assert function.experimental_get_tracing_count() == traces
    error = np.abs(np.array(log_z) - LOG_Z[0])
    assert np.all(error[2:] < 0.01)
    assert len(set(np.array(log_z))) == 4


def test_one_machine_alone():
    """No batch dimension, 20 temperatures, 100,000 chains: log Z to 5 standard errors, and the distribution."""
    machine, exact = EACH[0], reference.joint(EACH[0])
    rbm, options = as_rbm(machine), {"betas": linear_betas(20), "seed": tf.constant([1, 0])}
    ais = annealed_importance.sample(rbm, uniform_base(rbm), num_chains=100_000, **options)
    assert ais.standard_error < 0.002
    assert abs(ais.log_z - LOG_Z[0]) < 5 * ais.standard_error
    assert_right_is_conditional_on_left(joint_states(ais).sum(axis=0), machine)
    draws = np.exp(ais.log_weights - LOG_Z[0])[:, None] * joint_states(ais)
    assert np.max(np.abs(reference.z_score(draws, exact.ravel()))) < reference.z_limit(LEVEL, exact.size)
    population = population_annealing.sample(rbm, uniform_base(rbm), num_particles=100_000, **options)
    assert abs(population.log_z - LOG_Z[0]) < 5 * 0.002
    assert_right_is_conditional_on_left(joint_states(population).sum(axis=0), machine)


# Population annealing.


@pytest.fixture(scope="module", params=BASES.values(), ids=BASES)
def population(request):
    base = request.param(runs())
    return population_annealing.sample(runs(), base, betas=BETAS, num_particles=NUM_CHAINS, seed=tf.constant([9, 0]))


def test_population_annealing_is_unbiased_for_z(population):
    assert population.log_z.dtype == tf.float64
    assert_mean_is_one(np.exp(population.log_z - LOG_Z))


def test_population_is_distributed_as_the_machine(population):
    """Particles of a run are correlated, so a run counts as one draw; weighted by its estimate of Z it has no bias."""
    weights = np.exp(population.log_z - LOG_Z)[..., None]
    assert_means_are_joint_probabilities(weights * joint_states(population).mean(axis=0))


def test_number_of_families():
    """One step to a machine that is (1, 1, 1) almost surely: the particles there, 1 in 8, are the ancestors of all."""
    left_on = as_rbm((np.full(NUM_LEFT, 40.0), np.zeros(NUM_RIGHT), np.zeros([NUM_LEFT, NUM_RIGHT])))
    rbm = RBM(*(tf.broadcast_to(parameter, [NUM_RUNS, 2, *parameter.shape]) for parameter in left_on))
    options = {"betas": tf.constant([0, 1, 1, 1], tf.float64), "num_particles": NUM_CHAINS, "seed": tf.constant([3, 0])}
    num_families = population_annealing.sample(rbm, uniform_base(rbm), **options).num_families.numpy()
    assert num_families.shape == (NUM_RUNS, 2)
    assert num_families.min() >= 1
    z = reference.z_score(num_families.ravel().astype(float), NUM_CHAINS / 8)
    assert abs(z) < reference.z_limit(LEVEL)
