"""One training iteration in slow NumPy float64: Algorithm 1 of DVAE##, and its directed counterpart.

What the gradient does not reach is an attribute, drawn once at the weights before the step: phi', the binary chains,
the prior's particles, the value of log Z, and all uniforms. `loss` is a function of the weights alone, so that its
finite differences have the stop_gradients of Algorithm 1. The doubly reparameterized gradient is none of a single loss:
there `loss` is a sum, one term for the generator with the encoder as it was, one for the encoder with the generator as
it was.
"""

import numpy as np
import tensorflow as tf
from scipy import special

import reference
import reference_models

RELAX = {
    "dvaess": reference_models.pwl,
    "pwl": reference_models.pwl,
    "gumbolt": reference_models.concrete,
    "dvae_spike_exp": reference_models.spike_and_exponential,  # in one group, where the divergence is theirs
}


class Iteration:
    """Args: settings as in `Config`; everything else as it is before the step.

    grey: the examples of the batch, binary or their probabilities, `[B, D]`.
    table: their chains, `[B, K, N]`.
    particles, old_prior, log_z: the prior's population, where it was left, and log Z there.
    """

    def __init__(self, config, weights, step, *, grey, mean_pixel, table, particles, old_prior, log_z):
        self.config, self.weights, self.mean_pixel = config, weights, mean_pixel
        self.num_samples, self.num_left = config.num_samples, config.num_left
        self.kl_weight = min(step / (0.3 * config.num_steps), 1.0)
        step_seed = tf.random.fold_in(tf.constant([config.seed, 2]), step, alg="philox")
        binarization_seed, prior_seed, posterior_seed = reference_models.split(step_seed, 3)
        dynamic = np.any(grey % 1)
        uniform = reference_models.uniform(grey.shape, binarization_seed)
        self.x = (uniform < grey).astype(float) if dynamic else grey
        self._move_prior(particles, old_prior, log_z, prior_seed)
        if config.model == "dvaess":
            self._move_chains(table, posterior_seed)
        else:
            seeds, units = reference_models.split(posterior_seed, config.num_groups), config.num_latents
            self.rhos = [self._uniform(units // config.num_groups, seed) for seed in seeds]

    def _uniform(self, units, seed):
        return reference_models.uniform([self.num_samples, len(self.x), units], seed)

    def _move_prior(self, particles, old, log_z, seed):
        """Reweight, resample (population annealing only), sweep."""
        new = reference_models.prior_of(self.weights)
        growth = [reference.free_energy(old, left) - reference.free_energy(new, left) for left in particles]
        weights = np.exp(growth)
        self.num_families = len(particles)
        if self.config.prior_sampler == "population_annealing":
            resample_seed, seed = reference_models.split(seed, 2)
            offset = float(reference_models.uniform([], resample_seed, dtype=tf.float64))
            ancestors = reference.systematic_resampling(weights, offset)
            particles, self.num_families = particles[ancestors], len(set(ancestors))
        half = self.config.num_latents // 2
        uniforms = reference_models.sweep_uniforms(
            half, half, [], len(particles), seed=seed, num_sweeps=self.config.prior_sweeps
        )
        moved = [reference_models.gibbs_sweeps(new, left, uniforms[..., p]) for p, left in enumerate(particles)]
        self.particles, self.log_z = np.array(moved), log_z + np.log(weights.mean())
        self.effective_sample_size = weights.sum() ** 2 / np.sum(weights**2)

    def _move_chains(self, table, seed):
        config, half = self.config, self.config.num_latents // 2
        gibbs_seed, relaxed_seed = reference_models.split(seed, 2)
        uniforms = reference_models.sweep_uniforms(
            half, half, [len(self.x)], self.num_samples, seed=gibbs_seed, num_sweeps=config.num_gibbs_sweeps
        )
        self.stopped = self._machines(self.weights)  # phi'
        self.chains = np.zeros([self.num_samples, len(self.x), self.num_left])
        for k, b in np.ndindex(*self.chains.shape[:2]):
            self.chains[k, b] = reference_models.gibbs_sweeps(self.stopped[b], table[b, k], uniforms[:, b, :, k])
        self.rhos = []
        for sweep_seed in reference_models.split(relaxed_seed, config.num_relaxed_sweeps):
            right_seed, left_seed = reference_models.split(sweep_seed, 2)
            self.rhos.append((self._uniform(self.num_left, right_seed), self._uniform(self.num_left, left_seed)))

    def _machines(self, weights):
        sides = self.num_left, self.num_left
        return reference_models.rbm_posterior(weights, self.mean_pixel, self.x, *sides, training=True)

    def _relax(self, logits, rho):
        return RELAX[self.config.model](logits, rho, self.config.beta)

    def sample(self, weights):
        """`zeta`, `means`, and the part of the ELBO's divergence that belongs to q, `[K, B]`."""
        if self.config.model == "dvaess":
            machines, shape = self._machines(weights), [self.num_samples, len(self.x), self.config.num_latents]
            zeta, means = np.zeros(shape), np.zeros(shape)
            for k, b in np.ndindex(*shape[:2]):
                rhos = [(right[k, b], left[k, b]) for right, left in self.rhos]
                sampled = reference_models.relaxed_sweeps(machines[b], self.chains[k, b], rhos, self._relax)
                zeta[k, b], means[k, b] = sampled
            return zeta, means, -reference_models.energies(self.stopped, means)
        zeta, logits = self._directed(weights, lambda number, logits: self._relax(logits, self.rhos[number]))
        means = 1 / (1 + np.exp(-logits))
        if self.config.num_groups > 1:
            means[..., : self.num_left] = zeta[..., : self.num_left]
        return zeta, means, -reference_models.bernoulli_entropy(logits)

    def _directed(self, weights, draw):
        return reference_models.directed(
            weights, self.mean_pixel, self.x, draw, num_samples=self.num_samples, training=True
        )

    def log_likelihood(self, weights):
        """The mean over samples and examples."""
        return np.mean(self._log_likelihood(weights, self.sample(weights)[0]))

    def _log_likelihood(self, weights, zeta):
        return reference_models.log_likelihood(weights, self.mean_pixel, self.x, zeta, training=True)

    def _cross_entropy(self, weights, units):
        """`-log p(units)`, `[K, B]`; the gradient of log Z_theta is the mean over the particles."""
        prior, at_start = reference_models.prior_of(weights), reference_models.prior_of(self.weights)
        carried = [
            reference.free_energy(at_start, left) - reference.free_energy(prior, left) for left in self.particles
        ]
        return reference_models.energies(prior, units) + self.log_z + np.mean(carried)

    def _log_q(self, weights, zeta):
        """Extended to relaxed units, up to log Z_phi, `[K, B]`."""
        if self.config.model == "dvaess":
            return -reference_models.energies(self._machines(weights), zeta)
        groups = np.split(zeta, self.config.num_groups, axis=-1)
        _, logits = self._directed(weights, lambda number, _: groups[number])
        return reference_models.log_bernoulli(zeta, logits)

    def _log_weights(self, generator, encoder, zeta):
        log_ratio = self._log_q(encoder, zeta) + self._cross_entropy(generator, zeta)
        return self._log_likelihood(generator, zeta) - self.kl_weight * log_ratio

    def normalised_weights(self):
        """Of the importance-weighted objectives, `[K, B]`, before the step."""
        zeta = self.sample(self.weights)[0]
        return special.softmax(self._log_weights(self.weights, self.weights, zeta), axis=0)

    def loss(self, weights):
        """Differentiable."""
        decay, before = reference_models.weight_decay(weights, self.config.weight_decay), self.weights
        zeta, means, of_q = self.sample(weights)
        if self.config.objective == "elbo":
            divergence = self._cross_entropy(weights, means) + of_q
            return -self.log_likelihood(weights) + self.kl_weight * np.mean(divergence) + decay
        if self.config.iw_gradient == "iwae":
            log_weights = self._log_weights(weights, weights, zeta)
            return decay - np.mean(special.logsumexp(log_weights, axis=0))
        share, annealing = self.normalised_weights(), self.kl_weight
        of_generator = share * self._log_weights(weights, before, self.sample(before)[0])
        of_encoder = (annealing * share**2 + (1 - annealing) * share) * self._log_weights(before, before, zeta)
        return decay - np.mean(np.sum(of_generator + of_encoder, axis=0))
