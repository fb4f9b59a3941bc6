"""How far Algorithm 1's gradient is from the exact one on the posteriors of a trained model.

    python benchmarks/gradient_direction.py --log_dir=runs/mnist-top

`gradient_bias.py` enumerates small random machines; trained ones have hundreds of units, and some have many modes.
But the exact gradient of an expectation under `q(z) = exp(-E_phi(z)) / Z_phi` is a covariance,

    d E_q[f] / d phi = Cov_q(f(z), -dE_phi(z) / d phi)

and many draws of q give it: AIS, resampled, and sweeps. Algorithm 1 starts from the same draws, so that chains which
have not converged are not in it: what it leaves out is how the law of the starting state depends on phi (term I of
eq. 9 of DVAE##), and that relaxed units are not binary. f is the likelihood's part, `log p(x | z)`; for an
autoencoder all of the ELBO besides.

The parameters are what the encoder makes for an example: fields u and couplings J, in spins. Draws are in two halves,
and squared lengths are products of what either half says, so that noise adds nothing to them.

Printed over examples: the median cosine and ratio of lengths of the mean gradient and the exact one (with quartiles),
and the standard deviation of one draw over the exact length. The last rows are *covariances over K chains* of an
example,

    1 / (K - 1) sum_k (f_k - mean f) (-dE_phi(z_k) / d phi)

which is unbiased, and *Algorithm 1 and term I*: to its gradient is added the same with `f(zeta_k)` of the relaxed
states and the states `z_k` that they started from; unbiased but for the relaxation.
"""

import argparse
import pathlib
import sys
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import dvae.quiet  # noqa: I001  (before TensorFlow)
import numpy as np
import tensorflow as tf

import dvae
from dvae.data import spread
from dvae.data.observed import observed_part
from models import divergences
from models.conditional import ConditionalModel
from samplers import random
from samplers.rbm import RBM

BASES = {"autoencoder": 2, "structured prediction": 1}  # of `models.posterior.BASES`: one mode, or many
# Draws and gradients are arrays of one example: `[K, ...]`, and what the encoder makes of it in a row.
Estimate = Callable[[tf.Tensor, tf.Tensor], np.ndarray]


class Example:
    """An example of a trained model: its posterior, and f.

    Args:
      model: an autoencoder, or one of structured prediction.
      inputs: of the encoder, `[1, D]`.
      target: what the likelihood is of, `[1, D2]`.
      is_whole: whether f is all of the ELBO.
    """

    def __init__(self, model, inputs: np.ndarray, target: np.ndarray, *, is_whole: bool) -> None:
        self._model, self._target, self._is_whole = model, tf.constant(target, tf.float32), is_whole
        self.machine = model.posterior.encode(tf.constant(inputs, tf.float32), training=False)

    def draws(self, num: int, base: int, seed: tf.Tensor) -> tf.Tensor:
        """Binary draws of q by AIS, resampled, `[num, 1, N + M]`."""
        z, _ = self._model.posterior.sample(self.machine, num_samples=num, seed=seed, num_temperatures=500, base=base)
        return z

    def covariance(self, z: tf.Tensor) -> np.ndarray:
        """`Cov_q(f, -dE / d phi)` from binary draws `[K, 1, N + M]`."""
        f = self._log_likelihood(z)
        if self._is_whole:
            prior = self._model.prior.rbm()
            f += self.machine.energy(*self.machine.split(z))[:, 0] - prior.energy(*prior.split(z))[:, 0]
        return _covariance(f, *self.machine.split(2 * z[:, 0] - 1))

    def algorithm1(self, z: tf.Tensor, seed: tf.Tensor, *, num_relaxed: int, with_term_1: bool = False) -> np.ndarray:
        """The mean of Algorithm 1's gradient over binary draws, which it starts from."""
        posterior, (left, _) = self._model.posterior, self.machine.split(z)
        posterior.num_gibbs_sweeps, posterior.num_relaxed_sweeps = 1, num_relaxed
        with tf.GradientTape() as tape:
            tape.watch(self.machine)
            sample = posterior.sample_relaxed(self.machine, num_samples=len(z), seed=seed, chains=left)
            f = self._log_likelihood(sample.zeta)
            if self._is_whole:
                prior = self._model.prior.rbm()
                f -= divergences.rbm_to_rbm_without_log_z_phi(sample, prior, tf.constant(0.0))[:, 0]
            mean = tf.reduce_mean(f)
        gradient = _in_spins(RBM(*tape.gradient(mean, self.machine)))
        if not with_term_1:
            return gradient
        # Of the left units' law alone, `-dF / d phi`: the right ones are drawn from them, and replaced by their means.
        starts = sample.chains
        right = tf.tanh(self.machine.right_logits(starts) / 2)
        return gradient + _covariance(f, 2 * starts[:, 0] - 1, right[:, 0])

    def _log_likelihood(self, z: tf.Tensor) -> tf.Tensor:
        return self._model.likelihood.log_prob(self._target, z, training=False)[:, 0]


def _covariance(f: tf.Tensor, left: tf.Tensor, right: tf.Tensor) -> np.ndarray:
    """Of f `[K]` with spins, and their products, of `[K, N]` and `[K, M]`."""
    centred = (f - tf.reduce_mean(f)) / tf.cast(tf.size(f) - 1, f.dtype)
    sides = [tf.linalg.matvec(side, centred, transpose_a=True) for side in (left, right)]
    return _row(*sides, tf.matmul(left * centred[:, None], right, transpose_a=True))


def _in_spins(gradient: RBM) -> np.ndarray:
    """In fields u and couplings J, `a = 2 (u - sum_j J_ij)`, `b = 2 (v - sum_i J_ij)`, `W = 4 J`."""
    left, right, weights = (part[0] for part in gradient)
    return _row(2 * left, 2 * right, 4 * weights - 2 * left[:, None] - 2 * right[None])


def _row(*parts: tf.Tensor) -> np.ndarray:
    return np.concatenate([np.ravel(part).astype(float) for part in parts])


def compare(exact: list[np.ndarray], found: list[np.ndarray]) -> tuple[float, float]:
    """Cosine and ratio of lengths, from the two halves of either, which have their draws in common: so crosswise."""
    length, own = exact[0] @ exact[1], found[0] @ found[1]
    if own <= 0 or length <= 0:  # lost in noise
        return np.nan, np.nan
    product = (exact[0] @ found[1] + exact[1] @ found[0]) / 2
    return product / np.sqrt(length * own), np.sqrt(own / length)


def deviation(estimate: Estimate, z: tf.Tensor, size: int, num: int, seed: tf.Tensor) -> float:
    """Standard deviation of the estimate from `size` draws, over all parameters."""
    parts = [estimate(z[i * size : (i + 1) * size], random.fold_in(seed, i)) for i in range(num)]
    return float(np.sqrt(np.var(parts, axis=0, ddof=1).sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log_dir", required=True, help="run of a DVAE##")
    parser.add_argument("--num_examples", type=int, default=20)
    parser.add_argument("--num_draws", type=int, default=20_000, help="of either half")
    parser.add_argument("--num_single", type=int, default=50, help="gradients of one draw, for their deviation")
    arguments = parser.parse_args()

    model, config, dataset, step = dvae.trained_model(arguments.log_dir)
    images = dataset.valid[spread(len(dataset.valid), arguments.num_examples)].astype(np.float32)
    is_structured = isinstance(model, ConditionalModel)
    inputs, targets = observed_part(config.observed, dataset).split(images) if is_structured else (images, images)
    base = BASES["structured prediction" if is_structured else "autoencoder"]
    print(f"{arguments.log_dir}: step {step}, {len(images)} validation examples\n")

    for is_whole in (False,) if is_structured else (False, True):
        rows: dict[str, list] = {}
        for i in range(len(images)):
            example = Example(model, inputs[i : i + 1], targets[i : i + 1], is_whole=is_whole)
            seeds = [tf.constant([i, half]) for half in range(2)]
            halves = [example.draws(arguments.num_draws, base, seed) for seed in seeds]
            exact = [example.covariance(z) for z in halves]
            length = np.sqrt(max(exact[0] @ exact[1], 0))
            estimates: dict[str, tuple[Estimate, int]] = {
                f"Algorithm 1, t = {t}": (
                    lambda z, seed, t=t, example=example: example.algorithm1(z, seed, num_relaxed=t),
                    1,
                )
                for t in (1, 2, 4)
            }
            estimates |= {
                f"Algorithm 1, t = 1, and term I, K = {k}": (
                    lambda z, seed, example=example: example.algorithm1(z, seed, num_relaxed=1, with_term_1=True),
                    k,
                )
                for k in (2, 8)
            }
            estimates |= {
                f"covariances, K = {k}": (lambda z, seed, example=example: example.covariance(z), k) for k in (2, 8)
            }
            for title, (estimate, size) in estimates.items():
                found = [estimate(z, seed) for z, seed in zip(halves, seeds, strict=True)]
                one = deviation(estimate, halves[0], size, arguments.num_single, tf.constant([i, 2]))
                rows.setdefault(title, []).append([*compare(exact, found), one / length])
        print(f"f: {'all of the ELBO' if is_whole else 'the log-likelihood'}\n")
        print("| gradient | cosine, median (quartiles) | length | deviation of one |\n|---|---|---|---|")
        for title, values in rows.items():
            low, middle, high = np.nanpercentile(values, [25, 50, 75], axis=0)
            print(
                f"| {title} | {middle[0]:.3f} ({low[0]:.3f} to {high[0]:.3f}) | "
                f"{middle[1]:.2f} ({low[1]:.2f} to {high[1]:.2f}) | {middle[2]:.1f} |",
                flush=True,
            )
        print()


if __name__ == "__main__":
    main()
