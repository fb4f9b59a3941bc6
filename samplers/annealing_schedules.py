"""Inverse temperatures `0 = beta_0 < ... < beta_T = 1` for AIS and population annealing, float64 `[T + 1]`."""

from __future__ import annotations

import tensorflow as tf

from samplers import gibbs, random
from samplers.annealing_path import Base, Path
from samplers.arguments import check_betas, check_count, check_number
from samplers.rbm import RBM
from samplers.tracing import plain
from samplers.weights import effective_sample_size, resample

_BISECTIONS = 30


@plain
def linear_betas(num_temperatures: tf.Tensor | int) -> tf.Tensor:
    """Equally spaced; `num_temperatures`, T, is at least 1.

    Raises:
      ValueError: T is less.
    """
    check_count("num_temperatures", num_temperatures)
    return tf.cast(tf.range(num_temperatures + 1), tf.float64) / tf.cast(num_temperatures, tf.float64)


def geometric_betas(num_temperatures: tf.Tensor | int, *, first: float) -> tf.Tensor:
    """0, then a constant ratio between neighbours from `first` to 1: most temperatures where beta is small.

    Args:
      num_temperatures: T, at least 2.
      first: `beta_1`, in (0, 1).

    Raises:
      ValueError: one of them is out of range.
    """
    check_count("num_temperatures", num_temperatures, least=2)
    check_number("first", first, above=0.0, below=1.0)
    exponents = tf.cast(tf.range(num_temperatures - 1, -1, -1), tf.float64) / tf.cast(num_temperatures - 1, tf.float64)
    return tf.concat([tf.zeros([1], tf.float64), tf.constant(first, tf.float64) ** exponents], axis=0)


def adaptive_betas(
    rbm: RBM, base: Base, *, ess_fraction: float, num_particles: int, seed: tf.Tensor, most_temperatures: int = 100_000
) -> tf.Tensor:
    """The temperatures of a pilot run whose every increment has the same effective sample size.

    A population is annealed; each next temperature is the one at which the weights `f_new / f_old` of the particles
    have an effective sample size of `ess_fraction * num_particles` (in a batch, of the worst machine). So the steps
    are equal in the distance that matters: the variance of the increments of log Z.

    The pilot chooses the temperatures only. An estimate of Z must come from a run of its own with the temperatures
    fixed: one whose temperatures depend on its own particles is biased.

    Args:
      rbm: a machine or a batch of machines, which get common temperatures.
      base: where the path starts.
      ess_fraction: in (0, 1); 1 - 1/n gives increments whose relative weights have a variance of about 1 / (n - 1).
      num_particles: of the pilot, for each machine; at least 2.
      seed: int32 `[2]`.
      most_temperatures: where to give up; at least 1.

    Raises:
      ValueError: an argument is out of range, or more than `most_temperatures` would be needed.

    References:
      Zhou, Johansen & Aston, Toward automatic model comparison, J. Comput. Graph. Stat. 2016.
    """
    check_number("ess_fraction", ess_fraction, above=0.0, below=1.0)
    check_count("num_particles", num_particles, least=2)
    check_count("most_temperatures", most_temperatures)
    base = base.fitting(rbm)
    base_seed, anneal_seed = random.split(seed, 2)
    path = Path.between(base, rbm)
    left = base.sample_left(num_particles, base_seed)
    beta, ess_fraction = tf.constant(0.0, tf.float64), tf.constant(ess_fraction, tf.float64)
    betas = [0.0]
    while betas[-1] < 1:
        if len(betas) > most_temperatures:
            raise ValueError(f"ess_fraction = {ess_fraction}: more than {most_temperatures} temperatures are needed")
        left, beta = _advance(path, left, beta, ess_fraction, gibbs.sweep_seed(anneal_seed, len(betas)))
        betas.append(float(beta))
    return tf.constant(betas, tf.float64)


@tf.function(jit_compile=True)
def _advance(path: Path, left: tf.Tensor, old: tf.Tensor, ess_fraction: tf.Tensor, seed: tf.Tensor):
    """The population at the next temperature, and that temperature."""
    left, right_input, _ = path.enter(left)
    old = tf.cast(old, left.dtype)
    wanted = ess_fraction * tf.cast(tf.shape(left)[-1], tf.float64)

    def too_far(beta):
        log_weights = path.log_ratio(old, beta, left, right_input)
        return tf.reduce_min(effective_sample_size(log_weights, axis=-1)) < wanted

    below, above = old, tf.ones_like(old)
    for _ in tf.range(_BISECTIONS):
        middle = (below + above) / 2
        is_too_far = too_far(middle)
        below, above = tf.where(is_too_far, below, middle), tf.where(is_too_far, middle, above)
    beta = tf.where(too_far(tf.ones_like(old)), above, 1)
    log_weights = path.log_ratio(old, beta, left, right_input)
    resample_seed, sweep_seed = random.split(seed, 2)
    ancestors = gibbs.to_columns(resample(gibbs.from_columns(log_weights), resample_seed))
    right_input = gibbs.gather_chains(right_input, ancestors[..., None, :])
    left, _ = path.at(beta).sweep(right_input, beta, sweep_seed)
    return gibbs.from_columns(left), tf.cast(beta, tf.float64)


def stretched(betas: tf.Tensor, num_temperatures: tf.Tensor | int) -> tf.Tensor:
    """The same schedule with another number of temperatures: its curve read at more or fewer points.

    The curve is piecewise linear, one unit of time for each of its steps; the last one, which the end at 1 may have
    cut short, takes the time that its size is of the step before.

    Raises:
      ValueError: `betas` do not rise from 0 to 1, or there are no temperatures.
    """
    betas = check_betas(betas)
    check_count("num_temperatures", num_temperatures)
    steps = betas[1:] - betas[:-1]
    last = tf.minimum(steps[-1] / steps[tf.maximum(tf.shape(steps)[0] - 2, 0)], 1)
    whole = tf.cast(tf.shape(steps)[0] - 1, tf.float64)
    time = linear_betas(num_temperatures) * (whole + last)
    number = tf.minimum(tf.floor(time), whole)
    length = tf.where(number == whole, last, 1)
    number, fraction = tf.cast(number, tf.int32), (time - number) / length
    return tf.gather(betas, number) + tf.minimum(fraction, 1) * tf.gather(steps, number)
