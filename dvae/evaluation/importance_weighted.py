"""The importance-weighted estimate of each example's likelihood, a block of examples at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import scipy.special
import scipy.stats
import tensorflow as tf
import tqdm

from dvae.config import EvaluationSettings
from dvae.evaluation.signatures import Functions, input_width
from models.posterior import BASES
from samplers import random

# Bounds of the memory of a call: its draws (examples x samples), the numbers in them, and those of the couplings of RBM
# posteriors. (The decoder's outputs are bounded in `models.likelihood`.)
_DRAWS, _NUMBERS = 20_000, 2**24

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
    parts = _parts(settings.num_samples, _most_draws(functions), multiple=len(settings.flattening))
    seeds = random.split(random.fold_in(tf.constant(block.seed), block.first), len(parts))
    x = tf.constant(block.x, tf.float32)
    by_part = [
        functions["estimate_log_likelihood"](x=x, num_samples=tf.constant(part), seed=seed, **inputs)
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

    Args:
      functions: of a model with an approximate posterior.
      images: binary, `[n, D]`.
      settings: how.
      log_z: of the prior, nats; None without one.
      seed: int32 `[2]`.
      values_of_blocks: `values_of` each of some blocks, in their order, done elsewhere; None does them here.
      progress: whether to show a progress bar.
    """
    num_latents, num = input_width(functions["decode"], "z"), len(images)
    size = max(1, min(_most_draws(functions) // settings.num_samples, 4 * _NUMBERS // num_latents**2, num))
    first_word, second_word = seed.numpy().tolist()
    # The last block is filled up with examples already done, so that all blocks have one shape (one graph).
    blocks = (
        Block(first, images[np.arange(first, first + size) % num], settings, log_z, (first_word, second_word))
        for first in range(0, num, size)
    )
    values = values_of_blocks or (lambda blocks: (values_of(functions, block) for block in blocks))
    per_image: dict[str, list[np.ndarray]] = {}
    with tqdm.tqdm(total=num, desc="evaluating", unit=" images", disable=not progress) as bar:
        for found in values(blocks):
            for name, of_block in found.items():
                per_image.setdefault(name, []).append(of_block)
            done = np.concatenate(per_image["log_likelihood"])[:num]
            bar.update(len(done) - bar.n)
            error = f" +- {scipy.stats.sem(done):.2f}" if len(done) > 1 else ""
            bar.set_postfix_str(f"NLL {-done.mean():.2f}{error} nats", refresh=False)
    return {name: np.concatenate(of_blocks)[:num] for name, of_blocks in per_image.items()}


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
