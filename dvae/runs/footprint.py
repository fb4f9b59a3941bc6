"""What a run will take of memory, about: said at its start, beside what is free."""

from __future__ import annotations

from typing import NamedTuple

from dvae import memory
from dvae.errors import UserError
from dvae.evaluation.importance_weighted import most_numbers_at_once
from dvae.runs.needs import FLOAT, needs
from dvae.systems import SYSTEMS
from dvae.tasks.task import Task

# Measured, and rounded up: the libraries and what is compiled; so many copies of its largest arrays a step and an
# evaluation have at a time.
_PROGRAM = 1700 * 2**20
_STEP_COPIES, _EVALUATION_COPIES = 8, 6


class Footprint(NamedTuple):
    """Bytes, about. What is held throughout, and what comes and goes in a step or an evaluation.

    Attributes:
      program: TensorFlow and compiled code.
      data: the training split, NumPy's and TensorFlow's.
      weights: with gradients, Adam's moments and the best ones so far.
      chains: of the posterior.
      population: of the prior.
      step: of the local replicas' rows.
      evaluation: of one block of examples, and of the chains that estimate log Z.
    """

    program: int
    data: int
    weights: int
    chains: int
    population: int
    step: int
    evaluation: int

    @property
    def peak(self) -> int:
        return sum(self) - min(self.step, self.evaluation)

    @classmethod
    def of(cls, task: Task, *, num_local: int = 1, num_replicas: int = 1) -> Footprint:
        """That of a process with so many of the replicas."""
        held, config = needs(task), task.config
        rows = config.batch_size // num_replicas * num_local
        numbers = rows * task.num_draws * (task.dataset.num_pixels + config.num_latents + config.hidden_units)
        if task.has_posterior and SYSTEMS[config.model].is_undirected:
            numbers += rows * config.num_left**2
        of_log_z = config.log_z_chains * config.num_latents if task.has_prior else 0
        of_block = most_numbers_at_once(config.num_latents)
        return cls(
            program=_PROGRAM,
            data=held["dataset"] * (1 + num_local),
            weights=(held["hidden_units"] + held["num_latents"]) * num_local,
            chains=held.get("num_samples", 0) * num_local,
            population=held.get("num_particles", 0) * num_local,
            step=_STEP_COPIES * FLOAT * numbers,
            evaluation=_EVALUATION_COPIES * FLOAT * max(of_block, of_log_z),
        )

    def described(self) -> str:
        """In a line."""
        parts = {
            "training data": self.data,
            "weights": self.weights,
            "chains": self.chains,
            "the prior's population": self.population,
            "a step": self.step,
            "an evaluation": self.evaluation,
            "the program itself": self.program,
        }
        named = ", ".join(f"{name} {memory.in_words(size)}" for name, size in parts.items() if size)
        free = memory.available()
        beside = "" if free is None else f"; {memory.in_words(free)} are free"
        return f"memory: about {memory.in_words(self.peak)} at the most ({named}){beside}"

    def remark(self, task: Task) -> UserError | None:
        """What a user should know before it starts; None if all is well."""
        reason = memory.too_much(self.peak - self.program)  # the program is there already, most of it
        if reason is None:
            return None
        return UserError(f"the run {reason}: it may be ended by the system", batch_size=task.config.batch_size)
