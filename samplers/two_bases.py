"""log Z from two bases that must agree: a second opinion for what a single run of AIS cannot know of itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from samplers import annealed_importance, gibbs, population_annealing, random
from samplers.annealing_path import Base, means_base, uniform_base
from samplers.arguments import check_count
from samplers.log_z_estimates import LogZ
from samplers.rbm import RBM
from samplers.tracing import plain

_PILOTS = 100  # particles of a pilot, at least
_LEAST_MEAN = 0.01  # of a pilot: units that are always the same in 100 particles may be so in most states only
_AGREEMENT, _ROUNDING = 3.0, 1e-3  # joint standard errors and nats within which two estimates agree


class TwoBases(NamedTuple):
    """What chains from two bases say of log Z.

    Attributes:
      together: the verdict of the three below.
      first: AIS from the base of choice.
      means: AIS from the machine's own means.
      pilot: the population that has found those means.
    """

    together: LogZ
    first: LogZ
    means: LogZ
    pilot: LogZ


class OwnMeans(NamedTuple):
    """What a pilot population finds.

    Attributes:
      base: units with the machine's own means.
      pilot: the population's own estimate of log Z.
    """

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
