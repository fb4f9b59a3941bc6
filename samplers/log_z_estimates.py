"""log Z by annealing, for those who want a number: to a wanted error, from both sides, or of many machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from samplers import annealed_importance, random
from samplers.annealing_path import Base
from samplers.rbm import RBM


class LogZ(NamedTuple):
    """An estimate of log Z.

    Attributes:
      log_z: nats, float64 `[*batch]`.
      standard_error: of `log_z`, nats, float64 `[*batch]`.
    """

    log_z: tf.Tensor
    standard_error: tf.Tensor


class RefinedLogZ(NamedTuple):
    """Attributes: `estimate` of the last round; its `num_temperatures`; `is_reached`, whether it is as wanted."""

    estimate: LogZ
    num_temperatures: int
    is_reached: bool


def refine(
    estimate: Callable[[int, tf.Tensor], LogZ],
    *,
    standard_error: float,
    seed: tf.Tensor,
    first_temperatures: int = 250,
    most_temperatures: int = 1_000_000,
) -> RefinedLogZ:
    """Doubles the number of temperatures until log Z is known to `standard_error`.

    Two things must hold, since a run that has missed a mode reports a small error: the standard error is as wanted
    (of the worst machine), and the estimate agrees with that of the round before within 3 of their joint standard
    errors. Rounds draw independent random numbers; the last round alone is the estimate.

    Args:
      estimate: from the number of temperatures and an int32 `[2]` seed.
      standard_error: wanted, nats, above 0.
      seed: int32 `[2]`.
      first_temperatures: of the first round.
      most_temperatures: of the last round, whatever its error.
    """
    if not standard_error > 0:
        raise ValueError(f"standard_error = {standard_error}: must be above 0")
    num_temperatures, previous = min(first_temperatures, most_temperatures), None
    while True:
        current = estimate(num_temperatures, random.fold_in(seed, num_temperatures))
        is_reached = bool(tf.reduce_all(current.standard_error <= standard_error)) and _agree(previous, current)
        if is_reached or num_temperatures == most_temperatures:
            return RefinedLogZ(current, num_temperatures, is_reached)
        previous, num_temperatures = current, min(2 * num_temperatures, most_temperatures)


def _agree(previous: LogZ | None, current: LogZ) -> bool:
    if previous is None:
        return False
    joint_error = tf.sqrt(previous.standard_error**2 + current.standard_error**2)
    return bool(tf.reduce_all(tf.abs(previous.log_z - current.log_z) <= 3 * joint_error))


class Bracket(NamedTuple):
    """Attributes: `lower` and `upper`, estimates of bounds of log Z, with the standard errors of these estimates."""

    lower: LogZ
    upper: LogZ


def bracket(
    rbm: RBM, base: Base, left: tf.Tensor, *, betas: tf.Tensor, num_chains: tf.Tensor | int, seed: tf.Tensor
) -> Bracket:
    """log Z from both sides: AIS from the base, and reverse AIS from samples of the machine.

        E[log w] <= log Z <= -E[log w_reverse],   estimated by means over chains

    The bounds are those of single chains, each the log of an unbiased estimate. They lie apart by about the variance of
    the log-weights, so the width tells how good the annealing was. The logs of the *mean* weights, which `sample` and
    `reverse` give as log_z, are the better estimates; but as bounds they are worthless for many chains, being as often
    on one side of log Z as on the other.

    Args:
      rbm: a machine or a batch of machines.
      base: where the path starts and ends.
      left: exact samples of `p(left)`, `[chains, *batch, N]` (`samplers.log_partition.exact_sample`, or chains that
        are known to have mixed: the upper side is as good as they are).
      betas: inverse temperatures from 0 to 1, float64 `[T + 1]`.
      num_chains: of the forward runs.
      seed: int32 `[2]`.

    References:
      Grosse, Ghahramani & Adams, Sandwiching the marginal likelihood using bidirectional Monte Carlo, 2015.
    """
    forward_seed, reverse_seed = random.split(seed, 2)
    forward = annealed_importance.sample(rbm, base, betas=betas, num_chains=num_chains, seed=forward_seed)
    backward = annealed_importance.reverse(rbm, base, left, betas=betas, seed=reverse_seed)
    return Bracket(_mean(forward.log_weights), _mean(-backward.log_weights))


def _mean(values: tf.Tensor) -> LogZ:
    """Over chains, with its standard error."""
    count = tf.cast(tf.shape(values)[0], values.dtype)
    spread = tf.math.reduce_std(values, axis=0) * tf.sqrt(count / (count - 1))
    return LogZ(tf.reduce_mean(values, axis=0), spread / tf.sqrt(count))


@tf.function
def estimate_many(
    rbm: RBM,
    base: Base,
    *,
    betas: tf.Tensor,
    num_chains: tf.Tensor | int,
    seed: tf.Tensor,
    machines_at_once: tf.Tensor | int,
) -> LogZ:
    """log Z by AIS of any number of machines, a few at a time: memory is that of `machines_at_once`.

    Args:
      rbm: `[machines]` of them.
      base: where each path starts.
      betas: inverse temperatures from 0 to 1, float64 `[T + 1]`.
      num_chains: for each machine.
      seed: int32 `[2]`.
      machines_at_once: annealed together.

    Returns:
      Estimates, each `[machines]`.
    """
    num_machines = tf.shape(rbm.weights)[0]
    results = tuple(
        tf.TensorArray(tf.float64, size=0, dynamic_size=True, infer_shape=False, element_shape=[None]) for _ in range(2)
    )
    block = tf.constant(0)
    while block * machines_at_once < num_machines:
        part = slice(block * machines_at_once, (block + 1) * machines_at_once)
        annealed = annealed_importance.sample(
            RBM(*(p[part] for p in rbm)),
            Base(*(p[part] for p in base)),
            betas=betas,
            num_chains=num_chains,
            seed=random.fold_in(seed, block),
        )
        estimates = annealed.log_z, annealed.standard_error
        results = tuple(array.write(block, value) for array, value in zip(results, estimates, strict=True))
        block += 1
    return LogZ(*(array.concat() for array in results))
