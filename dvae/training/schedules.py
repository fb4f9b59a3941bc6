"""Schedules: functions of the step, as fractions of a training of `num_steps`."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from dvae.published import ENTROPY_WEIGHT_FRACTION, LEARNING_RATE, LEAST_ENTROPY_WEIGHT


def learning_rate(*, base: float, num_steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """The published piecewise constant rate: base/10 until 2 %, base until 60 %, then base/3, /10 and /33 (95 %)."""
    fractions, divisors = zip(*LEARNING_RATE, strict=True)
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        # Keras changes the rate *after* a boundary.
        boundaries=[math.ceil(fraction * num_steps) - 1 for fraction in fractions[1:]],
        values=[base / divisor for divisor in divisors],
    )


def entropy_weight(step: tf.Tensor, *, num_steps: int) -> tf.Tensor:
    """Of structured prediction: `max(1 - s, 0.05)`, s rising linearly from 0 to 1 over the first half of training."""
    done = tf.cast(step, tf.float32) / (ENTROPY_WEIGHT_FRACTION * num_steps)
    return tf.maximum(1 - done, LEAST_ENTROPY_WEIGHT)


def kl_weight(step: tf.Tensor, *, warmup: float, num_steps: int) -> tf.Tensor:
    """KL annealing: rises linearly from 0 to 1 over the first `warmup` (a fraction) of training; 1 if that is 0."""
    if warmup == 0:
        return tf.constant(1.0)
    return tf.minimum(tf.cast(step, tf.float32) / (warmup * num_steps), 1.0)
