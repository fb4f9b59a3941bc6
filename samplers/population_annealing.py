"""Population annealing (PA): a whole run, and the population that persists through training."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from samplers import gibbs
from samplers.annealing_path import Base, Path
from samplers.persistent_chains import PersistentInfo, PersistentState, reweight
from samplers.rbm import RBM
from samplers.weights import log_mean_exp, resample


class AnnealedPopulation(NamedTuple):
    """A population at beta = 1, equally weighted.

    Attributes:
      left: binary, `[particles, *batch, N]`.
      right: binary, `[particles, *batch, M]`, drawn from `p(right | left)`.
      log_z: nats, float64 `[*batch]`; Z is estimated without bias, so `E[log_z] <= log Z`.
      num_families: how many particles of the start have descendants at the end, int32 `[*batch]`. Particles of one
        family are correlated: few families mean a population that knows less than its size says.
    """

    left: tf.Tensor
    right: tf.Tensor
    log_z: tf.Tensor
    num_families: tf.Tensor


def sample(
    rbm: RBM, base: Base, *, betas: tf.Tensor, num_particles: tf.Tensor | int, seed: tf.Tensor
) -> AnnealedPopulation:
    """Population annealing from `base` to `rbm`: at every temperature reweight, resample (systematic), one sweep.

        log_z = log Z_0 + sum_{t=1..T} log mean_i f_t(z_i) / f_{t-1}(z_i)

    Args:
      rbm: a machine or a batch of machines, which are annealed together, each with a population of its own.
      base: where to start, of the same batch shape; see `samplers.annealing_path`.
      betas: inverse temperatures from 0 to 1, float64 `[T + 1]`.
      num_particles: particles for each machine.
      seed: int32 `[2]`.

    Returns:
      The population at beta = 1.

    References:
      Hukushima & Iba, Population annealing and its application to a spin glass, 2003.
      Machta, Population annealing with weighted averages, 2010.
    """
    base_seed, anneal_seed = tf.unstack(tf.random.split(seed, 2))
    left, right, log_ratio, families = _anneal(
        rbm, base, base.sample_left(num_particles, base_seed), betas, anneal_seed
    )
    families = tf.sort(families, axis=0)
    num_families = 1 + tf.reduce_sum(tf.cast(families[1:] != families[:-1], tf.int32), axis=0)
    return AnnealedPopulation(left, right, tf.cast(base.log_z(), tf.float64) + log_ratio, num_families)


@tf.function(jit_compile=True)
def _anneal(rbm: RBM, base: Base, left: tf.Tensor, betas: tf.Tensor, seed: tf.Tensor):
    path = Path.between(base, rbm)
    betas = tf.cast(betas, left.dtype)
    left = gibbs.to_columns(left)
    right_input = path.end.right_input(left)
    weights_like = path.log_ratio(betas[0], betas[0], left, right_input)  # [*batch, particles]
    log_ratio = tf.zeros(tf.shape(weights_like)[:-1], tf.float64)
    families = tf.broadcast_to(tf.range(tf.shape(left)[-1]), tf.shape(weights_like))
    resample_seed, sweep_seed = tf.unstack(tf.random.split(seed, 2))
    for t in tf.range(1, tf.shape(betas)[0]):
        log_weights = path.log_ratio(betas[t - 1], betas[t], left, right_input)
        log_ratio += log_mean_exp(log_weights, axis=-1)
        ancestors = gibbs.to_columns(resample(gibbs.from_columns(log_weights), gibbs.sweep_seed(resample_seed, t)))
        families = _gather(families, ancestors)
        right_input = _gather(right_input, ancestors[..., None, :])
        left, _ = path.at(betas[t]).sweep(right_input, betas[t], gibbs.sweep_seed(sweep_seed, t))
        right_input = path.end.right_input(left)
    right = gibbs.bernoulli(path.end.bias_right + right_input, gibbs.sweep_seed(sweep_seed, 0))
    return gibbs.from_columns(left), gibbs.from_columns(right), log_ratio, gibbs.from_columns(families)


def _gather(columns: tf.Tensor, ancestors: tf.Tensor) -> tf.Tensor:
    """Particles (last axis) of `columns` by their ancestors' indices; other axes broadcast."""
    ancestors = tf.broadcast_to(ancestors, tf.shape(columns))
    return tf.gather(columns, ancestors, axis=-1, batch_dims=columns.shape.rank - 1)


def step(
    rbm: RBM, state: PersistentState, seed: tf.Tensor, *, num_sweeps: int
) -> tuple[PersistentState, PersistentInfo]:
    """Carries a population from the parameters it was left at to those of `rbm`: reweight, resample, sweep.

        d_i = F_old(left_i) - F(left_i),   log_z += log mean exp(d),   resample by softmax(d),   `num_sweeps` sweeps

    This is population annealing along the path that training itself takes through the parameters. The right units are
    summed out of the weights, which lowers their variance.

    Args:
      rbm: the machine after the parameter update.
      state: the population, the parameters it was left at, and log Z there.
      seed: int32 `[2]`.
      num_sweeps: Gibbs sweeps at the new parameters.

    Returns:
      The population at the new parameters, and the effective sample size of the reweighting.
    """
    resample_seed, gibbs_seed = tf.unstack(tf.random.split(seed, 2))
    log_weights, log_z, info = reweight(rbm, state)
    left = tf.gather(state.left, resample(log_weights, resample_seed))
    left = gibbs.sweep(rbm, left, gibbs_seed, num_sweeps=tf.constant(num_sweeps)).left
    return PersistentState(left, rbm.frozen(), log_z), info
