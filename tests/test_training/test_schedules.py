"""The published schedules, at their boundaries."""

import numpy as np
import pytest
import tensorflow as tf

from dvae.training import schedules


@pytest.mark.parametrize("num_steps", [1000, 10_000, 1_000_000])
def test_learning_rate_is_the_published_one(num_steps):
    """Step number s (from 0) trains at base/10 while s < 2 % of all steps, then base, base/3, base/10, base/33."""
    rate = schedules.learning_rate(base=3e-3, num_steps=num_steps)
    published = ((0, 10), (0.02, 1), (0.60, 3), (0.75, 10), (0.95, 33))
    ends = [round(fraction * num_steps) for fraction, _ in published[1:]] + [num_steps]
    for (fraction, divisor), end in zip(published, ends, strict=True):
        first = round(fraction * num_steps)
        for step in (first, first + 1, (first + end) // 2, end - 1):
            np.testing.assert_allclose(rate(tf.constant(step, tf.int64)), 3e-3 / divisor, rtol=1e-6, err_msg=str(step))


def test_entropy_weight_falls_over_the_first_half():
    weight = lambda step: float(schedules.entropy_weight(tf.constant(step, tf.int64), num_steps=1000))  # noqa: E731
    np.testing.assert_allclose([weight(step) for step in (0, 1, 250, 474)], [1, 0.998, 0.5, 0.052], rtol=1e-5)
    np.testing.assert_allclose([weight(step) for step in (475, 500, 999, 10**9)], [0.05] * 4, rtol=1e-6)


def test_kl_weight_rises_linearly_to_one():
    weight = lambda step: float(schedules.kl_weight(tf.constant(step, tf.int64), warmup=0.3, num_steps=1000))  # noqa: E731
    assert weight(0) == 0
    np.testing.assert_allclose([weight(step) for step in (1, 75, 150, 299)], [1 / 300, 0.25, 0.5, 299 / 300], rtol=1e-6)
    assert [weight(step) for step in (300, 301, 999, 10**9)] == [1.0] * 4


@pytest.mark.parametrize("step", [0, 1, 999])
def test_no_warmup_means_full_weight(step):
    assert float(schedules.kl_weight(tf.constant(step, tf.int64), warmup=0.0, num_steps=1000)) == 1


def test_warmup_over_all_of_training():
    assert float(schedules.kl_weight(tf.constant(999, tf.int64), warmup=1.0, num_steps=1000)) == pytest.approx(0.999)
