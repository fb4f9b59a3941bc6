"""What a person sees while a model trains: TensorBoard, `metrics.jsonl`, the progress bar."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import tensorflow as tf
from tensorboard.compat.proto import event_pb2
from tensorboard.plugins.hparams.api import hparams
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tqdm import tqdm

from dvae.bars import progress_bar, say_above
from dvae.runs.curves import DESCRIPTIONS
from dvae.runs.run_directory import RunDirectory

# TensorBoard shows the scalars of a group together, and everything by the alphabet, capitals first: the NLL, pictures,
# training, validation, and at the end the weights, whose histograms fill screens.
_HEADINGS = {"train": "training", "valid": "validation"}
_FIRST = {("valid", "nll"): "NLL/validation"}
_PICTURES, _WEIGHTS = "pictures", "weights"
# TensorBoard takes 240 bytes for each: the couplings of 100 posteriors of 400 latents took a GiB.
_MOST_IN_HISTOGRAM = 2**18


class Monitor:
    """Writes one run's reports.

    Args:
      run: the run directory.
      num_steps: of the whole training.
      first_step: where this process starts; reports after it, left by a process that was killed, are dropped.
      evaluation_due: whether the evaluation of that step is still to be made.
      quiet: without a bar, and without the lines above it.
    """

    def __init__(
        self,
        run: RunDirectory,
        *,
        num_steps: int,
        first_step: int,
        evaluation_due: bool = False,
        quiet: bool = False,
    ) -> None:
        kept = {"train": first_step, "valid": first_step - evaluation_due}
        run.forget_metrics_after(kept)
        self._jsonl: IO[str] = run.metrics_file.open("a")
        self._writers = {}
        for name, step in kept.items():
            folder = run.path / name
            if folder.exists():
                _purge_after(folder, step)
            self._writers[name] = tf.summary.create_file_writer(str(folder))
        self._num_steps, self._quiet = num_steps, quiet
        self._bar: tqdm | None = None

    def start_bar(self, step: int) -> None:
        """Shows the bar: after the steps are compiled, which would make the time left a hundred times too long."""
        self._bar = progress_bar(
            total=self._num_steps,
            initial=step,
            desc="training",
            unit=" steps",
            smoothing=0.05,
            shown=not self._quiet,
        )

    def progress(self, num_steps: int) -> None:
        """Moves the bar."""
        if self._bar is not None:
            self._bar.update(num_steps)

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        if not self._quiet:
            say_above(text)

    def scalars(self, group: str, step: int, values: dict[str, float | None]) -> None:
        """A line of metrics: to `metrics.jsonl`, and to TensorBoard under `group`, 'train' or 'valid'.

        The validation NLL has a heading of its own there, `NLL`, before all others. What is not finite (how chains mix
        whose energies are all alike, say) is null in the one and missing in the other.
        """
        values = {name: value if value is not None and math.isfinite(value) else None for name, value in values.items()}
        self._jsonl.write(json.dumps({"step": step, "group": group} | values, allow_nan=False) + "\n")
        self._jsonl.flush()
        with self._writers[group].as_default(step):
            for name, value in values.items():
                if value is not None:
                    _write_scalar(_FIRST.get((group, name), f"{_HEADINGS[group]}/{name}"), value)
        self._writers[group].flush()
        if group == "train" and self._bar is not None:
            name, value = next(iter(values.items()))
            if value is not None:
                self._bar.set_postfix_str(f"{name} {value:.2f}")

    def configuration(self, settings: dict[str, Any]) -> None:
        """All settings: as a text, and as hyperparameters, by which TensorBoard compares runs."""
        table = "\n".join(["| setting | value |", "|---|---|", *(f"| {n} | {v} |" for n, v in settings.items())])
        shown = {name: value for name, value in settings.items() if isinstance(value, bool | int | float | str)}
        with self._writers["valid"].as_default(0):
            tf.summary.text("configuration", table)
            hparams(shown)

    def images(self, step: int, pictures: dict[str, np.ndarray]) -> None:
        """Pictures `[height, width, 1]` by name."""
        with self._writers["valid"].as_default(step):
            for name, picture in pictures.items():
                tf.summary.image(f"{_PICTURES}/{name}", picture[None])

    def histograms(self, step: int, values: dict[str, tf.Tensor]) -> None:
        """Distributions of parameters by name, of many by some that are spread evenly over them."""
        with self._writers["valid"].as_default(step):
            for name, tensor in values.items():
                every = -(-int(tf.size(tensor)) // _MOST_IN_HISTOGRAM)
                tf.summary.histogram(f"{_WEIGHTS}/{name}", tf.reshape(tensor, [-1])[:: max(1, every)])

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._jsonl.close()
        for writer in self._writers.values():
            writer.close()


def write_test_results(run: RunDirectory, results: Mapping[str, Any]) -> None:
    """Shows TensorBoard the test NLL, beside the validation NLL and in its table of runs by hyperparameters.

    Args:
      run: the run directory.
      results: the content of results.json.
    """
    writer = tf.summary.create_file_writer(str(run.path / "valid"), filename_suffix=".test")
    with writer.as_default(results["step"]):
        _write_scalar("NLL/test", results["nll"])
        if results["exact_nll"] is not None:
            _write_scalar("NLL/test_exact", results["exact_nll"])
    writer.close()


def _write_scalar(name: str, value: float) -> None:
    tf.summary.scalar(name, value, description=DESCRIPTIONS.get(name))


def _purge_after(folder: Path, step: int) -> None:
    """Tells TensorBoard to forget what was written after `step`: the resumed run draws the same curve on."""
    writer = EventFileWriter(str(folder), filename_suffix=".resumed")
    session = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    writer.add_event(event_pb2.Event(wall_time=0.0, step=step + 1, session_log=session))
    writer.close()
