"""Where the gap between a bound and the likelihood comes from: the family of posteriors, or the encoder.

    python -m dvae.analysis.gaps --log_dir=runs/mnist

    log p(x) - L[q]  =  (log p(x) - L[q*])  +  (L[q*] - L[q])
    inference gap       approximation gap       amortization gap

q is what the encoder gives, q* the best member of a family for this one x (`dvae.analysis.best_member`), the generator
held fixed. Families: factorial, directed with 2 and 4 groups whose logits are linear in the groups before, restricted
Boltzmann machines (`dvae.analysis.posterior_families`). A search that ends too early, or at a mode that is not the
best, makes its approximation gap too large, never too small; the amortization gap is that of the encoder's own family.
log p(x) is exact where the latents can be enumerated, else AIS through the true posterior
(`models.annealed_likelihood`). For training images and test images; written are `gaps.csv`, a row for each image, and
`gaps.png`.

Reference: Cremer, Li & Duvenaud, Inference suboptimality in variational autoencoders, ICML 2018, there for Gaussian
posteriors.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.special
import tensorflow as tf

from dvae import figures
from dvae.analysis import command, likelihoods, posterior_families
from dvae.analysis.best_member import Search
from dvae.analysis.kept import Keep, Kept, made_anew
from dvae.analysis.likelihoods import BASE, TEMPERATURES, Value, shown
from dvae.analysis.posterior_families import Bound
from dvae.compiling import compiled
from dvae.config import setting
from dvae.data import spread
from dvae.evaluation.enumeration import exact_log_likelihood
from dvae.evaluation.functions import Functions
from dvae.evaluation.importance_weighted import standard_error
from dvae.files import write_table
from dvae.runs.trained_model import TrainedModel
from models.autoencoder import DiscreteVAE
from models.posterior import BASES, Posterior, PosteriorDraws
from samplers import random
from samplers.weights import effective_sample_size

ENCODER = "encoder"
_SPLITS = ("train", "test")
_AT_ONCE = 100  # examples of a search
_LEAST_MEAN = 0.05  # of a unit where a search starts: one that is surer is never drawn otherwise, and stays as it is


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Of the analysis."""

    num_examples: int = setting("Analysis", "training images, and as many test images, spread evenly", 100, least=2)
    num_samples: int = setting("Analysis", "of q, for each bound", 1000, least=10)
    chains: int = setting("Analysis", "of AIS through the true posterior, for log p(x) of each image", 64, least=10)
    temperatures: int = setting("Analysis", "of AIS through the true posterior", 1000, least=1)
    search_samples: int = setting("Search of q*", "of q, at each step", 32, least=2)
    learning_rate: float = setting("Search of q*", "of Adam, the first", 0.03, above=0)
    num_rates: int = setting("Search of q*", "each a third of the one before", 4, least=1)
    window_steps: int = setting("Search of q*", "steps over which an objective is averaged", 100, least=1)
    patience: int = setting("Search of q*", "windows without a new best that end a rate", 3, least=1)
    most_windows: int = setting("Search of q*", "windows in any case", 200, least=1)
    seed: int = setting("Analysis", "of all sampling", 0, least=0)

    @property
    def search(self) -> Search:
        """How q* is searched."""
        return Search(
            num_samples=self.search_samples,
            learning_rate=self.learning_rate,
            num_rates=self.num_rates,
            window=self.window_steps,
            patience=self.patience,
            most_windows=self.most_windows,
        )


class Gaps(NamedTuple):
    """What was found of the images of a split.

    Attributes:
      numbers: of the images in the split, `[n]`.
      log_likelihood: log p(x).
      encoder: L[q] of what the encoder gives.
      best: L[q*] of each family.
    """

    numbers: np.ndarray
    log_likelihood: Value
    encoder: Value
    best: dict[str, Value]


def gaps_of(
    model: DiscreteVAE,
    functions: Functions,
    images: np.ndarray,
    numbers: np.ndarray,
    settings: Settings,
    *,
    seed: tf.Tensor,
    keep: Keep = made_anew,
) -> Gaps:
    """Of binary images `[n, D]`, those of the given numbers in their split, by a model and its functions.

    What takes minutes is made, or found, by `keep`.
    """
    log_z_seed, likelihood_seed, encoder_seed, search_seed = random.split(seed, 4)
    log_z = likelihoods.log_z_of(model, functions, log_z_seed)
    likelihood = Value(
        **keep(
            "log likelihood",
            lambda: _log_likelihood(functions, images, log_z, settings, likelihood_seed)._asdict(),
        )
    )
    families = posterior_families.families(model.likelihood.num_units)
    found: dict[str, list[Value]] = {name: [] for name in (ENCODER, *families)}
    for first in range(0, len(images), _AT_ONCE):
        x = tf.constant(images[first : first + _AT_ONCE], tf.float32)
        bound = _bound(model, x, log_z, settings)
        bound_seed, start_seed = random.split(random.fold_in(encoder_seed, first), 2)
        encoding = model.posterior.encode(x, training=False)
        found[ENCODER].append(bound(model.posterior, encoding, bound_seed))
        best = posterior_families.best_members(
            functools.partial(_log_joint, model, x, log_z),
            _marginals(model.posterior, encoding, settings, start_seed),
            settings.search,
            bound=bound,
            seed=random.fold_in(search_seed, first),
            keep=_beginning(first, keep),
        )
        for name, value in best.items():
            found[name].append(value)
    together = {
        name: Value(*(np.concatenate(parts) for parts in zip(*values, strict=True))) for name, values in found.items()
    }
    return Gaps(numbers, likelihood, together.pop(ENCODER), together)


def _beginning(first: int, keep: Keep) -> Keep:
    """Of the examples from that on."""
    return lambda name, make: keep(f"{name} {first}", make)


def _log_joint(model: DiscreteVAE, x: tf.Tensor, log_z: float, z: tf.Tensor) -> tf.Tensor:
    return tf.add_n(model.joint_terms(x, z, tf.constant(log_z, tf.float32), training=False))


def _marginals(posterior: Posterior, encoding: Any, settings: Settings, seed: tf.Tensor) -> np.ndarray:
    """Logits of the mean of each unit by draws of q, `[n, units]`; none is surer than a search can leave."""
    draws = _draws(posterior, encoding, settings, seed)
    return scipy.special.logit(np.clip(draws.mean(draws.z).numpy(), _LEAST_MEAN, 1 - _LEAST_MEAN)).astype(np.float32)


def _draws(posterior: Posterior, encoding: Any, settings: Settings, seed: tf.Tensor) -> PosteriorDraws:
    return posterior.draw(
        encoding,
        num_samples=settings.num_samples,
        seed=seed,
        num_temperatures=TEMPERATURES,
        base=BASES.index(BASE),
    )


def _bound(model: DiscreteVAE, x: tf.Tensor, log_z: float, settings: Settings) -> Bound:
    """L of any posterior, by weighted draws of it: the error of an estimated log Z_phi is part of its own."""
    log_joint = compiled(lambda z: model.log_joint(x, z, tf.constant(log_z, tf.float32)), autograph=True)

    def bound(posterior: Posterior, encoding: Any, seed: tf.Tensor) -> Value:
        num, draws = settings.num_samples, _draws(posterior, encoding, settings, seed)
        f, weights = (log_joint(draws.z) - draws.log_q).numpy(), np.exp(draws.log_weights.numpy())
        nats = draws.mean(f).numpy()
        of_f = np.sqrt((weights**2 * (f - nats) ** 2).mean(axis=0) / num)
        effective = effective_sample_size(draws.log_weights, axis=0).numpy()
        return Value(nats, np.hypot(of_f, standard_error(effective, num)))

    return bound


def _log_likelihood(
    functions: Functions, images: np.ndarray, log_z: float, settings: Settings, seed: tf.Tensor
) -> Value:
    """Exact, or by AIS from the encoder's q and flattened copies of it to the true posterior."""
    exact = exact_log_likelihood(functions, images, progress=True)
    if exact is not None:
        return Value(exact, np.zeros(len(images)))
    return likelihoods.estimated(
        functions,
        images,
        num_samples=settings.chains,
        true_posterior_temperatures=settings.temperatures,
        log_z=log_z,
        seed=seed,
    )


def analyse(trained: TrainedModel, settings: Settings, folder: Path) -> None:
    """Gaps of training and of test images; table, CSV and figure. Interrupted, it goes on where it was.

    Raises:
      UserError: the model has no approximate posterior, or is none of autoencoding; chains that are no multiple of 4.
    """
    likelihoods.check_chains(settings.chains)
    figures.new_figure(width=1, height=1)  # matplotlib is missed before the work and not after it
    model, gaps = likelihoods.autoencoder(trained), {}
    functions = likelihoods.functions_of(model)
    kept = Kept(folder, likelihoods.origin_of(trained, settings))
    for place, split in enumerate(_SPLITS):
        images = trained.dataset.split(split)
        numbers = spread(len(images), settings.num_examples)
        print(f"{len(numbers)} {split} images", file=sys.stderr)
        gaps[split] = gaps_of(
            model,
            functions,
            images[numbers],
            numbers,
            settings,
            seed=tf.constant([settings.seed, place]),
            keep=kept.under(split),
        )
    own = posterior_families.family_of(model.posterior)
    _write(gaps, folder / "gaps.csv")
    figures.save(_drawn(gaps, own), folder / "gaps.png")
    kept.clear()
    for line in table(gaps, own):
        print(line)


def table(gaps: dict[str, Gaps], own: str | None) -> list[str]:
    """Markdown; nats, mean over images +- its standard error over them (that part of it which comes of sampling).

    Args:
      gaps: of splits.
      own: the family of the encoder; the amortization gap is that of it.
    """
    lines = ["| images | family | log p(x) | L[q*] | approximation gap | L[q] of the encoder | amortization gap |"]
    lines.append("|---" * 7 + "|")
    for split, of_split in gaps.items():
        for name, best in of_split.best.items():
            cells = [split, name, shown(of_split.log_likelihood), shown(best)]
            cells.append(shown(of_split.log_likelihood.minus(best)))
            is_own = name == own
            cells += [shown(of_split.encoder), shown(best.minus(of_split.encoder))] if is_own else ["", ""]
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def _write(gaps: dict[str, Gaps], path: Path) -> None:
    names = list(next(iter(gaps.values())).best)
    columns = ["split", "example"]
    for what in ("log_likelihood", ENCODER, *names):
        columns += [what, f"{what} standard error"]
    rows = []
    for split, found in gaps.items():
        values = [found.log_likelihood, found.encoder, *(found.best[name] for name in names)]
        per_example = [part for value in values for part in value]
        rows += [(split, *row) for row in zip(found.numbers, *per_example, strict=True)]
    write_table(path, columns, rows)


def _drawn(gaps: dict[str, Gaps], own: str | None) -> figures.Figure:
    """Bars: the approximation gap of each family, and on that of the encoder's own the amortization gap."""
    figure, [panels] = figures.new_figure(1, len(gaps), width=5 * len(gaps), height=4)
    for panel, (split, found) in zip(panels, gaps.items(), strict=True):
        for place, (name, best) in enumerate(found.best.items()):
            approximation, error = found.log_likelihood.minus(best).mean()
            panel.bar(place, approximation, yerr=error, color="C0", label="approximation" if place == 0 else None)
            if name == own:
                amortization, error = best.minus(found.encoder).mean()
                panel.bar(place, amortization, yerr=error, bottom=approximation, color="C1", label="amortization")
        panel.set_xticks(range(len(found.best)), [name.replace(", ", ",\n") for name in found.best])
        panel.set(title=f"{len(found.numbers)} {split} images", ylabel="log p(x) - L, nats")
        panel.grid(axis="y", alpha=0.3)
        panel.legend()
    return figure


if __name__ == "__main__":
    command.run_on_trained(analyse, Settings, description=__doc__ or "")
