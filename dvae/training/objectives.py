"""Objectives: from log-densities `[K, B]` to the losses that are differentiated and the values that are shown."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

# Names of what each measures. Effective sample sizes are of 1 to K: of importance weights as they are annealed, and in
# structured prediction of the likelihoods.
ELBO_METRICS = ("relaxed_log_likelihood",)
WEIGHTS_METRICS = ("relaxed_log_likelihood", "iw_effective_sample_size")
STRUCTURED_METRICS = ("relaxed_bound", "relaxed_log_likelihood", "effective_sample_size")
COMPLETE_DATA_METRICS = ("log_likelihood_given_z",)


class Objective(NamedTuple):
    """What is differentiated, and what is shown.

    Attributes:
      generative_loss: scalar, to be minimised in the parameters of prior and likelihood.
      inference_loss: scalar, to be minimised in those of the posterior. It may be the same tensor.
      metrics: true values by name, scalars.
    """

    generative_loss: tf.Tensor
    inference_loss: tf.Tensor
    metrics: dict[str, tf.Tensor]

    def measuring(self, **values: tf.Tensor) -> Objective:
        """The same objective with further metrics."""
        return self._replace(metrics=self.metrics | values)


def elbo(log_likelihood: tf.Tensor, divergence: tf.Tensor, *, kl_weight: tf.Tensor) -> Objective:
    """`-mean [log p(x | zeta) - kl_weight * divergence]`, the mean over samples and examples.

    With an RBM posterior `divergence` lacks log Z_phi (it has the right gradient, not the right value), so only the
    relaxed log-likelihood is a metric here; the bound itself is measured by `dvae.evaluation`.

    Args:
      log_likelihood: `log p(x | zeta)`, `[K, B]`.
      divergence: KL(q || p) or a surrogate with its gradient, `[K, B]`.
      kl_weight: lambda, scalar.
    """
    loss = -tf.reduce_mean(log_likelihood - kl_weight * divergence)
    return Objective(loss, loss, {"relaxed_log_likelihood": tf.reduce_mean(log_likelihood)})


def importance_weighted(log_likelihood: tf.Tensor, log_ratio: tf.Tensor, *, kl_weight: tf.Tensor) -> Objective:
    """`-mean_x log mean_k w_k` of the annealed weights, by the gradient of IWAE.

        w_k = p(zeta_k)^lambda p(x | zeta_k) / q(zeta_k | x)^lambda,    w~_k = w_k / sum_j w_j
        d_theta = d_phi = sum_k w~_k d log w_k

    with `log_ratio` a function of the encoder's parameters phi directly and through zeta. The losses have this
    gradient, not the value of the bound, from which log Z_phi may be missing. [Burda, Grosse & Salakhutdinov,
    arXiv:1509.00519; DVAE##, appendix C, for lambda]

    Args:
      log_likelihood: `log p(x | zeta)`, `[K, B]`.
      log_ratio: `log q(zeta | x) - log p(zeta)`, up to a constant of each example, `[K, B]`.
      kl_weight: lambda, scalar.
    """
    log_weights = log_likelihood - kl_weight * log_ratio
    normalised = _normalised(log_weights)
    loss = _weighted(normalised, log_weights)
    return Objective(loss, loss, _metrics(log_likelihood, normalised))


def doubly_reparameterized(log_likelihood: tf.Tensor, log_ratio: tf.Tensor, *, kl_weight: tf.Tensor) -> Objective:
    """`importance_weighted` with the doubly reparameterized gradient in the encoder.

        d_theta = sum_k w~_k d log w_k
        d_phi = sum_k (lambda w~_k^2 + (1 - lambda) w~_k) (d log w_k / d zeta_k) (d zeta_k / d phi)

    `log_ratio` must be a function of zeta (and theta) alone, with phi held constant. Where q is the density of zeta,
    the samples are independent and the gradient of log p(zeta) is exact, the mean is that of `importance_weighted`;
    where besides q is proportional to `p(z) p(x | z)^(1 / lambda)`, all of it vanishes. lambda = 1 is DReG [Tucker et
    al., arXiv:1810.04152], at lambda = 0 both gradients are the same, and K = 1 is the ELBO's without
    Rao-Blackwellisation and without the score of q, for every lambda. [DVAE##, appendix C]

    Args: as for `importance_weighted`.
    """
    log_weights = log_likelihood - kl_weight * log_ratio
    normalised = _normalised(log_weights)
    return Objective(
        generative_loss=_weighted(normalised, log_weights),
        inference_loss=_weighted(kl_weight * tf.square(normalised) + (1 - kl_weight) * normalised, log_weights),
        metrics=_metrics(log_likelihood, normalised),
    )


def structured(
    log_likelihood: tf.Tensor,
    negative_entropy: tf.Tensor,
    *,
    entropy_weight: tf.Tensor,
    log_law: tf.Tensor | None = None,
) -> Objective:
    """`-mean_x,r [log mean_k p(x_2 | zeta_rk) + lambda H(q(z | x_1))]`, structured output prediction.

    The entropy keeps q from collapsing early; its weight lambda falls through training. [Raiko et al., ICLR 2015;
    DVAE##, section 4.3] With the law of the states that the relaxed sweeps start from, `p(s)`, the gradient gains term
    I of eq. 9 of [DVAE##], by a covariance over replicates,

        mean_r (V_r - mean_{r' != r} V_r') sum_k d log p(s_rk),   V_r = the term of replicate r above

    without bias: what is taken off does not depend on s_r, and `E[d log p(s)] = 0`. (What log p lacks and all
    replicates share drops out: the factors sum to 0.) [A leave-one-out baseline as in Mnih & Rezende, ICML 2016]

    Args:
      log_likelihood: `log p(x_2 | zeta)`, `[K, R, B]`.
      negative_entropy: -H or a surrogate with its gradient, `[K, R, B]`.
      entropy_weight: lambda, scalar.
      log_law: `log p(s)` up to a constant of each example, differentiable in the encoder, `[K, R, B]`, R at least 2;
        None for the gradient without term I, that of Algorithm 1.
    """
    num_samples = tf.cast(tf.shape(log_likelihood)[0], log_likelihood.dtype)
    bound = tf.reduce_logsumexp(log_likelihood, axis=0) - tf.math.log(num_samples)
    value = bound - entropy_weight * tf.reduce_mean(negative_entropy, axis=0)
    loss = -tf.reduce_mean(value)
    if log_law is not None:
        loss -= tf.reduce_mean(_less_the_others(value) * tf.reduce_sum(log_law, axis=0))
    metrics = {
        "relaxed_bound": tf.reduce_mean(bound),
        "relaxed_log_likelihood": tf.reduce_mean(log_likelihood),
        "effective_sample_size": _effective_sample_size(_normalised(log_likelihood)),
    }
    return Objective(loss, loss, metrics)


def complete_data(log_likelihood: tf.Tensor, log_prior: tf.Tensor) -> Objective:
    """`-mean [log p(x | z) + log p(z)]` of draws from the true posterior: its gradient is that of `-log p(x)`.

        d log p(x) = E_{p(z | x)}[d log p(x, z)]

    Args:
      log_likelihood: `log p(x | z)`, `[K, B]`.
      log_prior: `log p(z)`, whose log Z_theta carries its gradient, `[K, B]`.
    """
    loss = -tf.reduce_mean(log_likelihood + log_prior)
    return Objective(loss, loss, {"log_likelihood_given_z": tf.reduce_mean(log_likelihood)})


def _less_the_others(values: tf.Tensor) -> tf.Tensor:
    """`v_r - mean_{r' != r} v_r'` over the first axis; constant to differentiation."""
    num = tf.cast(tf.shape(values)[0], values.dtype)
    return tf.stop_gradient((values - tf.reduce_mean(values, axis=0)) * num / (num - 1))


def _normalised(log_weights: tf.Tensor) -> tf.Tensor:
    """Over the samples of an example; constant to differentiation."""
    return tf.stop_gradient(tf.nn.softmax(log_weights, axis=0))


def _weighted(coefficients: tf.Tensor, log_weights: tf.Tensor) -> tf.Tensor:
    return -tf.reduce_mean(tf.reduce_sum(coefficients * log_weights, axis=0))


def _metrics(log_likelihood: tf.Tensor, normalised: tf.Tensor) -> dict[str, tf.Tensor]:
    return {
        "relaxed_log_likelihood": tf.reduce_mean(log_likelihood),
        "iw_effective_sample_size": _effective_sample_size(normalised),
    }


def _effective_sample_size(normalised: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(1 / tf.reduce_sum(tf.square(normalised), axis=0))
