"""How far the reported NLL is from the true one: by the published protocol, a mixture, AIS, and in a bracket.

    python -m dvae.analysis.nll --log_dir=runs/mnist

log p(x) of test images and of images drawn from the model itself,

    z ~ p(z),   x ~ p(x | z),

is estimated by importance samples of q(z | x), as published; by those of a mixture of q and a flattened q; and by AIS
from a mixture of q and flattened copies of it to the true posterior, all of which come out too low where they miss
something. Of a simulated x an exact draw of p(z | x) is known, the z that it was made of: reverse AIS from there to q
comes out too high. The true log p(x) is between the two (in expectation), and the width of the bracket bounds the error
of either. Where the latents can be enumerated, the exact one stands beside. Written is `nll.csv`, a row for each image.

Reference: Grosse, Ghahramani & Adams, Sandwiching the marginal likelihood using bidirectional Monte Carlo, 2015.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from dvae.analysis import command, likelihoods
from dvae.analysis.kept import Arrays, Keep, Kept, made_anew
from dvae.analysis.likelihoods import BASE, TEMPERATURES, Value, shown
from dvae.bars import progress_bar
from dvae.compiling import compiled
from dvae.config import setting
from dvae.data import spread
from dvae.evaluation.enumeration import exact_log_likelihood
from dvae.evaluation.functions import Functions
from dvae.evaluation.importance_weighted import standard_error
from dvae.files import write_table
from dvae.runs.trained_model import TrainedModel
from models.autoencoder import DiscreteVAE
from models.posterior import BASES
from samplers import random
from samplers.annealing_path import Schedule
from samplers.annealing_schedules import linear_betas
from samplers.weights import effective_sample_size, log_mean_exp

PUBLISHED, MIXTURE, ANNEALED = "importance samples of q", "of q and a flattened q", "AIS to the true posterior"
REVERSE, EXACT = "reverse AIS", "exact"
TEST, SIMULATED = "test", "simulated"
_NUMBERS_AT_ONCE = 2**22  # of the decoder's outputs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Of the analysis."""

    num_examples: int = setting("Analysis", "test images, spread evenly, and as many simulated ones", 100, least=2)
    num_samples: int = setting("Analysis", "of q, for each image", 4000, least=10)
    flattening: float = setting("Analysis", "factor of the flattened q in the mixture", 2.0, above=1.0)
    chains: int = setting("Analysis", "of AIS through the true posterior, for each image", 64, least=10)
    temperatures: int = setting("Analysis", "of AIS through the true posterior", 1000, least=1)
    seed: int = setting("Analysis", "of all sampling", 0, least=0)


class Estimate(NamedTuple):
    """Attributes: the `value` of each image, log p(x); the `seconds` it took, compilation included."""

    value: Value
    seconds: float

    def arrays(self) -> Arrays:
        """As a part of an analysis that is kept."""
        return self.value._asdict() | {"seconds": np.array(self.seconds)}

    @classmethod
    def of(cls, arrays: Arrays) -> Estimate:
        """The way back."""
        return cls(Value(arrays["nats"], arrays["standard_error"]), float(arrays["seconds"]))


def estimates_of(
    functions: Functions,
    images: np.ndarray,
    settings: Settings,
    *,
    log_z: float,
    seed: tf.Tensor,
    keep: Keep = made_anew,
) -> dict[str, Estimate]:
    """log p(x) of binary images `[n, D]`, by name of the way, by a model's functions; made, or found, by `keep`."""
    found: dict[str, Estimate] = {}
    ways: dict[str, dict[str, Any]] = {
        PUBLISHED: {"num_samples": settings.num_samples},
        MIXTURE: {"num_samples": settings.num_samples, "flattening": (1.0, settings.flattening)},
        ANNEALED: {"num_samples": settings.chains, "true_posterior_temperatures": settings.temperatures},
    }

    def by(number: int, way: dict[str, Any]) -> Arrays:
        started = time.monotonic()
        value = likelihoods.estimated(functions, images, log_z=log_z, seed=random.fold_in(seed, number), **way)
        return Estimate(value, time.monotonic() - started).arrays()

    for number, (name, way) in enumerate(ways.items()):
        found[name] = Estimate.of(keep(name, functools.partial(by, number, way)))
    started = time.monotonic()
    exact = exact_log_likelihood(functions, images, progress=True)
    if exact is not None:
        found[EXACT] = Estimate(Value(exact, np.zeros(len(images))), time.monotonic() - started)
    return found


def simulated(
    model: DiscreteVAE, functions: Functions, num_images: int, seed: tf.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Images of the model `[n, D]`, and the latents `[n, units]` they were made of."""
    z_seed, x_seed = random.split(seed, 2)
    z = functions["sample_prior"](num_samples=tf.constant(num_images), seed=z_seed)["z"]
    return model.likelihood.sample(z, x_seed).numpy(), z.numpy()


def reverse_estimate(
    model: DiscreteVAE, images: np.ndarray, latents: np.ndarray, settings: Settings, *, log_z: float, seed: tf.Tensor
) -> Estimate:
    """log p(x) by reverse AIS from latents `[n, units]` that are exact draws of p(z | x); too high in expectation.

        log p(x) <= -E[log mean_k w_k w'_k],   E[w w'] = 1 / p(x)

    All chains of an image start from its one draw; its share of the error is not in the standard error.
    """
    started, walk = time.monotonic(), compiled(model.annealed_backward, autograph=True)
    schedule, chains = Schedule.of(linear_betas(settings.temperatures), tf.float32), settings.chains
    at_once = min(len(images), max(1, _NUMBERS_AT_ONCE // (chains * model.likelihood.num_outputs)))
    nats, effective = [], []
    for first in progress_bar(range(0, len(images), at_once), desc="reverse AIS", unit=" blocks"):
        rows = np.arange(first, first + at_once) % len(images)  # all blocks have one shape
        x, z = tf.constant(images[rows], tf.float32), tf.constant(latents[rows], tf.float32)
        move_seed, normaliser_seed = random.split(random.fold_in(seed, first), 2)
        encoding = model.posterior.encode(x, training=False)
        copies = tf.repeat(z[None], chains, axis=0)
        annealed = walk(x, encoding, copies, tf.constant(log_z, tf.float32), schedule=schedule, seed=move_seed)
        log_weights = annealed.log_weights + model.posterior.reverse_log_weights(
            encoding, annealed.z, seed=normaliser_seed, num_temperatures=TEMPERATURES, base=BASES.index(BASE)
        )
        nats.append(-log_mean_exp(log_weights, axis=0).numpy())
        effective.append(effective_sample_size(log_weights, axis=0).numpy())
    sizes = np.concatenate(effective)[: len(images)]
    value = Value(np.concatenate(nats)[: len(images)], standard_error(sizes, chains))
    return Estimate(value, time.monotonic() - started)


def analyse(trained: TrainedModel, settings: Settings, folder: Path) -> None:
    """Of test images and of simulated ones; table and CSV. Interrupted, it goes on where it was.

    Raises:
      UserError: the model has no approximate posterior, or is none of autoencoding; chains that are no multiple of 4.
    """
    likelihoods.check_chains(settings.chains)
    model = likelihoods.autoencoder(trained)
    functions, kept = likelihoods.functions_of(model), Kept(folder, likelihoods.origin_of(trained, settings))
    log_z_seed, simulation_seed, test_seed, forward_seed, reverse_seed = random.split(
        tf.constant([settings.seed, 0]), 5
    )
    log_z = likelihoods.log_z_of(model, functions, log_z_seed)
    test = trained.dataset.split(TEST)
    numbers = spread(len(test), settings.num_examples)
    keep = kept.under(TEST)
    found = {TEST: estimates_of(functions, test[numbers], settings, log_z=log_z, seed=test_seed, keep=keep)}
    images, latents = simulated(model, functions, len(numbers), simulation_seed)
    keep = kept.under(SIMULATED)
    found[SIMULATED] = estimates_of(functions, images, settings, log_z=log_z, seed=forward_seed, keep=keep)

    def backwards() -> Arrays:
        return reverse_estimate(model, images, latents, settings, log_z=log_z, seed=reverse_seed).arrays()

    found[SIMULATED][REVERSE] = Estimate.of(keep(REVERSE, backwards))
    rows = [
        (kind, name, example, *row)
        for kind, of_kind in found.items()
        for name, estimate in of_kind.items()
        for example, *row in zip(numbers if kind == TEST else range(len(numbers)), *estimate.value, strict=True)
    ]
    write_table(folder / "nll.csv", ("images", "way", "example", "log_likelihood", "standard_error"), rows)
    kept.clear()
    for line in table(found):
        print(line)


def table(found: dict[str, dict[str, Estimate]]) -> list[str]:
    """Markdown; nats, means over images with their standard error over them (that part of it which is of sampling).

    The last column is paired: how much lower log p(x) is by this way than by AIS to the true posterior.
    """
    lines = ["| images | log p(x) by | NLL | above AIS to the true posterior | seconds |", "|---" * 5 + "|"]
    for kind, of_kind in found.items():
        tight = of_kind[ANNEALED].value
        for name, (value, seconds) in of_kind.items():
            cells = [kind, name, shown(value._replace(nats=-value.nats))]
            cells.append("" if name == ANNEALED else shown(tight.minus(value), decimals=3))
            lines.append(f"| {' | '.join(cells)} | {seconds:.0f} |")
    return lines


if __name__ == "__main__":
    command.run_on_trained(analyse, Settings, description=__doc__ or "")
