"""Evaluation of the discrete model: NLL, exact NLL, ELBO, log Z with its error. Binary samples only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy.special
import scipy.stats
import tensorflow as tf
import tqdm

from samplers.log_z_estimates import LogZ, refine

Functions = Mapping[str, Callable[..., dict[str, tf.Tensor]]]

RESULTS = (
    "model dataset split num_examples num_samples nll nll_standard_error elbo log_z log_z_standard_error "
    "effective_sample_size exact_nll step seconds seed"
).split()

_ROWS = 20_000  # decoder rows (examples x samples) in one call: bounds the memory
_ENUMERABLE_LATENTS = 20
_BLOCK_BITS, _IMAGES = 12, 1000  # states and images of a block


class Evaluation(NamedTuple):
    """What was measured, in nats. The fields are named as in `results.json`.

    Attributes:
      nll: `-mean_x log p(x)`, importance-weighted with `num_samples` samples an example.
      nll_standard_error: of that mean over examples: `std / sqrt(num_examples)`; None for one.
      elbo: mean evidence lower bound of the discrete model.
      log_z: the prior's log-partition function by AIS, with its `log_z_standard_error`.
      effective_sample_size: of the importance weights, mean over examples.
    """

    num_examples: int
    num_samples: int
    nll: float
    nll_standard_error: float | None
    elbo: float
    log_z: float
    log_z_standard_error: float
    effective_sample_size: float


def evaluate(
    functions: Functions,
    images: np.ndarray,
    *,
    num_samples: int,
    log_z_chains: int,
    log_z_temperatures: int,
    seed: int,
    log_z_error: float | None = None,
    progress: bool = False,
) -> Evaluation:
    """Evaluates a model by its signatures, in place or loaded from a SavedModel: one way for both.

        log p(x) = log mean_k w_k p(x, z_k) / q(z_k | x)

    Args:
      functions: the signatures of `dvae.exporting`.
      images: binary, `[n, D]`.
      num_samples: K, importance samples an example.
      log_z_chains, log_z_temperatures: of the AIS run for the prior's log Z.
      seed: of all sampling.
      log_z_error: standard error that log Z is to have, nats; the number of temperatures is doubled until it has, up to
        `log_z_temperatures`. If left out, that number is used at once.
      progress: whether to show a progress bar.
    """
    log_z_seed, samples_seed = tf.unstack(tf.random.split(tf.constant([seed, 0]), 2))

    def partition_by(num_temperatures: int, seed: tf.Tensor) -> LogZ:
        chains, temperatures = tf.constant(log_z_chains), tf.constant(num_temperatures)
        return LogZ(**functions["log_partition"](num_chains=chains, num_temperatures=temperatures, seed=seed))

    if log_z_error is None:
        partition = partition_by(log_z_temperatures, log_z_seed)
    else:
        most = log_z_temperatures
        partition = refine(partition_by, standard_error=log_z_error, most_temperatures=most, seed=log_z_seed).estimate
    block = min(max(1, _ROWS // num_samples), len(images))
    per_image: dict[str, list[np.ndarray]] = {}
    with tqdm.tqdm(total=len(images), desc="evaluating", unit=" images", disable=not progress) as bar:
        for first in range(0, len(images), block):
            # The last block is filled up with examples already done, so that all blocks have one shape (one graph).
            rows = np.arange(first, first + block) % len(images)
            outputs = functions["log_likelihood"](
                x=tf.constant(images[rows], tf.float32),
                num_samples=tf.constant(num_samples),
                log_z=partition.log_z,
                seed=tf.random.fold_in(samples_seed, first),
            )
            for name, values in outputs.items():
                per_image.setdefault(name, []).append(values.numpy())
            bar.update(min(block, len(images) - first))
    values = {name: np.concatenate(blocks)[: len(images)].astype(np.float64) for name, blocks in per_image.items()}
    log_likelihood = values["log_likelihood"]
    return Evaluation(
        num_examples=len(images),
        num_samples=num_samples,
        nll=float(-log_likelihood.mean()),
        nll_standard_error=float(scipy.stats.sem(log_likelihood)) if len(images) > 1 else None,
        elbo=float(values["elbo"].mean()),
        log_z=float(partition.log_z),
        log_z_standard_error=float(partition.standard_error),
        effective_sample_size=float(values["effective_sample_size"].mean()),
    )


def exact_nll(functions: Functions, images: np.ndarray) -> float | None:
    """`-mean_x log sum_z p(x | z) p(z)` by enumeration of all latents, nats; None if there are more than 20.

    Independent of posterior, importance weights and AIS: it uses the decoder and the prior's energy only.
    """
    num_latents = _input_width(functions["decode"], "z")
    if num_latents > _ENUMERABLE_LATENTS:
        return None
    images = images.astype(np.float32)
    log_joint = np.full(len(images), -np.inf)  # log sum_z exp(-E(z)) p(x | z)
    log_z = -np.inf
    for first in range(0, 2**num_latents, 2**_BLOCK_BITS):
        numbers = np.arange(first, min(first + 2**_BLOCK_BITS, 2**num_latents))
        z = ((numbers[:, None] >> np.arange(num_latents)) & 1).astype(np.float32)
        logits = functions["decode"](z=tf.constant(z))["logits"].numpy()  # [S, D]
        log_prior = -functions["prior_energy"](z=tf.constant(z))["energy"].numpy().astype(np.float64)
        normaliser = np.logaddexp(0, logits.astype(np.float64)).sum(axis=1)
        for start in range(0, len(images), _IMAGES):
            rows = slice(start, start + _IMAGES)
            block = scipy.special.logsumexp(images[rows] @ logits.T - normaliser + log_prior, axis=1)  # of [n, S]
            log_joint[rows] = np.logaddexp(log_joint[rows], block)
        log_z = np.logaddexp(log_z, scipy.special.logsumexp(log_prior))
    return float(-(log_joint - log_z).mean())


def results_of(evaluation: Evaluation, *, exact_nll: float | None, **context: Any) -> dict[str, Any]:
    """The content of `results.json`, in the documented order: an evaluation, and what it is an evaluation of."""
    values = context | evaluation._asdict() | {"exact_nll": exact_nll}
    return {name: values[name] for name in RESULTS}


def num_pixels(functions: Functions) -> int:
    """D, the width of the images that the model takes."""
    return _input_width(functions["log_likelihood"], "x")


def _input_width(function: Callable, name: str) -> int:
    """The last dimension of an input of a tf.function or of a loaded signature."""
    concrete = function.get_concrete_function() if hasattr(function, "get_concrete_function") else function
    inputs = tf.nest.flatten(concrete.structured_input_signature)
    return next(spec.shape[-1] for spec in inputs if spec.name == name)
