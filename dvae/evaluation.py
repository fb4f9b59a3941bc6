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
ENUMERABLE_LATENTS = 20
_BLOCK_BITS, _IMAGES = 12, 100  # states and images of a block
_IMAGES_OF_POSTERIOR = 10  # where every image and state goes through the posterior's networks


class Evaluation(NamedTuple):
    """What was measured, in nats. The fields are named as in `results.json`.

    Attributes:
      num_samples: importance samples an example; None where the latents were enumerated instead.
      nll: `-mean_x log p(x)`; in structured prediction `-mean_x log p(x_2 | x_1)`.
      nll_standard_error: of that mean over examples: `std / sqrt(num_examples)`; None for one.
      elbo: mean evidence lower bound of the discrete model; None without an approximate posterior.
      entropy: of the approximate posterior q(z | x), mean over examples; None without one.
      log_z: the prior's log-partition function by AIS, with its `log_z_standard_error`; None without a prior.
      effective_sample_size: of the importance weights, mean over examples; None without any.
    """

    num_examples: int
    num_samples: int | None
    nll: float
    nll_standard_error: float | None
    elbo: float | None
    entropy: float | None
    log_z: float | None
    log_z_standard_error: float | None
    effective_sample_size: float | None


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

    A model without an approximate posterior is evaluated by enumerating its latents, whatever `num_samples`. A model of
    structured prediction has no prior: `log p(x_2 | x_1) = log mean_k w_k p(x_2 | z_k)` takes its place.

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

    partition = None
    if has_prior(functions) and log_z_error is None:
        partition = partition_by(log_z_temperatures, log_z_seed)
    elif has_prior(functions):
        most = log_z_temperatures
        partition = refine(partition_by, standard_error=log_z_error, most_temperatures=most, seed=log_z_seed).estimate
    of_prior = {"log_z": partition.log_z} if partition else {}
    if "log_likelihood" not in functions:
        exact = exact_log_likelihood(functions, images, progress=progress)
        return _summary({"log_likelihood": exact}, num_samples=None, partition=partition)
    block = min(max(1, _ROWS // num_samples), len(images))
    per_image: dict[str, list[np.ndarray]] = {}
    with tqdm.tqdm(total=len(images), desc="evaluating", unit=" images", disable=not progress) as bar:
        for first in range(0, len(images), block):
            # The last block is filled up with examples already done, so that all blocks have one shape (one graph).
            rows = np.arange(first, first + block) % len(images)
            outputs = functions["log_likelihood"](
                x=tf.constant(images[rows], tf.float32),
                num_samples=tf.constant(num_samples),
                seed=tf.random.fold_in(samples_seed, first),
                **of_prior,
            )
            for name, values in outputs.items():
                per_image.setdefault(name, []).append(values.numpy())
            bar.update(min(block, len(images) - first))
    values = {name: np.concatenate(blocks)[: len(images)].astype(np.float64) for name, blocks in per_image.items()}
    return _summary(values, num_samples=num_samples, partition=partition)


def _summary(values: Mapping[str, np.ndarray], *, num_samples: int | None, partition: LogZ | None) -> Evaluation:
    """From the values of each image."""
    log_likelihood = values["log_likelihood"]
    names = ("elbo", "entropy", "effective_sample_size")
    mean = {name: float(values[name].mean()) if name in values else None for name in names}
    return Evaluation(
        num_examples=len(log_likelihood),
        num_samples=num_samples,
        nll=float(-log_likelihood.mean()),
        nll_standard_error=float(scipy.stats.sem(log_likelihood)) if len(log_likelihood) > 1 else None,
        log_z=float(partition.log_z) if partition else None,
        log_z_standard_error=float(partition.standard_error) if partition else None,
        **mean,
    )


def exact_nll(functions: Functions, images: np.ndarray, *, progress: bool = False) -> float | None:
    """The mean of `-exact_log_likelihood`, nats; None if there are more than 20 latents."""
    exact = exact_log_likelihood(functions, images, progress=progress)
    return None if exact is None else float(-exact.mean())


def exact_log_likelihood(functions: Functions, images: np.ndarray, *, progress: bool = False) -> np.ndarray | None:
    """`log sum_z p(x | z) p(z)` by enumeration of all latents, nats `[n]`; None if there are more than 20.

    Independent of posterior, importance weights and AIS: it uses the decoder and the prior's energy only. In structured
    prediction it is `log sum_z p(x_2 | z) q(z | x_1)`, with q normalised by its sum over all z.
    """
    num_latents = _input_width(functions["decode"], "z")
    if num_latents > ENUMERABLE_LATENTS:
        return None
    images = images.astype(np.float32)
    log_sum = np.full(len(images), -np.inf)  # log sum_z exp(log f(z)) p(x | z), f the unnormalised p(z) or q(z | x_1)
    log_normaliser = np.full(len(images), -np.inf)  # log sum_z f(z)
    num_rows = _IMAGES if has_prior(functions) else _IMAGES_OF_POSTERIOR
    first_states, first_rows = range(0, 2**num_latents, 2**_BLOCK_BITS), range(0, len(images), num_rows)
    num_blocks = len(first_states) * len(first_rows)
    with tqdm.tqdm(total=num_blocks, desc="enumerating", unit=" blocks", disable=not progress) as bar:
        for first in first_states:
            numbers = np.arange(first, min(first + 2**_BLOCK_BITS, 2**num_latents))
            terms = _enumerated(functions, ((numbers[:, None] >> np.arange(num_latents)) & 1).astype(np.float32))
            for start in first_rows:
                rows = slice(start, start + num_rows)
                log_likelihood, log_f = terms(images[rows])
                for total, block in ((log_sum, log_likelihood + log_f), (log_normaliser, log_f)):
                    total[rows] = np.logaddexp(total[rows], scipy.special.logsumexp(block, axis=1))
                bar.update()
    return log_sum - log_normaliser


def _enumerated(functions: Functions, z: np.ndarray) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """For images `[n, D]`: `log p(x | z) [n, S]` of latents `z [S, units]`, and their log f, `[n, S]` or `[1, S]`."""
    z = tf.constant(z)
    logits = functions["decode"](z=z)["logits"].numpy()  # [S, D]
    normaliser = np.logaddexp(0, logits.astype(np.float64)).sum(axis=1)
    if has_prior(functions):
        log_prior = -functions["prior_energy"](z=z)["energy"].numpy().astype(np.float64)[None]
        return lambda images: (images @ logits.T - normaliser, log_prior)

    observed, target = (functions["pixels"]()[part].numpy() for part in ("observed", "target"))

    def conditional(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        energy = functions["posterior_energy"](observed=tf.constant(images[:, observed]), z=z)["energy"]
        return images[:, target] @ logits.T - normaliser, -energy.numpy().astype(np.float64)

    return conditional


def has_prior(functions: Functions) -> bool:
    """Whether the model has a prior p(z), whose log Z is to be estimated; one of structured prediction has none."""
    return "prior_energy" in functions


def results_of(functions: Functions, images: np.ndarray, evaluation: Evaluation, **context: Any) -> dict[str, Any]:
    """The content of `results.json`, in the documented order: an evaluation of a model on images, and the exact NLL.

    The latter is computed here, with a progress bar, unless it is what the evaluation is of.
    """
    exact = evaluation.nll if evaluation.num_samples is None else exact_nll(functions, images, progress=True)
    values = context | evaluation._asdict() | {"exact_nll": exact}
    return {name: values[name] for name in RESULTS}


def num_pixels(functions: Functions) -> int:
    """D, the width of the images that the model takes."""
    return _input_width(functions["log_likelihood" if "log_likelihood" in functions else "reconstruct"], "x")


def _input_width(function: Callable, name: str) -> int:
    """The last dimension of an input of a tf.function or of a loaded signature."""
    concrete = function.get_concrete_function() if hasattr(function, "get_concrete_function") else function
    inputs = tf.nest.flatten(concrete.structured_input_signature)
    return next(spec.shape[-1] for spec in inputs if spec.name == name)
