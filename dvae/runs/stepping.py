"""Steps in calls of the graph that end soon, so that a run can be asked to stop between two of them."""

from __future__ import annotations

import time

import tensorflow as tf

from dvae.data import BatchOrder
from dvae.errors import DivergenceError
from dvae.training.trainer import Sums, Trainer

# Of a call: long beside what a call costs, short beside the seconds that a scheduler or a person waits.
_SECONDS = 1.0


class Stepping:
    """Runs the steps of a training and sums what they measure, from one line of metrics to the next.

    How many steps a call does is a matter of time alone; neither the state nor the sums depend on it.

    Args:
      trainer: with the state.
      order: in which the training examples are visited.
      sums: of steps since the last line of metrics, done by an earlier process.

    Attributes:
      sums: since `begin_line`; None if there are no steps yet.
      compile_seconds: of the first call, of one step, which compiles the graph; None before it.
      seconds_per_step: of the steps of this process since `begin_line`, but for the first; None if there are none.
    """

    def __init__(self, trainer: Trainer, order: BatchOrder, sums: Sums | None) -> None:
        self.trainer, self._order, self.sums = trainer, order, sums
        self.compile_seconds: float | None = None
        self._pace: float | None = None  # seconds a step, in the last call
        self._timed_steps, self._timed_seconds = 0, 0.0

    def begin_line(self) -> None:
        """Sums begin anew."""
        self.sums, self._timed_steps, self._timed_seconds = None, 0, 0.0

    @property
    def seconds_per_step(self) -> float | None:
        return self._timed_seconds / self._timed_steps if self._timed_steps else None

    def affordable(self, most: int) -> int:
        """How many steps a call of about a second does, `most` at the most; the first, which compiles, a single one."""
        return min(most, max(1, int(_SECONDS / self._pace)) if self._pace else 1)

    def run(self, first: int, count: int) -> float:
        """One call of the graph: `count` steps, from step `first` on.

        Returns:
          The seconds that it took.

        Raises:
          DivergenceError: what a step measured is not finite; names the step and the quantity.
          PeerError: another process has ended.
        """
        indices = self._order.indices(first, count)
        start = time.perf_counter()
        self.sums = self.trainer.run_steps(tf.constant(indices), self.sums)
        elapsed = time.perf_counter() - start
        if self.compile_seconds is None:
            self.compile_seconds = elapsed
        else:
            self._pace = elapsed / count
            self._timed_steps += count
            self._timed_seconds += elapsed
        _check(self.sums, first + count)
        return elapsed


def _check(sums: Sums, step: int) -> None:
    """Raises for the first of the steps, which end at `step`, of which something is not finite."""
    fewest = min(sums.finite_steps.values())
    if fewest < sums.num_steps:
        names = [name for name, finite in sums.finite_steps.items() if finite == fewest]
        raise DivergenceError(f"{' and '.join(names)} of step {step - sums.num_steps + fewest + 1} not finite")
