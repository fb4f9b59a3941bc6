"""Which version of this program is running, as a run notes it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import subprocess
from pathlib import Path
from typing import Any

__version__ = "0.2.0.dev0"  # the package's metadata take it from here

_HOME = Path(__file__).resolve().parents[1]
_DISTRIBUTION = "discrete-vae"
_PATIENCE = 10.0  # seconds


def program() -> dict[str, Any]:
    """`version`, and the git `commit` where it is known; None where it is not."""
    return {"version": __version__, "commit": _of_checkout() or _of_installation()}


def _of_checkout() -> str | None:
    """That of the folder this file lies in, with `-dirty` where files have been changed."""
    if not (_HOME / ".git").exists():  # an installed package may lie in some other checkout
        return None
    command = ["git", "-C", str(_HOME), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_PATIENCE)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def _of_installation() -> str | None:
    """That which an installer noted when it took the package from a repository. [PEP 610]"""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError, ValueError, KeyError, TypeError):
        installed = importlib.metadata.distribution(_DISTRIBUTION)
        if Path(str(installed.locate_file("dvae"))).resolve() == _HOME / "dvae":
            return str(json.loads(installed.read_text("direct_url.json") or "")["vcs_info"]["commit_id"])
    return None
