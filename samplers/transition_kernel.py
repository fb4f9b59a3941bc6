"""Block Gibbs as a TensorFlow Probability kernel, for `tfp.mcmc.sample_chain` and its tools."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf
from tensorflow_probability import mcmc
from tensorflow_probability.python.internal import samplers as tfp_seeds

from samplers import gibbs
from samplers.arguments import check_count
from samplers.rbm import RBM


class BlockGibbsResults(NamedTuple):
    """What a step of `BlockGibbs` leaves beside the state.

    Attributes:
      right: binary, `[chains, *batch, M]`, drawn from `p(right | left of half a sweep before)`.
      free_energy: `F(left)` of the new state in nats, `[chains, *batch]`; `-F` is its unnormalised log density.
    """

    right: tf.Tensor
    free_energy: tf.Tensor


class BlockGibbs(mcmc.TransitionKernel):
    """`num_sweeps` sweeps of block Gibbs on the left units of an RBM; leaves `p(left)` invariant.

        kernel = BlockGibbs(rbm)
        left = tfp.mcmc.sample_chain(1000, start, kernel=kernel, trace_fn=None, seed=[0, 1])

    The state is `left`, binary, `[chains, *batch, N]`.

    A step draws the same numbers compiled or not (`samplers.random`). `sample_chain` does not: TFP derives the seeds of
    the steps by the generator that TensorFlow picks, which is another one where the whole chain is compiled by XLA.

    Args:
      rbm: a machine or a batch of machines.
      num_sweeps: sweeps in one step, at least 1.

    Raises:
      ValueError: there are none.
    """

    def __init__(self, rbm: RBM, *, num_sweeps: int = 1) -> None:
        check_count("num_sweeps", num_sweeps)
        self._rbm, self._num_sweeps = rbm, num_sweeps

    @property
    def parameters(self) -> dict:
        return {"rbm": self._rbm, "num_sweeps": self._num_sweeps}

    @property
    def is_calibrated(self) -> bool:
        return True

    def one_step(self, current_state, previous_kernel_results, seed=None) -> tuple[tf.Tensor, BlockGibbsResults]:
        """One step; `seed` as everywhere in TFP."""
        seed = tfp_seeds.sanitize_seed(seed)
        left, right = gibbs.sweep(self._rbm, current_state, seed, num_sweeps=tf.constant(self._num_sweeps))
        left = tf.ensure_shape(left, current_state.shape)
        return left, self._results(left, tf.ensure_shape(right, previous_kernel_results.right.shape))

    def bootstrap_results(self, init_state: tf.Tensor) -> BlockGibbsResults:
        """The results at the start; `right` is zeros, since nothing has been drawn."""
        shape = tf.concat([tf.shape(init_state)[:-1], [self._rbm.num_right]], 0)
        right = tf.ensure_shape(tf.zeros(shape, init_state.dtype), [*init_state.shape[:-1], self._rbm.num_right])
        return self._results(init_state, right)

    def _results(self, left: tf.Tensor, right: tf.Tensor) -> BlockGibbsResults:
        return BlockGibbsResults(right, self._rbm.free_energy(left))
