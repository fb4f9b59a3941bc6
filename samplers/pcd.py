"""Persistent contrastive divergence (PCD): chains kept from one parameter update to the next."""

from __future__ import annotations

import tensorflow as tf

from samplers import gibbs
from samplers.arguments import check_count
from samplers.persistent_chains import PersistentInfo, PersistentState, carried, initial_state
from samplers.rbm import RBM
from samplers.tracing import plain

__all__ = ["initial_state", "step"]


@plain
def step(
    rbm: RBM, state: PersistentState, seed: tf.Tensor, *, num_sweeps: int
) -> tuple[PersistentState, PersistentInfo]:
    """Moves every chain by `num_sweeps` sweeps at the new parameters: population annealing without resampling.

    Args, Returns: as for `samplers.population_annealing.step`.

    References:
      Tieleman, Training restricted Boltzmann machines using approximations to the likelihood gradient, ICML 2008.
    """
    check_count("num_sweeps", num_sweeps)
    return carried(rbm, state, gibbs.sweep(rbm, state.left, seed, num_sweeps=tf.constant(num_sweeps)).left)
