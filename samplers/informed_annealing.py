"""AIS of binary states from one density to any other, by locally informed moves: forward and reverse.

    f_t(z) = exp(log f_0(z) + t r(z)),    t from 0 to 1,    r(z) = log f_1(z) - log f_0(z)

The densities are given as functions that can be differentiated in z as if it were continuous, and nothing else is asked
of them. A move flips many bits at once, those that the gradient says are loosely held:

    d_i = (1 - 2 z_i) d/dz_i log f_t(z)                    first-order change of log f_t when bit i flips
    bit i flips with probability sigma(d_i / 2 - c)        independently, g(z' | z) the product over all bits
    accepted with min(1, f_t(z') g(z | z') / (f_t(z) g(z' | z)))

which leaves f_t invariant whatever the densities, and is reversible. c >= 0, the *reluctance*, is drawn anew for every
move of every chain: a small one flips many bits and is seldom accepted where the densities are far from linear, a large
one flips few. A move costs the densities and their gradients once, those of the state being known.

References:
  Zanella, Informed proposals for local MCMC in discrete spaces, J. Am. Stat. Assoc. 2020. Zhang, Liu & Liu, A
  Langevin-like sampler for discrete distributions, ICML 2022 (flips side by side). Grosse, Ghahramani & Adams, 2015
  (reverse AIS).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from samplers import gibbs, random
from samplers.annealing_path import Schedule

Density = Callable[[tf.Tensor], tf.Tensor]
# c: of 200 latents, two or three bits change in a move, half of which are accepted.
_RELUCTANCE = 1.0, 4.0


class Densities(NamedTuple):
    """The two ends of a path, as functions of states `[K, B, units]`, nats, `[K, B]`.

    Attributes:
      log_start: `log f_0`, up to a constant that is the same for all states of an example.
      log_ratio: `r = log f_1 - log f_0`, with its constant: `log w` has that of `f_1 / f_0`.
    """

    log_start: Density
    log_ratio: Density


class Annealed(NamedTuple):
    """Where chains are at the end of a path.

    Attributes:
      z: binary, `[K, B, units]`.
      log_weights: float64 `[K, B]`. Forward `E[w] = Z_1 / Z_0`; in reverse, from exact draws of f_1, its inverse.
      acceptance: share of the moves that were accepted, `[K, B]`.
      flips: bits that changed in a move, mean over moves, `[K, B]`.
    """

    z: tf.Tensor
    log_weights: tf.Tensor
    acceptance: tf.Tensor
    flips: tf.Tensor


class _Chains(NamedTuple):
    """States with all that a move needs to know of them."""

    z: tf.Tensor
    start: tf.Tensor
    ratio: tf.Tensor
    start_gradient: tf.Tensor
    ratio_gradient: tf.Tensor

    @classmethod
    def at(cls, densities: Densities, z: tf.Tensor) -> _Chains:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(z)
            start, ratio = densities.log_start(z), densities.log_ratio(z)
        gradients = (tape.gradient(value, z, unconnected_gradients="zero") for value in (start, ratio))
        return cls(z, tf.cast(start, tf.float64), tf.cast(ratio, tf.float64), *gradients)

    def log_density(self, t: tf.Tensor) -> tf.Tensor:
        return self.start + tf.cast(t, tf.float64) * self.ratio

    def flip_logits(self, t: tf.Tensor, reluctance: tf.Tensor) -> tf.Tensor:
        gradient = self.start_gradient + tf.cast(t, self.z.dtype) * self.ratio_gradient
        return (0.5 - self.z) * gradient - reluctance[..., None]


def forward(
    densities: Densities, z: tf.Tensor, *, schedule: Schedule, seed: tf.Tensor, moves: tf.Tensor | int = 1
) -> Annealed:
    """From draws of f_0 to f_1.

        log w = sum_{j=1..T} (t_j - t_{j-1}) r(z_{j-1}),    z_j from z_{j-1} by moves of f_{t_j}

    Args:
      densities: both ends.
      z: binary, `[K, B, units]`, draws of `f_0 / Z_0`; weighted ones have their weights beside.
      schedule: of `t_0 = 0, ..., t_T = 1`.
      seed: int32 `[2]`.
      moves: at each `t_j`.
    """
    return _walk(densities, z, schedule, moves, seed, is_forward=True)


def backward(
    densities: Densities, z: tf.Tensor, *, schedule: Schedule, seed: tf.Tensor, moves: tf.Tensor | int = 1
) -> Annealed:
    """From exact draws of `f_1 / Z_1` back to f_0: the path of `forward`, walked the other way; arguments likewise.

    log w = - sum_{j=T..1} (t_j - t_{j-1}) r(z_{j-1}),    z_{j-1} from z_j by moves of f_{t_j}
    """
    return _walk(densities, z, schedule, moves, seed, is_forward=False)


def _walk(
    densities: Densities,
    z: tf.Tensor,
    schedule: Schedule,
    moves: tf.Tensor | int,
    seed: tf.Tensor,
    *,
    is_forward: bool,
) -> Annealed:
    times, num_times = schedule
    total = num_times * moves

    def temperature(moved: tf.Tensor) -> tf.Tensor:
        """Number of the t whose moves are being made, after so many moves."""
        return 1 + moved // moves if is_forward else num_times - moved // moves

    def step(moved, chains, log_weights, accepted, flipped):
        j = temperature(moved)
        part = tf.cast(times[j] - times[j - 1], tf.float64)
        # Forward the weight is taken before the first move of t_j, in reverse after the last.
        if is_forward:
            log_weights += tf.where(moved % moves == 0, part, 0) * chains.ratio
        chains, was_accepted, num = _move(densities, chains, times[j], gibbs.sweep_seed(seed, moved))
        if not is_forward:
            log_weights -= tf.where((moved + 1) % moves == 0, part, 0) * chains.ratio
        return moved + 1, chains, log_weights, accepted + was_accepted, flipped + num

    start = _Chains.at(densities, z)
    none = tf.zeros_like(start.ratio)
    _, chains, log_weights, accepted, flipped = tf.while_loop(
        lambda moved, *_: moved < total, step, (tf.constant(0), start, none, none, none)
    )
    count = tf.cast(total, tf.float64)
    return Annealed(chains.z, log_weights, accepted / count, flipped / count)


def _move(densities: Densities, chains: _Chains, t: tf.Tensor, seed: tf.Tensor) -> tuple[_Chains, tf.Tensor, tf.Tensor]:
    """One move of f_t: the chains after it, whether it was accepted, and how many bits changed."""
    reluctance_seed, flip_seed, accept_seed = random.split(seed, 3)
    shape = tf.shape(chains.ratio)
    least, most = _RELUCTANCE
    reluctance = least + (most - least) * random.uniform(shape, reluctance_seed)
    logits = chains.flip_logits(t, reluctance)
    flips = random.bernoulli(logits, flip_seed)
    proposed = _Chains.at(densities, tf.abs(chains.z - flips))
    back = proposed.flip_logits(t, reluctance)
    log_acceptance = proposed.log_density(t) - chains.log_density(t) + _log_prob(flips, back) - _log_prob(flips, logits)
    uniform = random.uniform(shape, accept_seed, tf.float64)
    is_accepted = tf.math.log(uniform) < log_acceptance
    moved = _Chains(
        *(
            tf.where(tf.reshape(is_accepted, tf.concat([shape, tf.ones(new.shape.rank - 2, tf.int32)], 0)), new, old)
            for new, old in zip(proposed, chains, strict=True)
        )
    )
    accepted = tf.cast(is_accepted, tf.float64)
    return moved, accepted, accepted * tf.cast(tf.reduce_sum(flips, -1), tf.float64)


def _log_prob(flips: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Of independent flips, float64 `[K, B]`."""
    return tf.cast(tf.reduce_sum(flips * logits - tf.math.softplus(logits), axis=-1), tf.float64)
