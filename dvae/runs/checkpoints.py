"""The checkpoints of a run: each is whole or absent, and where one is damaged, the one before serves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import tensorflow as tf

from dvae.errors import UserError
from dvae.files import partial_path, plainly_named, read_json, remove_leftovers, replace_by

_KEPT = 2
_NAME, _PROGRESS, _DAMAGED = "state", "progress.json", ".damaged"


class Progress(NamedTuple):
    """Where between its regular stops a run was saved.

    Attributes:
      evaluation_due: whether the evaluation of this step is still to be made.
      num_steps: since the last line of metrics, and `totals`: the sums of what they measured, by name.
    """

    evaluation_due: bool = False
    num_steps: int = 0
    totals: Mapping[str, float] = MappingProxyType({})


class Checkpoints:
    """Those in a folder, each in a folder of its own that is named for its step.

    (`tf.train.CheckpointManager` finds its files by patterns, and knows them by one more file: in a folder with `[` in
    its name it finds none, and without that file it starts again from nothing.)

    Args:
      folder: of the checkpoints; made when the first is saved.
      checkpoint: what is saved, all of it.
    """

    def __init__(self, folder: Path, checkpoint: tf.train.Checkpoint) -> None:
        self.folder, self._checkpoint = folder, checkpoint
        folder.mkdir(exist_ok=True)  # once: a run whose folder is moved away must not go on in a new one

    @property
    def newest(self) -> int | None:
        """The step of the newest one; None if there is none."""
        paths = saved_in(self.folder)
        return int(paths[-1].name) if paths else None

    def save(self, step: int, progress: Progress = Progress()) -> None:  # noqa: B008 (it cannot be changed)
        """Saves the state at a step, and removes all but the last two."""
        path = self.folder / f"{step:09d}"
        partial = partial_path(path)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        with plainly_named(partial) as name:
            self._checkpoint.write(f"{name}/{_NAME}")
        (partial / _PROGRESS).write_text(json.dumps(progress._asdict() | {"totals": dict(progress.totals)}))
        replace_by(partial, path)
        for old in saved_in(self.folder)[:-_KEPT]:
            shutil.rmtree(old)

    def restore(self, say: Callable[[str], None]) -> Progress | None:
        """Restores the newest one that can be read; None if there is none at all.

        Args:
          say: told of newer ones that cannot. They are put aside, as `N.damaged`.

        Raises:
          UserError: there are some, and none can be read.
        """
        remove_leftovers(self.folder)
        paths = saved_in(self.folder)
        damaged: list[Path] = []
        for path in reversed(paths):
            try:
                progress = _read_progress(path)
                # All of it, and nothing else: what is not restored would start anew without a word.
                read(self._checkpoint, path).assert_consumed()
            except Exception:  # noqa: BLE001 - a damaged file can make the reader raise nearly anything
                say(f"{path}: cannot be read")
                damaged.append(path)
            else:
                for other in damaged:
                    aside = other.with_name(other.name + _DAMAGED)
                    shutil.rmtree(aside, ignore_errors=True)
                    other.rename(aside)
                return progress
        if paths:
            raise UserError(f"{self.folder}: no checkpoint in it can be read; restore one, or choose another log_dir")
        return None


def _read_progress(path: Path) -> Progress:
    """Runs of before were saved at their regular stops only, with nothing due."""
    if not (path / _PROGRESS).exists():
        return Progress()
    progress = Progress(**read_json(path / _PROGRESS))
    if not (type(progress.evaluation_due) is bool and type(progress.num_steps) is int and progress.num_steps >= 0):
        raise ValueError(f"{_PROGRESS} is not of this program")
    return progress._replace(totals={name: float(total) for name, total in progress.totals.items()})


def saved_in(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the newest last."""
    return sorted(path for path in folder.glob("*") if path.name.isdecimal())


def read(checkpoint: tf.train.Checkpoint, path: Path):
    """Reads one of `saved_in`; the status of `tf.train.Checkpoint.read`."""
    with plainly_named(path) as name:
        return checkpoint.read(f"{name}/{_NAME}")


def reader(path: Path):
    """All that one of `saved_in` holds, by name: as `tf.train.load_checkpoint`."""
    with plainly_named(path) as name:
        return tf.train.load_checkpoint(f"{name}/{_NAME}")
