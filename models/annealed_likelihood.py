"""log p(x) by AIS from q(z | x) through the true posterior p(z | x): without the error of q as a proposal.

    f_t(z) = q(z | x)^(1 - t) [p(z) p(x | z)]^t,    E[w] = p(x)              (`samplers.informed_annealing`)

What q never visits, importance sampling by q does not see in any practical number of samples, and the NLL it gives is
too high by that. Here q is where chains start, and the moves of f_t go wherever p(z | x) is.

The same path walked the other way, from an exact draw of p(z | x), has `E[w] = 1 / p(x)`: log p(x) is in a bracket.
One draw is known where x was made by the model itself, the z that it was made of [Grosse, Ghahramani & Adams 2015].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from models.posterior import LikelihoodEstimate, Posterior, PosteriorDraws
from samplers import informed_annealing
from samplers.annealing_path import Schedule
from samplers.weights import effective_sample_size, log_mean_exp


def log_likelihood(
    posterior: Posterior,
    encoding: Any,
    draws: PosteriorDraws,
    log_ratio_to_q: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    *,
    schedule: Schedule,
    seed: tf.Tensor,
) -> LikelihoodEstimate:
    """The estimate from draws that were carried to the true posterior, a move at each temperature.

        log w_k = log_weights_k + sum_j (t_j - t_{j-1}) r(z_{k, j-1})

    Unbiased for p(x), as that of the draws alone; so is, in structured prediction, that of a directed posterior.

    Args:
      posterior: q.
      encoding: of `posterior.encode`, `[B]`.
      draws: of `posterior.draw` with it; ELBO and entropy are estimated from them as they are.
      log_ratio_to_q: of states `[K, B, units]` and their `log q(z | x)`, normalised as that of the draws: r, nats.
      schedule: of the temperatures.
      seed: int32 `[2]`.
    """
    log_normaliser = posterior.unnormalised_log_prob(encoding, draws.z)[0] - tf.cast(draws.log_q[0], tf.float64)

    def log_q(z: tf.Tensor) -> tf.Tensor:
        return posterior.unnormalised_log_prob(encoding, z) - log_normaliser

    def log_ratio(z: tf.Tensor) -> tf.Tensor:
        return log_ratio_to_q(z, log_q(z))

    densities = informed_annealing.Densities(log_q, log_ratio)
    annealed = informed_annealing.forward(densities, draws.z, schedule=schedule, seed=seed)
    log_weights = tf.cast(draws.log_weights, tf.float64) + annealed.log_weights
    return draws.estimate(log_ratio(draws.z))._replace(
        log_likelihood=log_mean_exp(log_weights, axis=0),
        effective_sample_size=effective_sample_size(log_weights, axis=0),
    )


def backward(
    posterior: Posterior,
    encoding: Any,
    z: tf.Tensor,
    log_ratio_to_q: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    *,
    schedule: Schedule,
    seed: tf.Tensor,
) -> informed_annealing.Annealed:
    """Chains of p(z | x) carried back to q(z | x): `E[w] = Z / p(x)`, Z that of `posterior.unnormalised_log_prob`.

        log w = - sum_j (t_j - t_{j-1}) r(z_{j-1})

    `posterior.reverse_log_weights` of where they end carries them on, and then `E[w w'] = 1 / p(x)`.

    Args:
      posterior, encoding, schedule, seed: as for `log_likelihood`.
      z: exact draws of p(z | x), `[K, B, units]`; copies of one draw are such, though not independent.
      log_ratio_to_q: as for `log_likelihood`, of the unnormalised `log q(z | x)`.
    """

    def log_q(z: tf.Tensor) -> tf.Tensor:
        return posterior.unnormalised_log_prob(encoding, z)

    densities = informed_annealing.Densities(log_q, lambda z: log_ratio_to_q(z, log_q(z)))
    return informed_annealing.backward(densities, z, schedule=schedule, seed=seed)
