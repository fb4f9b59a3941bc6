"""AIS by locally informed moves, between densities that are no Boltzmann machines: weights and states by enumeration.

The densities have terms of third order, so that the first-order change by a flip is not the exact one. Runs are the
batch dimension. False-failure rate of each test: LEVEL.
"""

import functools

import numpy as np
import pytest
import tensorflow as tf

import reference
from samplers import informed_annealing
from samplers.annealing_path import Schedule
from samplers.annealing_schedules import linear_betas
from samplers.informed_annealing import Densities

UNITS, RUNS, CHAINS, LEVEL = 4, 4000, 20, 1e-5
STATES = reference.all_states(UNITS)
RNG = np.random.default_rng(4)
FIELDS, PAIRS, TRIPLES = (RNG.normal(scale=0.9, size=[2, *[UNITS] * order]) for order in (1, 2, 3))


def log_density(number, z):
    """Of one of two, of states in NumPy or TensorFlow."""
    einsum = tf.einsum if tf.is_tensor(z) else np.einsum
    fields, pairs, triples = (np.asarray(part[number], np.float32) for part in (FIELDS, PAIRS, TRIPLES))
    cubic = einsum("...i,...j,...k,ijk->...", z, z, z, triples)
    return einsum("...i,i->...", z, fields) + einsum("...i,...j,ij->...", z, z, pairs) / 2 + cubic / 6


LOG_F = [np.asarray(log_density(number, STATES), np.float64) for number in (0, 1)]
P = [np.exp(log_f) / np.sum(np.exp(log_f)) for log_f in LOG_F]
RATIO = np.sum(np.exp(LOG_F[1])) / np.sum(np.exp(LOG_F[0]))  # Z_1 / Z_0
PATH = Densities(
    lambda z: log_density(0, z) + 7.0,  # a constant of the start does not matter
    lambda z: log_density(1, z) - log_density(0, z),
)


def exact_draws(number):
    states = np.random.default_rng(number).choice(len(STATES), size=[CHAINS, RUNS], p=P[number])
    return tf.constant(STATES[states], tf.float32)


@functools.cache
def walked(*, is_forward, moves):
    walk = informed_annealing.forward if is_forward else informed_annealing.backward
    schedule = Schedule.of(linear_betas(2), tf.float32)
    start = exact_draws(0 if is_forward else 1)
    function = tf.function(
        lambda z, schedule, seed: walk(PATH, z, schedule=schedule, seed=seed, moves=moves),
        autograph=False,
        jit_compile=True,
    )
    return function(start, schedule, tf.constant([3, moves]))


@pytest.mark.parametrize("moves", [1, 3])
@pytest.mark.parametrize("is_forward", [True, False])
def test_weights_are_unbiased(is_forward, moves):
    """`E[w] = Z_1 / Z_0`, and its inverse in reverse. Power: an error of 5 % is seen with probability above 0.99."""
    weights = np.exp(walked(is_forward=is_forward, moves=moves).log_weights) * (1 / RATIO if is_forward else RATIO)
    of_runs = weights.mean(axis=0)
    limit = reference.z_limit(LEVEL, num_comparisons=1)
    assert abs(reference.z_score(of_runs, 1)) < limit
    assert reference.standard_error(of_runs) * (limit + 2.4) < 0.05


@pytest.mark.parametrize("moves", [1, 3])
def test_weighted_states_are_those_of_the_end(moves):
    """`E[w 1(z)] = Z_1 / Z_0 p_1(z)` of every state; without the weights it does not hold."""
    found = walked(is_forward=True, moves=moves)
    number = reference.state_number(found.z.numpy())
    of_runs = np.mean(np.exp(found.log_weights.numpy())[..., None] / RATIO * np.eye(len(STATES))[number], axis=0)
    scores = reference.z_score(of_runs, P[1])
    limit = reference.z_limit(LEVEL, num_comparisons=len(STATES))
    assert np.max(np.abs(scores)) < limit
    unweighted = reference.z_score(np.mean(np.eye(len(STATES))[number], axis=0), P[1])
    assert np.max(np.abs(unweighted)) > 2 * limit


def test_moves_leave_the_density_invariant_and_get_around():
    """From exact draws, ten moves at a ratio of 0: chi-squared of 80,000 chains.

    Power: moves that are always accepted, or by the densities alone, are noticed.
    """
    flat = Densities(lambda z: log_density(1, z), lambda z: tf.zeros_like(z[..., 0]))
    start = exact_draws(1)
    walk = tf.function(
        lambda schedule, seed: informed_annealing.forward(flat, start, schedule=schedule, moves=10, seed=seed),
        jit_compile=True,
        autograph=False,
    )
    found = walk(Schedule.of(linear_betas(1), tf.float32), tf.constant([1, 2]))
    np.testing.assert_array_equal(found.log_weights, 0)
    number = reference.state_number(found.z.numpy())
    counts = np.bincount(number.ravel(), minlength=len(STATES))
    assert reference.chi_squared_p_value(counts, P[1]) > LEVEL
    moved = np.mean(number != reference.state_number(start.numpy()))
    assert moved > 0.5
    assert 0.1 < np.mean(found.acceptance) < 1
    assert np.mean(found.flips) < UNITS * np.mean(found.acceptance)
