"""A training run from beginning to end: the outer loop around the graph of many steps, and all that it leaves."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from dvae.building import PUBLISHED_NETWORKS, Networks, likelihood_class
from dvae.config import Config
from dvae.data import BatchOrder, Dataset, load_dataset, spread
from dvae.errors import DivergenceError, PeerError
from dvae.evaluation.estimates import MEASURED, evaluate
from dvae.evaluation.signatures import DrawSettings
from dvae.interruption import Interruption
from dvae.runs.cautions import OF_TRAINING, cautions
from dvae.runs.checkpoints import Checkpoints, Progress
from dvae.runs.completed import results_of_complete
from dvae.runs.final_evaluation import evaluate_exported, export_best
from dvae.runs.footprint import Footprint
from dvae.runs.monitoring import Monitor
from dvae.runs.needs import check_memory
from dvae.runs.refusals import telling_of_files
from dvae.runs.run_directory import PLACES, RunDirectory
from dvae.runs.showing import shown_parameters, shown_pictures
from dvae.runs.stepping import Stepping
from dvae.runs.summary import describe_results, describe_run, evaluated_by, unused_fractions
from dvae.runs.together import Leader, follow, left_by_another
from dvae.runs.voice import Voice
from dvae.settings.complete import on_data
from dvae.systems import STRATEGIES
from dvae.tasks import TASKS
from dvae.tasks.task import Task
from dvae.training.replicas import Replicas
from dvae.training.train_state import TrainState
from dvae.training.trainer import Sums
from models.posterior import BASES


def train(
    config: Config,
    *,
    dataset: Dataset | None = None,
    networks: Networks = PUBLISHED_NETWORKS,
    resume: bool = True,
    voice: Voice | None = None,
    interruption: Interruption | None = None,
) -> dict[str, Any]:
    """Trains a model, exports the one that is best on validation data, and evaluates it on test data.

    Arguments, results and errors are those of `dvae.report.training.train`, which also writes the report.
    """
    voice = voice or Voice()
    replicas = STRATEGIES[config.strategy](config, voice.progress)
    interruption = interruption or Interruption()
    replicas.check_batch(config.batch_size)
    if dataset is None:
        dataset = load_dataset(
            config.dataset,
            config.data_dir,
            values=likelihood_class(config, networks).values,
            valid_fraction=config.valid_fraction,
            test_fraction=config.test_fraction,
        )
    else:
        config = on_data(config, dataset.name)
    order = BatchOrder(num_examples=len(dataset.train), batch_size=config.batch_size, seed=config.seed)
    task = TASKS[config.objective](config, dataset, networks)
    check_memory(task)
    state = task.new_state()  # before the folder is touched: networks may not fit
    if not replicas.is_chief:
        follow(task.trainer(state, replicas), order, interruption)
        voice.progress("the chief evaluates and writes what was trained")
        return {}
    directory = RunDirectory(config.log_dir)
    with telling_of_files(directory.path):
        directory.open(task, resume=resume, say=voice.say, num_replicas=replicas.num)
        try:
            voice.progress(describe_run(config, dataset, num_replicas=replicas.num))
            footprint = Footprint.of(task, num_local=len(replicas.devices), num_replicas=replicas.num)
            voice.progress(footprint.described())
            if remark := footprint.remark(task):
                voice.say(remark)
            for line in unused_fractions(config, dataset):
                voice.say(line)
            results = results_of_complete(directory, task.likelihood_of, voice.say)
            if results is not None:
                voice.progress("this run is complete; its results:")
                Leader(task.trainer(state, replicas), interruption).end()
            else:
                run = TrainingRun(task, order, directory, state, voice, interruption=interruption, replicas=replicas)
                run.train()
                results = run.finish()
        finally:
            directory.release()  # a notebook may try again after an interruption or an error
    voice.say(describe_results(results, directory.path, likelihood_of=task.likelihood_of))
    for remark in cautions(results, OF_TRAINING):
        voice.say(remark)
    return results


class TrainingRun:
    """One training run in a run directory.

    Args:
      task: with its settings and its data.
      order: in which the training examples are visited.
      directory: opened for this task.
      state: of the task, new; a checkpoint in the directory is restored into it.
      voice: told of checkpoints that cannot be read, how the final evaluation is made, and of progress; if left out,
        all is printed.
      interruption: watched by whoever made it; left out, none ever comes.
      replicas: this process is their chief; left out, a single one.
    """

    def __init__(
        self,
        task: Task,
        order: BatchOrder,
        directory: RunDirectory,
        state: TrainState,
        voice: Voice | None = None,
        *,
        interruption: Interruption | None = None,
        replicas: Replicas | None = None,
    ) -> None:
        self.task, self.directory, self.state = task, directory, state
        self.config, self.dataset, self._voice = task.config, task.dataset, voice or Voice()
        self.draw_settings = DrawSettings(
            temperatures=self.config.valid_temperatures, base=BASES.index(self.config.valid_base)
        )
        self.functions = task.functions(state.model, self.draw_settings)
        self.seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False)
        self.checkpoints = Checkpoints(directory.checkpoints, state.checkpoint(seconds=self.seconds))
        restored = self.checkpoints.restore(self._voice.say)
        if restored is None and directory.metrics_file.exists():
            self._voice.say(f"{directory.checkpoints}: holds no checkpoint, so the run begins again at step 0")
        self._has_evaluated = False
        self._evaluation_is_due = restored is not None and restored.evaluation_due
        self._finite_at = self.step  # the last step at which all of the state was known to be
        trainer = task.trainer(state, replicas)
        self.stepping = Stepping(trainer, order, _sums(restored, trainer.metrics))
        self._interruption = interruption or Interruption()
        self._tell_of_the_last_checkpoint()
        self._leader = Leader(trainer, self._interruption)
        with self._told_of_peers():
            self._leader.state()

    @property
    def step(self) -> int:
        """Parameter updates done."""
        return int(self.state.global_step)

    def train(self) -> None:
        """Trains from where the run is to its last step."""
        config = self.config
        monitor = Monitor(
            self.directory,
            num_steps=config.num_steps,
            first_step=self.step,
            evaluation_due=self._evaluation_is_due,
            quiet=self._voice.quiet,
        )
        if self.step:
            monitor.say(f"resuming at step {self.step}")
        else:
            monitor.configuration({n: v for n, v in dataclasses.asdict(config).items() if n not in PLACES})
        try:
            with self._told_of_peers():
                if self._evaluation_is_due:
                    self._at_stop(monitor, is_saved=True)
                while self.step < config.num_steps and not self._is_to_leave:
                    self._train_until(self._next_stop(), monitor)
                self._leader.end()
        finally:
            monitor.close()
        self._interruption.obey()
        if self._leader.was_left:
            raise left_by_another()

    @property
    def _is_to_leave(self) -> bool:
        return self._interruption.wanted or self._leader.was_left

    def _next_stop(self) -> int:
        config, step = self.config, self.step
        every = (config.report_every, config.eval_every, config.checkpoint_every)
        return min(config.num_steps, *((step // steps + 1) * steps for steps in every))

    def _train_until(self, stop: int, monitor: Monitor) -> None:
        """Trains, and does what is due at the stop; or saves earlier, if a signal asks to leave."""
        while self.step < stop and not self._is_to_leave:
            self._call(stop - self.step, monitor)
        if self.step == stop:
            self._report(monitor)
        if self._is_to_leave:
            self._save(evaluation_due=self.step == stop and self._is_due(self.config.eval_every))
        else:
            self._at_stop(monitor)

    def _is_due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.config.num_steps

    def _at_stop(self, monitor: Monitor, *, is_saved: bool = False) -> None:
        """An evaluation takes minutes, so it begins with a checkpoint, which notes that it is due."""
        if self._is_due(self.config.eval_every):
            if not is_saved:
                self._save(evaluation_due=True)
            self._evaluate_on_validation(monitor)
        if self._is_due(self.config.checkpoint_every):
            self._save()

    def finish(self) -> dict[str, Any]:
        """Exports the best model, evaluates what was exported once on test data, writes results and pictures."""
        exported = export_best(
            self.task,
            self.state,
            self.functions,
            self.draw_settings,
            self.directory,
            seconds=float(self.seconds),
            voice=self._voice,
        )
        with self._told_if_diverged():
            return evaluate_exported(self.task, exported, self.directory, voice=self._voice)

    def _call(self, most: int, monitor: Monitor) -> None:
        """One call of the graph. The first of a process, of a single step, compiles it, which is timed apart."""
        first, is_first = self.step, self.stepping.compile_seconds is None
        count = self.stepping.affordable(most)
        try:
            if not self._leader.steps(count):
                return
        except PeerError:
            if self.step != self.checkpoints.newest:
                self._save()
            raise
        if is_first:
            monitor.say("compiling the training step, which takes a while")
        else:
            self._interruption.in_motion()
        with self._told_if_diverged():
            self.seconds.assign_add(self.stepping.run(first, count))
        if is_first:
            monitor.say(f"compiled in {self.stepping.compile_seconds:.1f} s")
            monitor.start_bar(self.step)
        else:
            monitor.progress(self.step - first)

    def _report(self, monitor: Monitor) -> None:
        """A line of the means of what the steps since the last line measured."""
        self._check_state()
        sums = self.stepping.sums
        means = {name: total / sums.num_steps for name, total in sums.totals.items()} if sums else {}
        rate = float(self.state.optimizer.learning_rate)
        penalty = float(tf.add_n(self.state.model.losses))
        further = {"weight_decay": penalty, "learning_rate": rate, "seconds_per_step": self.stepping.seconds_per_step}
        monitor.scalars("train", self.step, {**means, **further})
        self.stepping.begin_line()

    def _check_state(self) -> None:
        """All that is in a checkpoint must be finite, what is not trained too."""
        with self._told_if_diverged():
            if names := self.state.not_finite():
                shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
                raise DivergenceError(f"{shown} not finite at step {self.step} (finite at step {self._finite_at})")
        self._finite_at = self.step

    @contextlib.contextmanager
    def _told_if_diverged(self) -> Iterator[None]:
        """Says which checkpoint is left, and what to try."""
        try:
            yield
        except DivergenceError as error:
            newest = self.checkpoints.newest
            kept = "there is no checkpoint yet" if newest is None else f"the checkpoint of step {newest} is kept"
            raise DivergenceError(
                f"training diverged: {error}; {kept}. The same command comes to the same end: try a lower rate or "
                "larger batches in another log_dir",
                learning_rate=self.config.learning_rate,
            ) from error

    @contextlib.contextmanager
    def _told_of_peers(self) -> Iterator[None]:
        """Says how to go on."""
        try:
            yield
        except PeerError as error:
            raise PeerError(f"{error}; {self._how_to_go_on()}", strategy=self.config.strategy) from error

    def _save(self, *, evaluation_due: bool = False) -> None:
        self._check_state()
        sums = self.stepping.sums
        progress = Progress(evaluation_due, sums.num_steps, sums.totals) if sums else Progress(evaluation_due)
        with self._interruption.saving():
            self.checkpoints.save(self.step, progress)
        self._tell_of_the_last_checkpoint()

    def _tell_of_the_last_checkpoint(self) -> None:
        self._interruption.at_rest(self._how_to_go_on())

    def _how_to_go_on(self) -> str:
        newest = self.checkpoints.newest
        if newest is None:
            return "nothing is saved yet; the same command begins again"
        return f"the state is saved at step {newest}; the same command goes on from there"

    def _evaluate_on_validation(self, monitor: Monitor) -> None:
        start = time.perf_counter()
        if not self._has_evaluated:
            monitor.say(f"step {self.step}: compiling the evaluation and evaluating, which takes longer the first time")
            self._has_evaluated = True
        settings = self.config.for_validation()
        images = self.dataset.valid[spread(len(self.dataset.valid), settings.num_examples)]
        with self._told_if_diverged():
            evaluation = evaluate(self.functions, images, settings)
        further = self.task.after_evaluation(self.state, evaluation)
        self._leader.state()
        best = self.state.keep_if_best(evaluation.nll)
        measured: dict[str, float | None] = {name: getattr(evaluation, name) for name in MEASURED}
        seconds = {"training_seconds": float(self.seconds), "evaluation_seconds": time.perf_counter() - start}
        monitor.scalars("valid", self.step, {**measured, **further, **seconds})
        if self.config.valid_pictures:
            shown = shown_pictures(self.task, self.functions, self.config.valid_pictures, self.state)
            monitor.images(self.step, shown._asdict())
        monitor.histograms(self.step, shown_parameters(self.task, self.state))
        monitor.say(
            f"step {self.step}: validation NLL {evaluation.nll:.2f} nats "
            f"({evaluation.num_examples} examples, {evaluated_by(evaluation.num_samples)})"
            + (", the best so far" if best else "")
        )


def _sums(progress: Progress | None, metrics: Sequence[str]) -> Sums | None:
    """Of steps since the last line of metrics, which an earlier process has done."""
    if progress is None or not progress.num_steps or set(progress.totals) != set(metrics):
        return None
    return Sums(progress.num_steps, progress.totals, dict.fromkeys(metrics, progress.num_steps))
