"""KL(q(z | x) || p(z)) for each pairing of a posterior with the RBM prior, and entropies: free functions of samples."""

from __future__ import annotations

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from models import relaxed_prior
from models.directed_posterior import DirectedSample
from models.mixtures import log_mixture
from models.rbm_posterior import RBMSample
from models.relaxed_prior import GaussianIntegralPrior
from samplers.log_partition import log_z_with_gradient
from samplers.rbm import RBM


def directed_to_rbm(sample: DirectedSample, prior: RBM, log_z: tf.Tensor) -> tf.Tensor:
    """`E_theta(m) + log Z_theta - H`, an estimate of KL(q || p) that is exact for one group.

    `m` are the Rao-Blackwellised units and `H` is the analytic Bernoulli entropy of all groups given the sampled
    groups before them. With more than one group the sampled units are relaxed, and the energy is that of relaxed
    units, as PWL and GumBolt define their objective. With one group DVAE and DVAE++ have this objective too.

    Args:
      sample: relaxed samples of the posterior.
      prior: the machine of p(z).
      log_z: its log-partition function, scalar, nats.

    Returns:
      Nats, `[K, B]`.
    """
    return prior.energy(*prior.split(sample.means)) + log_z - _entropy(sample)


def relaxed_directed_to_rbm(sample: DirectedSample, prior: RBM, log_z: tf.Tensor) -> tf.Tensor:
    """`log q(zeta | x) - log p(zeta)` by one sample, both extended from binary to relaxed units.

        log q(zeta | x) = sum_i [zeta_i l_i - softplus(l_i)],   log p(zeta) = -E_theta(zeta) - log Z_theta

    Neither is a density of zeta: PWL and GumBolt define their importance weights so.

    Args, Returns: as for `directed_to_rbm`.
    """
    log_q = tf.reduce_sum(sample.zeta * sample.logits - tf.math.softplus(sample.logits), axis=-1)
    return log_q + prior.energy(*prior.split(sample.zeta)) + log_z


def spike_and_exponential_to_rbm(sample: DirectedSample, prior: RBM, log_z: tf.Tensor, *, num_groups: int) -> tf.Tensor:
    """`E_theta(z) + log Z_theta - H` with DVAE's own gradient; an unbiased estimate of KL(q || p), two groups or more.

    z is binary, `z_i = 1[zeta_i > 0]`, but for the last group, on which no other depends: its units are replaced by
    their means. It jumps where zeta leaves 0, which automatic differentiation does not see, so the gradient in the
    encoder is put in its place: that of

        sum_i stop[l_i - h_i - g_i (J z)_i] q_i,   q = sigma(l),   h = [a, b],   (J z)_i the field from the other side,
        g_i = (1 - z_i) / (1 - q_i) on the left (q_i capped at 0.999 there),   g_i = 1 on the right

    where `l_i` stands for `-dH / dq_i`, and q_i depends on the groups before through their zeta.
    `(1 - z_i) / (1 - q_i)` has mean 1 and selects the samples at the jump, where zeta_i is 0. The gradient in theta is
    `d E_theta(z)`, the positive phase, and that of `log_z`, the negative phase. Unbiased but for the cap.
    [Rolfe, arXiv:1609.02200, eqs. 11-12]

    Args:
      sample: relaxed by `SpikeAndExponential`.
      prior, log_z: as for `directed_to_rbm`.
      num_groups: L, at least 2.

    Returns:
      Nats, `[K, B]`.
    """
    q = tf.sigmoid(sample.logits)
    last = sample.logits.shape[-1] // num_groups
    binary = tf.cast(sample.zeta > 0, q.dtype)
    z = tf.stop_gradient(tf.concat([binary[..., :-last], q[..., -last:]], axis=-1))
    left, right = prior.split(z)
    value = prior.energy(left, right) + log_z - tf.stop_gradient(_entropy(sample))

    q_left, _ = prior.split(q)
    at_the_jump = (1 - left) / (1 - tf.minimum(q_left, 0.999))
    field_left = prior.bias_left + at_the_jump * (prior.left_logits(right) - prior.bias_left)
    slopes = tf.stop_gradient(sample.logits - tf.concat([field_left, prior.right_logits(left)], axis=-1))
    return value + tf.reduce_sum(slopes * (q - tf.stop_gradient(q)), axis=-1)


def mixture_to_rbm(sample: DirectedSample, prior: RBM, log_z: tf.Tensor) -> tf.Tensor:
    """`-a . mu_1 - b . mu_2 - nu_1' W mu_2 + log Z_theta - H`: unbiased for KL(q || p) of DVAE++, two groups or more.

    All units are replaced by means: `mu = sigma(l)`, of the left units (1) and the right ones (2), in the terms
    that are linear in a side. Where left meets right, the right units depend on the sampled zeta_1, and the left ones
    have the mean they have given zeta_1, `nu_1 = sigma(l_1 + log r(zeta_1 | 1) - log r(zeta_1 | 0))`. Everything is a
    smooth function of zeta, so the gradient is unbiased as well. [Vahdat et al., arXiv:1802.04920, section 3.3]

    Args:
      sample: relaxed by a mixture.
      prior, log_z: as for `directed_to_rbm`.

    Returns:
      Nats, `[K, B]`.
    """
    components = sample.densities
    mean_left, mean_right = prior.split(tf.sigmoid(sample.logits))
    given_zeta, _ = prior.split(tf.sigmoid(sample.logits + components.on - components.off))
    # Linear in the left units: the energy at nu_1, with a . nu_1 exchanged for a . mu_1.
    exchanged = tf.reduce_sum(prior.bias_left * (given_zeta - mean_left), axis=-1)
    return prior.energy(given_zeta, mean_right) + exchanged + log_z - _entropy(sample)


def overlapping_to_rbm(sample: DirectedSample, prior: RBM, log_z: tf.Tensor) -> tf.Tensor:
    """`log q(zeta | x) - log p(zeta)` of DVAE# by one sample, p(zeta) by its mean-field bound.

    Its mean is at least KL(q(zeta | x) || p(zeta)). The gradient holds the means of the bound constant.
    [Vahdat et al., arXiv:1805.07445]

    Args:
      sample: relaxed by a mixture whose components are those of the prior.
      prior, log_z: as for `directed_to_rbm`.

    Returns:
      Nats, `[K, B]`.
    """
    return _log_q(sample) - relaxed_prior.overlapping_bound(prior, sample.densities, log_z)


def gaussian_integral_to_rbm(sample: DirectedSample, prior: GaussianIntegralPrior, log_z: tf.Tensor) -> tf.Tensor:
    """`log q(zeta | x) - log p(zeta)` of DVAE# with Gaussian-integral smoothing, by one sample, both exact.

    The posterior's components have their own scales and shifts. [Vahdat et al., arXiv:1805.07445]

    Args:
      sample: relaxed by `GaussianIntegral`.
      prior: the machine of p(z) with the precision of its components.
      log_z: as for `directed_to_rbm`.

    Returns:
      Nats, `[K, B]`.
    """
    return _log_q(sample) - relaxed_prior.gaussian_integral(prior, sample.zeta, log_z)


def rbm_to_rbm_without_log_z_phi(sample: RBMSample, prior: RBM, log_z: tf.Tensor) -> tf.Tensor:
    """`-E_phi'(m) + E_theta(m) + log Z_theta` with `phi' = stop_gradient(phi)`: KL(q || p) *plus* log Z_phi.

    Its gradient is that of the KL divergence without term I of eq. 9 of [DVAE##], Algorithm 1, and needs neither
    log Z_phi nor its gradient. Its value is not a KL divergence and must not be shown as one.

    Args, Returns: as for `directed_to_rbm`.
    """
    return prior.energy(*prior.split(sample.means)) + log_z + rbm_negative_entropy_without_log_z_phi(sample)


def relaxed_rbm_to_rbm_without_log_z_phi(sample: RBMSample, prior: RBM, log_z: tf.Tensor) -> tf.Tensor:
    """`-E_phi(zeta) - (-E_theta(zeta) - log Z_theta)`: log q - log p by one sample, *plus* log Z_phi.

    It has the gradient in phi of log q, that of log Z_phi too, estimated by the mean over the example's chains; with a
    sample at constant phi there is none. Not a log-ratio of densities and not to be shown as one; to importance weights
    that are normalised over the samples of an example, log Z_phi is a constant that cancels.

    Args, Returns: as for `directed_to_rbm`.
    """
    zero = tf.zeros(tf.shape(sample.encoding.bias_left)[:-1], sample.zeta.dtype)
    gradient_of_log_z_phi = log_z_with_gradient(sample.encoding, sample.chains, zero)
    left, right = prior.split(sample.zeta)
    return prior.energy(left, right) + log_z - sample.encoding.energy(left, right) - gradient_of_log_z_phi


def directed_negative_entropy(sample: DirectedSample) -> tf.Tensor:
    """`-H`, the analytic Bernoulli entropy of all groups given the sampled groups before them, nats, `[K, B]`.

    Exact for one group.
    """
    return -_entropy(sample)


def rbm_negative_entropy_without_log_z_phi(sample: RBMSample) -> tf.Tensor:
    """`-E_phi'(m)` with `phi' = stop_gradient(phi)`: -H(q) *plus* log Z_phi, nats, `[K, B]`.

    Its gradient is that of the negative entropy without term I of eq. 9 of [DVAE##]; see
    `rbm_to_rbm_without_log_z_phi`. Its value is not an entropy and must not be shown as one.
    """
    machine = sample.encoding.frozen()
    return -machine.energy(*machine.split(sample.means))


def rbm_log_law_of_chains_without_log_z_phi(sample: RBMSample) -> tf.Tensor:
    """`-F_phi(left)` of the chains' binary states: `log q(left | x)` *plus* log Z_phi, nats, `[K, B]`.

    The right units are drawn from the left ones in the relaxed sweeps, so that the left ones' law is all that term I of
    eq. 9 of [DVAE##] needs.
    """
    return -sample.encoding.free_energy(sample.chains)


def _entropy(sample: DirectedSample) -> tf.Tensor:
    """Of the binary units of all groups given the sampled groups before them, nats, `[K, B]`."""
    return tf.reduce_sum(tfd.Bernoulli(logits=sample.logits).entropy(), axis=-1)


def _log_q(sample: DirectedSample) -> tf.Tensor:
    """`log q(zeta | x)`, nats, `[K, B]`."""
    return tf.reduce_sum(log_mixture(sample.logits, sample.densities), axis=-1)
