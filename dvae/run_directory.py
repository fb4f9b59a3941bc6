"""The run directory: which files it holds, when a run may continue in it, and how they are written whole."""

from __future__ import annotations

import dataclasses
import fcntl
import importlib.metadata
import json
import os
from pathlib import Path
from typing import Any

from dvae.config import Config
from dvae.data import Dataset
from dvae.errors import UserError

_PACKAGES = ("tensorflow", "tensorflow-probability", "keras", "numpy")
# Where things lie and whether to resume does not change a run.
_PLACES = ("log_dir", "data_dir")


class RunDirectory:
    """Files of one training run, at `config.log_dir`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.config_file = self.path / "config.json"
        self.checkpoints = self.path / "checkpoints"
        self.metrics_file = self.path / "metrics.jsonl"
        self.saved_model = self.path / "saved_model"
        self.results_file = self.path / "results.json"
        self.samples_picture = self.path / "samples.png"
        self.reconstructions_picture = self.path / "reconstructions.png"

    def open(self, config: Config, dataset: Dataset, *, checksum: str, resume: bool) -> None:
        """Makes the directory for a new run, or checks that the run in it is this one.

        Args:
          config, dataset: of the run.
          checksum: of the problem: the data and whatever else the settings only point to.
          resume: whether a run that is there may go on.

        Raises:
          UserError: the directory cannot be written, holds something else, or another run.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            unfinished = partial_of(self.config_file).name  # left by a process killed at its very beginning
            occupied = any(path.name != unfinished for path in self.path.iterdir())
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied")
        except OSError as error:
            reason = error.strerror
            raise UserError(f"--log_dir={self.path}: must be a folder that can be written ({reason})") from error
        settings = _described(config, dataset, checksum)
        if not occupied:
            write_json(self.config_file, settings)
            self._lock()
            return
        if not self.config_file.exists():
            raise UserError(f"--log_dir={self.path}: is not empty and holds no run (no config.json): choose another")
        if not resume:
            raise UserError(f"--noresume: --log_dir={self.path} holds a run already: choose another --log_dir")
        self._refuse_another_run(settings)
        self._lock()

    def release(self) -> None:
        """Lets other processes in again; the end of this one does the same."""
        self._held.close()

    def _lock(self) -> None:
        """Keeps other processes out of the run until this one ends, however it ends."""
        self._held = self.config_file.open()
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"--log_dir={self.path}: another process is working in it: choose another") from error

    def _refuse_another_run(self, settings: dict[str, Any]) -> None:
        now = settings["settings"]
        try:
            before = json.loads(self.config_file.read_text())
            missing = [name for name in now if name not in before["settings"]]
            differing = [name for name in now if before["settings"].get(name) != now[name] and name not in _PLACES]
            data, problem = before["data"]["checksum"], before["data"].get("problem_checksum")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"--log_dir={self.path}: config.json is not one of this program: choose another") from error
        if missing:
            raise UserError(
                f"--log_dir={self.path}: the run in it was begun by another version of this program, without "
                f"--{missing[0]}: choose another"
            )
        if differing:
            name = differing[0]
            raise UserError(
                f"--{name}={now[name]}: the run in --log_dir={self.path} has {before['settings'][name]}: "
                "choose another --log_dir or the same settings"
            )
        if data != settings["data"]["checksum"]:
            raise UserError(
                f"--dataset={now['dataset']}: the data differ from those of the run in "
                f"--log_dir={self.path} (checksum): choose another --log_dir or restore the data"
            )
        if problem != settings["data"]["problem_checksum"]:
            raise UserError(
                f"--observed={now['observed']}: the mask differs from that of the run in --log_dir={self.path} "
                "(checksum): choose another --log_dir or restore the mask"
            )

    def forget_metrics_after(self, step: int) -> None:
        """Drops the lines of `metrics.jsonl` after `step`, which a resumed run will write again."""
        if self.metrics_file.exists():
            lines = self.metrics_file.read_text().splitlines()
            write_text(self.metrics_file, "".join(line + "\n" for line in lines if _step_of(line) <= step))


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except ValueError:  # the line that a killed run was writing
        return float("inf")


def _described(config: Config, dataset: Dataset, checksum: str) -> dict[str, Any]:
    return {
        "settings": dataclasses.asdict(config),
        "data": {
            "name": dataset.name,
            "checksum": dataset.checksum,
            "problem_checksum": checksum,
            "train": len(dataset.train),
            "valid": len(dataset.valid),
            "test": len(dataset.test),
            "pixels": dataset.num_pixels,
            "binarization": "drawn afresh in every training batch" if dataset.dynamic else "static",
        },
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a file, whole or not at all."""
    partial_of(path).write_text(text)
    partial_of(path).replace(path)


def partial_of(path: Path) -> Path:
    """Where a file or folder is written before it takes the place of the one before."""
    return path.with_name(path.name + ".partial")
