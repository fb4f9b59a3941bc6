"""Files that are written whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from dvae.errors import UserError


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a file, whole or not at all."""
    partial_path(path).write_text(text)
    partial_path(path).replace(path)


def partial_path(path: Path) -> Path:
    """Where a file or folder is written before it takes the place of the one before."""
    return path.with_name(path.name + ".partial")


def output_file(name: str) -> Path:
    """A path that a file can be written to.

    Raises:
      UserError: it cannot.
    """
    path = Path(name).expanduser()
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise UserError("must be a file in a folder that exists and can be written", output=name)
    return path
