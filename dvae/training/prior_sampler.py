"""What a sampler that follows the prior through training offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class PriorSampler(NamedTuple):
    """A sampler of p(z) that follows the prior through training.

    Attributes:
      initial_state: a function of `(rbm, *, num_chains, seed)`.
      step: `state, info = step(rbm, state, seed, *, num_sweeps)`, which compiles what is worth it. A state has `left`,
        the chains at the prior's own temperature, their tracked `log_z`, and `anchored(log_z)`.
      info: names of what a step tells about itself.
      reads: names of the settings that concern this sampler and not all others.
    """

    initial_state: Callable[..., Any]
    step: Callable[..., Any]
    info: tuple[str, ...]
    reads: frozenset[str] = frozenset()
