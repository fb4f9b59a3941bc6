"""The exact likelihood of a model whose latents can be enumerated."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy.special
import tensorflow as tf

from dvae.bars import progress_bar
from dvae.evaluation.functions import Functions, has_prior, input_width

ENUMERABLE_LATENTS = 20
_BLOCK_BITS, _IMAGES = 12, 100  # states and images of a block, at the most
_IMAGES_OF_POSTERIOR = 10  # where every image and state goes through the posterior's networks
_NUMBERS = 2**23  # of the decoder's outputs of a block's states, and of its images: 64 MB in float64


def exact_log_likelihood(functions: Functions, images: np.ndarray, *, progress: bool = False) -> np.ndarray | None:
    """`log sum_z p(x | z) p(z)` by enumeration of all latents, nats `[n]`; None if there are more than 20.

    Independent of posterior, importance weights and AIS: it uses the likelihood and the prior's energy only. In
    structured prediction it is `log sum_z p(x_2 | z) q(z | x_1)`, with q normalised by its sum over all z.
    """
    num_latents = input_width(functions["decode"], "z")
    if num_latents > ENUMERABLE_LATENTS:
        return None
    [outputs] = functions["decode"](z=tf.zeros([1, num_latents])).values()
    num_states = 2 ** min(_BLOCK_BITS, num_latents, int(math.log2(max(1, _NUMBERS // outputs.shape[1]))))
    log_sum = np.full(len(images), -np.inf)  # log sum_z exp(log f(z)) p(x | z), f the unnormalised p(z) or q(z | x_1)
    log_normaliser = np.full(len(images), -np.inf)  # log sum_z f(z)
    most_rows = _IMAGES if has_prior(functions) else _IMAGES_OF_POSTERIOR
    num_rows = max(1, min(most_rows, _NUMBERS // images.shape[1]))
    first_states, first_rows = range(0, 2**num_latents, num_states), range(0, len(images), num_rows)
    num_blocks = len(first_states) * len(first_rows)
    with progress_bar(total=num_blocks, desc="enumerating", unit=" blocks", shown=progress) as bar:
        for first in first_states:
            numbers = np.arange(first, first + num_states)
            terms = _enumerated(functions, ((numbers[:, None] >> np.arange(num_latents)) & 1).astype(np.float32))
            for start in first_rows:
                rows = slice(start, start + num_rows)
                log_likelihood, log_f = terms(images[rows].astype(np.float32))
                for total, block in ((log_sum, log_likelihood + log_f), (log_normaliser, log_f)):
                    total[rows] = np.logaddexp(total[rows], scipy.special.logsumexp(block, axis=1))
                bar.update()
    return log_sum - log_normaliser


def _enumerated(functions: Functions, z: np.ndarray) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """For images `[n, D]`: `log p(x | z) [n, S]` of latents `z [S, units]`, and their log f, `[n, S]` or `[1, S]`."""
    z = tf.constant(z)
    [outputs] = functions["decode"](z=z).values()  # [S, outputs]

    def log_likelihood(x: np.ndarray) -> np.ndarray:
        return functions["log_prob_of_pairs"](x=tf.constant(x), outputs=outputs)["log_prob"].numpy().T

    if has_prior(functions):
        log_prior = -functions["prior_energy"](z=z)["energy"].numpy().astype(np.float64)[None]
        return lambda images: (log_likelihood(images), log_prior)

    observed, target = (functions["pixels"]()[part].numpy() for part in ("observed", "target"))

    def conditional(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        energy = functions["posterior_energy"](observed=tf.constant(images[:, observed]), z=z)["energy"]
        return log_likelihood(images[:, target]), -energy.numpy().astype(np.float64)

    return conditional
