"""The estimate of each example's likelihood by weighted samples, a block of examples at a time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import scipy.special
import scipy.stats
import tensorflow as tf
from tqdm import tqdm

from dvae.bars import progress_bar
from dvae.config import EvaluationSettings
from dvae.evaluation.functions import Functions, input_width
from models.posterior import BASES
from samplers import random
from samplers.weights import known_or_infinite

# Bounds of the memory of a call: its draws (examples x samples), the numbers in them, and those of the couplings of RBM
# posteriors. (The decoder's outputs are bounded in `models.likelihood`.)
_DRAWS, _NUMBERS = 20_000, 2**24
# Moves have their gradients too, and the outputs are bounded here.
_OUTPUTS = 2**22
_FIRST_TEMPERATURES = 50

# The signature of AIS through the true posterior.
ANNEALED = "anneal_log_likelihood"

# From blocks to what is estimated of each, in the same order.
ValuesOf = Callable[[Iterable["Block"]], Iterable[dict[str, np.ndarray]]]


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
    name = "estimate_log_likelihood"
    if settings.true_posterior_temperatures:
        name = ANNEALED
        inputs["true_posterior_temperatures"] = tf.constant(settings.true_posterior_temperatures)
    parts = _parts(settings.num_samples, _Sizes.of(functions, settings).draws, multiple=len(settings.flattening))
    seeds = random.split(random.fold_in(tf.constant(block.seed), block.first), len(parts))
    x = tf.constant(block.x, tf.float32)
    by_part = [
        functions[name](x=x, num_samples=tf.constant(part), seed=seed, **inputs)
        for part, seed in zip(parts, seeds, strict=True)
    ]
    return _together(by_part, parts)


def estimate(
    functions: Functions,
    images: np.ndarray,
    settings: EvaluationSettings,
    *,
    log_z: float | None,
    seed: tf.Tensor,
    values_of_blocks: ValuesOf | None = None,
    progress: bool = False,
) -> dict[str, np.ndarray]:
    """What is estimated of each image, float64 `[n]`.

    With `example_error` those whose `standard_error` is larger are done again with twice the temperatures, by samples
    of their own, until there are none or the most temperatures are reached. Each stops where its own samples say so,
    which favours those that missed something: with the most temperatures for all there is no such choice.

    Args:
      functions: of a model with an approximate posterior.
      images: `[n, D]`.
      settings: how.
      log_z: of the prior, nats; None without one.
      seed: int32 `[2]`.
      values_of_blocks: `values_of` each of some blocks, in their order, done elsewhere; None does them here.
      progress: whether to show a progress bar.
    """
    values = values_of_blocks or (lambda blocks: (values_of(functions, block) for block in blocks))
    most, wanted = settings.true_posterior_temperatures, settings.example_error
    temperatures = most if wanted is None else min(_FIRST_TEMPERATURES, most)
    found: dict[str, np.ndarray] = {}
    left, stage, sizes = np.arange(len(images)), 0, _Sizes.of(functions, settings)
    while True:
        with progress_bar(total=len(left), desc=_described(temperatures), unit=" images", shown=progress) as bar:
            of_stage = _once(
                values,
                images[left],
                dataclasses.replace(settings, true_posterior_temperatures=temperatures),
                sizes=sizes,
                log_z=log_z,
                seed=random.fold_in(seed, stage) if stage else seed,
                bar=bar,
            )
        for name, some in of_stage.items():
            found.setdefault(name, np.zeros(len(images)))[left] = some
        if wanted is None:
            return found
        left = left[standard_error(found["effective_sample_size"][left], settings.num_samples) > wanted]
        if not len(left) or temperatures == most:
            return found
        temperatures, stage = min(2 * temperatures, most), stage + 1


def standard_error(effective_sample_size: np.ndarray, num_samples: int) -> np.ndarray:
    """Of the log of a mean of weights, nats: `std(w) / (mean(w) sqrt(K))`, infinite where it is not known.

    By `sum w^2 / (sum w)^2 = 1 / ESS`, its square is `(K / ESS - 1) / (K - 1)`. (`samplers.weights.is_known`)
    """
    size = np.asarray(effective_sample_size, np.float64)
    squared = np.maximum(num_samples / size - 1, 0) / max(num_samples - 1, 1)
    return np.asarray(known_or_infinite(tf.constant(np.sqrt(squared)), tf.constant(size), num_samples))


def most_numbers_at_once(num_latents: int) -> int:
    """The most numbers in an array of an evaluation, however many examples and samples there are."""
    return max(_NUMBERS, num_latents**2 // 4)


class _Sizes(NamedTuple):
    """Attributes: the most draws of a call (examples x samples); the most examples of a block."""

    draws: int
    examples: int

    @classmethod
    def of(cls, functions: Functions, settings: EvaluationSettings) -> _Sizes:
        num_latents = input_width(functions["decode"], "z")
        draws = min(_DRAWS, _NUMBERS // num_latents)
        if settings.true_posterior_temperatures:
            draws = min(draws, _OUTPUTS // input_width(functions["log_prob_of_pairs"], "outputs"))
        return cls(max(1, draws), max(1, min(draws // settings.num_samples, 4 * _NUMBERS // num_latents**2)))


def _once(
    values: ValuesOf,
    images: np.ndarray,
    settings: EvaluationSettings,
    *,
    sizes: _Sizes,
    log_z: float | None,
    seed: tf.Tensor,
    bar: tqdm,
) -> dict[str, np.ndarray]:
    """What is estimated of each image, all by the same settings."""
    num = len(images)
    size = min(sizes.examples, 2 ** math.ceil(math.log2(num)) if settings.example_error else num)
    first_word, second_word = seed.numpy().tolist()
    # The last block is filled up with examples already done, so that all blocks have one shape (one graph).
    blocks = (
        Block(first, images[np.arange(first, first + size) % num], settings, log_z, (first_word, second_word))
        for first in range(0, num, size)
    )
    per_image: dict[str, list[np.ndarray]] = {}
    for found in values(blocks):
        for name, of_block in found.items():
            per_image.setdefault(name, []).append(of_block)
        done = np.concatenate(per_image["log_likelihood"])[:num]
        bar.update(len(done) - bar.n)
        error = f" +- {scipy.stats.sem(done):.2f}" if len(done) > 1 else ""
        bar.set_postfix_str(f"NLL {-done.mean():.2f}{error} nats", refresh=False)
    return {name: np.concatenate(of_blocks)[:num] for name, of_blocks in per_image.items()}


def _described(temperatures: int) -> str:
    return f"evaluating, {temperatures} temperatures" if temperatures else "evaluating"


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
