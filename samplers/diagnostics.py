"""How well chains mix: energy autocorrelation and split R-hat, by TensorFlow Probability."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow_probability import mcmc

from samplers import gibbs, random
from samplers.arguments import check_count, check_seed
from samplers.rbm import RBM
from samplers.tracing import plain
from samplers.transition_kernel import BlockGibbs


class Mixing(NamedTuple):
    """Attributes are float scalars `[*batch]`, all of the free energy `F(left)` along block Gibbs chains.

    Where all energies are alike but for rounding, there is nothing to tell mixing by: time and R-hat are NaN. (So it is
    with a machine whose parameters are all 0, and whose states are independent; chains stuck in one state look alike.)

    Attributes:
      free_energy: its mean over chains and sweeps, nats.
      autocorrelation_sweeps: integrated autocorrelation time `1 + 2 sum rho_t`, in sweeps; 1 for independent states.
        Of a time longer than the run of `num_sweeps` it can tell only that it is long.
      split_r_hat: potential scale reduction between half-chains, 1 in equilibrium. [Gelman & Rubin 1992]
    """

    free_energy: tf.Tensor
    autocorrelation_sweeps: tf.Tensor
    split_r_hat: tf.Tensor


@plain
def mixing(rbm: RBM, left: tf.Tensor, *, num_sweeps: int, seed: tf.Tensor) -> Mixing:
    """Runs chains for `num_sweeps` sweeps from `left` and looks at their free energies.

    Args:
      rbm: a machine or a batch of machines.
      left: binary, `[chains, *batch, N]`, at least 2 chains.
      num_sweeps: at least 4.
      seed: int32 `[2]`.

    Raises:
      ValueError: an argument is out of range, or `left` is no binary state of the machine.
    """
    check_count("num_sweeps", num_sweeps, least=4)
    left = rbm.as_states("left", left)
    if left.shape[0] is not None and left.shape[0] < 2:
        raise ValueError(f"left of shape {tuple(left.shape)}: must be at least 2 chains")
    return _mixing(rbm, left, num_sweeps=num_sweeps, seed=check_seed(seed))


@tf.function
def _mixing(rbm: RBM, left: tf.Tensor, *, num_sweeps: int, seed: tf.Tensor) -> Mixing:
    # Not by `mcmc.sample_chain`, whose seeds of single steps are others under XLA.
    kernel = BlockGibbs(rbm)
    results = kernel.bootstrap_results(left)
    seed = random.split(seed, 1)[0]
    trace = tf.TensorArray(left.dtype, num_sweeps, element_shape=results.free_energy.shape)
    for number in tf.range(num_sweeps):
        left, results = kernel.one_step(left, results, seed=gibbs.sweep_seed(seed, number))
        trace = trace.write(number, results.free_energy)
    energies = trace.stack()  # [sweeps, chains, *batch]
    with _quiet_casts():
        ess = mcmc.effective_sample_size(energies, filter_beyond_positive_pairs=True, cross_chain_dims=1)
    total = tf.cast(tf.shape(energies)[0] * tf.shape(energies)[1], energies.dtype)
    split_r_hat = mcmc.potential_scale_reduction(energies, independent_chain_ndims=1, split_chains=True)

    largest = tf.reduce_max(tf.abs(energies), axis=[0, 1])
    spread = tf.reduce_max(energies, axis=[0, 1]) - tf.reduce_min(energies, axis=[0, 1])
    rounding = rbm.num_right * np.finfo(energies.dtype.as_numpy_dtype).eps * (1 + largest)
    can_tell = lambda value: tf.where(spread > rounding, value, float("nan"))  # noqa: E731
    return Mixing(tf.reduce_mean(energies, axis=[0, 1]), can_tell(total / ess), can_tell(split_r_hat))


@contextlib.contextmanager
def _quiet_casts() -> Iterator[None]:
    """Without TensorFlow's warning of a cast from complex numbers, which TFP makes of a spectrum that is real."""
    logger, quiet = tf.get_logger(), logging.Filter()
    quiet.filter = lambda record: "casting an input of type complex" not in record.getMessage()  # type: ignore[method-assign]
    logger.addFilter(quiet)
    try:
        yield
    finally:
        logger.removeFilter(quiet)
