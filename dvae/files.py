"""Paths as users give them and as TensorFlow takes them; files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dvae.errors import UserError

_PATTERN = frozenset("*?[]\\")


def user_path(**setting: str | Path) -> Path:
    """The path that a setting, `name=value`, gives.

    Raises:
      UserError: it is no path of a file system here.
    """
    [(name, given)] = setting.items()
    text = os.fspath(given)
    shown: Any = text.encode("utf-8", "backslashreplace").decode()
    if shown != text or "\0" in text:
        raise UserError("must be a path of characters", **{name: shown.replace("\0", "\\0")})
    if "://" in text:
        raise UserError("must be a path in this machine's file system, not an address", **{name: shown})
    try:
        path = Path(text).expanduser()
        path.exists()  # too long a name, say
    except (OSError, RuntimeError) as error:
        raise UserError(f"must be a path ({getattr(error, 'strerror', None) or error})", **{name: shown}) from error
    return path


@contextlib.contextmanager
def plainly_named(folder: Path) -> Iterator[str]:
    """A name of a folder for TensorFlow, which takes `[`, `]`, `*`, `?` and the backslash in paths for patterns.

    The path itself where it has none of them; else that of a link to it, which is gone afterwards.
    """
    if not _PATTERN & set(str(folder)):
        yield str(folder)
        return
    with tempfile.TemporaryDirectory(prefix="dvae-") as temporary:
        link = Path(temporary, "folder")
        link.symlink_to(folder.resolve(), target_is_directory=True)
        yield str(link)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_table(path: Path, names: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Writes rows under the names of their columns as CSV, whole or not at all; None is left empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_table(path: Path) -> dict[str, list[float]]:
    """The columns of a table of numbers by name; none if there is no such file.

    Raises:
      ValueError: it has something else in it.
    """
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        names, *rows = csv.reader(file)
    columns = zip(*rows, strict=True)
    return {name: [float(value) for value in column] for name, column in zip(names, columns, strict=True)}


def write_text(path: Path, text: str) -> None:
    """Writes a file, whole or not at all."""
    partial_path(path).write_text(text)
    partial_path(path).replace(path)


def partial_path(path: Path) -> Path:
    """Where a file or folder is written before it takes the place of the one before."""
    return path.with_name(path.name + ".partial")


def output_file(**setting: Any) -> Path:
    """The path, `name=value`, that a file can be written to.

    Raises:
      UserError: it cannot.
    """
    path = user_path(**setting)
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise UserError("must be a file in a folder that exists and can be written", **setting)
    return path


def output_folder(**setting: Any) -> Path:
    """The folder, `name=value`, that files can be written to; it is made if it is not there.

    Raises:
      UserError: it cannot.
    """
    path = user_path(**setting)
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise UserError(f"must be a folder that can be written ({error.strerror})", **setting) from error
    return path
