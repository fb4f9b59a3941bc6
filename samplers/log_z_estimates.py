"""log Z by annealing, for those who want a number: to a wanted error, from both sides, or of many machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from samplers import annealed_importance, population_annealing, random
from samplers.annealing_path import Base
from samplers.arguments import check_betas, check_count, check_number, check_seed
from samplers.rbm import RBM


class LogZ(NamedTuple):
    """An estimate of log Z.

    Attributes:
      log_z: nats, float64 `[*batch]`; below log Z in expectation.
      standard_error: of `log_z`, nats, float64 `[*batch]`; infinite where it cannot be known.
      effective_sample_size: of the importance weights, float64 `[*batch]`.
    """

    log_z: tf.Tensor
    standard_error: tf.Tensor
    effective_sample_size: tf.Tensor

    @classmethod
    def of(cls, annealed: annealed_importance.AnnealedSample | population_annealing.AnnealedPopulation) -> LogZ:
        """What an annealing run has found."""
        return cls(annealed.log_z, annealed.standard_error, annealed.effective_sample_size)


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
    (of the worst machine), and the estimate agrees with that of the round before, whose error is known too, within 3 of
    their joint standard errors. Rounds draw independent random numbers; the last round alone is the estimate.

    Rounds along one path can all miss the same mode. Let `estimate` be that of two bases (`samplers.two_bases`).

    Args:
      estimate: from the number of temperatures and an int32 `[2]` seed.
      standard_error: wanted, nats, above 0.
      seed: int32 `[2]`.
      first_temperatures: of the first round, at least 1.
      most_temperatures: of the last round, whatever its error, at least 1.

    Raises:
      ValueError: an argument is out of range.
    """
    check_number("standard_error", standard_error, above=0.0)
    check_count("first_temperatures", first_temperatures)
    check_count("most_temperatures", most_temperatures)
    num_temperatures, previous = min(first_temperatures, most_temperatures), None
    while True:
        current = estimate(num_temperatures, random.fold_in(seed, num_temperatures))
        is_reached = bool(tf.reduce_all(current.standard_error <= standard_error)) and _rounds_agree(previous, current)
        if is_reached or num_temperatures == most_temperatures:
            return RefinedLogZ(current, num_temperatures, is_reached)
        previous, num_temperatures = current, min(2 * num_temperatures, most_temperatures)


def _rounds_agree(previous: LogZ | None, current: LogZ) -> bool:
    if previous is None:
        return False
    joint_error = tf.sqrt(previous.standard_error**2 + current.standard_error**2)
    agrees = tf.math.is_finite(joint_error) & (tf.abs(previous.log_z - current.log_z) <= 3 * joint_error)
    return bool(tf.reduce_all(agrees))


class Bound(NamedTuple):
    """A bound of log Z, the mean of those of single chains.

    Attributes:
      log_z: nats, float64 `[*batch]`.
      standard_error: of the mean, nats, float64 `[*batch]`; NaN for one chain.
    """

    log_z: tf.Tensor
    standard_error: tf.Tensor


class Bracket(NamedTuple):
    """Attributes: `lower` and `upper`, estimates of bounds of log Z."""

    lower: Bound
    upper: Bound


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


def _mean(values: tf.Tensor) -> Bound:
    """Over chains, with its standard error."""
    count = tf.cast(tf.shape(values)[0], values.dtype)
    spread = tf.math.reduce_std(values, axis=0) * tf.sqrt(count / (count - 1))
    return Bound(tf.reduce_mean(values, axis=0), spread / tf.sqrt(count))


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
      machines_at_once: annealed together, at least 1.

    Returns:
      Estimates, each `[machines]`.

    Raises:
      ValueError: an argument is out of range.
    """
    check_count("machines_at_once", machines_at_once)
    check_count("num_chains", num_chains)
    if len(rbm.weights.shape) != 3:
        raise ValueError(f"weights of shape {tuple(rbm.weights.shape)}: must be [machines, N, M]")
    counts = map(tf.convert_to_tensor, (num_chains, machines_at_once))
    return _estimate_many(rbm, base.fitting(rbm), check_betas(betas), *counts, check_seed(seed))


@tf.function
def _estimate_many(  # noqa: PLR0917
    rbm: RBM,
    base: Base,
    betas: tf.Tensor,
    num_chains: tf.Tensor,
    machines_at_once: tf.Tensor,
    seed: tf.Tensor,
) -> LogZ:
    num_machines = tf.shape(rbm.weights)[0]
    results = tuple(
        tf.TensorArray(tf.float64, size=0, dynamic_size=True, infer_shape=False, element_shape=[None])
        for _ in LogZ._fields
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
        results = tuple(array.write(block, value) for array, value in zip(results, LogZ.of(annealed), strict=True))
        block += 1
    return LogZ(*(array.concat() for array in results))
