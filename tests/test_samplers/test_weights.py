"""Means, errors and resampling of importance weights, at ordinary weights and at the boundaries."""

import collections
import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import reference
from samplers.weights import descendants, effective_sample_size, log_mean_exp, log_mean_exp_standard_error, resample

INF = float("inf")


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4])
def test_summaries_match_numpy(shift, axis):
    """The common factor of all weights, up to exp(10,000), moves the log of the mean and nothing else."""
    log_weights = np.random.default_rng(0).normal(scale=0.5, size=[31, 37])
    log_weights[2, 3] = -INF
    shifted, weights = tf.constant(log_weights + shift), np.exp(log_weights)
    n, mean = weights.shape[axis], weights.mean(axis)
    np.testing.assert_allclose(log_mean_exp(shifted, axis), np.log(mean) + shift, rtol=1e-12)
    np.testing.assert_allclose(
        log_mean_exp_standard_error(shifted, axis), weights.std(axis, ddof=1) / (mean * math.sqrt(n)), rtol=1e-10
    )
    np.testing.assert_allclose(
        effective_sample_size(shifted, axis), weights.sum(axis) ** 2 / (weights**2).sum(axis), rtol=1e-10
    )


def test_summaries_of_equal_weights_and_of_one_that_dominates():
    equal, one = tf.fill([10], tf.constant(-1e4, tf.float64)), tf.constant([0.0] + 9 * [-INF], tf.float64)
    assert [float(f(equal, 0)) for f in (log_mean_exp, log_mean_exp_standard_error)] == [-1e4, 0]
    np.testing.assert_allclose([effective_sample_size(equal, 0), effective_sample_size(one, 0)], [10, 1], rtol=1e-10)
    np.testing.assert_allclose(log_mean_exp(one, 0), -math.log(10))
    assert float(log_mean_exp_standard_error(one, 0)) == INF  # the delta method says 1
    assert float(log_mean_exp_standard_error(equal[:9], 0)) == INF


def test_an_error_is_known_where_enough_weights_carry_the_mean():
    """At least 10, and an eighth of them: m weights of 1 among zeros have an effective size of m."""
    for num, carrying in ((100, 10), (100, 9), (800, 100), (800, 99), (1, 1), (10, 10), (11, 10), (9, 9)):
        log_weights = tf.constant(carrying * [0.0] + (num - carrying) * [-INF], tf.float64)
        error = float(log_mean_exp_standard_error(log_weights, 0))
        weights = np.exp(log_weights)
        assert np.isfinite(error) == (carrying >= max(10, num / 8)), (num, carrying)
        if np.isfinite(error):
            np.testing.assert_allclose(error, weights.std(ddof=1) / weights.mean() / math.sqrt(num), atol=1e-12)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_resample_matches_the_loop(dtype, batch):
    log_weights = np.random.default_rng(1).normal(scale=1.5, size=[50, *batch])
    ancestors = resample(tf.constant(log_weights, dtype), [5, 6])
    assert (ancestors.shape, ancestors.dtype) == (log_weights.shape, tf.int32)
    num_members = math.prod(batch)
    offsets = reference.uniform((num_members, 1), [5, 6], double=True)
    columns = np.exp(log_weights).reshape(50, num_members), ancestors.numpy().reshape(50, num_members)
    for weights, actual, [offset] in zip(*(column.T for column in columns), offsets, strict=True):
        np.testing.assert_array_equal(actual, reference.systematic_resampling(weights, offset))


def test_resample_counts_are_the_two_integers_next_to_n_times_weight():
    for number in range(20):
        log_weights = np.random.default_rng(number).normal(scale=3.0, size=100)
        counts = np.bincount(resample(tf.constant(log_weights), [number, 0]), minlength=100)
        share = 100 * np.exp(log_weights) / np.exp(log_weights).sum()
        assert np.all((counts == np.floor(share)) | (counts == np.ceil(share)))


def test_resample_equal_weights_is_the_identity():
    for number in range(20):
        np.testing.assert_array_equal(resample(tf.fill([37], -3e3), [number, 0]), np.arange(37))


@pytest.mark.parametrize("winner", [0, 17, 36])
def test_resample_one_weight_dominating(winner):
    log_weights = np.full(37, -1e4)
    log_weights[winner] = 1e4
    np.testing.assert_array_equal(resample(tf.constant(log_weights), [0, 0]), np.full(37, winner))


def test_resample_never_chooses_a_weight_of_zero():
    """First, last and inner weights are 0, so boundaries of the cumulative sum coincide; 1000 offsets at once."""
    log_weights = np.tile([-INF, 0, -INF, -INF, 0, 0, -INF], [1000, 1]).T  # [n, offsets]
    assert set(np.unique(resample(tf.constant(log_weights), [0, 0]))) == {1, 4, 5}


def test_resample_float32_weights_whose_sum_rounds_below_one():
    """Points above a cumulative sum that ends below 1 must not give an ancestor out of range."""
    num = 100_000
    log_weights = 4 * tf.random.stateless_normal([num], [0, 0])
    assert tf.cumsum(tf.nn.softmax(log_weights))[-1] < 1 - 2 / num  # the precondition: below the last points
    for number in range(3):
        ancestors = resample(log_weights, [number, 0]).numpy()
        assert ancestors.max() < num
        [[offset]] = reference.uniform((1, 1), [number, 0], double=True)
        weights = np.exp(log_weights.numpy().astype(np.float64))
        np.testing.assert_array_equal(ancestors, reference.systematic_resampling(weights, offset))


def test_resample_a_single_weight():
    np.testing.assert_array_equal(resample(tf.constant([-7.0]), [0, 0]), [0])


def test_resample_draws_counts_as_tensorflow_probability_does():
    """Two-sample chi-squared of the vectors of counts over 20,000 offsets each, and both against the mean n w.

    False-failure rate 1e-4. Power: offsets from U(0, 0.97) would be noticed with a probability above 0.999.
    """
    weights = np.array([0.05, 0.31, 0.22, 0.36, 0.06])
    num_draws = 20_000
    log_weights = tf.constant(np.tile(np.log(weights)[:, None], [1, num_draws]))  # [n, offsets]
    ours = resample(log_weights, [1, 0])
    theirs = tfp.experimental.mcmc.resample_systematic(log_weights, 5, [], seed=[2, 0])
    vectors = [[tuple(np.bincount(column, minlength=5)) for column in np.transpose(draws)] for draws in (ours, theirs)]
    frequencies = [collections.Counter(draws) for draws in vectors]
    assert frequencies[0].keys() == frequencies[1].keys()
    table = [[frequency[vector] for vector in frequencies[0]] for frequency in frequencies]
    assert stats.chi2_contingency(table).pvalue > 5e-5
    z = reference.z_score(np.array(vectors[0], float), 5 * weights)
    assert np.max(np.abs(z)) < reference.z_limit(5e-5, num_comparisons=5)


@pytest.mark.parametrize("batch", [(), (3,), (3, 2)], ids=str)
@pytest.mark.parametrize("units", [(), (4,)], ids=["numbers", "states"])
def test_descendants_are_those_of_each_batch_member(batch, units):
    """More and fewer ancestors than states, in any order; against a loop."""
    rng = np.random.default_rng(0)
    states = rng.normal(size=[5, *batch, *units])
    for count in (2, 5, 9):
        ancestors = rng.integers(0, 5, [count, *batch])
        wanted = np.array([[states[(ancestors[(j, *k)], *k)] for k in np.ndindex(*batch)] for j in range(count)])
        chosen = descendants(tf.constant(states), tf.constant(ancestors, tf.int32))
        np.testing.assert_array_equal(chosen, wanted.reshape([count, *batch, *units]))
