"""The undirected posterior of DVAE##: an encoder network whose output is a Boltzmann machine for every x."""

from __future__ import annotations

import math
from typing import NamedTuple

import keras
import tensorflow as tf

from models.inputs import Inputs
from models.networks import LayerFactory, feature_width
from models.posterior import (
    BASES,
    PUBLISHED_TEMPERATURES,
    Densities,
    Mixture,
    Posterior,
    PosteriorDraws,
    checked_factors,
)
from models.relaxations import Relaxation
from samplers import annealed_importance, gibbs, random
from samplers.annealing_path import Base, biases_base, means_base
from samplers.annealing_schedules import linear_betas
from samplers.arguments import require
from samplers.log_z_estimates import LogZ
from samplers.mean_field import mean_field
from samplers.rbm import RBM
from samplers.tracing import plain
from samplers.weights import descendants, log_mean_exp, resample

_SWEEPS_AFTER_RESAMPLING = 10
_MEAN_FIELD_UPDATES = 40
_LEAST_CHAINS = 100  # that estimate log Z_phi and are resampled, however few samples are asked for


class RBMSample(NamedTuple):
    """Relaxed samples of an RBM posterior.

    Attributes:
      zeta: `[K, B, units]`, differentiable through the relaxed sweeps.
      means: `[K, B, units]`: zeta with its left half replaced by its conditional means `sigma(a + W zeta_right)`
        (Rao-Blackwellised), for terms that are linear in the left units.
      chains: binary left states after the Gibbs sweeps, `[K, B, N]`.
      encoding: `q(z | x)`, a batch of machines.
    """

    zeta: tf.Tensor
    means: tf.Tensor
    chains: tf.Tensor
    encoding: RBM

    def frozen(self) -> RBMSample:
        """As a function of zeta alone; see `Posterior.frozen`."""
        return self._replace(means=self.zeta, encoding=self.encoding.frozen())


def algorithm_1(
    rbm: RBM,
    chains: tf.Tensor,
    relaxation: Relaxation,
    *,
    num_gibbs_sweeps: int,
    num_relaxed_sweeps: int,
    seed: tf.Tensor,
) -> RBMSample:
    """Algorithm 1 of [DVAE##]: s binary sweeps of the chains, then t relaxed ones.

        z     <- s Gibbs sweeps of RBM(stop_gradient(phi)) from z        no gradient flows
        zeta  <- t sweeps of RBM(phi) from z, every unit relaxed         the gradient in phi flows through all

    Args:
      rbm: phi, a machine or a batch of machines.
      chains: binary left states to start from, `[K, *batch, N]`.
      relaxation: of each unit.
      num_gibbs_sweeps: s, at least 1.
      num_relaxed_sweeps: t, at least 1.
      seed: int32 `[2]`.
    """
    gibbs_seed, relaxed_seed = random.split(seed, 2)
    swept = gibbs.sweep(rbm.frozen(), chains, gibbs_seed, num_sweeps=tf.constant(num_gibbs_sweeps)).left
    left = chains = tf.ensure_shape(swept, chains.shape)
    for sweep_seed in random.split(relaxed_seed, num_relaxed_sweeps):
        right_seed, left_seed = random.split(sweep_seed, 2)
        right = relaxation.sample(rbm.right_logits(left), right_seed)
        left_logits = rbm.left_logits(right)
        left = relaxation.sample(left_logits, left_seed)
    zeta = tf.concat([left, right], axis=-1)
    return RBMSample(zeta, tf.concat([tf.sigmoid(left_logits), right], axis=-1), chains, rbm)


class RBMPosterior(Posterior):
    """`q(z | x) = RBM(z; phi(x))`, sampled in training by Algorithm 1 of DVAE##.

    The network's outputs `u1 [N]`, `u2 [M]`, `J [N, M]` become

        J <- batch_norm(J) 1.5 / sqrt(N),   W = 4 J,   a = 2 (u1 - sum_j J_ij),   b = 2 (u2 - sum_i J_ij)

    an Ising model with couplings J and fields u of spins `s = 2 z - 1` (`RBM.of_spins`): the fields do not change when
    the couplings do.

    With a `coupling_rank` r the network's outputs are factors `A [r, N]` and `B [r, M]` in place of J (not published):

        (A, B) <- batch_norm(A, B),   J = sum_r A_r B_r^T 1.5 / sqrt(N r)

    so that the head, and with it most of the weights, grow as N r and not as N M.

    Args:
      encoder: any Keras layer from `inputs(x)`, `[B, D]`, to features `[B, width]`.
      relaxation: of each unit, in the relaxed sweeps.
      layers: makes the head, a linear map of the features, and the couplings' batch normalisation.
      inputs: what the encoder is shown of x.
      num_left, num_right: units on either side.
      num_gibbs_sweeps: s, binary sweeps from the persistent chain, without gradient.
      num_relaxed_sweeps: t, relaxed sweeps, through which the gradient flows.
      coupling_start: scale of the couplings at the start, that of their batch normalisation (factors: its root). At 1,
        as published, every q(z | x) starts as a spin glass above its transition (J sqrt(N) = 1.5): random fields that
        depend on x and say nothing, and a posterior that is much too sure. Near 0 it starts factorial.
      coupling_rank: r; None for couplings that are outputs themselves, as published.
    """

    has_sampling_networks = False
    is_annealed = True
    is_amortized_whole = True

    def __init__(
        self,
        encoder: keras.layers.Layer,
        relaxation: Relaxation,
        *,
        layers: LayerFactory,
        inputs: Inputs,
        num_left: int,
        num_right: int,
        num_gibbs_sweeps: int,
        num_relaxed_sweeps: int,
        coupling_start: float = 1.0,
        coupling_rank: int | None = None,
    ) -> None:
        super().__init__(name="posterior")
        self.relaxation = relaxation
        self.inputs = inputs
        self.num_left, self.num_right = num_left, num_right
        self.num_units = num_left + num_right
        self.num_gibbs_sweeps = num_gibbs_sweeps
        self.num_relaxed_sweeps = num_relaxed_sweeps
        self.encoder = encoder
        self.coupling_rank = coupling_rank
        num_couplings = num_left * num_right if coupling_rank is None else coupling_rank * self.num_units
        num_outputs = self.num_units + num_couplings
        self.head = layers.dense(feature_width("encoder", encoder, inputs.num_pixels), num_outputs, name="outputs")
        # Its scales are the sizes of the couplings: decay would switch off one without a steady gradient.
        scale = coupling_start if coupling_rank is None else math.sqrt(coupling_start)
        self.coupling_norm = layers.batch_norm(num_couplings, name="coupling_norm", scale=scale, decays=False)
        self.built = True

    @property
    def chain_units(self) -> int:
        return self.num_left

    def encode(self, x: tf.Tensor, *, training: bool) -> RBM:
        """`phi(x)`: a batch of machines, differentiable in the encoder's parameters."""
        outputs = self.head(self.encoder(self.inputs(x), training=training))
        u_left, u_right, coupling = tf.split(outputs, [self.num_left, self.num_right, -1], axis=-1)
        coupling = self._couplings(self.coupling_norm(coupling, training=training))
        return RBM.of_spins(u_left, u_right, coupling)

    def _couplings(self, normalised: tf.Tensor) -> tf.Tensor:
        """J `[B, N, M]` from the normalised outputs."""
        scale = 1.5 / math.sqrt(self.num_left)
        if self.coupling_rank is None:
            return tf.reshape(normalised * scale, [-1, self.num_left, self.num_right])
        rank = self.coupling_rank
        left, right = tf.split(normalised, [rank * self.num_left, rank * self.num_right], axis=-1)
        left, right = tf.reshape(left, [-1, rank, self.num_left]), tf.reshape(right, [-1, rank, self.num_right])
        return tf.matmul(left, right, transpose_a=True) * (scale / math.sqrt(rank))

    def sample_relaxed(self, encoding: RBM, *, num_samples: int, seed: tf.Tensor, chains: tf.Tensor) -> RBMSample:
        """Algorithm 1; arguments and what is returned as for `Posterior.sample_relaxed`; `encoding` is phi."""
        return algorithm_1(
            encoding,
            tf.ensure_shape(chains, [num_samples, None, self.num_left]),
            self.relaxation,
            num_gibbs_sweeps=self.num_gibbs_sweeps,
            num_relaxed_sweeps=self.num_relaxed_sweeps,
            seed=seed,
        )

    def frozen(self, sample: RBMSample) -> RBMSample:
        return sample.frozen()

    @plain
    def draw(self, encoding, *, num_samples, seed, flattening=(1.0,), num_temperatures=PUBLISHED_TEMPERATURES, base=0):
        """Weighted draws by AIS.

        Flattened machines are annealed beside the posterior's own, to `E / factor`, each with its estimate of log Z:

            mixture(z) = 1/F sum_f exp(-E(z) / factor_f) / Z_f,   log_weights = log v - log Z_f + log q - log mixture

        with v the AIS weight of a draw, whose errors cancel those of its log Z_f. Given any constants in place of the
        Z_f, the estimate of p(x) would be unbiased; they are estimated from the same draws, a bias of order 1 / K.
        """
        rbm, factors = encoding, checked_factors(flattening, num_samples, encoding.weights.dtype)
        flattened = RBM(*(parameter / _like(factors, 1 + parameter.shape.rank) for parameter in rbm))  # [F, B]
        annealed = _anneal(flattened, num_samples // tf.size(factors), num_temperatures, base, seed)
        one_batch = lambda draws: tf.reshape(draws, tf.concat([[num_samples], tf.shape(draws)[2:]], 0))  # noqa: E731
        z = one_batch(tf.concat([annealed.left, annealed.right], axis=-1))
        mixture = Mixture(factors, annealed.log_z)
        log_q, log_mixture = self.log_densities(rbm, z, mixture)
        return PosteriorDraws(z, log_q, one_batch(annealed.log_weights - annealed.log_z) + log_q - log_mixture, mixture)

    @plain
    def log_partition(
        self,
        encoding: RBM,
        *,
        num_chains: tf.Tensor | int,
        seed: tf.Tensor,
        num_temperatures: tf.Tensor | int = PUBLISHED_TEMPERATURES,
        base: tf.Tensor | int = 0,
    ) -> LogZ:
        """log Z_phi by AIS, float64 `[B]`; arguments as for `draw`."""
        return LogZ.of(_anneal(encoding, num_chains, num_temperatures, base, seed))

    def parameters(self, encoding, *, seed):
        return encoding._asdict()

    def unnormalised_log_prob(self, encoding, z):
        return -_energy(encoding, *encoding.split(z))

    def log_densities(self, encoding, z, mixture):
        energy, log_z = _energy(encoding, *encoding.split(z)), mixture.log_normalisers
        factors = _like(tf.cast(mixture.factors, tf.float64), 3)
        return Densities(-energy - log_z[0], log_mean_exp(-energy / factors - log_z[:, None], axis=0))

    @plain
    def reverse_log_weights(self, encoding, z, *, seed, num_temperatures=PUBLISHED_TEMPERATURES, base=0):
        """The right units, drawn given the left ones, play no part in the path."""
        start = annealing_base(encoding, tf.convert_to_tensor(base))
        left, _ = encoding.split(z)
        betas = linear_betas(num_temperatures)
        return annealed_importance.reverse(encoding, start, left, betas=betas, seed=seed).log_weights

    @plain
    def sample(self, encoding, *, num_samples, seed, num_temperatures=PUBLISHED_TEMPERATURES, base=0):
        """AIS draws resampled by their weights, then a few sweeps, so that no two of them are copies.

        `log q(z | x)` is normalised by the AIS estimate of log Z_phi.
        """
        rbm = encoding
        (left, right), log_z = equally_weighted(
            rbm, num_samples=num_samples, num_temperatures=num_temperatures, base=base, seed=seed
        )
        return tf.concat([left, right], axis=-1), -_energy(rbm, left, right) - log_z


@plain
def equally_weighted(
    rbm: RBM,
    *,
    num_samples: tf.Tensor | int,
    num_temperatures: tf.Tensor | int,
    base: tf.Tensor | int,
    seed: tf.Tensor,
) -> tuple[gibbs.GibbsState, tf.Tensor]:
    """Draws of machines `[B]` by AIS, resampled by their weights, then a few sweeps, so that no two are copies.

    Args:
      rbm, num_samples, num_temperatures, base, seed: as for `RBMPosterior.sample`.

    Returns:
      The draws, `[num_samples, B, N]` and `[num_samples, B, M]`, and the estimates of log Z, nats, float64 `[B]`.
    """
    anneal_seed, resample_seed, shuffle_seed, gibbs_seed = random.split(seed, 4)
    annealed = _anneal(rbm, tf.maximum(num_samples, _LEAST_CHAINS), num_temperatures, base, anneal_seed)
    ancestors = resample(annealed.log_weights, resample_seed)
    ancestors = random.shuffle(ancestors, shuffle_seed)[:num_samples]  # [K, B]
    left = descendants(annealed.left, ancestors)
    state = gibbs.sweep(rbm, left, gibbs_seed, num_sweeps=tf.constant(_SWEEPS_AFTER_RESAMPLING))
    return state, annealed.log_z


def _anneal(
    rbm: RBM, num_chains: tf.Tensor | int, num_temperatures: tf.Tensor | int, base: tf.Tensor | int, seed: tf.Tensor
) -> annealed_importance.AnnealedSample:
    start = annealing_base(rbm, tf.convert_to_tensor(base))
    return annealed_importance.sample(
        rbm, start, betas=linear_betas(num_temperatures), num_chains=num_chains, seed=seed
    )


def annealing_base(rbm: RBM, number: tf.Tensor) -> Base:
    """Where AIS of a posterior starts: the base of a number in `models.posterior.BASES`.

    With biases `a = 2 (u - sum_j J_ij)` and the couplings taken away, their mean effect is taken out twice: in spins
    the fields u are what is left of a machine without couplings. The mean-field fixed point is nearer still where q has
    one mode, and misses the others where it has more.
    """
    rule = f"must be the number of one of {', '.join(BASES)}"
    require(lambda number: (number >= 0) & (number < len(BASES)), "base", number, rule)
    fields = Base(
        rbm.bias_left + tf.reduce_sum(rbm.weights, axis=-1) / 2,
        rbm.bias_right + tf.reduce_sum(rbm.weights, axis=-2) / 2,
    )
    more = lambda update, left: update < _MEAN_FIELD_UPDATES  # noqa: E731
    one = lambda update, left: (update + 1, mean_field(rbm, left, num_updates=1).left)  # noqa: E731
    _, left = tf.while_loop(more, one, (tf.constant(0), tf.sigmoid(fields.bias_left)))
    fixed_point = means_base(*mean_field(rbm, left, num_updates=1))
    return Base(
        *(tf.gather(tf.stack(biases), number) for biases in zip(biases_base(rbm), fields, fixed_point, strict=True))
    )


def _energy(rbm: RBM, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """In float64: large terms of either sign make it."""
    return rbm.astype(tf.float64).energy(tf.cast(left, tf.float64), tf.cast(right, tf.float64))


def _like(factors: tf.Tensor, rank: int) -> tf.Tensor:
    """`[F]` as the first of so many dimensions."""
    return tf.reshape(factors, [-1] + [1] * (rank - 1))
