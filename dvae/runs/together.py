"""Several processes that train together: the chief leads, with files and evaluations, and the others follow."""

from __future__ import annotations

from dvae.data import BatchOrder
from dvae.errors import PeerError
from dvae.interruption import Interruption
from dvae.runs.stepping import Stepping
from dvae.training.trainer import Trainer

# What the chief says, as the first of three numbers; then how many steps; then how many processes want to leave.
_END, _STEPS, _STATE = range(3)


class Leader:
    """Tells the other processes what comes next. With none, says nothing.

    Args:
      trainer: with the replicas.
      interruption: of this process.

    Attributes:
      was_left: whether another process was asked to leave; all do, once the state is saved.
    """

    def __init__(self, trainer: Trainer, interruption: Interruption) -> None:
        self._trainer, self._interruption = trainer, interruption
        self.was_left = False

    def steps(self, count: int) -> bool:
        """All do so many steps next; False if a process was asked to leave, and none does any.

        Raises:
          PeerError: one has ended. The state is whole.
        """
        leaving = self._say(_STEPS, count)
        self.was_left = leaving > self._interruption.wanted
        return not leaving

    def state(self) -> None:
        """All have this process' state from now on: that of a checkpoint, or after an evaluation."""
        self._say(_STATE)
        self._trainer.share_state()

    def end(self) -> None:
        """Nothing is left to do for the others."""
        self._say(_END)

    def _say(self, what: int, count: int = 0) -> int:
        return self._trainer.replicas.agree([what, count, int(self._interruption.wanted)])[2]


def follow(trainer: Trainer, order: BatchOrder, interruption: Interruption) -> None:
    """Does what the chief says until the end, in a process that is not the chief.

    Raises:
      PeerError: another process has ended, or was asked to leave.
      DivergenceError: what a step measured is not finite.
    """
    try:
        leaving = _until_the_end(trainer, Stepping(trainer, order, None), interruption)
    except PeerError as error:
        raise PeerError(f"{error}; the same command goes on from the chief's last checkpoint") from error
    interruption.obey()
    if leaving:
        raise left_by_another()


def _until_the_end(trainer: Trainer, stepping: Stepping, interruption: Interruption) -> int:
    """How many processes want to leave."""
    while True:
        if not interruption.wanted:
            interruption.at_rest("the chief has the checkpoints; the same command goes on")
        what, count, leaving = trainer.replicas.agree([0, 0, int(interruption.wanted)])
        if what == _END:
            return leaving
        if what == _STATE:
            trainer.share_state()
        elif not leaving:
            if stepping.compile_seconds is not None:
                interruption.in_motion()
            stepping.begin_line()
            stepping.run(int(trainer.state.global_step), count)


def left_by_another() -> PeerError:
    """What all others end with, where one was asked to leave."""
    return PeerError("another worker was asked to leave; the state is saved, and the same command goes on from there")
