"""log p(x) by AIS from q(z | x) through the true posterior p(z | x): without the error of q as a proposal.

    f_t(z) = m(z | x)^(1 - t) [p(z) p(x | z)]^t,    E[w] = p(x)              (`samplers.informed_annealing`)

What q never visits, importance sampling by q does not see in any practical number of samples, and the NLL it gives is
too high by that. Here chains start from m, which is q, or an equal mixture of q and flattened copies of it
(`Posterior.draw`), and the moves of f_t go wherever p(z | x) is. Where a q that is sure of itself is wrong, they do
so from a mixture only: from q itself f_t leaves q's mode when t is nearly 1, and then finds the others by luck.

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

# log p(x, z) of states `[K, B, units]` and their `log q(z | x)`, nats, float64 `[K, B]`.
LogJoint = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def log_likelihood(
    posterior: Posterior,
    encoding: Any,
    draws: PosteriorDraws,
    log_joint: LogJoint,
    *,
    schedule: Schedule,
    seed: tf.Tensor,
) -> LikelihoodEstimate:
    """The estimate from draws that were carried to the true posterior, a move at each temperature.

        log w_k = log v_k + sum_j (t_j - t_{j-1}) r(z_{k, j-1}),    r = log p(x, z) - log m(z | x)

    v_k is 1 for exact draws of m, and the weights of AIS otherwise.

    Unbiased for p(x), as that of the draws alone; so is, in structured prediction, that of a directed posterior.

    Args:
      posterior: q.
      encoding: of `posterior.encode`, `[B]`.
      draws: of `posterior.draw` with it; ELBO and entropy are estimated from them as they are.
      log_joint: log p(x, z).
      schedule: of the temperatures.
      seed: int32 `[2]`.
    """

    def log_mixture(z: tf.Tensor) -> tf.Tensor:
        return posterior.log_densities(encoding, z, draws.mixture).log_mixture

    def log_ratio(z: tf.Tensor) -> tf.Tensor:
        of_z = posterior.log_densities(encoding, z, draws.mixture)
        return log_joint(z, of_z.log_q) - of_z.log_mixture

    densities = informed_annealing.Densities(log_mixture, log_ratio)
    annealed = informed_annealing.forward(densities, draws.z, schedule=schedule, seed=seed)
    log_q = tf.cast(draws.log_q, tf.float64)
    to_mixture = tf.cast(draws.log_weights, tf.float64) - log_q + log_mixture(draws.z)
    log_weights = to_mixture + annealed.log_weights
    return draws.estimate(log_joint(draws.z, log_q) - log_q)._replace(
        log_likelihood=log_mean_exp(log_weights, axis=0),
        effective_sample_size=effective_sample_size(log_weights, axis=0),
    )


def backward(
    posterior: Posterior,
    encoding: Any,
    z: tf.Tensor,
    log_joint: LogJoint,
    *,
    schedule: Schedule,
    seed: tf.Tensor,
) -> informed_annealing.Annealed:
    """Chains of p(z | x) carried back to q(z | x): `E[w] = Z / p(x)`, Z that of `posterior.unnormalised_log_prob`.

        log w = - sum_j (t_j - t_{j-1}) r(z_{j-1}),    r = log p(x, z) - log q(z | x)

    `posterior.reverse_log_weights` of where they end carries them on, and then `E[w w'] = 1 / p(x)`.

    Args:
      posterior, encoding, log_joint, schedule, seed: as for `log_likelihood`.
      z: exact draws of p(z | x), `[K, B, units]`; copies of one draw are such, though not independent.
    """

    def log_q(z: tf.Tensor) -> tf.Tensor:
        return posterior.unnormalised_log_prob(encoding, z)

    densities = informed_annealing.Densities(log_q, lambda z: log_joint(z, log_q(z)) - log_q(z))
    return informed_annealing.backward(densities, z, schedule=schedule, seed=seed)
