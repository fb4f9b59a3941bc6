"""Chains that live through parameter updates: population annealing, PCD, and the table of the posterior's chains."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import special

import reference
from machines import as_rbm
from samplers import pcd, population_annealing
from samplers.persistent_chains import ChainTable, PersistentState, initial_state, number_chains
from samplers.rbm import RBM

STEPS = {"pa": population_annealing.step, "pcd": pcd.step}
every_step = pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)


def left_counts(left):
    return np.bincount(reference.state_number(left), minlength=2 ** left.shape[-1])


def exact_population(machine, num_chains, log_z):
    """Independent exact samples, left at the parameters of `machine`."""
    p = reference.p_left(machine)
    left = reference.all_states(len(machine[0]))[np.random.default_rng(0).choice(len(p), size=num_chains, p=p)]
    return state_at(machine, left, log_z)


def state_at(machine, left, log_z):
    left = tf.constant(left, tf.float32)
    return PersistentState(left, as_rbm(machine), tf.constant(log_z, tf.float64), number_chains(left))


def test_initial_state_is_exact_at_zero_parameters():
    """False-failure rate 1e-5; a probability of 0.52 for a unit is noticed with a probability above 0.99."""
    num_chains = 100_000
    state = initial_state(as_rbm(reference.machine(0, 3, 2)), num_chains=num_chains, seed=tf.constant([1, 2]))
    for parameter, shape in zip(state.rbm, ([3], [2], [3, 2]), strict=True):
        np.testing.assert_array_equal(parameter, np.zeros(shape))
    np.testing.assert_allclose(state.log_z, 5 * np.log(2), rtol=1e-14)
    assert (state.log_z.dtype, state.left.dtype) == (tf.float64, tf.float32)
    assert reference.chi_squared_p_value(left_counts(state.left), np.full(8, 1 / 8)) > 1e-5
    wrong = np.repeat([0.48, 0.52], 4) / 4
    assert reference.chi_squared_power(num_chains, np.full(8, 1 / 8), wrong, 1e-5) > 0.99


@every_step
def test_log_z_grows_by_the_log_mean_weight(step):
    old, new = reference.machine(0, 3, 4), reference.machine(1, 3, 4)
    state = exact_population(old, 50, log_z=2.5)
    after, info = step(as_rbm(new), state, tf.constant([0, 0]), num_sweeps=2)
    log_weights = np.array([reference.free_energy(old, s) - reference.free_energy(new, s) for s in state.left.numpy()])
    assert after.log_z.dtype == tf.float64
    np.testing.assert_allclose(after.log_z, 2.5 + np.log(np.mean(np.exp(log_weights))), rtol=1e-6)
    weights = special.softmax(log_weights)
    np.testing.assert_allclose(info.effective_sample_size, 1 / np.sum(weights**2), rtol=1e-5)
    for kept, given in zip(after.rbm, new, strict=True):
        np.testing.assert_allclose(kept, given, rtol=1e-6)


@every_step
def test_unchanged_parameters_change_nothing_but_the_states(step):
    """Exact samples stay exact samples. False-failure rate 1e-5; a sweep of another machine is noticed."""
    machine, num_chains = reference.machine(5, 3, 3), 20_000
    state = exact_population(machine, num_chains, log_z=1.75)
    after, info = step(as_rbm(machine), state, tf.constant([1, 0]), num_sweeps=3)
    assert float(after.log_z) == 1.75
    np.testing.assert_allclose(info.effective_sample_size, num_chains, rtol=1e-9)
    assert np.mean(np.any(after.left != state.left, axis=-1)) > 0.5
    p = reference.p_left(machine)
    assert reference.chi_squared_p_value(left_counts(after.left), p) > 1e-5
    other = reference.p_left((machine[0] + 0.1, *machine[1:]))
    assert reference.chi_squared_power(num_chains, p, other, 1e-5) > 0.99


def two_modes(tilt):
    """1 + 1 units that are on together or off together; sweeps cannot cross. P(on) = sigma(tilt)."""
    return np.array([-20.0]), np.array([-20.0 + tilt]), np.array([[40.0]])


@every_step
def test_only_population_annealing_moves_weight_between_modes(step):
    """Without chance: log Z is exact for both; the population follows the weights, persistent chains stay."""
    left = np.repeat([0.0, 1.0], 500)[:, None]  # p(left) of no tilt
    log_z = reference.log_z(two_modes(0.0))
    state = state_at(two_modes(0.0), left, log_z)
    after, _ = step(as_rbm(two_modes(1.0)), state, tf.constant([0, 0]), num_sweeps=5)
    np.testing.assert_allclose(after.log_z, reference.log_z(two_modes(1.0)), atol=1e-5)
    wanted = 1000 / (1 + np.exp(-1.0)) if step is population_annealing.step else 500
    assert abs(np.sum(after.left) - wanted) < 1


@every_step
def test_sweeps_at_the_new_parameters(step):
    """Without chance: in the new machine a unit that is on infects its neighbour in every sweep, else all is off."""
    weights = 80 * (np.eye(9) + np.eye(9, k=1))
    infection = as_rbm((np.full(9, -40.0), np.full(9, -40.0), weights))
    state = initial_state(infection, num_chains=1, seed=tf.constant([0, 0]))._replace(left=tf.eye(1, 9))
    for num_sweeps in (1, 4):
        after, _ = step(infection, state, tf.constant([0, 0]), num_sweeps=num_sweeps)
        np.testing.assert_array_equal(after.left[0], np.arange(9) <= num_sweeps)


@every_step
def test_slow_drift_is_tracked(step):
    """From zero to a 3+3 machine in 400 steps of 2 sweeps, 4096 chains, inside a `tf.function`.

    Over 40 seeds the error of log Z at the end had a standard deviation of 7e-4, and for PCD, which lags, a mean of
    -3e-4: 0.0045 is 6 deviations. Chains that far from their start count as independent in the chi-squared test (the
    variances of the counts were 0.9 to 1.0 times the multinomial ones); its false-failure rate is 1e-5, and a
    population one sixth of the way back is noticed with a probability above 0.99.
    """
    machine, num_steps, num_chains = reference.machine(3, 3, 3), 400, 4096
    rbm = as_rbm(machine)
    take_step = tf.function(lambda rbm, state, seed: step(rbm, state, seed, num_sweeps=2)[0])
    state = initial_state(rbm, num_chains=num_chains, seed=tf.constant([1, 1]))
    for number in range(1, num_steps + 1):
        state = take_step(
            RBM(*(parameter * (number / num_steps) for parameter in rbm)), state, tf.constant([number, 7])
        )
    assert abs(float(state.log_z) - reference.log_z(machine)) < 0.0045
    p, late = reference.p_left(machine), reference.p_left(tuple(parameter * 5 / 6 for parameter in machine))
    assert reference.chi_squared_p_value(left_counts(state.left), p) > 1e-5
    assert reference.chi_squared_power(num_chains, p, late, 1e-5) > 0.99


@every_step
def test_state_does_not_follow_variables(step):
    """The parameters that chains were left at are values: a variable that is updated in place must not change them."""
    old, new = reference.machine(0, 3, 4), reference.machine(1, 3, 4)
    variables = RBM(*(tf.Variable(parameter, dtype=tf.float32) for parameter in old))
    state, _ = step(variables, exact_population(old, 50, log_z=2.5), tf.constant([0, 0]), num_sweeps=1)
    for variable, parameter in zip(variables, new, strict=True):
        variable.assign(parameter)
    for kept, given in zip(state.rbm, old, strict=True):
        np.testing.assert_allclose(kept, given, rtol=1e-6)


# The table.

TABLE = {"num_examples": 10, "num_chains": 3, "num_units": 4, "seed": (5, 6)}


def random_bits(*shape):
    return np.random.default_rng(0).integers(0, 2, shape).astype(np.float32)


def test_table_starts_as_fair_coins():
    table = ChainTable(num_examples=1000, num_chains=10, num_units=10, seed=(0, 1))
    bits = table.read(tf.range(1000))
    assert (bits.shape, bits.dtype) == ([10, 1000, 10], tf.float32)
    assert set(np.unique(bits)) == {0, 1}
    assert abs(np.mean(bits) - 0.5) < 5 * 0.5 / np.sqrt(100_000)  # false-failure rate 6e-7


def test_table_read_after_write_and_other_examples_untouched():
    table, index = ChainTable(**TABLE), tf.constant([7, 0, 4])
    before, left = table.read(tf.range(10)).numpy(), random_bits(3, 3, 4)  # [K, B, N]
    table.store(index, table.packed(tf.constant(left)))
    np.testing.assert_array_equal(table.read(index), left)
    others = [i for i in range(10) if i not in (7, 0, 4)]
    np.testing.assert_array_equal(table.read(tf.range(10)).numpy()[:, others], before[:, others])


@pytest.mark.parametrize("num_units", [4, 8, 21])
def test_table_layout(num_units):
    """Chain k of example b is row [b, k] of the table, a bit a unit, whichever order examples are asked in."""
    table = ChainTable(**TABLE | {"num_units": num_units})
    table.store(tf.constant([9, 2]), table.packed(tf.constant(random_bits(3, 2, num_units))))
    stored = np.unpackbits(table.table.numpy(), axis=-1, bitorder="little")[..., :num_units]
    read = table.read(tf.constant([5, 9, 2])).numpy()
    assert read.shape == (3, 3, num_units)
    np.testing.assert_array_equal(read[:, 1:], random_bits(3, 2, num_units))
    for k, (position, example) in itertools.product(range(3), enumerate([5, 9, 2])):
        np.testing.assert_array_equal(read[k, position], stored[example, k])


def test_table_is_small():
    """The published data and K = 25: a bit a unit, rounded up to a byte for each chain."""
    table = ChainTable(num_examples=500, num_chains=25, num_units=100, seed=(0, 1)).table
    assert 100 * table.numpy().nbytes == 50_000 * 25 * 13


def test_table_works_in_a_function():
    table, index, left = ChainTable(**TABLE), tf.constant([1, 2]), random_bits(3, 2, 4)

    @tf.function
    def flip(index):
        table.store(index, table.packed(1 - table.read(index)))

    table.store(index, table.packed(tf.constant(left)))
    flip(index)
    np.testing.assert_array_equal(table.read(index), 1 - left)


def test_table_checkpoint_round_trip(tmp_path):
    table = ChainTable(**TABLE)
    table.store(tf.range(10), table.packed(tf.constant(random_bits(3, 10, 4))))
    path = tf.train.Checkpoint(chains=table).save(str(tmp_path / "checkpoint"))
    restored = ChainTable(**{**TABLE, "seed": (8, 8)})
    assert np.any(restored.table.numpy() != table.table.numpy())
    tf.train.Checkpoint(chains=restored).restore(path).assert_consumed()
    np.testing.assert_array_equal(restored.table, table.table)
    assert table.trainable_variables == ()
