"""`models` and `samplers` are packages of this project: a file or folder of that name that hides them is told of."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import TracebackType

_HOME = Path(__file__).resolve().parents[1]
_NEIGHBOURS = ("models", "samplers")


class HiddenPackageError(ImportError):
    """What Python finds by the name of one of this project's packages is something else, a user's `models.py` say.

    Where nobody catches it, it ends the program as a `UserError` does: with one line on stderr and exit status 2.
    """


def check() -> None:
    """Sees that the packages beside `dvae` are those that an `import` finds.

    Raises:
      HiddenPackageError: one is not.
    """
    for name in _NEIGHBOURS:
        found = _place_of(name)
        if found is not None and found != _HOME / name:
            _tell_in_one_line()
            raise HiddenPackageError(
                f"{found}: hides the package `{name}` of discrete-vae; rename it, or start from a folder without it"
            )


def _place_of(name: str) -> Path | None:
    """The file or folder of a module; None where there is none, or only folders without an `__init__.py`."""
    module = sys.modules.get(name)
    if module is not None:
        file = getattr(module, "__file__", None)
    else:
        spec = importlib.util.find_spec(name)
        file = spec.origin if spec is not None else None
    if file is None:
        return None
    path = Path(file).resolve()
    return path.parent if path.stem == "__init__" else path


def _tell_in_one_line() -> None:
    """It comes in the midst of imports, before any program of ours could catch it."""
    others = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if kind is not HiddenPackageError:
            others(kind, error, traceback)
            return
        print(error, file=sys.stderr)
        raise SystemExit(2)  # Python's own status would be 1

    sys.excepthook = hook
