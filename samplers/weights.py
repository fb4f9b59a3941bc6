"""Importance weights: their mean, its standard error, the effective sample size, and resampling."""

from __future__ import annotations

import tensorflow as tf

from samplers import random


def log_mean_exp(log_weights: tf.Tensor, axis: int) -> tf.Tensor:
    """`log(mean(exp(log_weights)))` along `axis`."""
    count = tf.cast(tf.shape(log_weights)[axis], log_weights.dtype)
    return tf.reduce_logsumexp(log_weights, axis=axis) - tf.math.log(count)


def log_mean_exp_standard_error(log_weights: tf.Tensor, axis: int) -> tf.Tensor:
    """Standard error of `log_mean_exp` of independent weights, by the delta method: `std(w) / (mean(w) sqrt(n))`."""
    count = tf.cast(tf.shape(log_weights)[axis], log_weights.dtype)
    relative = tf.exp(log_weights - tf.expand_dims(log_mean_exp(log_weights, axis), axis))  # mean 1
    variance = tf.reduce_sum(tf.square(relative - 1), axis) / tf.maximum(count - 1, 1)
    return tf.sqrt(variance / count)


def effective_sample_size(log_weights: tf.Tensor, axis: int) -> tf.Tensor:
    """`(sum w)^2 / sum w^2` along `axis`, from 1 to the number of weights. [Kong 1992]"""
    return tf.exp(2 * tf.reduce_logsumexp(log_weights, axis) - tf.reduce_logsumexp(2 * log_weights, axis))


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


def descendants(states: tf.Tensor, ancestors: tf.Tensor) -> tf.Tensor:
    """`states [n, *batch, ...]` of the chosen `ancestors [m, *batch]` (see `resample`), `[m, *batch, ...]`."""
    order = [*range(1, ancestors.shape.rank), 0]
    rest = [*range(ancestors.shape.rank, states.shape.rank)]
    chosen = tf.gather(
        tf.transpose(states, order + rest), tf.transpose(ancestors, order), batch_dims=ancestors.shape.rank - 1
    )
    return tf.transpose(chosen, [ancestors.shape.rank - 1, *range(ancestors.shape.rank - 1), *rest])
