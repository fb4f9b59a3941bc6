"""Paths as users give them and as TensorFlow takes them; files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dvae.errors import UserError

_PATTERN = frozenset("*?[]\\")
_PARTIAL, _REPLACED = ".partial", ".replaced"


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
    if not _PATTERN & set(folder.as_posix()):  # Windows' own backslashes are none there
        yield folder.as_posix()
        return
    with tempfile.TemporaryDirectory(prefix="dvae-") as temporary:
        link = Path(temporary, "folder")
        link.symlink_to(folder.resolve(), target_is_directory=True)
        yield str(link)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes JSON, whole or not at all; what is not finite is null."""
    write_text(path, json_text(content) + "\n")


def json_text(content: dict[str, Any]) -> str:
    """JSON that every program reads: null for NaN and infinities, which it has no words for."""
    return json.dumps(_finite(content), indent=2, allow_nan=False)


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


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


def read_json(path: Path) -> dict[str, Any]:
    """An object that was written as JSON.

    Raises:
      OSError: there is no such file, or it cannot be read.
      ValueError: it is none: no text, no JSON, JSON of something else, or nested too deeply to be one of ours.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError("must be an object")  # noqa: TRY004 (the content is wrong, not the caller)
    return content


def write_text(path: Path, text: str) -> None:
    """Writes a file, whole or not at all, though the power fail."""
    partial_path(path).write_text(text, encoding="utf-8")
    replace_by(partial_path(path), path)


def replace_by(partial: Path, path: Path) -> None:
    """Puts a file or folder that is complete in the place of the one before.

    What it holds is on the disk before its name is (a rename may reach the disk before the content does, and a power
    cut then leaves a file of zeros). A folder cannot be replaced in one move: for a moment there is neither.
    """
    for file in [*partial.rglob("*"), partial]:
        _sync(file)
    if path.is_dir():
        before = path.with_name(path.name + _REPLACED)
        shutil.rmtree(before, ignore_errors=True)
        path.rename(before)
        partial.rename(path)
        shutil.rmtree(before, ignore_errors=True)
    else:
        partial.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk, where the file system can do that."""
    if path.is_dir() and os.name == "nt":
        return
    number = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)  # Windows syncs what it may write
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(number)


def remove_leftovers(folder: Path) -> None:
    """Removes the folders that a killed process was writing; one that was just to be replaced comes back."""
    for path in folder.glob("*" + _REPLACED):
        if not path.with_name(path.name.removesuffix(_REPLACED)).exists():
            path.rename(path.with_name(path.name.removesuffix(_REPLACED)))
    for path in folder.glob("*"):
        if path.name.endswith((_PARTIAL, _REPLACED)):
            shutil.rmtree(path, ignore_errors=True)


def partial_path(path: Path) -> Path:
    """Where a file or folder is written before it takes the place of the one before."""
    return path.with_name(path.name + _PARTIAL)


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
