"""A training run from beginning to end: the outer loop around the graph of many steps, and all that it leaves."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from dvae import pictures
from dvae.building import Networks
from dvae.config import Config
from dvae.data import BatchOrder, Dataset, load_dataset, spread
from dvae.errors import UserError
from dvae.evaluation import pilot, saved_model
from dvae.evaluation.estimates import MEASURED, evaluate, results_with_exact_nll
from dvae.evaluation.signatures import DrawSettings, Functions
from dvae.files import write_json, write_table
from dvae.runs.checkpoints import Checkpoints
from dvae.runs.monitoring import Monitor
from dvae.runs.run_directory import PLACES, RunDirectory
from dvae.runs.summary import describe_results, describe_run, described_pilot, evaluated_by, unknown_error
from dvae.systems import STRATEGIES
from dvae.tasks import TASKS
from dvae.tasks.task import Pictures, Task
from dvae.training.train_state import TrainState
from models.likelihood import Likelihood
from models.posterior import BASES

_PICTURES = 40
_HISTOGRAM_EXAMPLES = 100
# Bounds of the memory that pictures and histograms take: pixels shown, and couplings of RBM posteriors.
_PIXELS_SHOWN, _COUPLINGS = 2**20, 2**24
# What a file system may refuse while a run is under way.
_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOENT, errno.EIO, errno.EFBIG)


def train(
    config: Config,
    *,
    dataset: Dataset | None = None,
    encoder: keras.layers.Layer | None = None,
    decoder: keras.layers.Layer | None = None,
    likelihood: type[Likelihood] | None = None,
    resume: bool = True,
    say: Callable[[UserError | str], None] = print,
) -> dict[str, Any]:
    """Trains a model, exports the one that is best on validation data, and evaluates it on test data.

    An interrupted run continues, bit for bit, when it is called again with the same arguments; one that is finished is
    not trained again.

    Args:
      config: of `dvae.configure`.
      dataset: of `dvae.make_dataset`, in place of the one that the settings name.
      encoder, decoder, likelihood: in place of the published ones; see `dvae.building.Networks`.
      resume: whether a run that is in `config.log_dir` may go on.
      say: where lines about the run go.

    Returns:
      The content of `results.json`.

    Raises:
      UserError: a ValueError that names the argument: the settings do not fit the data or the networks, the folder
        holds another run, or training diverges.
    """
    if dataset is None:
        dataset = load_dataset(config.dataset, config.data_dir)
    else:
        config = dataclasses.replace(config, dataset=dataset.name)
    order = BatchOrder(num_examples=len(dataset.train), batch_size=config.batch_size, seed=config.seed)
    task = TASKS[config.objective](config, dataset, Networks(encoder, decoder, likelihood))
    with STRATEGIES[config.strategy]().scope():
        state = task.new_state()  # before the folder is touched: networks may not fit
        directory = RunDirectory(config.log_dir)
        with _telling_of_files(directory):
            directory.open(task, resume=resume, say=say)
            try:
                say(describe_run(config, dataset))
                if directory.results_file.exists():
                    say("this run is complete; its results:")
                    results = json.loads(directory.results_file.read_text())
                else:
                    run = TrainingRun(task, order, directory, state, say)
                    run.train()
                    results = run.finish()
            finally:
                directory.release()  # a notebook may try again after an interruption or an error
    say(describe_results(results, directory.path, likelihood_of=task.likelihood_of))
    if remark := unknown_error(results, "test_log_z_temperatures"):
        say(remark)
    return results


@contextlib.contextmanager
def _telling_of_files(directory: RunDirectory) -> Iterator[None]:
    """One line for what a file system refuses in the midst of a run; nothing that was written before is lost."""

    def refused(where: Any, reason: str) -> UserError:
        rule = "could not be written ({}); once it can, the same command goes on from the last checkpoint"
        return UserError(f"{where}: {rule.format(reason)}")

    try:
        yield
    except OSError as error:
        raise refused(error.filename or directory.path, error.strerror or str(error)) from error
    except tf.errors.OpError as error:
        reasons = [os.strerror(code) for code in _REFUSALS if os.strerror(code) in str(error)]
        if not reasons:
            raise
        raise refused(directory.path, reasons[0]) from error


class _Periodic(NamedTuple):
    """An action that is due every so many steps, and at the end."""

    every: int
    action: Callable[[Monitor], None]


class TrainingRun:
    """One training run in a run directory.

    Args:
      task: with its settings and its data.
      order: in which the training examples are visited.
      directory: opened for this task.
      state: of the task, new; a checkpoint in the directory is restored into it.
      say: told of checkpoints that cannot be read, and how the final evaluation is made.
    """

    def __init__(
        self,
        task: Task,
        order: BatchOrder,
        directory: RunDirectory,
        state: TrainState,
        say: Callable[[str], None] = print,
    ) -> None:
        self.task, self.order, self.directory, self.state = task, order, directory, state
        self.config, self.dataset, self._say = task.config, task.dataset, say
        self.trainer = task.trainer(state)
        self.draw_settings = DrawSettings(
            temperatures=self.config.valid_temperatures, base=BASES.index(self.config.valid_base)
        )
        self.functions = task.functions(state.model, self.draw_settings)
        self._compile_seconds: float | None = None
        self.seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False)
        self.checkpoints = Checkpoints(directory.checkpoints, state.checkpoint(seconds=self.seconds))
        self.checkpoints.restore(say)

    @property
    def step(self) -> int:
        """Parameter updates done."""
        return int(self.state.global_step)

    def train(self) -> None:
        """Trains from where the run is to its last step."""
        config = self.config
        periodic = [
            _Periodic(config.eval_every, self._evaluate_on_validation),
            _Periodic(config.checkpoint_every, self._save_checkpoint),
        ]
        monitor = Monitor(self.directory, num_steps=config.num_steps, first_step=self.step)
        if self.step:
            monitor.say(f"resuming at step {self.step}")
        else:
            monitor.configuration({n: v for n, v in dataclasses.asdict(config).items() if n not in PLACES})
        try:
            while self.step < config.num_steps:
                stops = [
                    (self.step // every + 1) * every for every in (config.report_every, *(p.every for p in periodic))
                ]
                self._report_steps(monitor, min(config.num_steps, *stops) - self.step)
                for every, action in periodic:
                    if self.step % every == 0 or self.step == config.num_steps:
                        action(monitor)
        finally:
            monitor.close()

    def finish(self) -> dict[str, Any]:
        """Exports the best model, evaluates what was exported once on test data, writes results and pictures."""
        config, state, directory = self.config, self.state, self.directory
        if not math.isfinite(state.best_nll):
            raise UserError("no evaluation was finite, so there is nothing to export", log_dir=str(directory.path))
        origin = {"step": int(state.best_step), "seconds": float(self.seconds)}
        with state.best_weights():
            how = pilot.annealing(
                self.functions,
                self.dataset.valid,
                protocol=config.test_protocol,
                seed=config.seed,
                base=config.test_base,
                temperatures=config.test_temperatures,
            )
        found = how.pilot and how.pilot._asdict()
        if found:
            self._say(f"pilot: {described_pilot(how.base, how.temperatures, found)}")
        described = {
            "posterior_pilot": found,
            "settings": dataclasses.asdict(config),
            "checksum": self.dataset.checksum,
            "likelihood_of": self.task.likelihood_of,
        }
        self.draw_settings.temperatures.assign(how.temperatures)
        self.draw_settings.base.assign(BASES.index(how.base))
        draw_settings = self.draw_settings if self.task.has_posterior else None
        with state.best_weights():
            saved_model.save(
                directory.saved_model, state.model, self.functions, draw_settings, origin=described | origin
            )
        functions = saved_model.load(directory.saved_model).functions
        settings = config.for_test(temperatures=how.temperatures, base=how.base)
        numbers = spread(len(self.dataset.test), settings.num_examples)
        images = self.dataset.test[numbers]
        evaluation = evaluate(functions, images, settings, progress=True)
        shown = self._pictures(functions, self._num_shown(_PICTURES))
        pictures.save(directory.samples_picture, shown.samples)
        pictures.save(directory.reconstructions_picture, shown.reconstructions)
        context: dict[str, Any] = {"model": config.model, "dataset": config.dataset, "split": "test"}
        context |= {"posterior_pilot": found, "recipe": config.recipe}
        results = results_with_exact_nll(functions, images, evaluation, numbers=numbers, **context, **origin)
        write_table(directory.test_examples, results.of_examples, zip(*results.of_examples.values(), strict=True))
        write_json(directory.results_file, results.content)
        return results.content

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
            monitor.start_bar(self.step)
            indices = indices[1:]
        elapsed = self._timed_steps(indices, totals)
        monitor.progress(len(indices))
        means = {name: total / num_steps for name, total in totals.items()}
        weights = self.state.model.trainable_variables
        finite = all(math.isfinite(value) for value in means.values())
        if not finite or not all(np.isfinite(v.numpy()).all() for v in weights):
            raise UserError(
                f"training diverged between steps {first} and {first + num_steps} (a loss or a weight is not finite); "
                "the last checkpoint is kept; try a lower rate",
                learning_rate=self.config.learning_rate,
            )
        rate = float(self.state.optimizer.learning_rate)
        penalty = float(tf.add_n(self.state.model.losses))
        seconds_per_step = elapsed / len(indices) if len(indices) else None
        monitor.scalars(
            "train",
            self.step,
            {**means, "weight_decay": penalty, "learning_rate": rate, "seconds_per_step": seconds_per_step},
        )

    def _timed_steps(self, indices: np.ndarray, totals: dict[str, float]) -> float:
        """Runs a step for each row of `indices [steps, B]`, adds their metrics to `totals`, returns the seconds."""
        start = time.perf_counter()
        for name, value in self.trainer.run_steps(tf.constant(indices)).items():
            totals[name] += float(value)
        elapsed = time.perf_counter() - start
        self.seconds.assign_add(elapsed)
        return elapsed

    def _save_checkpoint(self, monitor: Monitor) -> None:
        self.checkpoints.save(self.step)

    def _evaluate_on_validation(self, monitor: Monitor) -> None:
        start = time.perf_counter()
        settings = self.config.for_validation()
        images = self.dataset.valid[spread(len(self.dataset.valid), settings.num_examples)]
        evaluation = evaluate(self.functions, images, settings)
        further = self.task.after_evaluation(self.state, evaluation)
        best = self.state.keep_if_best(evaluation.nll)
        measured: dict[str, float | None] = {name: getattr(evaluation, name) for name in MEASURED}
        seconds = {"training_seconds": float(self.seconds), "evaluation_seconds": time.perf_counter() - start}
        monitor.scalars("valid", self.step, {**measured, **further, **seconds})
        seed = tf.constant([self.config.seed, 0])
        if self.config.valid_pictures:
            num = self._num_shown(self.config.valid_pictures)
            latents = self.task.latents_at_hand(self.state, 2 * num, seed)
            monitor.images(self.step, self._pictures(self.functions, num, latents)._asdict())
        most = max(1, _COUPLINGS // self.config.num_left**2)
        images = self.dataset.valid[: min(_HISTOGRAM_EXAMPLES, most)]
        monitor.histograms(self.step, self.task.parameters(self.state.model, images, seed))
        monitor.say(
            f"step {self.step}: validation NLL {evaluation.nll:.2f} nats "
            f"({evaluation.num_examples} examples, {evaluated_by(evaluation.num_samples)})"
            + (", the best so far" if best else "")
        )

    def _num_shown(self, wanted: int) -> int:
        return min(wanted, max(1, _PIXELS_SHOWN // self.dataset.num_pixels))

    def _pictures(self, functions: Functions, num: int, latents: tf.Tensor | None = None) -> Pictures:
        originals = self.dataset.valid[spread(len(self.dataset.valid), num)]
        return self.task.pictures(functions, originals, tf.constant([self.config.seed, 0]), latents=latents)
