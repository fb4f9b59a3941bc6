"""What a docstring of the samplers demands is checked: one ValueError says what was given and what is wanted."""

import numpy as np
import pytest
import tensorflow as tf

from samplers import (
    annealed_importance,
    diagnostics,
    gibbs,
    log_z_estimates,
    parallel_tempering,
    pcd,
    population_annealing,
    random,
)
from samplers.annealing_path import Base, means_base, uniform_base
from samplers.annealing_schedules import adaptive_betas, geometric_betas, linear_betas, stretched
from samplers.log_partition import exact_log_z, exact_sample
from samplers.mean_field import mean_field
from samplers.persistent_chains import ChainTable
from samplers.rbm import RBM
from samplers.transition_kernel import BlockGibbs

SEED = tf.constant([0, 1])
RNG = np.random.default_rng(0)
ARRAYS = RNG.normal(size=4), RNG.normal(size=3), RNG.normal(size=(4, 3))
MACHINE = RBM(*(tf.constant(array, tf.float32) for array in ARRAYS))
BATCH = RBM(*(tf.stack([parameter, parameter]) for parameter in MACHINE))
BASE, BETAS, LEFT = uniform_base(MACHINE), linear_betas(5), tf.constant([[0.0, 1, 1, 0]] * 4)


def anneal(**changed):
    given = {"betas": BETAS, "num_chains": 10, "seed": SEED} | changed
    return annealed_importance.sample(given.pop("rbm", MACHINE), given.pop("base", BASE), **given)


def populate(**changed):
    given = {"betas": BETAS, "num_particles": 10, "seed": SEED} | changed
    return population_annealing.sample(MACHINE, given.pop("base", BASE), **given)


MISTAKES = {
    # Counts.
    "chains": (lambda: anneal(num_chains=0), "num_chains = 0: must be an integer of at least 1"),
    "chains, a tensor": (lambda: anneal(num_chains=tf.constant(-3)), "num_chains = -3: must be an integer"),
    "chains, a fraction": (lambda: anneal(num_chains=2.5), "num_chains = 2.5: must be an integer"),
    "particles": (lambda: populate(num_particles=0), "num_particles = 0: must be an integer of at least 1"),
    "sweeps": (lambda: gibbs.sweep(MACHINE, LEFT, SEED, num_sweeps=0), "num_sweeps = 0: must be an integer"),
    "sweeps of a kernel": (lambda: BlockGibbs(MACHINE, num_sweeps=0), "num_sweeps = 0: must be an integer"),
    "temperatures": (lambda: linear_betas(0), "num_temperatures = 0: must be an integer of at least 1"),
    "geometric": (lambda: geometric_betas(1, first=0.1), "num_temperatures = 1: must be an integer of at least 2"),
    "levels": (
        lambda: parallel_tempering.initial_state(MACHINE, num_chains=3, seed=SEED, num_levels=1),
        "num_levels = 1: must be an integer of at least 2",
    ),
    "chains of PCD": (lambda: pcd.initial_state(MACHINE, num_chains=0, seed=SEED), "num_chains = 0"),
    "draws": (lambda: exact_sample(MACHINE, 0, SEED), "num_samples = 0: must be an integer of at least 1"),
    "updates": (lambda: mean_field(MACHINE, LEFT, num_updates=0), "num_updates = 0: must be an integer"),
    "rows": (lambda: ChainTable(num_examples=0, num_chains=1, num_units=3, seed=SEED), "num_examples = 0"),
    "many": (
        lambda: log_z_estimates.estimate_many(
            BATCH, uniform_base(BATCH), betas=BETAS, num_chains=9, seed=SEED, machines_at_once=0
        ),
        "machines_at_once = 0: must be an integer of at least 1",
    ),
    "many of one": (
        lambda: log_z_estimates.estimate_many(
            MACHINE, BASE, betas=BETAS, num_chains=9, seed=SEED, machines_at_once=1
        ),
        r"weights of shape (4, 3): must be [machines, N, M]",
    ),
    "mixing of one chain": (
        lambda: diagnostics.mixing(MACHINE, LEFT[:1], num_sweeps=9, seed=SEED), "must be at least 2 chains",
    ),
    "a short mixing": (lambda: diagnostics.mixing(MACHINE, LEFT, num_sweeps=3, seed=SEED), "num_sweeps = 3"),
    "first round": (
        lambda: log_z_estimates.refine(None, standard_error=0.1, seed=SEED, first_temperatures=0),
        "first_temperatures = 0",
    ),
    # Orders and ranges.
    "falling": (lambda: anneal(betas=tf.constant([0.0, 0.7, 0.3, 1.0])), "betas = [0.0, 0.69.*must rise from 0 to 1"),
    "reversed": (lambda: anneal(betas=BETAS[::-1]), "betas = .*: must rise from 0 to 1"),
    "cut short": (lambda: populate(betas=BETAS[:-1]), "betas = .*0.8]: must rise from 0 to 1"),
    "no start": (lambda: populate(betas=[0.5, 1.0]), "betas = [0.5, 1.0]: must rise from 0 to 1"),
    "one beta": (lambda: anneal(betas=tf.constant([1.0])), "betas = [1.0]: must rise"),
    "two axes": (lambda: anneal(betas=tf.ones([2, 2])), "betas of shape (2, 2)"),
    "unknown betas": (lambda: anneal(betas=[0.0, np.nan, 1.0]), "betas = [0.0, nan, 1.0]: must rise"),
    "backwards": (
        lambda: annealed_importance.reverse(MACHINE, BASE, LEFT, betas=BETAS[::-1], seed=SEED), "betas = .*: must rise"
    ),
    "stretched": (lambda: stretched(BETAS, 0), "num_temperatures = 0"),
    "first beta": (lambda: geometric_betas(5, first=1.0), "first = 1.0: must be in (0, 1)"),
    "fraction": (
        lambda: adaptive_betas(MACHINE, BASE, ess_fraction=1.0, num_particles=9, seed=SEED),
        "ess_fraction = 1.0: must be in (0, 1)",
    ),
    "wanted error": (
        lambda: log_z_estimates.refine(None, standard_error=float("nan"), seed=SEED),
        "standard_error = nan: must be a finite number above 0",
    ),
    "means": (lambda: means_base(np.array([0.2, 1.2]), np.array([0.5])), "left_means has 1.2 in it: must be in [0, 1]"),
    "least mean": (lambda: means_base(np.array([0.2]), np.array([0.5]), least=0.5), "least = 0.5: must be in (0, 0.5)"),
    "means of mean field": (lambda: mean_field(MACHINE, 2 * LEFT, num_updates=1), "left has 2 in it"),
    # States.
    "spins": (lambda: gibbs.sweep(MACHINE, 2 * LEFT - 1, SEED, num_sweeps=1), "left has -1 in it: must be 0 or 1"),
    "relaxed": (
        lambda: annealed_importance.reverse(MACHINE, BASE, LEFT / 2, betas=BETAS, seed=SEED),
        "left has 0.5 in it: must be 0 or 1",
    ),
    "wide": (lambda: gibbs.sweep(MACHINE, tf.zeros([4, 5]), SEED, num_sweeps=1), r"left is float32 of shape (4, 5)"),
    "no batch": (
        lambda: gibbs.sweep(BATCH, LEFT, SEED, num_sweeps=1), "left of shape (4, 4): must be [samples, *batch, units]"
    ),
    "other type": (lambda: MACHINE.energy(tf.zeros([1, 4], tf.float64), tf.zeros([1, 3])), "left is float64 of shape"),
    "other base": (lambda: anneal(base=Base(tf.zeros([3]), tf.zeros([3]))), "bias_left of the base of shape (3,)"),
    "one base for two": (lambda: anneal(rbm=BATCH), "bias_left of the base of shape (4,)"),
    # Machines.
    "transposed": (lambda: RBM(ARRAYS[1], ARRAYS[0], ARRAYS[2]), r"shapes (3,), (4,), (4, 3): must be [*batch, N]"),
    "a vector": (lambda: RBM(*ARRAYS[:2], ARRAYS[0]), r"shapes (4,), (3,), (4,): must be"),
    "a batch of weights": (lambda: RBM(*ARRAYS[:2], np.stack([ARRAYS[2]] * 2)), r"(2, 4, 3): must be"),
    "complex": (lambda: RBM(*ARRAYS[:2], ARRAYS[2] + 1j), "weights of type complex128: must be finite real numbers"),
    "words": (lambda: RBM(["a"] * 4, *ARRAYS[1:]), "bias_left of type <U1: must be finite real numbers"),
    "not finite": (lambda: RBM(ARRAYS[0] / 0, *ARRAYS[1:]), "bias_left of type float64: must be finite real numbers"),
    "two types": (
        lambda: RBM(tf.zeros([4]), tf.zeros([3], tf.float64), tf.zeros([4, 3])), "different types: must be of one"
    ),
    "many units": (lambda: exact_log_z(RBM(np.zeros(25), np.zeros(25), np.zeros((25, 25)))), "at most 24"),
    # Seeds.
    "one number": (lambda: random.split(7, 2), r"seed of shape (): must be two integers"),
    "three numbers": (lambda: anneal(seed=[1, 2, 3]), r"seed of shape (3,): must be two integers"),
    "fractions": (lambda: gibbs.sweep(MACHINE, LEFT, [0.5, 1], num_sweeps=1), r"seed = [0.5, 1]: must be two integers"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_mistake_is_one_value_error(name):
    call, message = MISTAKES[name]
    pattern = ".*".join(map(re_escape, message.split(".*")))
    with pytest.raises(ValueError, match=pattern) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def re_escape(text):
    return "".join(f"\\{c}" if c in "()[]*+?.^$|" else c for c in text)


@pytest.mark.parametrize("inputs", [{"num_chains": 0}, {"num_temperatures": 0}])
def test_in_a_graph_it_is_asserted(inputs):
    """What an exported sampler is given is known only when it runs."""

    @tf.function
    def log_z(num_chains, num_temperatures):
        return anneal(num_chains=num_chains, betas=linear_betas(num_temperatures)).log_z

    given = {name: tf.constant(value) for name, value in ({"num_chains": 10, "num_temperatures": 3} | inputs).items()}
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be an integer of at least 1"):
        log_z(**given)


def test_arrays_of_any_kind_make_a_machine():
    """Doubles, integers, lists and a mixture: the same energies as of a machine of tensors."""
    left, right = np.array([[0, 1, 1, 0]]), np.array([[1, 0, 1]])
    expected = MACHINE.energy(tf.cast(left, tf.float32), tf.cast(right, tf.float32))
    machine = RBM(*ARRAYS)
    assert machine.weights.dtype == tf.float64
    np.testing.assert_allclose(machine.energy(left, right), expected, rtol=1e-5)
    np.testing.assert_allclose(machine.free_energy(left.tolist()), MACHINE.free_energy(left.astype(np.float32)), 1e-5)
    mixed = RBM(MACHINE.bias_left, ARRAYS[1], ARRAYS[2].tolist())
    assert {parameter.dtype for parameter in (mixed.bias_left, mixed.bias_right, mixed.weights)} == {tf.float32}
    np.testing.assert_allclose(mixed.energy(left, right), expected, rtol=1e-5)
    spins = RBM(np.zeros(4, int), np.zeros(3, int), np.array([[1, -1, 1]] * 4))
    assert spins.weights.dtype == tf.float32
    np.testing.assert_allclose(spins.energy(left, right), [-4])
    means = means_base(np.full(4, 0.3), np.full(3, 0.5))  # doubles, as `train.mean(0)` makes them
    assert np.isfinite(anneal(base=means).log_z)


@pytest.mark.parametrize("run", [lambda: anneal(num_chains=1), lambda: populate(num_particles=1)])
def test_of_one_chain_no_error_is_known(run):
    assert float(run().standard_error) == np.inf


def test_of_equal_energies_nothing_is_told_about_mixing():
    """A machine without parameters beside another: NaN and numbers, in either type, and no warning."""
    for dtype in (tf.float32, tf.float64):
        both = RBM(*(tf.cast(tf.stack([parameter, 0 * parameter]), dtype) for parameter in MACHINE))
        left = tf.cast(random.uniform([200, 2, 4], SEED) < 0.5, dtype)
        mixing = diagnostics.mixing(both, left, num_sweeps=20, seed=SEED)
        for value in (mixing.split_r_hat, mixing.autocorrelation_sweeps):
            assert np.isfinite(value[0])
            assert np.isnan(value[1])
