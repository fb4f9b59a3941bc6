"""How well chains mix: energy autocorrelation and split R-hat, by TensorFlow Probability."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf
from tensorflow_probability import mcmc

from samplers import gibbs, random
from samplers.rbm import RBM
from samplers.transition_kernel import BlockGibbs


class Mixing(NamedTuple):
    """Attributes are float scalars `[*batch]`, all of the free energy `F(left)` along block Gibbs chains.

    Attributes:
      free_energy: its mean over chains and sweeps, nats.
      autocorrelation_sweeps: integrated autocorrelation time `1 + 2 sum rho_t`, in sweeps; 1 for independent states.
        Of a time longer than the run of `num_sweeps` it can tell only that it is long.
      split_r_hat: potential scale reduction between half-chains, 1 in equilibrium. [Gelman & Rubin 1992]
    """

    free_energy: tf.Tensor
    autocorrelation_sweeps: tf.Tensor
    split_r_hat: tf.Tensor


@tf.function
def mixing(rbm: RBM, left: tf.Tensor, *, num_sweeps: int, seed: tf.Tensor) -> Mixing:
    """Runs chains for `num_sweeps` sweeps from `left` and looks at their free energies.

    Args:
      rbm: a machine or a batch of machines.
      left: binary, `[chains, *batch, N]`, at least 2 chains.
      num_sweeps: at least 4.
      seed: int32 `[2]`.
    """
    # Not by `mcmc.sample_chain`, whose seeds of single steps are others under XLA.
    kernel = BlockGibbs(rbm)
    results = kernel.bootstrap_results(left)
    seed = random.split(seed, 1)[0]
    trace = tf.TensorArray(left.dtype, num_sweeps, element_shape=results.free_energy.shape)
    for number in tf.range(num_sweeps):
        left, results = kernel.one_step(left, results, seed=gibbs.sweep_seed(seed, number))
        trace = trace.write(number, results.free_energy)
    energies = trace.stack()  # [sweeps, chains, *batch]
    ess = mcmc.effective_sample_size(energies, filter_beyond_positive_pairs=True, cross_chain_dims=1)
    total = tf.cast(tf.shape(energies)[0] * tf.shape(energies)[1], energies.dtype)
    return Mixing(
        free_energy=tf.reduce_mean(energies, axis=[0, 1]),
        autocorrelation_sweeps=total / ess,
        split_r_hat=mcmc.potential_scale_reduction(energies, independent_chain_ndims=1, split_chains=True),
    )
