"""The samplers that follow the prior through training, by name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from samplers import parallel_tempering, pcd, persistent_chains, population_annealing

if TYPE_CHECKING:
    from dvae.config import Config


class PriorSampler(NamedTuple):
    """A sampler of p(z) that follows the prior through training.

    Attributes:
      initial_state: a function of `(rbm, *, num_chains, seed)`.
      step: `state, info = step(rbm, state, seed, *, num_sweeps)`. A state has `left`, the chains at the prior's own
        temperature, their tracked `log_z`, and `anchored(log_z)`.
      info: names of what a step tells about itself.
    """

    initial_state: Callable
    step: Callable
    info: tuple[str, ...]


def _of_chains(step: Callable) -> Callable[[Config], PriorSampler]:
    fields = persistent_chains.PersistentInfo._fields
    return lambda config: PriorSampler(persistent_chains.initial_state, step, fields)


def _tempered(config: Config) -> PriorSampler:
    initial_state = functools.partial(parallel_tempering.initial_state, num_levels=config.tempering_levels)
    return PriorSampler(initial_state, parallel_tempering.step, parallel_tempering.TemperedInfo._fields)


PRIOR_SAMPLERS: dict[str, Callable[[Config], PriorSampler]] = {
    "population_annealing": _of_chains(population_annealing.step),
    "pcd": _of_chains(pcd.step),
    "parallel_tempering": _tempered,
}
