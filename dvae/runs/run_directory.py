"""The run directory: which files it holds, when a run may continue in it, and how they are written whole."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dvae.building import Networks
from dvae.errors import UserError
from dvae.files import partial_path, user_path, write_json, write_text
from dvae.tasks import Task

_PACKAGES = ("tensorflow", "tensorflow-probability", "keras", "numpy")
# Of config.json, the checkpoints and the random streams: a run of another format cannot be continued bit for bit.
_FORMAT = 4
_LOCK = ".lock"
# Where things lie and whether to resume does not change a run.
PLACES = ("log_dir", "data_dir")


class RunDirectory:
    """Files of one training run, at `config.log_dir`."""

    def __init__(self, path: str | Path) -> None:
        self.path = user_path(log_dir=path)
        self._lock = FileLock(self.path / _LOCK, fallback_to_soft=False)
        self.config_file = self.path / "config.json"
        self.checkpoints = self.path / "checkpoints"
        self.metrics_file = self.path / "metrics.jsonl"
        self.saved_model = self.path / "saved_model"
        self.results_file = self.path / "results.json"
        self.test_examples = self.path / "test_examples.csv"
        self.report_page = self.path / "report.html"
        self.samples_picture = self.path / "samples.png"
        self.reconstructions_picture = self.path / "reconstructions.png"

    def open(self, task: Task, *, resume: bool, say: Callable[[str], None] = print) -> None:
        """Makes the directory for a new run, or checks that the run in it is this one.

        Args:
          task: with the settings, the data and the networks of the run.
          resume: whether a run that is there may go on.
          say: told what the file system cannot do.

        Raises:
          UserError: the directory cannot be written, holds something else, or another run, or another process works in
            it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            ours = {_LOCK, partial_path(self.config_file).name}  # left by a process killed at its very beginning
            occupied = any(path.name not in ours for path in self.path.iterdir())
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied")
        except OSError as error:
            raise self._error(f"must be a folder that can be written ({error.strerror})") from error
        if occupied and not self.config_file.exists():
            raise self._error("is not empty and holds no run (no config.json): choose another")
        description = _described(task)
        self._keep_others_out(say)
        try:
            if not self.config_file.exists():
                write_json(self.config_file, description)
            else:
                self._refuse_another_run(description, resume=resume)
        except Exception:
            self.release()
            raise

    def description(self) -> dict[str, Any]:
        """The content of `config.json`: format, settings, data, networks, packages.

        Raises:
          UserError: there is none, or not one of this version.
        """
        try:
            found = json.loads(self.config_file.read_text())
        except FileNotFoundError as error:
            raise self._error("must be the folder of a run (it has no config.json)") from error
        except (OSError, ValueError, RecursionError):
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
        self._lock.release()

    def _keep_others_out(self, say: Callable[[str], None]) -> None:
        """Locks the run until this process ends, however it ends."""
        try:
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise self._error("another process is working in it: choose another") from error
        except (OSError, NotImplementedError) as error:  # no locks on some network file systems
            say(f"{self.path}: no locks on its file system ({error}); let no other process work in this folder")

    def _error(self, rule: str) -> UserError:
        return UserError(rule, log_dir=str(self.path))

    def _refuse_another_run(self, now: dict[str, Any], *, resume: bool) -> None:
        if not resume:
            raise UserError(
                "{log_dir} holds a run already: choose another folder",
                mentions={"log_dir": str(self.path)},
                resume=False,
            )
        before = self.description()
        where = {"log_dir": str(self.path)}
        for name, value in now["settings"].items():
            if name not in before["settings"]:
                raise self._error(
                    f"the run in it was begun by another version of this program, without {name}: choose another"
                )
            is_place = name in PLACES or all(_is_file_of_data(v) for v in (value, before["settings"][name]))
            if before["settings"][name] != value and not is_place:
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
        for part, differ, what, setting in (
            ("checksum", "the data differ from those", "data", "dataset"),
            ("task_checksum", "the mask differs from that", "mask", "observed"),
        ):
            if before["data"].get(part) != now["data"][part]:
                raise UserError(
                    f"{differ} of the run in {{log_dir}} (checksum): choose another log_dir or restore the {what}",
                    mentions=where,
                    **{setting: now["settings"][setting]},
                )

    def forget_metrics_after(self, step: int) -> None:
        """Drops the lines of `metrics.jsonl` after `step`, which a resumed run will write again."""
        if self.metrics_file.exists():
            lines = self.metrics_file.read_text().splitlines()
            write_text(self.metrics_file, "".join(line + "\n" for line in lines if _step_of(line) <= step))


def _is_file_of_data(value: Any) -> bool:
    """Whether a setting points to a file whose content is compared by its checksum, wherever it lies."""
    return isinstance(value, str) and value.endswith((".npz", ".npy"))


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
