"""The run directory: which files it holds, when a run may continue in it, and how they are written whole."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dvae import provenance
from dvae.building import Networks
from dvae.config import Config
from dvae.data import Dataset
from dvae.data.parts import SPLIT_SEED
from dvae.data.values import BINARY
from dvae.errors import UserError
from dvae.files import partial_path, read_json, user_path, write_json, write_text
from dvae.settings import rules
from dvae.settings.again import as_named_now
from dvae.settings.values import check_values
from dvae.tasks import Task

# What changes the compiled program: a run continues bit for bit where they are the same.
_VARIABLES = ("XLA_FLAGS", "TF_XLA_FLAGS", "TF_ENABLE_ONEDNN_OPTS")
_REPLICAS = "number of replicas"
_PACKAGES = ("tensorflow", "tensorflow-probability", "keras", "numpy")
# Of config.json, the checkpoints and the random streams: a run of another format cannot be continued bit for bit.
_FORMAT = 4
_LOCK = ".lock"
# Where things lie and whether to resume does not change a run.
PLACES = ("log_dir", "data_dir")
# Nor does where it is computed; how many replicas there are does, which is told of.
_MAY_CHANGE = (*PLACES, "strategy", "num_devices")
# What settings that came later were for runs of before: these can be looked at, though not continued; and those that
# leave what was trained before as it is.
_BEFORE = {"prior_spins": False}
_SINCE = {"num_devices": None, "batch_norm_statistics": "replica"}


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
        self.fields_picture = self.path / "latent_fields.png"

    def open(self, task: Task, *, resume: bool, say: Callable[[str], None] = print, num_replicas: int = 1) -> None:
        """Makes the directory for a new run, or checks that the run in it is this one.

        Args:
          task: with the settings, the data and the networks of the run.
          resume: whether a run that is there may go on.
          say: told what the file system cannot do, and which package or flag of the compiler is another.
          num_replicas: that compute it.

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
        description = _described(task, num_replicas)
        self._keep_others_out(say)
        try:
            if not self.config_file.exists():
                write_json(self.config_file, description)
            else:
                self._refuse_another_run(description, resume=resume)
                for line in _other_surroundings(self.description(), description):
                    say(f"{self.path}: {line}")
        except Exception:
            self.release()
            raise

    def description(self) -> dict[str, Any]:
        """The content of `config.json`: format, settings, data, networks, packages.

        Raises:
          UserError: there is none, or not one of this version.
        """
        try:
            found = read_json(self.config_file)
        except FileNotFoundError as error:
            raise self._error("must be the folder of a run (it has no config.json)") from error
        except (OSError, ValueError) as error:
            raise self._error(f"config.json is damaged or not one of this program ({_short(error)})") from error
        if not isinstance(found.get("settings"), dict):
            raise self._error("config.json is not one of this program: choose another")
        if found.get("format") != _FORMAT:
            raise self._error("the run in it was begun by another version of this program: choose another")
        if not all(isinstance(found.get(part), dict) for part in ("data", "networks")):
            raise self._error("config.json is not one of this program: choose another")
        return found

    def config(self) -> Config:
        """All settings of the run.

        Raises:
          UserError: as `description`; or other settings are missing than those that are known to have come later, or
            a value is none.
        """
        settings = as_named_now(self.description()["settings"])
        try:
            config = Config(**_BEFORE | _SINCE | settings)
        except TypeError as error:
            raise self._error(f"the run in it was begun by another version of this program ({error})") from error
        try:
            check_values(Config, settings)
            rules.check(config)
        except UserError as error:
            raise UserError(f"{self.config_file}: {error}") from error
        return config

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
        before["settings"] = _SINCE | before["settings"]
        where = {"log_dir": str(self.path)}
        for name, value in now["settings"].items():
            if name not in before["settings"]:
                raise self._error(
                    f"the run in it was begun by another version of this program, without {name}: choose another"
                )
            is_place = name in _MAY_CHANGE or all(_is_file_of_data(v) for v in (value, before["settings"][name]))
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

    def forget_metrics_after(self, steps: Mapping[str, int]) -> None:
        """Drops the lines of `metrics.jsonl` after a step of each group, which a resumed run will write again.

        What is no line of ours (half written, damaged) is dropped too: a log keeps no run from going on.
        """
        if self.metrics_file.exists():
            lines = self.metrics_file.read_bytes().splitlines()
            kept = [line.decode() for line in lines if _is_until(line, steps)]
            write_text(self.metrics_file, "".join(line + "\n" for line in kept))


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:100]


def _other_surroundings(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """What decides the bits of a run beside its settings, and is not as it was."""
    for part, names in (("packages", _PACKAGES), ("environment", (*_VARIABLES, _REPLICAS))):
        noted = before.get(part)
        if not isinstance(noted, dict):  # runs of before noted less
            continue
        for name in names:
            was = noted.get(name, 1 if name == _REPLICAS else None)
            if was != now[part][name]:
                yield (
                    f"{name} is {now[part][name]}, was {was} when the run began: it goes on, but not bit "
                    "for bit as it would have"
                )


def _is_file_of_data(value: Any) -> bool:
    """Whether a setting points to a file or folder whose content is compared by its checksum, wherever it lies."""
    return isinstance(value, str) and ("/" in value or value.endswith((".npz", ".npy", ".csv", ".tsv", ".gz")))


def _is_until(line: bytes, steps: Mapping[str, int]) -> bool:
    try:
        metrics = json.loads(line.decode())
        return bool(metrics["step"] <= steps[metrics["group"]])
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def _described(task: Task, num_replicas: int) -> dict[str, Any]:
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
            "values": dataset.values,
            "binarization": _binarization(dataset),
            "set_aside": dict(dataset.set_aside),
            "set_aside_seed": SPLIT_SEED if dataset.set_aside else None,
        },
        "networks": described_networks(task.networks),
        "environment": {name: os.environ.get(name) for name in _VARIABLES} | {_REPLICAS: num_replicas},
        "program": provenance.program(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def _binarization(dataset: Dataset) -> str | None:
    if dataset.values != BINARY:
        return None
    return "drawn afresh in every training batch" if dataset.dynamic else "static"


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
