"""The checkpoints of a run: each is whole or absent, and where one is damaged, the one before serves."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from dvae.errors import UserError
from dvae.files import partial_path, plainly_named

_KEPT = 2
_NAME = "state"


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

    def save(self, step: int) -> None:
        """Saves the state at a step, and removes all but the last two."""
        path = self.folder / f"{step:09d}"
        partial = partial_path(path)
        for folder in (partial, path):
            shutil.rmtree(folder, ignore_errors=True)
        partial.mkdir(parents=True)
        with plainly_named(partial) as name:
            self._checkpoint.write(f"{name}/{_NAME}")
        partial.rename(path)
        for old in saved_in(self.folder)[:-_KEPT]:
            shutil.rmtree(old)

    def restore(self, say: Callable[[str], None]) -> None:
        """Restores the newest one that can be read, if there is any.

        Args:
          say: told of newer ones that cannot.

        Raises:
          UserError: there are some, and none can be read.
        """
        paths = saved_in(self.folder)
        for path in reversed(paths):
            try:
                # All of it, and nothing else: what is not restored would start anew without a word.
                read(self._checkpoint, path).assert_consumed()
            except Exception:  # noqa: BLE001 - a damaged file can make the reader raise nearly anything
                say(f"{path}: cannot be read")
            else:
                return
        if paths:
            raise UserError(f"{self.folder}: no checkpoint in it can be read; restore one, or choose another log_dir")


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
