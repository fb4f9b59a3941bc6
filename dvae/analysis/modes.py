"""How many modes posteriors and prior have, and how far a mode is from the whole: section 4.1.1 of [DVAE##].

    python -m dvae.analysis.modes --log_dir=runs/mnist

Mean-field updates from many samples of a machine end in fixed points. Those that are seen often enough are its modes.
KL(mean field || machine) of the best of them, the one with the highest bound of log Z, says how much a factorial
distribution would lose. Written are `modes.csv`, a row for each machine, and `modes.png`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.special
import tensorflow as tf

from dvae import figures
from dvae.analysis import command, machines
from dvae.bars import progress_bar
from dvae.compiling import compiled
from dvae.config import setting
from dvae.evaluation.functions import Functions
from dvae.files import write_table
from dvae.runs.exported import Exported
from models.posterior import BASES
from models.rbm_posterior import equally_weighted
from samplers import random
from samplers.mean_field import mean_field
from samplers.rbm import RBM

PRIOR = "prior"  # among the names of machines
_UPDATES = 40  # as published; a prior's mean field may need a thousand to come to rest
_DECIMALS, SEEN = 2, 5  # fixed points are alike to so many decimals; modes are seen more often
_AT_ONCE = 10
PUBLISHED = {"posteriors with one mode": "about 90 %", "KL of posteriors": "0.5 to 2", "modes of the prior": "10 to 20"}


class Modes(NamedTuple):
    """Of one machine.

    Attributes:
      num_modes: distinct fixed points, seen more than 5 times.
      share: of the samples that ended in them.
      kl_divergence: KL(mean field || machine) of the best fixed point, nats.
    """

    num_modes: int
    share: float
    kl_divergence: float


def modes_of(rbm: RBM, left: tf.Tensor, log_z: float, *, num_updates: int = _UPDATES) -> Modes:
    """Of one machine, from samples.

    Args:
      rbm: the machine.
      left: its samples' left units, `[S, N]`.
      log_z: its log-partition function, nats.
      num_updates: of the mean field, from each sample.
    """
    for _ in range(num_updates):
        means = _updated(rbm, left)
        left = means.left
    bound = mean_field_bound(rbm, *means)
    units = np.concatenate([side.numpy() for side in means], axis=-1)
    _, counts = np.unique(np.round(units, _DECIMALS) + 0.0, axis=0, return_counts=True)
    seen = counts[counts > SEEN]
    return Modes(len(seen), float(seen.sum() / counts.sum()), float(log_z - bound.max()))


def mean_field_bound(rbm: RBM, left: tf.Tensor, right: tf.Tensor) -> np.ndarray:
    """`-E(m) + H(m)` of means, a lower bound of log Z that lacks KL(m || machine); nats, float64 `[S]`."""
    machine = rbm.astype(tf.float64)
    energy = machine.energy(tf.cast(left, tf.float64), tf.cast(right, tf.float64)).numpy()
    units = np.concatenate([left.numpy(), right.numpy()], axis=-1).astype(np.float64)
    return -energy + (scipy.special.entr(units) + scipy.special.entr(1 - units)).sum(axis=-1)


_updated = compiled(lambda rbm, left: mean_field(rbm, left, num_updates=1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Of the analysis."""

    num_examples: int = setting("Analysis", "spread evenly over the split", 100, least=1)
    num_samples: int = setting("Analysis", "that mean-field updates start from, of each machine", 1000, least=10)
    num_updates: int = setting("Analysis", "of the mean field, from each sample", _UPDATES, least=1)
    temperatures: int = setting("Analysis", "of annealed importance sampling of the posteriors", 500, least=1)
    prior_temperatures: int = setting("Analysis", "of that of the prior, for its log Z", 10_000, least=1)
    seed: int = setting("Analysis", "of all sampling", 0, least=0)


def analyse(model: Exported, images: np.ndarray, numbers: np.ndarray, settings: Settings, folder: Path) -> None:
    """Modes of the posteriors of images, and of the prior.

    Args:
      model: exported.
      images: `[n, D]`.
      numbers: theirs in the split.
      settings: of the analysis.
      folder: for table and figure.
    """
    figures.new_figure(width=1, height=1)  # matplotlib is missed before the work and not after it
    rows = found(model.functions, images, numbers, settings)
    write_table(folder / "modes.csv", ("machine", *Modes._fields), [(name, *row) for name, row in rows.items()])
    figures.save(_drawn(rows), folder / "modes.png")
    for line in summary(rows):
        print(line)


def found(
    functions: Functions, images: np.ndarray, numbers: Iterable[int], settings: Settings, *, progress: bool = True
) -> dict[str, Modes]:
    """Of each machine of a model: of the posteriors of images by their numbers, and of the prior."""
    rows: dict[str, Modes] = {}
    numbers = list(numbers)
    posterior_seed, prior_seed = random.split(tf.constant([settings.seed, 0]), 2)
    posteriors, prior = machines.posteriors_of(functions, images), machines.prior_of(functions)
    if posteriors is not None:
        for first in progress_bar(range(0, len(images), _AT_ONCE), desc="posteriors", unit=" blocks", shown=progress):
            block = RBM(*(parameter[first : first + _AT_ONCE] for parameter in posteriors))
            seed = random.fold_in(posterior_seed, first)
            for place, one in enumerate(_of_posteriors(block, settings, seed)):
                rows[str(numbers[first + place])] = one
    if prior is not None:
        rows[PRIOR] = _of_prior(prior, functions, settings, prior_seed)
    return rows


def summary(rows: dict[str, Modes]) -> list[str]:
    """What was found, beside what the paper says."""
    lines, of_posteriors = [], [row for name, row in rows.items() if name != PRIOR]
    if of_posteriors:
        single = np.mean([row.num_modes == 1 for row in of_posteriors])
        low, middle, high = np.quantile([row.kl_divergence for row in of_posteriors], [0.1, 0.5, 0.9])
        lines += [
            f"posteriors with one mode: {100 * single:.0f} % of {len(of_posteriors)} "
            f"(published: {PUBLISHED['posteriors with one mode']})",
            f"KL(mean field || posterior): {middle:.2f} nats, 10 % to 90 %: {low:.2f} to {high:.2f} "
            f"(published: {PUBLISHED['KL of posteriors']})",
        ]
    if PRIOR in rows:
        lines.append(
            f"modes of the prior: {rows[PRIOR].num_modes} (published: {PUBLISHED['modes of the prior']}), in which "
            f"{100 * rows[PRIOR].share:.0f} % of its samples end; "
            f"KL(mean field || prior): {rows[PRIOR].kl_divergence:.2f} nats"
        )
    return lines


def _of_posteriors(block: RBM, settings: Settings, seed: tf.Tensor) -> list[Modes]:
    """From AIS from the fields, which finds all modes."""
    states, log_z = equally_weighted(
        block,
        num_samples=settings.num_samples,
        num_temperatures=settings.temperatures,
        base=BASES.index("fields"),
        seed=seed,
    )
    return [
        modes_of(
            RBM(*(parameter[place] for parameter in block)),
            states.left[:, place],
            float(log_z[place]),
            num_updates=settings.num_updates,
        )
        for place in range(block.weights.shape[0])
    ]


def _of_prior(prior: RBM, functions: Functions, settings: Settings, seed: tf.Tensor) -> Modes:
    sample_seed, log_z_seed = random.split(seed, 2)
    num = tf.constant(settings.num_samples)
    z = functions["sample_prior"](num_samples=num, seed=sample_seed)["z"]
    log_z = functions["log_partition"](
        num_chains=num, num_temperatures=tf.constant(settings.prior_temperatures), seed=log_z_seed
    )["log_z"]
    return modes_of(prior, prior.split(z)[0], float(log_z), num_updates=settings.num_updates)


def _drawn(rows: dict[str, Modes]) -> figures.Figure:
    figure, [[count, divergence]] = figures.new_figure(1, 2, width=10, height=4)
    of_posteriors, prior = [row for name, row in rows.items() if name != PRIOR], rows.get(PRIOR)
    if of_posteriors:
        modes = [row.num_modes for row in of_posteriors]
        count.hist(modes, bins=np.arange(0.5, max(modes) + 1.5), rwidth=0.9, label="posteriors")
        divergence.hist([row.kl_divergence for row in of_posteriors], bins=20, label="posteriors")
    if prior is not None:
        count.axvline(prior.num_modes, color="C1", linestyle="--", label="prior")
        divergence.axvline(prior.kl_divergence, color="C1", linestyle="--", label="prior")
    count.set(title="modes", xlabel="fixed points of the mean field", ylabel="machines")
    divergence.set(title="KL(mean field || machine)", xlabel="nats", ylabel="machines")
    count.xaxis.get_major_locator().set_params(integer=True)
    for panel in (count, divergence):
        panel.legend()
        panel.grid(alpha=0.3)
    return figure


if __name__ == "__main__":
    command.run(analyse, Settings, description=__doc__ or "")
