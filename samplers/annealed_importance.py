"""Annealed importance sampling (AIS), forward and reverse."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from samplers import gibbs, random
from samplers.annealing_path import Base, Path, Schedule
from samplers.arguments import check_count, check_seed
from samplers.rbm import RBM
from samplers.tracing import plain
from samplers.weights import effective_sample_size, log_mean_exp, log_mean_exp_standard_error


class AnnealedSample(NamedTuple):
    """States with importance weights, and the estimate of log Z that the weights give.

    Attributes:
      left: binary, `[chains, *batch, N]`.
      right: binary, `[chains, *batch, M]`, drawn from `p(right | left)`.
      log_weights: float64 `[chains, *batch]`; `mean exp(log_weights) g(z)` estimates `Z E_p[g]` without bias.
      log_z: log of the mean weight, nats, float64 `[*batch]`; Z is estimated without bias, so `E[log_z] <= log Z`.
      standard_error: of `log_z`, nats, float64 `[*batch]`, by the delta method; infinite where it cannot be known, the
        weights being too uneven or too few (`samplers.weights.is_known`).
      effective_sample_size: `(sum w)^2 / sum w^2`, float64 `[*batch]`.
    """

    left: tf.Tensor
    right: tf.Tensor
    log_weights: tf.Tensor
    log_z: tf.Tensor
    standard_error: tf.Tensor
    effective_sample_size: tf.Tensor


@plain
def sample(rbm: RBM, base: Base, *, betas: tf.Tensor, num_chains: tf.Tensor | int, seed: tf.Tensor) -> AnnealedSample:
    """Forward AIS from `base` to `rbm`.

        log w = log Z_0 + sum_{t=1..T} [log f_t(z_{t-1}) - log f_{t-1}(z_{t-1})],   z_t ~ sweep of f_t from z_{t-1}

    Args:
      rbm: a machine or a batch of machines, which are annealed together.
      base: where to start, of the same batch shape; see `samplers.annealing_path`.
      betas: inverse temperatures from 0 to 1, float64 `[T + 1]`.
      num_chains: chains for each machine, at least 1 (10 if the error is to be known).
      seed: int32 `[2]`.

    Returns:
      The states at beta = 1 with their weights.

    Raises:
      ValueError: an argument is out of range, or the base does not fit the machine.

    References:
      Neal, Annealed importance sampling, 2001; Salakhutdinov & Murray, ICML 2008.
    """
    check_count("num_chains", num_chains)
    base = base.fitting(rbm)
    base_seed, anneal_seed = random.split(seed, 2)
    left = base.sample_left(num_chains, base_seed)
    left, right, log_weights = _forward(rbm, base, left, Schedule.of(betas, left.dtype), anneal_seed)
    log_weights += base.log_z()
    return AnnealedSample(
        left=left,
        right=right,
        log_weights=log_weights,
        log_z=log_mean_exp(log_weights, axis=0),
        standard_error=log_mean_exp_standard_error(log_weights, axis=0),
        effective_sample_size=effective_sample_size(log_weights, axis=0),
    )


class ReverseEstimate(NamedTuple):
    """Attributes are float64, `[*batch]` unless said.

    Attributes:
      log_weights: `[chains, *batch]`; `mean exp(log_weights)` estimates 1 / Z without bias.
      log_z: nats, `-log mean exp(log_weights)`, with `E[log_z] >= log Z`.
      standard_error: of `log_z`, nats, by the delta method; infinite where it cannot be known, as for `sample`.
      effective_sample_size: of the weights.
    """

    log_weights: tf.Tensor
    log_z: tf.Tensor
    standard_error: tf.Tensor
    effective_sample_size: tf.Tensor


@plain
def reverse(rbm: RBM, base: Base, left: tf.Tensor, *, betas: tf.Tensor, seed: tf.Tensor) -> ReverseEstimate:
    """Reverse AIS: from exact samples of the RBM back to the base, an upper bound of log Z in expectation.

        log w = sum_{t=T..1} [log f_{t-1}(z_{t-1}) - log f_t(z_{t-1})],    z_{t-1} ~ sweep of f_t from z_t
        log Z <= log Z_0 - E[log mean exp(log w)]

    A sweep of block Gibbs is reversible on the left units, so the same sweep serves both directions.

    Args:
      rbm: a machine or a batch of machines.
      base: where the path ends.
      left: exact samples of `p(left)`, `[chains, *batch, N]`.
      betas: inverse temperatures from 0 to 1, float64 `[T + 1]`, as for `sample`.
      seed: int32 `[2]`.

    Raises:
      ValueError: `left` is no binary state of the machine, or another argument is out of range.

    References:
      Grosse, Ghahramani & Adams, Sandwiching the marginal likelihood using bidirectional Monte Carlo, 2015.
    """
    base, left = base.fitting(rbm), rbm.as_states("left", left)
    log_weights = _backward(rbm, base, left, Schedule.of(betas, left.dtype), check_seed(seed)) - base.log_z()
    return ReverseEstimate(
        log_weights=log_weights,
        log_z=-log_mean_exp(log_weights, axis=0),
        standard_error=log_mean_exp_standard_error(log_weights, axis=0),
        effective_sample_size=effective_sample_size(log_weights, axis=0),
    )


@tf.function(jit_compile=True)
def _forward(rbm: RBM, base: Base, left: tf.Tensor, schedule: Schedule, seed: tf.Tensor):
    path = Path.between(base, rbm)
    betas, num_temperatures = schedule
    left, right_input, log_weights = path.enter(left)
    t = tf.constant(1)
    while t <= num_temperatures:
        log_weights += path.log_ratio(betas[t - 1], betas[t], left, right_input)
        left, _ = path.at(betas[t]).sweep(right_input, betas[t], gibbs.sweep_seed(seed, t))
        right_input = path.end.right_input(left)
        t += 1
    right = random.bernoulli(path.end.bias_right + right_input, gibbs.sweep_seed(seed, 0))
    return gibbs.from_columns(left), gibbs.from_columns(right), gibbs.from_columns(log_weights)


@tf.function(jit_compile=True)
def _backward(rbm: RBM, base: Base, left: tf.Tensor, schedule: Schedule, seed: tf.Tensor) -> tf.Tensor:
    path = Path.between(base, rbm)
    betas, num_temperatures = schedule
    left, right_input, log_weights = path.enter(left)
    t = num_temperatures
    while t > 0:
        left, _ = path.at(betas[t]).sweep(right_input, betas[t], gibbs.sweep_seed(seed, t))
        right_input = path.end.right_input(left)
        log_weights += path.log_ratio(betas[t], betas[t - 1], left, right_input)
        t -= 1
    return gibbs.from_columns(log_weights)
