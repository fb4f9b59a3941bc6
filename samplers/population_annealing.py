"""Population annealing (PA): a whole run, and the population that persists through training."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from samplers import gibbs, random
from samplers.annealing_path import Base, Path, Schedule
from samplers.arguments import check_count
from samplers.persistent_chains import PersistentInfo, PersistentState, count_families, initial_state, reweight
from samplers.rbm import RBM
from samplers.tracing import plain
from samplers.weights import FEWEST, descendants, known_or_infinite, log_mean_exp, resample

__all__ = ["AnnealedPopulation", "initial_state", "sample", "step"]


class AnnealedPopulation(NamedTuple):
    """A population at beta = 1, equally weighted.

    Attributes:
      left: binary, `[particles, *batch, N]`.
      right: binary, `[particles, *batch, M]`, drawn from `p(right | left)`.
      log_z: nats, float64 `[*batch]`; Z is estimated without bias, so `E[log_z] <= log Z`.
      standard_error: of `log_z`, nats, float64 `[*batch]`; see `sample`. Infinite where it cannot be known: fewer than
        10 families survive, or the effective sample size is too small (`samplers.weights.is_known`).
      effective_sample_size: of that many equal independent particles is the standard error, float64 `[*batch]`; without
        resampling that of the importance weights.
      num_families: how many particles of the start have descendants at the end, int32 `[*batch]`. Particles of one
        family are correlated: few families mean a population that knows less than its size says.
    """

    left: tf.Tensor
    right: tf.Tensor
    log_z: tf.Tensor
    standard_error: tf.Tensor
    effective_sample_size: tf.Tensor
    num_families: tf.Tensor


@plain
def sample(
    rbm: RBM, base: Base, *, betas: tf.Tensor, num_particles: tf.Tensor | int, seed: tf.Tensor
) -> AnnealedPopulation:
    """Population annealing from `base` to `rbm`: at every temperature reweight, resample (systematic), one sweep.

        log_z = log Z_0 + sum_{t=1..T} log mean_i w_ti,   w_ti = f_t(z_i) / f_{t-1}(z_i)

    Particles of different families never meet but in the resampling. So to first order the error of log_z is a mean of
    independent terms, one for each family `f`, and its standard error is

        (1/P) sqrt(sum_f Y_f^2),   Y_f = sum_t sum_{i in f} (w_ti / mean_j w_tj - 1)

    The final sizes of the families would serve as well under multinomial resampling [Lee & Whiteley 2018]. Under
    systematic resampling they also hold the noise of rounding to whole descendants at every temperature, which hardly
    moves log_z: the standard error would come out several times too large, the more the more temperatures there are.

    Args:
      rbm: a machine or a batch of machines, which are annealed together, each with a population of its own.
      base: where to start, of the same batch shape; see `samplers.annealing_path`.
      betas: inverse temperatures from 0 to 1, float64 `[T + 1]`.
      num_particles: particles for each machine, at least 1 (10 if the error is to be known).
      seed: int32 `[2]`.

    Returns:
      The population at beta = 1.

    Raises:
      ValueError: an argument is out of range, or the base does not fit the machine.

    References:
      Hukushima & Iba, Population annealing and its application to a spin glass, 2003.
      Machta, Population annealing with weighted averages, 2010.
      Lee & Whiteley, Variance estimation in the particle filter, Biometrika 2018.
    """
    check_count("num_particles", num_particles)
    base = base.fitting(rbm)
    base_seed, anneal_seed = random.split(seed, 2)
    left = base.sample_left(num_particles, base_seed)
    schedule = Schedule.of(betas, left.dtype)
    left, right, log_ratio, standard_error, families = _anneal(rbm, base, left, schedule, anneal_seed)
    count = tf.cast(num_particles, tf.float64)
    num_families = count_families(families)
    size = count / (1 + count * standard_error**2)
    is_enough = tf.cast(num_families, tf.float64) >= FEWEST
    standard_error = known_or_infinite(standard_error, tf.where(is_enough, size, tf.zeros_like(size)), count)
    return AnnealedPopulation(left, right, base.log_z() + log_ratio, standard_error, size, num_families)


@tf.function(jit_compile=True)
def _anneal(rbm: RBM, base: Base, left: tf.Tensor, schedule: Schedule, seed: tf.Tensor):
    path = Path.between(base, rbm)
    betas, num_temperatures = schedule
    left, right_input, zeros = path.enter(left)  # zeros: [*batch, particles]
    log_ratio = zeros[..., 0]
    families = tf.broadcast_to(tf.range(tf.shape(zeros)[-1]), tf.shape(zeros))
    family_sums = zeros
    resample_seed, sweep_seed = random.split(seed, 2)
    t = tf.constant(1)
    while t <= num_temperatures:
        log_weights = path.log_ratio(betas[t - 1], betas[t], left, right_input)
        increment = log_mean_exp(log_weights, axis=-1)
        log_ratio += increment
        family_sums += _sums_by_family(tf.exp(log_weights - increment[..., None]) - 1, families)
        ancestors = gibbs.to_columns(resample(gibbs.from_columns(log_weights), gibbs.sweep_seed(resample_seed, t)))
        families = gibbs.gather_chains(families, ancestors)
        right_input = gibbs.gather_chains(right_input, ancestors[..., None, :])
        left, _ = path.at(betas[t]).sweep(right_input, betas[t], gibbs.sweep_seed(sweep_seed, t))
        right_input = path.end.right_input(left)
        t += 1
    right = random.bernoulli(path.end.bias_right + right_input, gibbs.sweep_seed(sweep_seed, 0))
    standard_error = tf.norm(family_sums, axis=-1) / tf.cast(tf.shape(zeros)[-1], tf.float64)
    return gibbs.from_columns(left), gibbs.from_columns(right), log_ratio, standard_error, gibbs.from_columns(families)


@plain
def _sums_by_family(values: tf.Tensor, families: tf.Tensor) -> tf.Tensor:
    """Sums of `values [*batch, particles]` over the particles of each family, `[*batch, families]`."""
    shape = tf.shape(values)
    values, families = tf.reshape(values, [-1, shape[-1]]), tf.reshape(families, [-1, shape[-1]])
    rows = tf.range(tf.shape(values)[0])[:, None] * shape[-1]
    sums = tf.math.unsorted_segment_sum(tf.reshape(values, [-1]), tf.reshape(families + rows, [-1]), tf.size(values))
    return tf.reshape(sums, shape)


@plain
def step(
    rbm: RBM, state: PersistentState, seed: tf.Tensor, *, num_sweeps: int
) -> tuple[PersistentState, PersistentInfo]:
    """Carries a population from the parameters it was left at to those of `rbm`: reweight, resample, sweep.

        d_i = F_old(left_i) - F(left_i),   log_z += log mean exp(d),   resample by softmax(d),   `num_sweeps` sweeps

    This is population annealing along the path that training itself takes through the parameters. The right units are
    summed out of the weights, which lowers their variance.

    Args:
      rbm: a machine or a batch of machines, after the parameter update.
      state: the population, the parameters it was left at, and log Z there.
      seed: int32 `[2]`.
      num_sweeps: Gibbs sweeps at the new parameters.

    Returns:
      The population at the new parameters, and the effective sample size of the reweighting.
    """
    check_count("num_sweeps", num_sweeps)
    resample_seed, gibbs_seed = random.split(seed, 2)
    resampled, info = _resampled(rbm, state, resample_seed)
    left = gibbs.sweep(rbm, resampled.left, gibbs_seed, num_sweeps=tf.constant(num_sweeps)).left
    return resampled._replace(left=left), info


# Without the sweeps, whose loop XLA runs on one core where other things stand around it.
@tf.function(jit_compile=True, autograph=False)
def _resampled(rbm: RBM, state: PersistentState, seed: tf.Tensor) -> tuple[PersistentState, PersistentInfo]:
    log_weights, log_z, ess = reweight(rbm, state)
    ancestors = resample(log_weights, seed)
    left, family = descendants(state.left, ancestors), descendants(state.family, ancestors)
    return PersistentState(left, rbm.frozen(), log_z, family), PersistentInfo(ess, count_families(family))
