"""KL(q(z | x) || p(z)) for each pairing of a posterior with the RBM prior: free functions of samples."""

from __future__ import annotations

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from models.directed_posterior import DirectedSample
from models.rbm_posterior import RBMSample
from samplers.rbm import RBM


@tf.function(jit_compile=True)
def directed_to_rbm(sample: DirectedSample, prior: RBM, log_z: tf.Tensor) -> tf.Tensor:
    """`E_theta(m) + log Z_theta - H`, an estimate of KL(q || p) that is exact for one group.

    `m` are the Rao-Blackwellised units and `H` is the analytic Bernoulli entropy of all groups given the sampled
    groups before them. With more than one group the sampled units are relaxed, and the energy is that of relaxed
    units, as PWL and GumBolt define their objective.

    Args:
      sample: relaxed samples of the posterior.
      prior: the machine of p(z).
      log_z: its log-partition function, scalar, nats.

    Returns:
      Nats, `[K, B]`.
    """
    entropy = tf.reduce_sum(tfd.Bernoulli(logits=sample.logits).entropy(), axis=-1)
    return prior.energy(*prior.split(sample.means)) + log_z - entropy


@tf.function(jit_compile=True)
def rbm_to_rbm_without_log_z_phi(sample: RBMSample, prior: RBM, log_z: tf.Tensor) -> tf.Tensor:
    """`-E_phi'(m) + E_theta(m) + log Z_theta` with `phi' = stop_gradient(phi)`: KL(q || p) *plus* log Z_phi.

    Its gradient is that of the KL divergence without term I of eq. 9 of [DVAE##], Algorithm 1, and needs neither
    log Z_phi nor its gradient. Its value is not a KL divergence and must not be shown as one.

    Args, Returns: as for `directed_to_rbm`.
    """
    left, right = prior.split(sample.means)
    return prior.energy(left, right) + log_z - sample.rbm.frozen().energy(left, right)
