"""State that lives through training: the prior's chains, and a table of the posterior's chains by example."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from samplers.rbm import RBM
from samplers.weights import effective_sample_size, log_mean_exp


class PersistentState(NamedTuple):
    """Chains of one machine whose parameters change from step to step (`[PCD]`, population annealing).

    Attributes:
      left: binary, `[chains, N]`.
      rbm: the parameters at which the chains were left.
      log_z: log Z of `rbm` in nats, float64 scalar, carried from step to step by reweighting. It drifts: each step
        adds an error that the next ones keep. Give it a fresh estimate now and then (`_replace(log_z=...)`).
    """

    left: tf.Tensor
    rbm: RBM
    log_z: tf.Tensor


class PersistentInfo(NamedTuple):
    """Attributes: `effective_sample_size` of the weights from the old parameters to the new, scalar, 1 to chains."""

    effective_sample_size: tf.Tensor


def initial_state(rbm: RBM, *, num_chains: int, seed: tf.Tensor) -> PersistentState:
    """Chains of fair coins, which are exact samples where all parameters are 0: there `log Z = (N + M) log 2`."""
    left = tf.cast(tf.random.stateless_uniform([num_chains, rbm.num_left], seed) < 0.5, rbm.weights.dtype)
    log_z = tf.constant((rbm.num_left + rbm.num_right) * 0.6931471805599453, tf.float64)
    return PersistentState(left, RBM(*(tf.zeros_like(parameter) for parameter in rbm)), log_z)


def reweight(rbm: RBM, state: PersistentState) -> tuple[tf.Tensor, tf.Tensor, PersistentInfo]:
    """Weights that carry chains from the old parameters to the new: `d_i = F_old(left_i) - F_new(left_i)`.

    Returns:
      `d`, float64 `[chains]`; the new log Z, `log_z + log mean exp(d)`; diagnostics.
    """
    log_weights = tf.cast(state.rbm.free_energy(state.left) - rbm.free_energy(state.left), tf.float64)
    log_z = state.log_z + log_mean_exp(log_weights, axis=0)
    return log_weights, log_z, PersistentInfo(effective_sample_size(log_weights, axis=0))


class ChainTable(tf.Module):
    """Persistent binary chains for the posteriors of a data set: one for every example and every sample k.

    Args:
      num_examples: rows.
      num_chains: chains an example (K).
      num_left: units on the left side; only that side is stored, the right is drawn from it.
      seed: int32 `[2]`; the chains start as fair coins.
    """

    def __init__(self, *, num_examples: int, num_chains: int, num_left: int, seed: tf.Tensor) -> None:
        super().__init__(name="chain_table")
        bits = tf.random.stateless_uniform([num_examples, num_chains, num_left], seed) < 0.5
        self.table = tf.Variable(tf.cast(bits, tf.uint8), trainable=False, name="table")

    def read(self, index: tf.Tensor) -> tf.Tensor:
        """The chains of examples `index [B]`, float32 `[K, B, N]`."""
        return tf.cast(tf.transpose(tf.gather(self.table, index), [1, 0, 2]), tf.float32)

    def write(self, index: tf.Tensor, left: tf.Tensor) -> None:
        """Stores `left [K, B, N]` for examples `index [B]`, each of which occurs once."""
        self.table.scatter_update(tf.IndexedSlices(tf.cast(tf.transpose(left, [1, 0, 2]), tf.uint8), index))
