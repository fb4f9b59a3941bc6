"""Parts of a long analysis, kept in files: one that was interrupted goes on with the part that it was in."""

from __future__ import annotations

import difflib
import shutil
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dvae.files import json_text, partial_path, replace_by, write_text

Arrays = Mapping[str, np.ndarray]
# Of a part's name and of how it is made: the part, made or found.
Keep = Callable[[str, Callable[[], Arrays]], Arrays]

_FOLDER, _ORIGIN = "parts", "origin.json"


def made_anew(name: str, make: Callable[[], Arrays]) -> Arrays:
    """A `Keep` that keeps nothing."""
    del name
    return make()


class Kept:
    """The parts of one analysis.

    Args:
      folder: that the analysis writes to; the parts lie in `parts` in it until it is complete.
      origin: all that the parts follow from, as JSON has it. Parts of another origin are removed, which is said.
    """

    def __init__(self, folder: Path, origin: Mapping[str, Any]) -> None:
        self._folder = folder / _FOLDER
        text, path = json_text(dict(origin)), self._folder / _ORIGIN
        was = path.read_text() if path.exists() else None
        if was != text:
            if was is not None:
                print(f"{self._folder}: parts of another analysis are removed ({_changes(was, text)})", file=sys.stderr)
            self.clear()
            self._folder.mkdir(parents=True)
            write_text(path, text)

    def part(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """Arrays by name: those of an earlier process, or those that `make` makes."""
        path = self._folder / f"{name.replace(', ', '-').replace(' ', '-')}.npz"
        try:
            with np.load(path) as content:
                return dict(content)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):  # there is none, or it is damaged
            arrays, partial = make(), partial_path(path)
            with partial.open("wb") as file:  # np.savez would put an ending to the name
                np.savez(file, allow_pickle=False, **arrays)
            replace_by(partial, path)
            return arrays

    def under(self, prefix: str) -> Keep:
        """`part`, of names that begin so."""
        return lambda name, make: self.part(f"{prefix} {name}", make)

    def clear(self) -> None:
        """Removes all parts: the analysis is complete."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _changes(was: str, now: str) -> str:
    """Which lines of JSON differ, those that were and those that are."""
    lines = difflib.unified_diff(was.splitlines(), now.splitlines(), lineterm="", n=0)
    signs = {"-": "was", "+": "is"}
    changed = [line for line in lines if line[:1] in signs and line[:3] not in {"---", "+++"}]
    return ", ".join(f"{signs[line[0]]} {line[1:].strip().rstrip(',')}" for line in changed)
