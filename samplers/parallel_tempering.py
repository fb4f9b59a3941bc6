"""Parallel tempering (replica exchange): chains at rising temperatures that trade places with the machine's own."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from samplers import gibbs, random
from samplers.annealing_path import Path, uniform_base
from samplers.arguments import check_count
from samplers.persistent_chains import fair_coins, reweight, uniform_log_z, uniform_rbm
from samplers.rbm import RBM
from samplers.tracing import plain


class TemperedState(NamedTuple):
    """Chains of a machine whose parameters change from step to step, each with replicas at higher temperatures.

    Attributes:
      left: binary, `[chains, *batch, N]`, at beta = 1.
      hot: binary, `[levels - 1, chains, *batch, N]`, at falling beta, the last at 0.
      rbm: the parameters at which the chains were left.
      log_z: as in `samplers.persistent_chains.PersistentState`.
    """

    left: tf.Tensor
    hot: tf.Tensor
    rbm: RBM
    log_z: tf.Tensor

    def anchored(self, log_z: tf.Tensor) -> TemperedState:
        """The state with a log Z that was estimated afresh."""
        return self._replace(log_z=tf.cast(log_z, tf.float64))


class TemperedInfo(NamedTuple):
    """What a step tells about itself.

    Attributes:
      effective_sample_size: of the weights from the old parameters to the new, `[*batch]`, 1 to chains.
      swap_acceptance: fraction of the proposed exchanges that were made, of the worst pair of levels, `[*batch]`.
    """

    effective_sample_size: tf.Tensor
    swap_acceptance: tf.Tensor


@plain
def initial_state(rbm: RBM, *, num_chains: int, seed: tf.Tensor, num_levels: int) -> TemperedState:
    """Fair coins at every temperature, exact samples where all parameters are 0.

    Args:
      rbm: gives sizes, batch shape and type.
      num_chains: at beta = 1 and at every other level, for each machine.
      seed: int32 `[2]`.
      num_levels: temperatures, at least 2; beta falls linearly from 1 to 0.

    Raises:
      ValueError: an argument is out of range.
    """
    check_count("num_chains", num_chains)
    check_count("num_levels", num_levels, least=2)
    replicas = fair_coins(rbm, [num_levels, num_chains], seed)
    return TemperedState(replicas[0], replicas[1:], uniform_rbm(rbm), uniform_log_z(rbm))


@plain
def step(rbm: RBM, state: TemperedState, seed: tf.Tensor, *, num_sweeps: int) -> tuple[TemperedState, TemperedInfo]:
    """`num_sweeps` times: a sweep of every replica at its temperature, then exchanges between neighbours.

        p_level(left) = f_beta(left) / Z_beta,   f_beta the path from the uniform distribution to `rbm`
        exchange of x at beta and y at beta':  min(1, f_beta(y) f_beta'(x) / (f_beta(x) f_beta'(y)))

    Even and odd pairs of levels take turns. The right units are summed out of the exchange. The joint distribution of
    all levels is invariant, so the chains at beta = 1 sample `rbm`. A step costs as much as `levels` times the chains.

    Args, Returns: as for `samplers.population_annealing.step`.

    References:
      Hukushima & Nemoto, Exchange Monte Carlo method, 1996. Desjardins et al., AISTATS 2010 (for RBMs).
    """
    check_count("num_sweeps", num_sweeps)
    _, log_z, ess = reweight(rbm, state)
    replicas = tf.concat([state.left[None], state.hot], axis=0)
    replicas, acceptance = tempered_sweeps(rbm, replicas, seed, num_sweeps=tf.constant(num_sweeps))
    return TemperedState(replicas[0], replicas[1:], rbm.frozen(), log_z), TemperedInfo(ess, acceptance)


@tf.function(jit_compile=True)
def tempered_sweeps(
    rbm: RBM, replicas: tf.Tensor, seed: tf.Tensor, *, num_sweeps: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The moves of `step`: replicas `[levels, chains, *batch, N]`; acceptance of exchanges by the worst pair."""
    path = Path.between(uniform_base(rbm), rbm)
    num_levels, num_chains = replicas.shape[0], tf.shape(replicas)[1]
    columns = tf.range(num_levels * num_chains)  # level by level
    level, chain = columns // num_chains, columns % num_chains
    beta_of = lambda number: 1 - tf.cast(number, replicas.dtype) / (num_levels - 1)  # noqa: E731
    betas = beta_of(level)
    at_betas = path.at(betas)

    shape = tf.shape(replicas)
    left, right_input, _ = path.enter(tf.reshape(replicas, tf.concat([[-1], shape[2:]], 0)))
    accepted = tf.zeros(tf.concat([shape[2:-1], [num_levels]], 0))  # of the pairs (l, l + 1), by l
    sweep_seed, swap_seed = random.split(seed, 2)
    i = tf.constant(0)
    while i < num_sweeps:
        uniforms = gibbs.training_uniforms(left.dtype)
        left, _ = at_betas.sweep(right_input, betas, gibbs.sweep_seed(sweep_seed, i), uniforms=uniforms)
        right_input = path.end.right_input(left)

        partner = level + tf.where((level + i) % 2 == 0, 1, -1)
        partner = tf.where((partner < 0) | (partner >= num_levels), level, partner)
        other = partner * num_chains + chain  # the partner's column
        gain = path.log_ratio(betas, beta_of(partner), left, right_input)  # log f_partner - log f_own
        log_ratio = gain + tf.gather(gain, other, axis=-1)
        draws = random.uniform(tf.shape(gain), gibbs.sweep_seed(swap_seed, i), gain.dtype)
        is_swapped = tf.gather(draws, tf.minimum(columns, other), axis=-1) < tf.exp(log_ratio)
        index = tf.where(is_swapped, other, columns)[..., None, :]
        left, right_input = gibbs.gather_chains(left, index), gibbs.gather_chains(right_input, index)
        is_new = tf.cast(is_swapped & (partner > level), accepted.dtype)
        accepted += tf.reduce_mean(tf.reshape(is_new, tf.concat([tf.shape(accepted), [num_chains]], 0)), axis=-1)
        i += 1
    proposed = tf.cast((num_sweeps + (tf.range(num_levels - 1) + 1) % 2) // 2, accepted.dtype)
    # A single sweep proposes nothing to the odd pairs.
    acceptance = tf.reduce_min(tf.where(proposed > 0, accepted[..., :-1] / tf.maximum(proposed, 1), 1), axis=-1)
    return tf.reshape(gibbs.from_columns(left), shape), acceptance
