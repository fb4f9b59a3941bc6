"""A training run from beginning to end: the outer loop around the graph of many steps, and all that it leaves."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import Any

import numpy as np
import tensorflow as tf

from dvae import pictures
from dvae.data import BatchOrder, spread
from dvae.errors import UserError
from dvae.evaluation import Functions, evaluate, results_of
from dvae.monitoring import Monitor
from dvae.problem import Pictures, Problem
from dvae.run_directory import RunDirectory, write_json
from dvae.summary import evaluated_by

_PICTURES = 40
_HISTOGRAM_EXAMPLES = 100


class Experiment:
    """One training run in a run directory.

    Args:
      problem: with its settings and its data.
      order: in which the training examples are visited.
      run: opened for this configuration.
    """

    def __init__(self, problem: Problem, order: BatchOrder, run: RunDirectory) -> None:
        self.problem, self.order, self.run = problem, order, run
        self.config, self.dataset = problem.config, problem.dataset
        self.state = problem.new_state()
        self.trainer = problem.trainer(self.state)
        self.exportable = problem.exportable(self.state.model)
        self._compile_seconds: float | None = None
        self.seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False)
        checkpoint = self.state.checkpoint(seconds=self.seconds)
        self.checkpoints = tf.train.CheckpointManager(checkpoint, str(run.checkpoints), max_to_keep=2)
        try:
            self.checkpoints.restore_or_initialize()
        except (tf.errors.OpError, ValueError) as error:
            latest = self.checkpoints.latest_checkpoint
            raise UserError(f"{latest}: cannot be read; remove it from {run.checkpoints}/checkpoint") from error

    @property
    def step(self) -> int:
        """Parameter updates done."""
        return int(self.state.global_step)

    def train(self) -> None:
        """Trains from where the run is to its last step."""
        config = self.config
        monitor = Monitor(self.run, num_steps=config.num_steps, first_step=self.step)
        if self.step:
            monitor.say(f"resuming at step {self.step}")
        try:
            while self.step < config.num_steps:
                self._report_steps(monitor, self._next_stop() - self.step)
                if self._due(config.eval_every):
                    self._evaluate_on_validation(monitor)
                if self._due(config.checkpoint_every):
                    self.checkpoints.save(checkpoint_number=self.step)
        finally:
            monitor.close()

    def finish(self) -> dict[str, Any]:
        """Exports the best model, evaluates what was exported once on test data, writes results and pictures."""
        config = self.config
        if not math.isfinite(self.state.best_nll):
            raise UserError(f"--log_dir={self.run.path}: no evaluation was finite, so there is nothing to export")
        self.state.use_best()
        self.problem.anneal_for(self.state.model, config.test_temperatures)
        origin = {"step": int(self.state.best_step), "seconds": float(self.seconds)}
        described = {
            "settings": dataclasses.asdict(config),
            "checksum": self.dataset.checksum,
            "likelihood_of": self.problem.likelihood_of,
        }
        self.exportable.save(self.run.saved_model, origin=described | origin)
        functions = tf.saved_model.load(str(self.run.saved_model)).signatures
        images = self.dataset.test[spread(len(self.dataset.test), config.test_examples)]
        evaluation = evaluate(
            functions,
            images,
            num_samples=config.test_samples,
            log_z_chains=config.log_z_chains,
            log_z_temperatures=config.test_log_z_temperatures,
            seed=config.seed,
            progress=True,
        )
        shown = self._pictures(functions)
        pictures.save(self.run.samples_picture, shown.samples)
        pictures.save(self.run.reconstructions_picture, shown.reconstructions)
        context = {"model": config.model, "dataset": config.dataset, "split": "test", "seed": config.seed}
        results = results_of(functions, images, evaluation, **context, **origin)
        write_json(self.run.results_file, results)
        return results

    def _report_steps(self, monitor: Monitor, num_steps: int) -> None:
        """Runs `num_steps` steps and reports the means of their metrics.

        The first step of a process is timed apart: it compiles the graph.
        """
        first = self.step
        indices = self.order.indices(first, num_steps)
        totals = dict.fromkeys(self.trainer.metrics, 0.0)
        if self._compile_seconds is None:
            self._compile_seconds = self._timed_steps(indices[:1], totals)
            monitor.say(f"compiled in {self._compile_seconds:.1f} s")
            monitor.progress(1)
            indices = indices[1:]
        elapsed = self._timed_steps(indices, totals)
        monitor.progress(len(indices))
        means = {name: total / num_steps for name, total in totals.items()}
        weights = self.state.model.trainable_variables
        finite = all(math.isfinite(value) for value in means.values())
        if not finite or not all(np.isfinite(v.numpy()).all() for v in weights):
            raise UserError(
                f"--learning_rate={self.config.learning_rate:g}: training diverged between steps {first} and "
                f"{first + num_steps} (a loss or a weight is not finite); the last checkpoint is kept; try a lower rate"
            )
        rate = float(self.state.optimizer.learning_rate)
        penalty = float(tf.add_n(self.state.model.losses))
        seconds_per_step = elapsed / len(indices) if len(indices) else None
        monitor.scalars(
            "train",
            self.step,
            means | {"weight_decay": penalty, "learning_rate": rate, "seconds_per_step": seconds_per_step},
        )

    def _timed_steps(self, indices: np.ndarray, totals: dict[str, float]) -> float:
        """Runs a step for each row of `indices [steps, B]`, adds their metrics to `totals`, returns the seconds."""
        start = time.perf_counter()
        for name, value in self.trainer.run_steps(tf.constant(indices)).items():
            totals[name] += float(value)
        elapsed = time.perf_counter() - start
        self.seconds.assign_add(elapsed)
        return elapsed

    def _evaluate_on_validation(self, monitor: Monitor) -> None:
        config = self.config
        start = time.perf_counter()
        self.problem.anneal_for(self.state.model, config.valid_temperatures)
        images = self.dataset.valid[spread(len(self.dataset.valid), config.valid_examples)]
        evaluation = evaluate(
            self.exportable.functions,
            images,
            num_samples=config.valid_samples,
            log_z_chains=config.log_z_chains,
            log_z_temperatures=config.valid_log_z_temperatures,
            seed=config.seed,
        )
        further = self.problem.after_evaluation(self.state, evaluation)
        best = self.state.keep_if_best(evaluation.nll)
        values = {name: value for name, value in evaluation._asdict().items() if not name.startswith("num_")}
        seconds = time.perf_counter() - start
        monitor.scalars("valid", self.step, values | further | {"evaluation_seconds": seconds})
        monitor.images(self.step, self._pictures(self.exportable.functions)._asdict())
        images, seed = self.dataset.valid[:_HISTOGRAM_EXAMPLES], tf.constant([config.seed, 0])
        monitor.histograms(self.step, self.problem.parameters(self.state.model, images, seed))
        monitor.say(
            f"step {self.step}: validation NLL {evaluation.nll:.2f} nats "
            f"({evaluation.num_examples} examples, {evaluated_by(evaluation.num_samples)})"
            + (", the best so far" if best else "")
        )

    def _pictures(self, functions: Functions) -> Pictures:
        originals = self.dataset.valid[spread(len(self.dataset.valid), _PICTURES)]
        return self.problem.pictures(functions, originals, tf.constant([self.config.seed, 0]))

    def _next_stop(self) -> int:
        """The next step at which there is something to do."""
        every = (self.config.report_every, self.config.eval_every, self.config.checkpoint_every)
        return min(self.config.num_steps, *((self.step // n + 1) * n for n in every))

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.config.num_steps
