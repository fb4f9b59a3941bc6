"""Importance weights: their mean, its standard error, the effective sample size, and resampling."""

from __future__ import annotations

import tensorflow as tf

from samplers import random
from samplers.tracing import plain

FEWEST = 10.0  # effective weights, of which an error can be known
_LARGEST_RATIO = 8.0  # of weights to effective ones


@plain
def log_mean_exp(log_weights: tf.Tensor, axis: int) -> tf.Tensor:
    """`log(mean(exp(log_weights)))` along `axis`."""
    count = tf.cast(tf.shape(log_weights)[axis], log_weights.dtype)
    return tf.reduce_logsumexp(log_weights, axis=axis) - tf.math.log(count)


@plain
def log_mean_exp_standard_error(log_weights: tf.Tensor, axis: int) -> tf.Tensor:
    """Standard error of `log_mean_exp` of independent weights; infinite where they cannot tell (`is_known`).

    By the delta method, `std(w) / (mean(w) sqrt(n))`, which cannot exceed 1, whatever is missing: when a single weight
    is all of the mean, it says 1.
    """
    count = tf.cast(tf.shape(log_weights)[axis], log_weights.dtype)
    relative = tf.exp(log_weights - tf.expand_dims(log_mean_exp(log_weights, axis), axis))  # mean 1
    variance = tf.reduce_sum(tf.square(relative - 1), axis) / tf.maximum(count - 1, 1)
    return known_or_infinite(tf.sqrt(variance / count), effective_sample_size(log_weights, axis), count)


@plain
def effective_sample_size(log_weights: tf.Tensor, axis: int) -> tf.Tensor:
    """`(sum w)^2 / sum w^2` along `axis`, from 1 to the number of weights. [Kong 1992]"""
    return tf.exp(2 * tf.reduce_logsumexp(log_weights, axis) - tf.reduce_logsumexp(2 * log_weights, axis))


def is_known(effective_sample_size: tf.Tensor, num_weights: tf.Tensor | int) -> tf.Tensor:
    """Whether the spread of weights tells the error of their mean: at least 10 effective ones, and an eighth of all.

    Where fewer carry the mean, the tail of the weights' distribution has hardly been seen, and mean and spread are both
    too small, often by far. (Of 2,880 estimates of log Z by AIS, of random 14+14 machines with few temperatures, 704
    were off by more than four errors; of the 893 with an effective sample size of 10, 30; of the 696 with one of an
    eighth of the chains besides, 13: modes that no chain had found, see `samplers.two_bases.from_two_bases`.)
    """
    size = effective_sample_size
    count = tf.cast(num_weights, size.dtype)
    # Rounding puts the size of equal weights on either side of their number.
    return size >= (1 - 1e-4) * tf.maximum(count / _LARGEST_RATIO, FEWEST)


def known_or_infinite(error: tf.Tensor, effective_sample_size: tf.Tensor, num_weights: tf.Tensor | int) -> tf.Tensor:
    """A standard error, infinite where it is not known (`is_known`)."""
    return tf.where(is_known(effective_sample_size, num_weights), error, tf.constant(float("inf"), error.dtype))


@plain
def resample(log_weights: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Systematic resampling: as many ancestors as weights, each `floor` or `ceil` of `n w_i / sum w` times.

    Ancestor j is the first i with `(j + u) / n < (w_1 + ... + w_i) / sum w`, one `u ~ U(0, 1)` for each batch member.
    (TFP's `resample_systematic` needs the number of particles when the graph is built; an exported sampler learns it
    when it is called.)

    Args:
      log_weights: `[n, *batch]`, need not be normalised.
      seed: int32 `[2]`.

    Returns:
      Ancestors' indices in ascending order, int32 `[n, *batch]`.
    """
    shape = tf.shape(log_weights)
    num, log_weights = shape[0], tf.transpose(tf.reshape(log_weights, [shape[0], -1]))  # [batch, n]
    cumulative = tf.cumsum(tf.nn.softmax(tf.cast(log_weights, tf.float64), axis=-1), axis=-1)
    cumulative /= cumulative[:, -1:]  # exactly 1 at the end, whatever the rounding
    offset = random.uniform([tf.shape(cumulative)[0], 1], seed, tf.float64)
    # How many of the n points lie below each step of the cumulative sum; ancestor j counts the steps at or below j.
    points_below = tf.cast(tf.math.ceil(tf.cast(num, tf.float64) * cumulative - offset), tf.int32)  # in 0..n
    rows = tf.range(tf.shape(cumulative)[0])[:, None] * (num + 1)
    steps = tf.math.unsorted_segment_sum(
        tf.ones([tf.size(points_below)], tf.int32),
        tf.reshape(points_below + rows, [-1]),
        tf.size(points_below) + tf.shape(cumulative)[0],
    )
    ancestors = tf.cumsum(tf.reshape(steps, [-1, num + 1])[:, :num], axis=-1)
    return tf.reshape(tf.transpose(ancestors), shape)


@plain
def descendants(states: tf.Tensor, ancestors: tf.Tensor) -> tf.Tensor:
    """`states [n, *batch, ...]` of the chosen `ancestors [m, *batch]` (see `resample`), `[m, *batch, ...]`."""
    order = [*range(1, ancestors.shape.rank), 0]
    rest = [*range(ancestors.shape.rank, states.shape.rank)]
    chosen = tf.gather(
        tf.transpose(states, order + rest), tf.transpose(ancestors, order), batch_dims=ancestors.shape.rank - 1
    )
    return tf.transpose(chosen, [ancestors.shape.rank - 1, *range(ancestors.shape.rank - 1), *rest])
