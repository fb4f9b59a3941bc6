"""Evaluation of the discrete model: NLL, exact NLL, ELBO, log Z with its error. Binary samples only."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import scipy.special
import scipy.stats
import tensorflow as tf
import tqdm

from dvae.config import EvaluationSettings
from dvae.errors import UserError
from dvae.evaluation.enumeration import exact_log_likelihood
from dvae.evaluation.signatures import Functions, has_prior, input_width
from models.posterior import BASES
from samplers import random
from samplers.log_z_estimates import LogZ, refine

# The fields of results.json: those that other tools rely on, and how the rest of the numbers were had: every setting of
# the evaluation.
_CONTRACT = (
    "model dataset split num_examples num_samples nll nll_standard_error elbo log_z log_z_standard_error "
    "effective_sample_size exact_nll step seconds seed"
).split()
_SETTINGS = tuple(field.name for field in dataclasses.fields(EvaluationSettings))
# What either half of the prior's chains says: outputs of `log_partition`.
_BY_BASE = ("from_uniform", "from_own_means")
_OF_LOG_Z = ("log_z_effective_sample_size", *(f"log_z_{name}" for name in _BY_BASE))
RESULTS = (
    *_CONTRACT,
    "posterior_sampler",
    *(name for name in _SETTINGS if name not in _CONTRACT),
    *_OF_LOG_Z,
    "posterior_pilot",
    "recipe",
)
# What an evaluation measures, and not how.
MEASURED = (
    "nll nll_standard_error elbo entropy log_z log_z_standard_error log_z_effective_sample_size effective_sample_size"
).split()

# Bounds of the memory of a call: its draws (examples x samples), the numbers in them, and those of the couplings of RBM
# posteriors. (The decoder's outputs are bounded in `models.likelihood`.)
_DRAWS, _NUMBERS = 20_000, 2**24


# From blocks to what is estimated of each, in the same order.
ValuesOf = Callable[[Iterable["Block"]], Iterable[dict[str, np.ndarray]]]


class Evaluation(NamedTuple):
    """What was measured, in nats, and how. The fields are named as in `results.json`.

    Attributes:
      num_samples: importance samples an example; None where the latents were enumerated instead.
      nll: `-mean_x log p(x)`; in structured prediction `-mean_x log p(x_2 | x_1)`.
      nll_standard_error: of that mean over examples: `std / sqrt(num_examples)`; None for one.
      elbo: mean evidence lower bound of the discrete model; None without an approximate posterior.
      entropy: of the approximate posterior q(z | x), mean over examples; None without one.
      log_z: the prior's log-partition function by AIS, with its `log_z_standard_error`; None without a prior. The error
        is None where it cannot be known (`samplers.two_bases.from_two_bases`): then log_z is probably too low,
        and with it the NLL.
      log_z_effective_sample_size: of its chains.
      log_z_from_uniform, log_z_from_own_means: what either half of the chains says.
      effective_sample_size: of the importance weights, mean over examples; None without any.
      posterior_sampler: "exact" draws, "annealed importance sampling", or "enumeration" of all latents.
      posterior_temperatures, posterior_base: of annealed importance sampling; None for exact draws.
      flattening: of the posterior; None where it was enumerated.
      log_z_chains, log_z_temperatures: of the estimate of log Z; with `log_z_error` the temperatures that it took.
      log_z_error: as wanted.
      seed: of all sampling.
      of_examples: what was measured of each: `log_likelihood`, `elbo`, `entropy`, `effective_sample_size`, `[n]`.
    """

    num_examples: int
    num_samples: int | None
    nll: float
    nll_standard_error: float | None
    elbo: float | None
    entropy: float | None
    log_z: float | None
    log_z_standard_error: float | None
    log_z_effective_sample_size: float | None
    log_z_from_uniform: float | None
    log_z_from_own_means: float | None
    effective_sample_size: float | None
    posterior_sampler: str
    posterior_temperatures: int | None
    posterior_base: str | None
    flattening: tuple[float, ...] | None
    log_z_chains: int | None
    log_z_temperatures: int | None
    log_z_error: float | None
    seed: int
    of_examples: dict[str, np.ndarray]


def evaluate(
    functions: Functions,
    images: np.ndarray,
    settings: EvaluationSettings,
    *,
    progress: bool = False,
    values_of_blocks: ValuesOf | None = None,
) -> Evaluation:
    """Evaluates a model by its functions, in place or loaded from a SavedModel: one way for both.

        log p(x) = log mean_k w_k p(x, z_k) / q(z_k | x)

    A model without an approximate posterior is evaluated by enumerating its latents, whatever `num_samples`. A model of
    structured prediction has no prior: `log p(x_2 | x_1) = log mean_k w_k p(x_2 | z_k)` takes its place.

    Args:
      functions: of `dvae.evaluation.signatures`.
      images: binary, `[n, D]`; all of them are used.
      settings: how. With `log_z_error` the number of temperatures is doubled until log Z has that standard error, up to
        `log_z_temperatures`; without, that number is used at once.
      progress: whether to show a progress bar.
      values_of_blocks: `values_of` each of some blocks, in their order, done elsewhere; None does them here.

    Raises:
      UserError: it comes out not finite, or there is no way to evaluate the model.
    """
    log_z_seed, samples_seed = random.split(tf.constant([settings.seed, 0]), 2)
    partition = _log_z(functions, settings, log_z_seed) if has_prior(functions) else None
    if "estimate_log_likelihood" in functions:
        num_latents = input_width(functions["decode"], "z")
        most = min(_most_draws(functions) // settings.num_samples, 4 * _NUMBERS // num_latents**2, len(images))
        log_z = float(partition.estimate.log_z) if partition else None
        first_word, second_word = samples_seed.numpy().tolist()
        values = _importance_weighted(
            images,
            max(1, most),
            lambda first, x: Block(first, x, settings, log_z, (first_word, second_word)),
            values_of_blocks or (lambda blocks: (values_of(functions, block) for block in blocks)),
            progress=progress,
        )
        is_annealed = "posterior_temperatures" in settings_in_use(functions)
        sampler = "annealed importance sampling" if is_annealed else "exact"
    else:
        exact = exact_log_likelihood(functions, images, progress=progress)
        if exact is None:
            raise UserError("the model has no posterior, and too many latents to enumerate them")
        values, sampler = {"log_likelihood": exact}, "enumeration"

    def mean(name: str) -> float | None:
        return float(values[name].mean()) if name in values else None

    log_likelihood, in_use = values["log_likelihood"], settings_in_use(functions)
    used: dict[str, Any] = {name: getattr(settings, name) if name in in_use else None for name in _SETTINGS}
    if partition is not None:
        used["log_z_temperatures"] = partition.num_temperatures
    used["num_examples"] = len(images)
    for name, of_examples in values.items():
        if not np.isfinite(of_examples).all():
            first = int(np.argmin(np.isfinite(of_examples)))
            raise UserError(f"the {name} of example {first} is {of_examples[first]}: the model has diverged")
    by_base = partition.by_base if partition else dict.fromkeys(_BY_BASE)
    used |= {f"log_z_{name}": value for name, value in by_base.items()}
    return Evaluation(
        **used,
        nll=float(-log_likelihood.mean()),
        nll_standard_error=float(scipy.stats.sem(log_likelihood)) if len(log_likelihood) > 1 else None,
        elbo=mean("elbo"),
        entropy=mean("entropy"),
        log_z=float(partition.estimate.log_z) if partition else None,
        log_z_standard_error=_known(partition.estimate.standard_error) if partition else None,
        log_z_effective_sample_size=float(partition.estimate.effective_sample_size) if partition else None,
        effective_sample_size=mean("effective_sample_size"),
        posterior_sampler=sampler,
        of_examples=values,
    )


def settings_in_use(functions: Functions) -> frozenset[str]:
    """Names of the settings that play a part in the evaluation of a model."""
    names = {"num_examples", "seed"}
    if has_prior(functions):
        names |= {"log_z_chains", "log_z_temperatures", "log_z_error"}
    if "estimate_log_likelihood" in functions:
        names |= {"num_samples", "flattening"}
        if functions["posterior_settings"]()["is_annealed"]:
            names |= {"posterior_temperatures", "posterior_base"}
    return frozenset(names)


class _Partition(NamedTuple):
    """Attributes: the estimate; the temperatures it took; what either half of the chains says, by `_BY_BASE`."""

    estimate: LogZ
    num_temperatures: int
    by_base: dict[str, float]


def _log_z(functions: Functions, settings: EvaluationSettings, seed: tf.Tensor) -> _Partition:
    by_base: dict[str, float] = {}

    def estimate(num_temperatures: int, seed: tf.Tensor) -> LogZ:
        chains, temperatures = tf.constant(settings.log_z_chains), tf.constant(num_temperatures)
        found = functions["log_partition"](num_chains=chains, num_temperatures=temperatures, seed=seed)
        by_base.update({name: float(found[name]) for name in _BY_BASE})
        return LogZ(*(found[name] for name in LogZ._fields))

    most = settings.log_z_temperatures
    if settings.log_z_error is None:
        return _Partition(estimate(most, seed), most, by_base)
    refined = refine(estimate, standard_error=settings.log_z_error, most_temperatures=most, seed=seed)
    return _Partition(refined.estimate, refined.num_temperatures, by_base)


def _known(error: tf.Tensor) -> float | None:
    return float(error) if np.isfinite(error) else None


class Block(NamedTuple):
    """A few examples of an evaluation, and all that their values depend on but for the model: it can be sent about.

    Attributes:
      first: number of the first of them among all.
      x: `[block, D]`.
      settings: of the evaluation.
      log_z: of the prior, nats; None without one.
      seed: of the evaluation's samples, two integers.
    """

    first: int
    x: np.ndarray
    settings: EvaluationSettings
    log_z: float | None
    seed: tuple[int, int]


def values_of(functions: Functions, block: Block) -> dict[str, np.ndarray]:
    """What is estimated of each example of a block, float64 `[block]`; the same wherever it is done."""
    settings = block.settings
    inputs = {
        "posterior_temperatures": tf.constant(settings.posterior_temperatures),
        "posterior_base": tf.constant(BASES.index(settings.posterior_base)),
        "flattening": tf.constant(settings.flattening, tf.float32),
    }
    if block.log_z is not None:
        inputs["log_z"] = tf.constant(block.log_z)
    parts = _parts(settings.num_samples, _most_draws(functions), multiple=len(settings.flattening))
    seeds = random.split(random.fold_in(tf.constant(block.seed), block.first), len(parts))
    x = tf.constant(block.x, tf.float32)
    by_part = [
        functions["estimate_log_likelihood"](x=x, num_samples=tf.constant(part), seed=seed, **inputs)
        for part, seed in zip(parts, seeds, strict=True)
    ]
    return _together(by_part, parts)


def _importance_weighted(
    images: np.ndarray, size: int, block_of: Callable[[int, np.ndarray], Block], values: ValuesOf, *, progress: bool
) -> dict[str, np.ndarray]:
    """What is estimated of each image, `[n]`, in blocks of a size."""
    # The last block is filled up with examples already done, so that all blocks have one shape (one graph).
    blocks = (
        block_of(first, images[np.arange(first, first + size) % len(images)]) for first in range(0, len(images), size)
    )
    per_image: dict[str, list[np.ndarray]] = {}
    with tqdm.tqdm(total=len(images), desc="evaluating", unit=" images", disable=not progress) as bar:
        for found in values(blocks):
            for name, of_block in found.items():
                per_image.setdefault(name, []).append(of_block)
            done = np.concatenate(per_image["log_likelihood"])[: len(images)]
            bar.update(len(done) - bar.n)
            error = f" +- {scipy.stats.sem(done):.2f}" if len(done) > 1 else ""
            bar.set_postfix_str(f"NLL {-done.mean():.2f}{error} nats", refresh=False)
    return {name: np.concatenate(blocks)[: len(images)] for name, blocks in per_image.items()}


def _most_draws(functions: Functions) -> int:
    return min(_DRAWS, _NUMBERS // input_width(functions["decode"], "z"))


def _parts(num_samples: int, most: int, *, multiple: int) -> list[int]:
    """So many samples in parts of at most `most`, each a multiple: memory does not grow with their number."""
    part = max(multiple, most - most % multiple)
    rest = num_samples % part
    return [part] * (num_samples // part) + ([rest] if rest else [])


def _together(by_part: list[dict[str, tf.Tensor]], sizes: list[int]) -> dict[str, np.ndarray]:
    """What all samples say of each image, from what parts of them say; float64 `[n]` each.

    sum w = sum_parts K_part p_part,   sum w^2 = sum_parts (K_part p_part)^2 / ESS_part,   ESS = (sum w)^2 / sum w^2
    """
    stacked = {name: np.stack([part[name] for part in by_part]).astype(np.float64) for name in by_part[0]}
    if len(sizes) == 1:
        return {name: values[0] for name, values in stacked.items()}
    log_sums = stacked["log_likelihood"] + np.log(sizes)[:, None]
    total = scipy.special.logsumexp(log_sums, axis=0)
    squares = scipy.special.logsumexp(2 * log_sums - np.log(stacked["effective_sample_size"]), axis=0)
    means = {name: np.average(values, axis=0, weights=sizes) for name, values in stacked.items()}
    return means | {"log_likelihood": total - np.log(sum(sizes)), "effective_sample_size": np.exp(2 * total - squares)}


class Results(NamedTuple):
    """What an evaluation leaves.

    Attributes:
      content: of `results.json`, in the documented order.
      of_examples: columns of a table with a row for each example: its number in the split, NLL, ELBO, entropy,
        effective sample size and exact NLL, those that there are. By it two models can be compared in pairs.
    """

    content: dict[str, Any]
    of_examples: dict[str, np.ndarray]


def results_with_exact_nll(
    functions: Functions, images: np.ndarray, evaluation: Evaluation, *, numbers: np.ndarray, **context: Any
) -> Results:
    """An evaluation of a model on images, those of the given `numbers [n]` in the split, and the exact NLL.

    The latter takes minutes where there are many latents; it is computed here, with a progress bar, unless it is what
    the evaluation is of.
    """
    of_examples = dict(evaluation.of_examples)
    exact: np.ndarray | None = of_examples["log_likelihood"]
    if evaluation.num_samples is not None:
        exact = exact_log_likelihood(functions, images, progress=True)
    table = {"example": numbers, "nll": -of_examples.pop("log_likelihood"), **of_examples}
    if exact is not None:
        table["exact_nll"] = -exact
    values = context | evaluation._asdict() | {"exact_nll": None if exact is None else float(-exact.mean())}
    if evaluation.flattening is not None:
        values["flattening"] = list(evaluation.flattening)
    return Results({name: values[name] for name in RESULTS}, table)
