"""How hard log Z is: error and variance of AIS against its temperatures, figure 4 of [DVAE##].

    python -m dvae.analysis.log_z --log_dir=runs/mnist

For the prior and for posteriors of examples, log Z is estimated many times over with 1, 2, 4, ... temperatures, until
the standard deviation is half of 0.01 nats, and compared with an estimate of 2^18. Written are `log_z.csv`, a row for
each machine and number of temperatures, and the figure, `log_z.png`. Published: a posterior needs about 10 times fewer
temperatures than the prior for a standard deviation of 0.01 nats.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from dvae import figures
from dvae.analysis import command, machines
from dvae.bars import progress_bar
from dvae.config import BASES, setting
from dvae.files import write_table
from dvae.runs.exported import Exported
from models.rbm_posterior import annealing_base
from samplers import annealed_importance, random
from samplers.annealing_schedules import linear_betas
from samplers.rbm import RBM
from samplers.weights import log_mean_exp

_SIGMA, _PUBLISHED_RATIO = 0.01, 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Of the analysis."""

    num_examples: int = setting("Analysis", "spread evenly over the split", 10, least=1)
    num_chains: int = setting("Analysis", "of an estimate of log Z", 100, least=10)
    num_repeats: int = setting("Analysis", "estimates with each number of temperatures", 10, least=2)
    log2_temperatures: int = setting("Analysis", "the most: 2 to this power", 14, least=1, most=24)
    log2_temperatures_of_truth: int = setting("Analysis", "of what is taken for the truth", 18, least=1, most=24)
    chains_of_truth: int = setting("Analysis", "of what is taken for the truth", 20, least=10)
    base: str = setting("Analysis", "where AIS starts", BASES[0], choices=BASES)
    seed: int = setting("Analysis", "of all sampling", 0, least=0)


class Curve(NamedTuple):
    """Of a batch of machines.

    Attributes:
      temperatures: powers of 2, `[T]`.
      absolute_error: mean over the repeats, nats, `[T, machines]`.
      variance: of an estimate, nats^2, `[T, machines]`.
      log_z: what is taken for the truth, nats, `[machines]`.
      log_z_standard_error: of that.
    """

    temperatures: np.ndarray
    absolute_error: np.ndarray
    variance: np.ndarray
    log_z: np.ndarray
    log_z_standard_error: np.ndarray

    def temperatures_for(self, sigma: float) -> float:
        """How many give a standard deviation of `sigma`, that of all machines together.

        Between powers of 2 the logarithm of the variance is taken for linear in that of the temperatures. Infinite if
        none does.
        """
        deviation = np.sqrt(self.variance.mean(axis=1))
        below = np.flatnonzero(deviation <= sigma)
        if not len(below):
            return float("inf")
        first = below[0]
        if first == 0:
            return float(self.temperatures[0])
        pair = slice(first - 1, first + 1)
        x, y = np.log(self.temperatures[pair]), np.log(deviation[pair])
        return float(np.exp(np.interp(-np.log(sigma), -y, x)))


def curve_of(rbm: RBM, settings: Settings, seed: tf.Tensor, *, description: str) -> Curve:
    """Of a batch of machines, `[machines]`, all annealed together."""
    truth_seed, seed = random.split(seed, 2)
    base = annealing_base(rbm, tf.constant(BASES.index(settings.base)))
    temperatures = 2 ** np.arange(settings.log2_temperatures + 1)
    most = 2**settings.log2_temperatures_of_truth
    errors, variances = [], []
    with progress_bar(total=int(temperatures.sum()) + most, desc=description, unit=" temperatures") as bar:
        truth = annealed_importance.sample(
            rbm, base, betas=linear_betas(most), num_chains=settings.chains_of_truth, seed=truth_seed
        )
        bar.update(most)
        for number in temperatures:
            annealed = annealed_importance.sample(
                rbm,
                base,
                betas=linear_betas(int(number)),
                num_chains=settings.num_chains * settings.num_repeats,
                seed=random.fold_in(seed, int(number)),
            )
            shape = [settings.num_repeats, settings.num_chains, -1]
            log_z = log_mean_exp(tf.reshape(annealed.log_weights, shape), axis=1).numpy()
            errors.append(np.abs(log_z - truth.log_z.numpy()).mean(axis=0))
            variances.append(log_z.var(axis=0, ddof=1))
            bar.update(int(number))
            if np.sqrt(variances[-1].mean()) < _SIGMA / 2:
                break
    return Curve(
        temperatures=temperatures[: len(errors)],
        absolute_error=np.array(errors),
        variance=np.array(variances),
        log_z=truth.log_z.numpy(),
        log_z_standard_error=truth.standard_error.numpy(),
    )


def analyse(model: Exported, images: np.ndarray, numbers: np.ndarray, settings: Settings, folder: Path) -> None:
    """Curves of the posteriors of images, and of the prior; arguments as for `dvae.analysis.modes.analyse`."""
    figures.new_figure(width=1, height=1)  # matplotlib is missed before the work and not after it
    posterior_seed, prior_seed = random.split(tf.constant([settings.seed, 0]), 2)
    posteriors, prior = machines.posteriors_of(model.functions, images), machines.prior_of(model.functions)
    curves, names = {}, {}
    if posteriors is not None:
        curves["posterior"] = curve_of(posteriors, settings, posterior_seed, description="posteriors")
        names["posterior"] = [str(number) for number in numbers]
    if prior is not None:
        batch = RBM(*(parameter[None] for parameter in prior))
        curves["prior"] = curve_of(batch, settings, prior_seed, description="prior")
        names["prior"] = ["prior"]
    _write(curves, names, folder / "log_z.csv")
    figures.save(_drawn(curves), folder / "log_z.png")
    for line in summary(curves):
        print(line)


def summary(curves: dict[str, Curve]) -> list[str]:
    """How many temperatures, beside what the paper says; where too few were tried, at the deviation that all reach."""
    reached = {name: float(np.sqrt(curve.variance.mean(axis=1)).min()) for name, curve in curves.items()}
    lines = []
    for name, curve in curves.items():
        number, error = curve.temperatures_for(_SIGMA), f"truth known to {curve.log_z_standard_error.max():.1g}"
        lines.append(
            f"{name}: {number:.0f} temperatures for a standard deviation of {_SIGMA} nats ({error})"
            if np.isfinite(number)
            else f"{name}: {curve.temperatures[-1]} temperatures leave {reached[name]:.2g} nats, not {_SIGMA} ({error})"
        )
    if len(curves) == 2:
        sigma = max(_SIGMA, *reached.values())
        ratio = curves["prior"].temperatures_for(sigma) / curves["posterior"].temperatures_for(sigma)
        lines.append(
            f"for {sigma:.2g} nats a posterior needs {ratio:.1f} times fewer (published, for {_SIGMA} nats: about "
            f"{_PUBLISHED_RATIO})"
        )
    return lines


def _write(curves: dict[str, Curve], names: dict[str, list[str]], path: Path) -> None:
    columns = ("machine", "temperatures", "absolute_error", "variance", "log_z", "log_z_standard_error")
    rows = [
        (machine, temperatures, error[place], variance[place], curve.log_z[place], curve.log_z_standard_error[place])
        for kind, curve in curves.items()
        for place, machine in enumerate(names[kind])
        for temperatures, error, variance in zip(*curve[:3], strict=True)
    ]
    write_table(path, columns, rows)


def _drawn(curves: dict[str, Curve]) -> figures.Figure:
    figure, [[error, variance]] = figures.new_figure(1, 2, width=10, height=4)
    for number, (name, curve) in enumerate(curves.items()):
        for panel, values in ((error, curve.absolute_error), (variance, curve.variance)):
            panel.plot(curve.temperatures, values, color=f"C{number}", alpha=0.15, linewidth=1)
            panel.plot(curve.temperatures, values.mean(axis=1), "o-", color=f"C{number}", label=name)
    variance.axhline(_SIGMA**2, color="black", linewidth=0.8, linestyle="--", label=f"{_SIGMA} nats, squared")
    error.set(title="mean absolute error of log Z, nats")
    variance.set(title="variance of log Z, nats squared")
    for panel in (error, variance):
        panel.set(xlabel="temperatures", xscale="log", yscale="log")
        panel.grid(alpha=0.3)
        panel.legend()
    return figure


if __name__ == "__main__":
    command.run(analyse, Settings, description=__doc__ or "")
