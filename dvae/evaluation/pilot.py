"""How the draws of an annealed posterior are made: as published, or as few temperatures as a pilot finds enough.

Whatever base and temperatures, `estimate_log_likelihood` is unbiased for p(x); they decide how evenly the draws are
weighted, and how long they take.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from dvae.data import spread
from dvae.errors import UserError
from dvae.evaluation.functions import Functions, posterior_inputs
from models.posterior import BASES, PUBLISHED_TEMPERATURES
from samplers import random
from samplers.log_z_estimates import LogZ

# Those that a pilot tries, the quickest first. The biases alone need more temperatures than either, for any posterior.
_BASES, _TEMPERATURES = ("mean_field", "fields"), (5, 10, 25, 50, 100, 250, 500)
_REFERENCE = "fields", 500
_EXAMPLES, _CHAINS = 20, 500
_LEAST_SHARE = 0.5  # of the chains that must count, on average: shorter annealing would cost more samples than it saves
_AGREEMENT, _ROUNDING = 3.0, 0.05  # joint standard errors, and nats


class Annealing(NamedTuple):
    """How draws of an annealed posterior are made.

    Attributes:
      base: of `models.posterior.BASES`.
      temperatures: of AIS.
      pilot: what it was chosen by; None where it was given.
    """

    base: str
    temperatures: int
    pilot: PilotFindings | None = None

    @property
    def found(self) -> dict[str, Any] | None:
        """What the pilot says, as results show it."""
        return self.pilot and self.pilot._asdict()


class PilotFindings(NamedTuple):
    """What a pilot says of its choice.

    Attributes:
      examples: that it was made on.
      effective_sample_size: of the AIS weights, as a share of the chains, mean over examples.
      disagreement: largest difference of two estimates of log Z_phi, nats: by the choice, and by the reference.
    """

    examples: int
    effective_sample_size: float
    disagreement: float


PUBLISHED = Annealing(BASES[0], PUBLISHED_TEMPERATURES)


def annealing(
    functions: Functions,
    images: np.ndarray,
    *,
    protocol: str,
    seed: int,
    base: str | None = None,
    temperatures: int | None = None,
) -> Annealing:
    """How to draw from the posterior of a model.

    Args:
      functions: of `dvae.evaluation.signatures`.
      images: for the pilot, `[n, D]`, of which it takes a few.
      protocol: one of `dvae.config.PROTOCOLS`.
      seed: of the pilot.
      base, temperatures: where they are given, those.

    Raises:
      UserError: the model was exported by an earlier version, which cannot make a pilot.
    """
    published = Annealing(base or PUBLISHED.base, temperatures or PUBLISHED.temperatures)
    is_annealed = "posterior_settings" in functions and bool(functions["posterior_settings"]()["is_annealed"])
    if protocol == "published" or (base and temperatures) or not is_annealed:
        return published
    if "posterior_log_partition" not in functions:
        raise UserError("needs a model exported by this version; it was by an earlier one", protocol=protocol)
    return _chosen(
        functions,
        posterior_inputs(functions, images[spread(len(images), _EXAMPLES)]),
        bases=[base] if base else _BASES,
        temperatures=[temperatures] if temperatures else _TEMPERATURES,
        seed=tf.constant([seed, 0]),
    )


def _chosen(
    functions: Functions, x: np.ndarray, *, bases: Iterable[str], temperatures: Iterable[int], seed: tf.Tensor
) -> Annealing:
    """The first that gives even weights and agrees with the reference, 500 temperatures from the fields; else the last.

    The mean field is the quickest to anneal from, and misses all modes but one; the fields are uniform over them.
    """
    candidates = [(base, number) for base in bases for number in temperatures]
    reference = _log_z(functions, x, *_REFERENCE, seed)
    for number, (base, count) in enumerate(candidates):
        found = _log_z(functions, x, base, count, random.fold_in(seed, number + 1))
        share = float(np.mean(found.effective_sample_size)) / _CHAINS
        if number + 1 == len(candidates) or (share >= _LEAST_SHARE and _agree(found, reference)):
            disagreement = float(np.max(np.abs(found.log_z - reference.log_z)))
            return Annealing(base, count, PilotFindings(len(x), round(share, 3), round(disagreement, 3)))
    raise AssertionError("there is always a last candidate")


def _agree(found: LogZ, reference: LogZ) -> bool:
    """For every example. An error that is not known means that the weights collapsed, and the estimate is too low."""
    difference = found.log_z - reference.log_z
    joint = np.hypot(found.standard_error, reference.standard_error)
    within = np.where(np.isfinite(joint), abs(difference) <= _AGREEMENT * joint + _ROUNDING, difference > 0)
    return bool(np.all(np.isfinite(found.standard_error) & within))


def _log_z(functions: Functions, x: np.ndarray, base: str, temperatures: int, seed: tf.Tensor) -> Any:
    outputs = functions["posterior_log_partition"](
        x=tf.constant(x),
        num_samples=tf.constant(_CHAINS),
        posterior_temperatures=tf.constant(temperatures),
        posterior_base=tf.constant(BASES.index(base)),
        seed=seed,
    )
    return LogZ(*(outputs[name].numpy().astype(np.float64) for name in LogZ._fields))
