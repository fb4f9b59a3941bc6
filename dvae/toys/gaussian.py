"""Gradients through Gibbs updates, for a Gaussian: section 3.1 and figure 2 of the first version of [DVAE##].

    python -m dvae.toys.gaussian --output_dir=runs/gaussian

q = N(mu, Lambda^-1) is fitted to p = N([1, 1], [[1.1, 0.9], [0.9, 1.1]]^-1) by minimising KL(q || p). All estimators of
its gradient are compared: the reparameterized one, REINFORCE, and backpropagation through t Gibbs sweeps from a draw of
q, with and without term I, the dependence of that draw's law on the parameters. One draw an iteration, Adam, many
independent fits. Written are `gaussian.csv`, the KL divergence of each fit and the variance of its gradient, and the
figure, `gaussian.png`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from dvae import figures
from dvae.bars import progress_bar
from dvae.config import setting
from dvae.files import write_table
from dvae.toys import command
from samplers import random

TARGET_MEAN = (1.0, 1.0)
TARGET_PRECISION = ((1.1, 0.9), (0.9, 1.1))
SWEEPS = (1, 2, 4, 8)
_NUM_PARAMETERS = 5


class Gaussian(NamedTuple):
    """`N(mu, Lambda^-1)` on the plane, `Lambda = C C'`, or a batch of them.

    Attributes:
      mean: mu, `[..., 2]`.
      factor: C, lower triangular, `[..., 2, 2]`.
    """

    mean: tf.Tensor
    factor: tf.Tensor

    @classmethod
    def of(cls, parameters: tf.Tensor) -> Gaussian:
        """From unconstrained numbers `[..., 5]`: the means, `log C_11`, `C_21`, `log C_22`."""
        first, below, second = tf.exp(parameters[..., 2]), parameters[..., 3], tf.exp(parameters[..., 4])
        rows = [tf.stack([first, tf.zeros_like(first)], -1), tf.stack([below, second], -1)]
        return cls(parameters[..., :2], tf.stack(rows, axis=-2))

    @property
    def precision(self) -> tf.Tensor:
        """Lambda, `[..., 2, 2]`."""
        return tf.matmul(self.factor, self.factor, transpose_b=True)

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """`log q(z)`, nats, `[...]`, z `[..., 2]`."""
        whitened = tf.linalg.matvec(self.factor, z - self.mean, transpose_a=True)
        log_determinant = tf.reduce_sum(tf.math.log(tf.linalg.diag_part(self.factor)), axis=-1)
        return log_determinant - tf.reduce_sum(tf.square(whitened), axis=-1) / 2 - np.log(2 * np.pi)

    def reparameterized(self, noise: tf.Tensor) -> tf.Tensor:
        """`z = mu + C'^-1 noise`, `[..., 2]`, a draw if the noise is standard normal."""
        return self.mean + tf.linalg.triangular_solve(self.factor, noise[..., None], adjoint=True)[..., 0]

    def gibbs_sweep(self, z: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """`z_1 | z_2`, then `z_2 | z_1`, both reparameterized: a differentiable sweep, `[..., 2]`.

        z_i | z_j ~ N(mu_i - Lambda_ij / Lambda_ii (z_j - mu_j), 1 / Lambda_ii)
        """
        precision = self.precision
        coupling = precision[..., 0, 1]

        def update(i: int, other: tf.Tensor) -> tf.Tensor:
            own = precision[..., i, i]
            return self.mean[..., i] - coupling / own * (other - self.mean[..., 1 - i]) + noise[..., i] / tf.sqrt(own)

        first = update(0, z[..., 1])
        return tf.stack([first, update(1, first)], axis=-1)

    def kl_divergence(self, other: Gaussian) -> tf.Tensor:
        """KL(self || other), nats, `[...]`.

        1/2 [tr(Lambda_o Lambda^-1) + d' Lambda_o d - 2] + log det C - log det C_o,   d = mu - mu_o
        """
        ratio = tf.linalg.triangular_solve(self.factor, tf.broadcast_to(other.factor, tf.shape(self.factor)))
        shift = tf.linalg.matvec(other.factor, self.mean - other.mean, transpose_a=True)
        log_determinants = tf.reduce_sum(
            tf.math.log(tf.linalg.diag_part(self.factor)) - tf.math.log(tf.linalg.diag_part(other.factor)), axis=-1
        )
        squares = tf.reduce_sum(tf.square(ratio), axis=[-2, -1]) + tf.reduce_sum(tf.square(shift), axis=-1)
        return squares / 2 - 1 + log_determinants


def target() -> Gaussian:
    """p."""
    precision = tf.constant(TARGET_PRECISION, tf.float64)
    return Gaussian(tf.constant(TARGET_MEAN, tf.float64), tf.linalg.cholesky(precision))


class Estimator(NamedTuple):
    """A way to estimate the gradient of KL(q || p), by the loss that has it.

    Attributes:
      name: in tables and figures.
      loss: of parameters `[..., 5]` and a seed, `[...]`: one draw for each.
    """

    name: str
    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def estimators() -> list[Estimator]:
    """All that are compared. In `f(z) = log q(z) - log p(z)` q is held constant: `E[d log q(z)] = 0`."""
    p = target()

    def f(parameters: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        return Gaussian.of(tf.stop_gradient(parameters)).log_prob(z) - p.log_prob(z)

    def draw(parameters: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return Gaussian.of(parameters).reparameterized(_normal(parameters, seed))

    def reparameterized(parameters: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return f(parameters, draw(parameters, seed))

    def reinforce(parameters: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        z = tf.stop_gradient(draw(parameters, seed))
        return tf.stop_gradient(f(parameters, z)) * Gaussian.of(parameters).log_prob(z)

    def through_gibbs(num_sweeps: int, *, term_1: bool) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        def loss(parameters: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
            start_seed, *sweep_seeds = random.split(seed, 1 + num_sweeps)
            q = Gaussian.of(parameters)
            z = start = tf.stop_gradient(draw(parameters, start_seed))
            for sweep_seed in sweep_seeds:
                z = q.gibbs_sweep(z, _normal(parameters, sweep_seed))
            value = f(parameters, z)
            return value + tf.stop_gradient(value) * q.log_prob(start) if term_1 else value

        return loss

    return [
        Estimator("reparameterized", reparameterized),
        Estimator("REINFORCE", reinforce),
        *(Estimator(f"t = {t}", through_gibbs(t, term_1=False)) for t in SWEEPS),
        *(Estimator(f"t = {t}, term I", through_gibbs(t, term_1=True)) for t in SWEEPS),
    ]


def _normal(parameters: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Standard normal numbers for draws on the plane."""
    shape = tf.concat([tf.shape(parameters)[:-1], [2]], axis=0)
    return tf.math.ndtri(random.uniform(shape, seed, tf.float64))


class Fit(NamedTuple):
    """How the fits by one estimator went.

    Attributes:
      iteration: where they were looked at, `[looks]`.
      kl: exact KL(q || p) of every fit there, nats, `[looks, fits]`.
      variance: of the gradient of one draw, all parameters' together, mean over the fits, `[looks]`.
    """

    iteration: np.ndarray
    kl: np.ndarray
    variance: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Of the experiment."""

    num_iterations: int = setting("Experiment", "of each fit", 5000, least=1)
    num_looks: int = setting("Experiment", "at KL divergence and variance, evenly spread", 50, least=1)
    learning_rate: float = setting("Experiment", "of Adam", 0.003, above=0.0)
    num_fits: int = setting("Experiment", "independent ones, whose spread shows what is noise", 20, least=1)
    seed: int = setting("Experiment", "of all draws", 0, least=0)


def fit(estimator: Estimator, settings: Settings) -> Fit:
    """Fits q to p from a standard normal; all fits at once."""
    p, of_variance, seed = target(), 1000, settings.seed
    parameters = tf.Variable(tf.zeros([settings.num_fits, _NUM_PARAMETERS], tf.float64))
    optimizer = keras.optimizers.Adam(settings.learning_rate)
    optimizer.build([parameters])

    def gradient(values: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(values)
            loss = estimator.loss(values, seed)
        return tape.gradient(loss, values)

    @tf.function
    def iterate(first: tf.Tensor, last: tf.Tensor) -> None:
        for iteration in tf.range(first, last):
            iteration_seed = random.fold_in(tf.constant([seed, 0]), iteration)
            optimizer.apply([gradient(tf.convert_to_tensor(parameters), iteration_seed)], [parameters])

    @tf.function
    def look(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        copies = tf.repeat(parameters[None], of_variance, axis=0)
        variances = tf.math.reduce_variance(gradient(copies, random.fold_in(tf.constant([seed, 1]), number)), axis=0)
        kl = Gaussian.of(tf.convert_to_tensor(parameters)).kl_divergence(p)
        return kl, tf.reduce_mean(tf.reduce_sum(variances, axis=-1))

    iterations = np.linspace(0, settings.num_iterations, settings.num_looks + 1).astype(np.int32)
    looks = []
    for number, iteration in enumerate(iterations):
        if number:
            iterate(tf.constant(iterations[number - 1]), tf.constant(iteration))
        looks.append([values.numpy() for values in look(tf.constant(number))])
    kl, variance = map(np.array, zip(*looks, strict=True))
    return Fit(iterations, kl, variance)


def experiment(settings: Settings, folder: Path) -> None:
    """All estimators: table, figure, and a line for each."""
    figures.new_figure(width=1, height=1)  # matplotlib is missed before the work and not after it
    fits = {}
    for estimator in progress_bar(estimators(), desc="fitting", unit=" estimators"):
        fits[estimator.name] = fit(estimator, settings)
    rows = [
        (name, iteration, number, kl, variance)
        for name, found in fits.items()
        for iteration, kls, variance in zip(*found, strict=True)
        for number, kl in enumerate(kls)
    ]
    write_table(folder / "gaussian.csv", ("estimator", "iteration", "fit", "kl", "gradient_variance"), rows)
    figures.save(drawn(fits), folder / "gaussian.png")
    print(f"{'gradient':<18}{'KL at a third':>15}{'at two thirds':>15}{'at the end':>12}{'variance at the start':>24}")
    for name, found in fits.items():
        kl = np.median(found.kl, axis=1)
        third, two_thirds = len(kl) // 3, 2 * len(kl) // 3
        print(f"{name:<18}{kl[third]:>15.1e}{kl[two_thirds]:>15.1e}{kl[-1]:>12.1e}{found.variance[0]:>24.1f}")


def drawn(fits: Mapping[str, Fit]) -> figures.Figure:
    """KL divergence (median and quartiles over the fits) without and with term I, and the variance of the gradients."""
    figure, [[without, with_term, variance]] = figures.new_figure(1, 3, width=15, height=4.2)
    for number, (name, found) in enumerate(fits.items()):
        colour = f"C{number}" if number < 2 else f"C{2 + (number - 2) % len(SWEEPS)}"
        style = "--" if "term" in name else "-"
        low, middle, high = np.quantile(found.kl, [0.25, 0.5, 0.75], axis=1)
        for panel in (without, with_term) if number < 2 else (with_term if "term" in name else without,):
            panel.plot(found.iteration, middle, style, color=colour, label=name)
            panel.fill_between(found.iteration, low, high, color=colour, alpha=0.15, linewidth=0)
        variance.plot(found.iteration, found.variance, style, color=colour, label=name)
    without.set(title="KL(q || p), nats")
    with_term.set(title="KL(q || p), nats, term I kept")
    variance.set(title="variance of the gradient of one draw")
    for panel in (without, with_term, variance):
        panel.set(xlabel="iterations", yscale="log")
        panel.grid(alpha=0.3)
        panel.legend(fontsize=7)
    without.set_ylim(1e-7, 5)
    with_term.set_ylim(1e-7, 5)
    return figure


if __name__ == "__main__":
    command.run(experiment, Settings, description=__doc__ or "", output_dir="runs/gaussian")
