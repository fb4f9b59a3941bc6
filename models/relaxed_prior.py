"""The density log p(zeta) of relaxed latents whose binary values are those of an RBM."""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from models.relaxations import LogComponents
from samplers.mean_field import mean_field
from samplers.rbm import RBM

_MEAN_FIELD_UPDATES = 5
_LEAST_EIGENVALUE = 5.0  # of W_s + beta I


def overlapping_bound(rbm: RBM, components: LogComponents, log_z: tf.Tensor) -> tf.Tensor:
    """A lower bound of `log p(zeta) = log sum_z p(z) prod_i r(zeta_i | z_i)`, factorial components.

        log p(zeta) = log sum_z exp(-E(z) + c . z) + d - log Z,   c = log r(zeta | 1) - log r(zeta | 0),
                                                                  d = sum_i log r(zeta_i | 0)

    The sum is that of an RBM with the biases shifted by c. Five mean-field updates from 1/2 give m(zeta), and

        value = -E(m) + c . m + d + H(m) - log Z <= log p(zeta)

    The gradient is that of `-E(m) + c . m + d - log Z` with m held constant. At a fixed point of mean field it is that
    of the bound itself, whose derivative in m vanishes there. [Vahdat et al., arXiv:1805.07445, section 3.1]

    Args:
      rbm: the machine of p(z).
      components: `[..., N + M]`, left units first.
      log_z: its log-partition function, scalar, nats.

    Returns:
      Nats, `[...]`.
    """
    c = components.on - components.off
    c_left, c_right = rbm.split(c)
    shifted = RBM(rbm.bias_left + c_left, rbm.bias_right + c_right, rbm.weights)
    halves = 0.5 * tf.ones_like(c_left)
    means = mean_field(shifted.frozen(), halves, num_updates=_MEAN_FIELD_UPDATES)
    entropy = tf.reduce_sum(_bernoulli_entropy(means.left), -1) + tf.reduce_sum(_bernoulli_entropy(means.right), -1)
    return -shifted.energy(*means) + tf.reduce_sum(components.off, axis=-1) + entropy - log_z


def _bernoulli_entropy(p: tf.Tensor) -> tf.Tensor:
    """`-p log p - (1 - p) log(1 - p)`, 0 at 0 and 1."""
    return -tf.math.xlogy(p, p) - tf.math.xlog1py(1 - p, -p)


def smallest_eigenvalue(rbm: RBM) -> tf.Tensor:
    """`lambda_min(W_s)` of `W_s = [[0, W], [W', 0]]`, scalar: minus the largest singular value of W.

    By the eigenvalues of the smaller of W'W and W W'. Held constant: it has no derivative where eigenvalues coincide,
    as they all do where training starts.
    """
    weights = tf.stop_gradient(rbm.weights)
    smaller = weights if rbm.num_left <= rbm.num_right else tf.transpose(weights)
    gram = tf.matmul(smaller, smaller, transpose_b=True)
    return -tf.sqrt(tf.nn.relu(tf.reduce_max(tf.linalg.eigvalsh(gram))))


class GaussianIntegralPrior(NamedTuple):
    """p(zeta) with correlated Gaussian components of precision `W_s + beta I`.

    Attributes:
      rbm: the machine of p(z).
      beta: constant to differentiation, scalar; `W_s + beta I` is positive definite.
    """

    rbm: RBM
    beta: tf.Tensor

    @classmethod
    def smoothing(cls, rbm: RBM, *, least_beta: float) -> GaussianIntegralPrior:
        """With `beta = max(least_beta, 5 - lambda_min(W_s))`: the eigenvalues of `W_s + beta I` are at least 5."""
        positive_definite = _LEAST_EIGENVALUE - smallest_eigenvalue(rbm)
        return cls(rbm, tf.maximum(tf.constant(least_beta, rbm.weights.dtype), positive_definite))


def gaussian_integral(prior: GaussianIntegralPrior, zeta: tf.Tensor, log_z: tf.Tensor) -> tf.Tensor:
    """`log p(zeta) = log sum_z p(z) N(zeta; z, (W_s + beta I)^-1)`, exact, `W_s = [[0, W], [W', 0]]`.

    The components' covariance cancels the pairwise terms of the energy, so that the sum over z factorises:

        log p(zeta) = -log Z + (1/2) log det(W_s + beta I) - ((N + M) / 2) log 2 pi - (1/2) zeta' (W_s + beta I) zeta
                      + sum_i softplus((W_s + beta I) zeta + h - beta / 2)_i,   h = [a, b]

    with `log det(W_s + beta I) = (N + M) log beta + log det(I - W'W / beta^2)` by the Schur complement.
    [Vahdat et al., arXiv:1805.07445, section 3.2]

    Args:
      prior: the machine of p(z) with the precision of its components.
      zeta: `[..., N + M]`, left units first.
      log_z: the machine's log-partition function, scalar, nats.

    Returns:
      Nats, `[...]`; not a number if the matrix is not positive definite.
    """
    rbm, beta = prior
    num_units = rbm.num_left + rbm.num_right
    left, right = rbm.split(zeta)
    scaled = rbm.weights / beta
    schur = tf.eye(rbm.num_right, dtype=zeta.dtype) - tf.matmul(scaled, scaled, transpose_a=True)
    cholesky = tf.linalg.cholesky(schur)
    half_log_det = 0.5 * num_units * tf.math.log(beta) + tf.reduce_sum(tf.math.log(tf.linalg.diag_part(cholesky)))
    from_right = tf.einsum("ij,...j->...i", rbm.weights, right)
    from_left = tf.einsum("...i,ij->...j", left, rbm.weights)
    quadratic = tf.reduce_sum(left * from_right, axis=-1) + 0.5 * beta * tf.reduce_sum(tf.square(zeta), axis=-1)
    fields = tf.concat([rbm.bias_left + from_right, rbm.bias_right + from_left], axis=-1) + beta * (zeta - 0.5)
    mixture = tf.reduce_sum(tf.math.softplus(fields), axis=-1)
    return -log_z + half_log_det - 0.5 * num_units * math.log(2 * math.pi) - quadratic + mixture
