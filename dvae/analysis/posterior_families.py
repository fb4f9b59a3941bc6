"""The families of posteriors whose best members are compared, and the search through them for a block of examples.

The factorial member is searched from the uniform one and from the marginals of the encoder's q, and the better of the
two is taken for each example; members of the other families are searched from there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from dvae.analysis.best_member import Boltzmann, Directed, Family, LogJoint, Search, search
from dvae.analysis.kept import Arrays, Keep
from dvae.analysis.likelihoods import Value
from models.directed_posterior import DirectedPosterior
from models.posterior import Posterior
from samplers import random

FACTORIAL, RBM = "factorial", "RBM"

# L of a member, from its posterior, the encoding that stands for it, and a seed.
Bound = Callable[[Posterior, Any, tf.Tensor], Value]


def families(num_units: int) -> dict[str, Callable[[int], Family]]:
    """Those that so many units allow, by name: from a number of examples."""
    made: dict[str, Callable[[int], Family]] = {FACTORIAL: lambda num: Directed(num, num_units, 1)}
    for num_groups in (2, 4):
        if num_units % num_groups == 0:
            made[_directed(num_groups)] = lambda num, groups=num_groups: Directed(num, num_units, groups)  # type: ignore[misc]
    return made | {RBM: lambda num: Boltzmann(num, num_units)}


def family_of(posterior: Posterior) -> str | None:
    """The family whose members the posterior gives; None if it is none of ours, its groups having hidden layers."""
    if not isinstance(posterior, DirectedPosterior):
        return RBM
    if posterior.num_groups == 1:
        return FACTORIAL
    is_linear = not any(hidden.layers for hidden in posterior.group_hidden)
    name = _directed(posterior.num_groups)
    return name if is_linear and name in families(posterior.num_units) else None


def _directed(num_groups: int) -> str:
    return f"directed, {num_groups} groups"


def best_members(
    log_joint: LogJoint, marginals: np.ndarray, how: Search, *, bound: Bound, seed: tf.Tensor, keep: Keep
) -> dict[str, Value]:
    """L[q*] of each family, by name.

    Args:
      log_joint: of the examples.
      marginals: logits of the encoder's for each of them, `[n, units]`.
      how: q* is searched.
      bound: of a member.
      seed: int32 `[2]`.
      keep: makes or finds what takes minutes.
    """
    num_examples, num_units = marginals.shape
    made = families(num_units)

    def searched(name: str, start: np.ndarray, seed: tf.Tensor, description: str) -> tuple[Family, Value]:
        search_seed, bound_seed = random.split(seed, 2)
        family = made[name](num_examples)
        family.start_at(tf.constant(start))
        search(family, log_joint, how, seed=search_seed, description=description)
        return family, bound(family.posterior, family.encoding(), bound_seed)

    def factorial(seed: tf.Tensor) -> Arrays:
        """That of the better start for each example; its bound is of draws that did not choose."""
        *search_seeds, bound_seed = random.split(seed, 3)
        starts = {"from the uniform": np.zeros_like(marginals), "from the encoder's": marginals}
        logits, nats = [], []
        for (place, start), search_seed in zip(starts.items(), search_seeds, strict=True):
            family, value = searched(FACTORIAL, start, search_seed, f"{FACTORIAL}, {place}")
            logits.append(family.encoding().outputs.numpy())
            nats.append(value.nats)
        best = np.where((nats[0] > nats[1])[:, None], *logits)
        family.start_at(tf.constant(best))
        return bound(family.posterior, family.encoding(), bound_seed)._asdict() | {"logits": best}

    def best_of(name: str, start: np.ndarray, seed: tf.Tensor) -> Arrays:
        return searched(name, start, seed, name)[1]._asdict()

    best: dict[str, Value] = {}
    start = marginals
    for number, name in enumerate(made):
        seed_of_family = random.fold_in(seed, number)
        make = functools.partial(best_of, name, start, seed_of_family)
        found = keep(name, functools.partial(factorial, seed_of_family) if name == FACTORIAL else make)
        start = found.get("logits", start)
        best[name] = Value(found["nats"], found["standard_error"])
    return best
