"""The run directory: which files it holds, when a run may continue in it, and how they are written whole."""

from __future__ import annotations

import dataclasses
import fcntl
import importlib.metadata
import json
import os
from pathlib import Path
from typing import Any

from dvae.building import Networks
from dvae.errors import UserError
from dvae.files import partial_path, write_json, write_text
from dvae.tasks import Task

_PACKAGES = ("tensorflow", "tensorflow-probability", "keras", "numpy")
# Of config.json, the checkpoints and the random streams: a run of another format cannot be continued bit for bit.
_FORMAT = 2
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

    def open(self, task: Task, *, resume: bool) -> None:
        """Makes the directory for a new run, or checks that the run in it is this one.

        Args:
          task: with the settings, the data and the networks of the run.
          resume: whether a run that is there may go on.

        Raises:
          UserError: the directory cannot be written, holds something else, or another run.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            unfinished = partial_path(self.config_file).name  # left by a process killed at its very beginning
            occupied = any(path.name != unfinished for path in self.path.iterdir())
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied")
        except OSError as error:
            raise self._error(f"must be a folder that can be written ({error.strerror})") from error
        description = _described(task)
        if not occupied:
            write_json(self.config_file, description)
            self._lock()
            return
        if not self.config_file.exists():
            raise self._error("is not empty and holds no run (no config.json): choose another")
        if not resume:
            raise UserError(
                "{log_dir} holds a run already: choose another folder",
                mentions={"log_dir": str(self.path)},
                resume=False,
            )
        self._refuse_another_run(description)
        self._lock()

    def description(self) -> dict[str, Any]:
        """The content of `config.json`: format, settings, data, networks, packages.

        Raises:
          UserError: there is none, or not one of this version.
        """
        try:
            found = json.loads(self.config_file.read_text())
        except FileNotFoundError as error:
            raise self._error("must be the folder of a run (it has no config.json)") from error
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict) or not isinstance(found.get("settings"), dict):
            raise self._error("config.json is not one of this program: choose another")
        if found.get("format") != _FORMAT:
            raise self._error("the run in it was begun by another version of this program: choose another")
        if not all(isinstance(found.get(part), dict) for part in ("data", "networks")):
            raise self._error("config.json is not one of this program: choose another")
        return found

    def release(self) -> None:
        """Lets other processes in again; the end of this one does the same."""
        self._held.close()

    def _lock(self) -> None:
        """Keeps other processes out of the run until this one ends, however it ends."""
        self._held = self.config_file.open()
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise self._error("another process is working in it: choose another") from error

    def _error(self, rule: str) -> UserError:
        return UserError(rule, log_dir=str(self.path))

    def _refuse_another_run(self, now: dict[str, Any]) -> None:
        before = self.description()
        where = {"log_dir": str(self.path)}
        for name, value in now["settings"].items():
            if name not in before["settings"]:
                raise self._error(
                    f"the run in it was begun by another version of this program, without {name}: choose another"
                )
            if before["settings"][name] != value and name not in _PLACES:
                raise UserError(
                    f"the run in {{log_dir}} has {before['settings'][name]}: choose another log_dir or the same "
                    "settings",
                    mentions=where,
                    **{name: value},
                )
        for name, digest in now["networks"].items():
            if before["networks"].get(name) != digest:
                raise UserError(
                    "is not the one of the run in {log_dir}: choose another log_dir or hand in the same",
                    mentions=where,
                    **{name: digest},
                )
        if before["data"].get("checksum") != now["data"]["checksum"]:
            raise UserError(
                "the data differ from those of the run in {log_dir} (checksum): choose another log_dir or restore the "
                "data",
                mentions=where,
                dataset=now["settings"]["dataset"],
            )
        if before["data"].get("task_checksum") != now["data"]["task_checksum"]:
            raise UserError(
                "the mask differs from that of the run in {log_dir} (checksum): choose another log_dir or restore the "
                "mask",
                mentions=where,
                observed=now["settings"]["observed"],
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


def _described(task: Task) -> dict[str, Any]:
    dataset = task.dataset
    return {
        "format": _FORMAT,
        "settings": dataclasses.asdict(task.config),
        "data": {
            "name": dataset.name,
            "checksum": dataset.checksum,
            "task_checksum": task.checksum,
            "train": len(dataset.train),
            "valid": len(dataset.valid),
            "test": len(dataset.test),
            "pixels": dataset.num_pixels,
            "binarization": "drawn afresh in every training batch" if dataset.dynamic else "static",
        },
        "networks": described_networks(task.networks),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def described_networks(networks: Networks) -> dict[str, str]:
    """What was handed in, by name; "published" where nothing was. Only built networks tell their sizes."""
    described = dict.fromkeys(networks._fields, "published")
    for name, network in networks._asdict().items():
        if isinstance(network, type):
            described[name] = network.__qualname__
        elif network is not None:
            shapes = " ".join("x".join(map(str, variable.shape)) for variable in network.variables)
            described[name] = f"{type(network).__name__} of weights {shapes}"
    return described
