"""State that lives through training: the prior's chains, and a table of the posterior's chains by example."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from samplers import random
from samplers.arguments import check_count
from samplers.rbm import RBM, free_energy_difference
from samplers.weights import effective_sample_size, log_mean_exp


class PersistentState(NamedTuple):
    """Chains of a machine whose parameters change from step to step (`[PCD]`, population annealing).

    Attributes:
      left: binary, `[chains, *batch, N]`.
      rbm: the parameters at which the chains were left.
      log_z: log Z of `rbm` in nats, float64 `[*batch]`, carried from step to step by reweighting. Where the parameters
        follow a gradient that the same chains estimated, it drifts downwards: see `reweight`.
      family: the number of the chain each one descends from, int32 `[chains, *batch]`.
    """

    left: tf.Tensor
    rbm: RBM
    log_z: tf.Tensor
    family: tf.Tensor

    def anchored(self, log_z: tf.Tensor) -> PersistentState:
        """The state with a log Z that was estimated afresh, and with its chains numbered anew."""
        return self._replace(log_z=tf.cast(log_z, tf.float64), family=number_chains(self.left))


class PersistentInfo(NamedTuple):
    """What a step tells about itself.

    Attributes:
      effective_sample_size: of the weights from the old parameters to the new, `[*batch]`, 1 to chains.
      num_families: chains of the last numbering that have descendants, `[*batch]`.
    """

    effective_sample_size: tf.Tensor
    num_families: tf.Tensor


def initial_state(rbm: RBM, *, num_chains: int, seed: tf.Tensor) -> PersistentState:
    """Chains of fair coins, which are exact samples where all parameters are 0.

    Args:
      rbm: gives sizes, batch shape and type.
      num_chains: for each machine.
      seed: int32 `[2]`.

    Raises:
      ValueError: there are no chains.
    """
    check_count("num_chains", num_chains)
    left = fair_coins(rbm, [num_chains], seed)
    return PersistentState(left, uniform_rbm(rbm), uniform_log_z(rbm), number_chains(left))


def fair_coins(rbm: RBM, sample_shape: list[int], seed: tf.Tensor) -> tf.Tensor:
    """States of the left units, `[*sample_shape, *batch, N]`."""
    shape = tf.concat([sample_shape, tf.shape(rbm.bias_left)], 0)
    return tf.cast(random.uniform(shape, seed) < 0.5, rbm.weights.dtype)


def uniform_rbm(rbm: RBM) -> RBM:
    """The machine of the same size whose parameters are all 0."""
    return RBM(*(tf.zeros_like(parameter) for parameter in rbm))


def uniform_log_z(rbm: RBM) -> tf.Tensor:
    """log Z of `uniform_rbm`, `(N + M) log 2` nats, float64 `[*batch]`."""
    return tf.fill(tf.shape(rbm.bias_left)[:-1], tf.constant((rbm.num_left + rbm.num_right) * np.log(2), tf.float64))


def number_chains(left: tf.Tensor) -> tf.Tensor:
    """Each chain's own number, int32 `[chains, *batch]`."""
    shape = tf.shape(left)[:-1]
    return tf.broadcast_to(tf.reshape(tf.range(shape[0]), [-1] + [1] * (left.shape.rank - 2)), shape)


def carried(rbm: RBM, state: PersistentState, left: Any) -> tuple[PersistentState, PersistentInfo]:
    """What a step returns that has moved the chains of `state` to `left`, at the parameters of `rbm`, one by one.

        log_z += log mean exp(F_old - F_new),   over the chains as they were

    Args:
      rbm: a machine or a batch of machines, after the parameter update.
      state: of before the move.
      left: binary, `[chains, *batch, N]`, also of NumPy.
    """
    left = tf.convert_to_tensor(left, rbm.weights.dtype)
    _, log_z, ess = reweight(rbm, state)
    return PersistentState(left, rbm.frozen(), log_z, state.family), PersistentInfo(ess, count_families(state.family))


class CarriedState(Protocol):
    """What `reweight` needs of a state: `left`, `rbm` and `log_z` of `PersistentState`."""

    @property
    def left(self) -> tf.Tensor: ...
    @property
    def rbm(self) -> RBM: ...
    @property
    def log_z(self) -> tf.Tensor: ...


@tf.function(jit_compile=True, autograph=False)
def reweight(rbm: RBM, state: CarriedState) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Weights that carry chains from the old parameters to the new: `d_i = F_old(left_i) - F_new(left_i)`.

    The growth of log Z is unbiased (as a ratio) for chains that are independent of the step between the parameters. In
    training they are not: the gradient's negative phase is the mean over these very chains, so the step lowers the
    probability of the states they happen to be in. Their `d` comes out low by an amount proportional to
    rate / chains in every step, always in one direction, and the tracked log Z drifts away below the true one, by
    nats in a thousand steps (`docs/samplers.md` has measurements; chains that take no part in the gradient do not
    drift). So it must be replaced by a fresh estimate now and then, and is not to be reported.

    Returns:
      `d`, float64 `[chains, *batch]`; the new log Z, `log_z + log mean exp(d)`; the effective sample size of the
      weights, `[*batch]`.
    """
    log_weights = free_energy_difference(state.rbm, rbm, state.left)
    log_z = state.log_z + log_mean_exp(log_weights, axis=0)
    return log_weights, log_z, effective_sample_size(log_weights, axis=0)


@tf.function(jit_compile=True, autograph=False)
def count_families(family: tf.Tensor) -> tf.Tensor:
    """How many different numbers there are along the first axis, int32 `[*batch]`."""
    family = tf.sort(family, axis=0)
    return 1 + tf.reduce_sum(tf.cast(family[1:] != family[:-1], tf.int32), axis=0)


class ChainTable(tf.Module):
    """Persistent binary chains for the posteriors of a data set: one for every example and every sample k.

    A unit takes a bit: 25 chains of 100 units for each of 50,000 examples take 16 MB.

    Args:
      num_examples: rows.
      num_chains: chains an example (K).
      num_units: that are kept of a chain; of an RBM, the left side, from which the right is drawn.
      seed: int32 `[2]`; the chains start as fair coins.
    """

    def __init__(self, *, num_examples: int, num_chains: int, num_units: int, seed: tf.Tensor) -> None:
        super().__init__(name="chain_table")
        check_count("num_examples", num_examples)
        check_count("num_chains", num_chains)
        check_count("num_units", num_units, least=0)
        self.num_units = num_units
        num_bytes = -(-num_units // 8)
        words = random.words([num_examples, num_chains, -(-num_bytes // 4)], seed)
        coins = tf.reshape(tf.bitcast(words, tf.uint8), [num_examples, num_chains, 4 * words.shape[-1]])
        self.table = tf.Variable(coins[..., :num_bytes], trainable=False, name="table")

    def read(self, index: tf.Tensor) -> tf.Tensor:
        """The chains of examples `index [B]`, float32 `[K, B, N]`."""
        left = _unpack(tf.gather(self.table, index))[..., : self.num_units]
        return tf.cast(tf.transpose(left, [1, 0, 2]), tf.float32)

    def packed(self, left: tf.Tensor) -> tf.Tensor:
        """Chains `[K, B, N]` as rows of the table, uint8 `[B, K, bytes]`."""
        bits = tf.cast(tf.transpose(left, [1, 0, 2]), tf.uint8)
        return _pack(tf.pad(bits, [[0, 0], [0, 0], [0, -self.num_units % 8]]))

    def store(self, index: tf.Tensor, packed: tf.Tensor) -> None:
        """Stores rows `packed [B, K, bytes]` for examples `index [B]`, each of which occurs once."""
        self.table.scatter_update(tf.IndexedSlices(packed, index))


def _unpack(packed: tf.Tensor) -> tf.Tensor:
    """The bits of bytes `[B, K, bytes]`, lowest first, `[B, K, 8 * bytes]`."""
    bits = tf.bitwise.bitwise_and(tf.bitwise.right_shift(packed[..., None], tf.cast(tf.range(8), tf.uint8)), 1)
    return tf.reshape(bits, [*tf.unstack(tf.shape(packed)[:-1]), 8 * packed.shape[-1]])


def _pack(bits: tf.Tensor) -> tf.Tensor:
    """The inverse of `_unpack`."""
    octets = tf.reshape(bits, [*tf.unstack(tf.shape(bits)[:-1]), bits.shape[-1] // 8, 8])
    return tf.cast(tf.tensordot(tf.cast(octets, tf.float32), [2.0**place for place in range(8)], 1), tf.uint8)
