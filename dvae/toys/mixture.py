"""An RBM fitted to a mixture of Bernoulli distributions: appendix A and figure 5 of [DVAE##].

    python -m dvae.toys.mixture --output_dir=runs/mixture
    python -m dvae.toys.mixture --version=first --output_dir=runs/mixture-first

q(z) = RBM(z; phi) is fitted to `p(z) = sum_i alpha_i exp(sum_a [nu_ia z_a - softplus(nu_ia)])` by minimising
KL(q || p): by Algorithm 1 with t relaxed sweeps, and by REINFORCE. The KL divergence is exact, and so is the least that
an RBM can have. Written are `mixture.csv`, both for every fit, and the figure, `mixture.png`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import scipy.optimize
import tensorflow as tf

from dvae import figures
from dvae.bars import progress_bar
from dvae.config import setting
from dvae.files import write_table
from dvae.toys import command
from models.divergences import rbm_negative_entropy_without_log_z_phi
from models.rbm_posterior import algorithm_1
from models.relaxations import PiecewiseLinear, Relaxation
from samplers import gibbs, random
from samplers.log_partition import all_states
from samplers.rbm import RBM

SWEEPS = (1, 2, 4, 8)
_GIBBS_SWEEPS, _START = 10, 0.01  # s; deviation of the parameters at the start
_SEARCHES, _MOST_UNITS_OF_SEARCH = 20, 12  # for the least divergence


class Version(NamedTuple):
    """Of the experiment.

    Attributes:
      side: units on either side of the RBM.
      num_components: of the mixture.
      variance: of each unit in each component, `p (1 - p)`.
      learning_rate: of Adam.
    """

    side: int
    num_components: int
    variance: float
    learning_rate: float


VERSIONS = {
    "published": Version(side=4, num_components=3, variance=0.09, learning_rate=0.003),
    "first": Version(side=10, num_components=8, variance=0.04, learning_rate=0.01),
}


class Mixture(NamedTuple):
    """Attributes: `log_weights [C]`, log alpha; `logits [C, units]`, nu."""

    log_weights: tf.Tensor
    logits: tf.Tensor

    @classmethod
    def drawn(cls, version: Version, seed: int) -> Mixture:
        """Weights drawn uniformly and normalised; every unit of a component on or off by a fair coin."""
        rng = np.random.default_rng(seed)
        weights = rng.uniform(size=version.num_components)
        rare = (1 - np.sqrt(1 - 4 * version.variance)) / 2  # p (1 - p) = variance
        signs = rng.choice([-1.0, 1.0], size=(version.num_components, 2 * version.side))
        return cls(
            tf.constant(np.log(weights / weights.sum()), tf.float32),
            tf.constant(signs * np.log((1 - rare) / rare), tf.float32),
        )

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """`log p(z)`, nats, `[...]`, of binary or relaxed units `[..., units]`."""
        of_components = tf.matmul(z, self.logits, transpose_b=True) - tf.reduce_sum(tf.math.softplus(self.logits), -1)
        return tf.reduce_logsumexp(self.log_weights + of_components, axis=-1)


class Estimator(NamedTuple):
    """A way to estimate the gradient of KL(q || p), by the loss that has it.

    Attributes:
      name: in tables and figures.
      loss: of machines `[fits]`, their chains `[K, fits, N]`, the mixture and a seed: `[K, fits]`, and the chains after
        it.
    """

    name: str
    loss: Callable[[RBM, tf.Tensor, Mixture, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def estimators(relaxation: Relaxation) -> list[Estimator]:
    """All that are compared."""

    def through_gibbs(num_sweeps: int) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
        def loss(rbm: RBM, chains: tf.Tensor, mixture: Mixture, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            sample = algorithm_1(
                rbm,
                chains,
                relaxation,
                num_gibbs_sweeps=_GIBBS_SWEEPS,
                num_relaxed_sweeps=num_sweeps,
                seed=seed,
            )
            return rbm_negative_entropy_without_log_z_phi(sample) - mixture.log_prob(sample.zeta), sample.chains

        return loss

    return [Estimator("REINFORCE", _reinforce), *(Estimator(f"t = {t}", through_gibbs(t)) for t in SWEEPS)]


def _reinforce(rbm: RBM, chains: tf.Tensor, mixture: Mixture, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """`Cov(log q(z) - log p(z), -dE(z))` over the chains: log Z, which both factors lack, drops out of it."""
    state = gibbs.sweep(rbm.frozen(), chains, seed, num_sweeps=tf.constant(_GIBBS_SWEEPS))
    left = tf.ensure_shape(state.left, chains.shape)
    z = tf.concat([left, state.right], axis=-1)
    value = -rbm.frozen().energy(*rbm.split(z)) - mixture.log_prob(z)
    num = tf.cast(tf.shape(value)[0], value.dtype)
    centred = tf.stop_gradient(value - tf.reduce_mean(value, axis=0)) * num / (num - 1)
    return -centred * rbm.energy(*rbm.split(z)), left


def kl_divergence(rbm: RBM, mixture: Mixture) -> tf.Tensor:
    """KL(q || p) by enumeration of all states, nats, float64 `[fits]`."""
    states = tf.cast(all_states(rbm.num_left + rbm.num_right), tf.float32)[:, None]
    log_q = tf.nn.log_softmax(-tf.cast(rbm.energy(*rbm.split(states)), tf.float64), axis=0)
    log_p = tf.cast(mixture.log_prob(states), tf.float64)
    return tf.reduce_sum(tf.exp(log_q) * (log_q - log_p), axis=0)


def least_divergence(version: Version, mixture: Mixture) -> float:
    """The least KL(q || p) that an RBM can have, nats, by quasi-Newton searches from many starts.

    Raises:
      ValueError: there are too many states to search by all of them.
    """
    side, rng = version.side, np.random.default_rng(0)
    if 2 * side > _MOST_UNITS_OF_SEARCH:
        raise ValueError(f"{2 * side} units: must be at most {_MOST_UNITS_OF_SEARCH}")
    splits = [side, side, side * side]

    @tf.function
    def value_and_gradient(parameters: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            left, right, weights = tf.split(tf.cast(parameters, tf.float32), splits)
            rbm = RBM(left[None], right[None], tf.reshape(weights, [1, side, side]))
            value = kl_divergence(rbm, mixture)[0]
        return value, tape.gradient(value, parameters)

    def evaluated(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = value_and_gradient(tf.constant(parameters))
        return float(value), gradient.numpy()

    scales = np.linspace(_START, 1, _SEARCHES)
    starts = [rng.normal(scale=scale, size=sum(splits)) for scale in scales]
    return min(scipy.optimize.minimize(evaluated, start, jac=True, method="L-BFGS-B").fun for start in starts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Of the experiment."""

    version: str = setting("Experiment", "of the paper's", "published", choices=tuple(VERSIONS))
    num_iterations: int = setting("Experiment", "of each fit", 10_000, least=1)
    num_looks: int = setting("Experiment", "at the KL divergence, evenly spread", 50, least=1)
    num_fits: int = setting("Experiment", "independent starts", 5, least=1)
    num_chains: int = setting("Experiment", "persistent ones of each fit, all used in an iteration", 1000, least=2)
    beta: float = setting("Experiment", "sharpness of the PWL relaxation", 4.0, above=0.0)
    seed: int = setting("Experiment", "of mixture, starts and draws", 0, least=0)


class Fit(NamedTuple):
    """Attributes: `iteration [looks]`; exact `kl [looks, fits]` there, nats."""

    iteration: np.ndarray
    kl: np.ndarray


def fit(estimator: Estimator, mixture: Mixture, settings: Settings) -> Fit:
    """Fits RBMs to a mixture by Adam, each from its own start; all fits at once."""
    version, seed = VERSIONS[settings.version], settings.seed
    rng, side, num_fits = np.random.default_rng([seed, 1]), version.side, settings.num_fits
    shapes = ([num_fits, side], [num_fits, side], [num_fits, side, side])
    parameters = [tf.Variable(rng.normal(scale=_START, size=shape).astype(np.float32)) for shape in shapes]
    chains = tf.Variable(random.bernoulli(tf.zeros([settings.num_chains, num_fits, side]), tf.constant([seed, 2])))
    optimizer = keras.optimizers.Adam(version.learning_rate)
    optimizer.build(parameters)

    @tf.function
    def iterate(first: tf.Tensor, last: tf.Tensor) -> None:
        for iteration in tf.range(first, last):
            iteration_seed = random.fold_in(tf.constant([seed, 3]), iteration)
            with tf.GradientTape() as tape:
                loss, swept = estimator.loss(RBM(*parameters), chains.value(), mixture, iteration_seed)
                total = tf.reduce_sum(tf.reduce_mean(loss, axis=0))
            optimizer.apply(tape.gradient(total, parameters), parameters)
            chains.assign(swept)

    look = tf.function(lambda: kl_divergence(RBM(*parameters), mixture))
    iterations, kl = np.linspace(0, settings.num_iterations, settings.num_looks + 1).astype(np.int32), []
    for number, iteration in enumerate(iterations):
        if number:
            iterate(tf.constant(iterations[number - 1]), tf.constant(iteration))
        kl.append(look().numpy())
    return Fit(iterations, np.array(kl))


def experiment(settings: Settings, folder: Path) -> None:
    """All estimators: table, figure, and a line for each."""
    figures.new_figure(width=1, height=1)  # matplotlib is missed before the work and not after it
    version = VERSIONS[settings.version]
    mixture = Mixture.drawn(version, settings.seed)
    least = least_divergence(version, mixture) if 2 * version.side <= _MOST_UNITS_OF_SEARCH else None
    fits = {}
    for estimator in progress_bar(estimators(PiecewiseLinear(settings.beta)), desc="fitting", unit=" estimators"):
        fits[estimator.name] = fit(estimator, mixture, settings)
    rows = [
        (name, iteration, number, kl, least)
        for name, found in fits.items()
        for iteration, kls in zip(*found, strict=True)
        for number, kl in enumerate(kls)
    ]
    write_table(folder / "mixture.csv", ("estimator", "iteration", "fit", "kl", "least_kl"), rows)
    figures.save(drawn(fits, least), folder / "mixture.png")
    if least is not None:
        print(f"the least KL divergence of an RBM: {least:.4f} nats")
    for name, found in fits.items():
        print(f"{name:<10} KL at the end, nats: {'  '.join(f'{kl:.4f}' for kl in found.kl[-1])}")


def drawn(fits: Mapping[str, Fit], least: float | None) -> figures.Figure:
    """KL divergence by iteration, all fits and their median; above the least one where it is known."""
    figure, [[panel]] = figures.new_figure(width=7, height=4.2)
    for number, (name, found) in enumerate(fits.items()):
        above = found.kl - (least or 0.0)
        panel.plot(found.iteration, above, color=f"C{number}", alpha=0.2, linewidth=1)
        panel.plot(found.iteration, np.median(above, axis=1), color=f"C{number}", label=name)
    title = "KL(q || p), nats" if least is None else f"KL(q || p) above its least value, {least:.3f} nats"
    panel.set(title=title, xlabel="iterations", yscale="log")
    panel.grid(alpha=0.3)
    panel.legend()
    return figure


if __name__ == "__main__":
    command.run(experiment, Settings, description=__doc__ or "", output_dir="runs/mixture")
