"""How biased the training gradients are, on posteriors small enough to enumerate.

    python benchmarks/gradient_bias.py

A prior of 3+3 units, a likelihood of 10 pixels, one image, and a posterior q(z | x) with free parameters: an RBM, or
six independent units. The exact gradient of the ELBO of the discrete model in those parameters comes from enumerating
all 64 states, or pairs of them for the importance-weighted bound of two samples. Against it stands the mean of the
gradient that training uses: Algorithm 1 from exact samples of q (so that the bias of chains that have not converged is
not in it), or the relaxed directed posterior. Training leaves two things out: term I of eq. 9 of DVAE## (how the
distribution of the starting state depends on the parameters), and that relaxed units are not binary.

Printed, averaged over posteriors with random parameters: the length of the bias over that of the exact gradient, the
cosine between the mean gradient and the exact one, and the standard deviation of one draw (the square root of the total
variance), again over the length of the exact gradient.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Callable
from typing import NamedTuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import dvae.quiet  # noqa: F401, I001  (before TensorFlow)
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from dvae.training import objectives
from models.directed_posterior import DirectedEncoding, DirectedSample
from models.divergences import (
    directed_to_rbm,
    relaxed_directed_to_rbm,
    rbm_to_rbm_without_log_z_phi,
    relaxed_rbm_to_rbm_without_log_z_phi,
)
from models.rbm_posterior import RBMSample, algorithm_1
from models.relaxations import Concrete, PiecewiseLinear, Relaxation
from samplers.log_partition import all_states, exact_log_z, exact_sample
from samplers.rbm import RBM

SIDE, PIXELS = 3, 10


class Estimator(NamedTuple):
    """A way of training.

    Attributes:
      divergence: what is computed of the samples.
      combine: how that becomes a loss.
      num_samples: how many.
      is_frozen: whether log q is taken at constant parameters, as a function of zeta alone.
    """

    divergence: Callable
    combine: Callable = objectives.elbo
    num_samples: int = 1
    is_frozen: bool = False


class Problem:
    """A prior, a likelihood, an image, and parameters of both kinds of posteriors, drawn with `seed`."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        normal = lambda scale, *shape: tf.constant(rng.normal(scale=scale, size=shape), tf.float32)  # noqa: E731
        self.prior = RBM(normal(0.5, SIDE), normal(0.5, SIDE), normal(1.0, SIDE, SIDE))
        self.kernel, self.bias = normal(1.0, 2 * SIDE, PIXELS), normal(0.5, PIXELS)
        self.x = tf.constant(rng.integers(0, 2, PIXELS), tf.float32)
        self.rbm = RBM(normal(0.7, SIDE), normal(0.7, SIDE), normal(1.0, SIDE, SIDE))
        self.logits = normal(1.0, 2 * SIDE)
        self.log_z = tf.cast(exact_log_z(self.prior), tf.float32)

    def log_likelihood(self, z: tf.Tensor) -> tf.Tensor:
        pixels = tfd.Bernoulli(logits=tf.einsum("...i,ij->...j", z, self.kernel) + self.bias)
        return tf.reduce_sum(pixels.log_prob(self.x), axis=-1)

    def exact_gradient(self, parameters, log_q_of, num_samples: int) -> np.ndarray:
        """Of the enumerated bound of one or two samples; `log_q_of(parameters, states)` need not be normalised."""
        states = tf.cast(all_states(2 * SIDE), tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            log_q = tf.nn.log_softmax(log_q_of(parameters, states))
            log_p = self.log_likelihood(states) - self.prior.energy(*self.prior.split(states)) - self.log_z
            q, log_weights = tf.exp(log_q), log_p - log_q
            if num_samples == 1:
                bound = tf.reduce_sum(q * log_weights)
            else:
                of_pairs = tf.reduce_logsumexp(tf.stack(tf.meshgrid(log_weights, log_weights)), axis=0) - np.log(2)
                bound = tf.reduce_sum(q[:, None] * q * of_pairs)
        return _flat(tape.gradient(bound, parameters))

    def training_gradients(self, parameters, sample_of, estimator: Estimator, num_draws: int) -> np.ndarray:
        """One row a draw; `sample_of(copies)` relaxes a batch of copies of `parameters`."""
        copies = tf.nest.map_structure(lambda value: tf.repeat(value[None], num_draws, axis=0), parameters)
        with tf.GradientTape() as tape:
            tape.watch(copies)
            sample = sample_of(copies)
            terms = self.log_likelihood(sample.zeta), estimator.divergence(sample, self.prior, self.log_z)
            objective = estimator.combine(*terms, kl_weight=tf.constant(1.0))
        return -num_draws * _flat(tape.gradient(objective.inference_loss, copies), batch_dims=1)


def _flat(gradients, batch_dims: int = 0) -> np.ndarray:
    parts = [part.numpy().astype(float) for part in tf.nest.flatten(gradients)]
    return np.concatenate([part.reshape(*part.shape[:batch_dims], -1) for part in parts], axis=-1)


def by_algorithm_1(
    problem: Problem,
    beta: float,
    num_relaxed_sweeps: int,
    num_draws: int,
    estimator: Estimator,
) -> tuple[np.ndarray, np.ndarray]:
    """The exact gradient and draws of Algorithm 1's, in the posterior's biases and couplings."""
    num_samples = estimator.num_samples
    starts = exact_sample(problem.rbm, num_samples * num_draws, tf.constant([1, 2])).left
    chains = tf.reshape(starts, [num_samples, num_draws, SIDE])

    def sample_of(rbm: RBM) -> RBMSample:
        sample = algorithm_1(
            rbm,
            chains,
            PiecewiseLinear(beta),
            num_gibbs_sweeps=1,
            num_relaxed_sweeps=num_relaxed_sweeps,
            seed=tf.constant([3, 4]),
        )
        return sample.frozen() if estimator.is_frozen else sample

    draws = problem.training_gradients(problem.rbm, sample_of, estimator, num_draws)
    return problem.exact_gradient(problem.rbm, lambda rbm, z: -rbm.energy(*rbm.split(z)), num_samples), draws


def directed(
    problem: Problem, relaxation: Relaxation, num_draws: int, estimator: Estimator
) -> tuple[np.ndarray, np.ndarray]:
    """The exact gradient and draws of that of a relaxed posterior of one group, in its logits."""

    num_samples = estimator.num_samples

    def sample_of(logits: tf.Tensor) -> DirectedSample:
        encoding = DirectedEncoding(context=logits, outputs=logits)
        logits = tf.repeat(logits[None], num_samples, axis=0)
        chains = logits[..., :0]
        zeta = relaxation.sample(logits, tf.constant([5, 6]))
        if estimator.is_frozen:
            return DirectedSample(zeta, tf.stop_gradient(logits), zeta, chains, encoding)
        return DirectedSample(zeta, logits, tf.sigmoid(logits), chains, encoding)

    def log_q(logits: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tfd.Bernoulli(logits=logits).log_prob(z), axis=-1)

    draws = problem.training_gradients(problem.logits, sample_of, estimator, num_draws)
    return problem.exact_gradient(problem.logits, log_q, num_samples), draws


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_draws", type=int, default=100_000)
    parser.add_argument("--num_posteriors", type=int, default=10)
    arguments = parser.parse_args()
    elbo = Estimator(rbm_to_rbm_without_log_z_phi)
    rows = {
        f"DVAE##, PWL beta {beta:g}, t = {t}": lambda problem, n, beta=beta, t=t: by_algorithm_1(
            problem, beta, t, n, elbo
        )
        for beta, t in [(1, 1), (16, 1), (4, 4), (4, 2), (4, 1)]
    }
    iwae = Estimator(relaxed_rbm_to_rbm_without_log_z_phi)
    rows["DVAE##, likewise, by IWAE's gradient for K = 1"] = lambda problem, n: by_algorithm_1(problem, 4.0, 1, n, iwae)
    of_dreg = {"combine": objectives.doubly_reparameterized, "num_samples": 2, "is_frozen": True}
    dreg = Estimator(relaxed_rbm_to_rbm_without_log_z_phi, **of_dreg)
    rows |= {
        f"DVAE##, PWL beta 4, t = {t}, importance-weighted K = 2": lambda problem, n, t=t: by_algorithm_1(
            problem, 4.0, t, n, dreg
        )
        for t in (1, 2)
    }
    exact_kl = Estimator(directed_to_rbm)
    rows |= {
        f"directed, PWL beta {beta:g}": lambda problem, n, beta=beta: directed(
            problem, PiecewiseLinear(beta), n, exact_kl
        )
        for beta in (1, 4, 16)
    }
    dreg_directed = Estimator(relaxed_directed_to_rbm, **of_dreg)
    rows["directed, PWL beta 4, importance-weighted K = 2"] = lambda problem, n: directed(
        problem, PiecewiseLinear(4.0), n, dreg_directed
    )
    rows["directed, GumBolt beta 10"] = lambda problem, n: directed(problem, Concrete(10.0), n, exact_kl)
    print("| gradient | bias | cosine | deviation of one draw |")
    print("|---|---|---|---|")
    for title, measure in rows.items():
        figures = []
        for seed in range(arguments.num_posteriors):
            exact, draws = measure(Problem(seed), arguments.num_draws)
            mean, length = draws.mean(axis=0), np.linalg.norm(exact)
            variance = draws.var(axis=0).sum()
            # The squared length of the measured bias exceeds the true one by the variance of the mean.
            bias = np.sqrt(max(np.sum((mean - exact) ** 2) - variance / len(draws), 0))
            cosine = mean @ exact / (np.linalg.norm(mean) * length)
            figures.append([bias / length, cosine, np.sqrt(variance) / length])
        print("| {} | {:.2f} | {:.3f} | {:.1f} |".format(title, *np.mean(figures, axis=0)), flush=True)


if __name__ == "__main__":
    main()
