"""log Z by annealing, for those who want a number: to a wanted error, from both sides, or of many machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from samplers import annealed_importance, gibbs, population_annealing, random
from samplers.annealing_path import Base, means_base, uniform_base
from samplers.arguments import check_betas, check_count, check_number, check_seed
from samplers.rbm import RBM
from samplers.tracing import plain

_PILOTS = 100  # particles of a pilot, at least
_LEAST_MEAN = 0.01  # of a pilot: units that are always the same in 100 particles may be so in most states only
_AGREEMENT, _ROUNDING = 3.0, 1e-3  # joint standard errors and nats within which two estimates agree


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


class TwoBases(NamedTuple):
    """Attributes: estimates from the `first` base, from the machine's own `means`, and of the `pilot`; the verdict.

    The `together` of all is what they say.
    """

    together: LogZ
    first: LogZ
    means: LogZ
    pilot: LogZ


class OwnMeans(NamedTuple):
    """Attributes: the `base`; the `pilot`'s own estimate of log Z, by population annealing from the uniform base."""

    base: Base
    pilot: LogZ


@plain
def from_two_bases(
    rbm: RBM, first: Base, *, betas: tf.Tensor, num_chains: tf.Tensor | int, seed: tf.Tensor
) -> TwoBases:
    """log Z by AIS, half of the chains from a base of choice, the others from the machine's own means.

    What a run has not found it does not know of: with all chains in one of two modes, or on the wrong side of an abrupt
    transition on the path, weights can be even, errors small and log Z nats or tens of nats too low. Another path fails
    at other machines. So the two must agree (`agreement`), and the population that has found the means must not have
    found more. If they do not, the largest estimate is the best one: each lies below log Z in expectation, and above it
    by a nats with a probability of at most `exp(-a)`.

    Args:
      rbm: a machine or a batch of machines.
      first: the base of the first half; `uniform_base` if nothing better is known.
      betas: inverse temperatures from 0 to 1, float64 `[T + 1]`.
      num_chains: of both halves together, at least 2 (20 if the error is to be known).
      seed: int32 `[2]`.

    Raises:
      ValueError: an argument is out of range, or the base does not fit the machine.
    """
    check_count("num_chains", num_chains, least=2)
    pilot_seed, first_seed, second_seed = random.split(seed, 3)
    own = own_means(rbm, betas=betas, num_particles=tf.maximum(num_chains // 8, _PILOTS), seed=pilot_seed)
    halves = ((first, num_chains - num_chains // 2, first_seed), (own.base, num_chains // 2, second_seed))
    one, other = (
        LogZ.of(annealed_importance.sample(rbm, base, betas=betas, num_chains=count, seed=half_seed))
        for base, count, half_seed in halves
    )
    together = agreement(one, other)
    # The pilot has few particles: it confirms nothing, but what it has found is there.
    has_found_more = tf.math.is_finite(own.pilot.standard_error) & (own.pilot.log_z > together.log_z)
    together = _where(has_found_more & ~_agree(own.pilot, together), _larger(own.pilot, together), together)
    return TwoBases(together, one, other, own.pilot)


@plain
def own_means(
    rbm: RBM, *, betas: tf.Tensor, num_particles: tf.Tensor | int, seed: tf.Tensor, num_sweeps: tf.Tensor | int = 100
) -> OwnMeans:
    """The base whose units have the machine's own means, as a pilot population finds them.

    The population is annealed from the uniform distribution, then moved by sweeps of the machine: where the path has
    led it to a state that is no longer stable at its end, it leaves that.

    Args:
      rbm: a machine or a batch of machines.
      betas: of the pilot, float64 `[T + 1]`.
      num_particles: for each machine.
      seed: int32 `[2]`.
      num_sweeps: at the end.

    Raises:
      ValueError: an argument is out of range.
    """
    anneal_seed, sweep_seed = random.split(seed, 2)
    pilot = population_annealing.sample(
        rbm, uniform_base(rbm), betas=betas, num_particles=num_particles, seed=anneal_seed
    )
    left, right = gibbs.sweep(rbm, pilot.left, sweep_seed, num_sweeps=num_sweeps)
    means = (tf.reduce_mean(tf.sigmoid(logits), axis=0) for logits in (rbm.left_logits(right), rbm.right_logits(left)))
    return OwnMeans(means_base(*means, least=_LEAST_MEAN), LogZ.of(pilot))


def agreement(first: LogZ, second: LogZ) -> LogZ:
    """What two estimates from different paths say together.

    Where both errors are known and the two agree within 3 of their joint standard errors: the mean of Z_1 and Z_2,
    which is unbiased for Z. If either is right, that is not off by more than 3 of its errors. (Weights by their
    precisions would take the side of an estimate that is the surer because it has missed something, within what the
    other can tell.) Where they do not agree, or one has collapsed, so that its error is not known: the larger, with an
    infinite error, since nothing confirms it.
    """
    return _where(_agree(first, second), _pooled(first, second), _larger(first, second))


def _agree(one: LogZ, other: LogZ) -> tf.Tensor:
    joint = tf.sqrt(one.standard_error**2 + other.standard_error**2)
    return tf.math.is_finite(joint) & (tf.abs(one.log_z - other.log_z) <= _AGREEMENT * joint + _ROUNDING)


def _larger(one: LogZ, other: LogZ) -> LogZ:
    """With an infinite error."""
    unknown = tf.fill(tf.shape(one.log_z), tf.constant(float("inf"), tf.float64))
    return _where(one.log_z >= other.log_z, one, other)._replace(standard_error=unknown)


def _pooled(one: LogZ, other: LogZ) -> LogZ:
    """`log((Z_1 + Z_2) / 2)`, the same as of all chains together; its error by the delta method."""
    shares = tf.nn.softmax(tf.stack([one.log_z, other.log_z]), axis=0)  # of Z_1 and Z_2 in their sum
    errors = tf.stack([one.standard_error, other.standard_error])
    sizes = tf.stack([one.effective_sample_size, other.effective_sample_size])
    return LogZ(
        tf.reduce_logsumexp(tf.stack([one.log_z, other.log_z]), axis=0) - np.log(2),
        tf.sqrt(tf.reduce_sum((shares * errors) ** 2, axis=0)),
        1 / tf.reduce_sum(shares**2 / sizes, axis=0),
    )


def _where(condition: tf.Tensor, one: LogZ, other: LogZ) -> LogZ:
    return LogZ(*(tf.where(condition, a, b) for a, b in zip(one, other, strict=True)))


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

    Rounds along one path can all miss the same mode. Let `estimate` be that of two bases (`from_two_bases`).

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
