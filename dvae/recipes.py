"""Recipes by name: what stands in for settings that are left out, where it is not as published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Recipe(NamedTuple):
    """Settings in place of the published ones.

    Attributes:
      common: of every run, where data set and objective have no published number of their own.
      by_objective: of an objective; they have precedence over the published ones for it.
    """

    common: Mapping[str, Any]
    by_objective: Mapping[str, Mapping[str, Any]]


RECIPES: Mapping[str, Recipe] = {
    "published": Recipe({}, {}),
    "fast": Recipe(
        {
            "coupling_start": 0.1,
            "prior_spins": True,
            "batch_size": 200,
            "learning_rate": 6e-3,
            # A quarter of the particles, half of the sweeps.
            "num_particles": 250,
            "prior_sweeps": 20,
        },
        {
            "structured": {"batch_size": 100, "learning_rate": 3e-3, "num_replicates": 4},
            "mcmc": {"batch_size": 100, "learning_rate": 3e-3},  # nothing else was measured
        },
    ),
}
