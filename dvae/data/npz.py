"""A user's own data: an `.npz` file with the arrays train, valid and test, or as Keras' data sets have them."""

import math
import zipfile
from pathlib import Path

import numpy as np

from dvae import memory
from dvae.data import headers
from dvae.data.dataset import SPLITS
from dvae.data.parts import Parts
from dvae.errors import UserError

_SHOWN = 200  # characters of what a file says of itself
_WORK = 9  # bytes a pixel, beside the array itself: its checks, its copy, the random numbers that make it binary
# The names of the splits in a file; those of Keras may hold labels besides, which are left alone.
_OURS = {name: (name,) for name in SPLITS}
_KERAS = {"train": ("x_train",), "valid": ("x_valid", "x_val"), "test": ("x_test",)}


def load(path: Path) -> Parts:
    """Reads the arrays `train`, `valid` and `test`, or `x_train`, `x_valid` (or `x_val`) and `x_test`.

    All but the first may be missing. Bytes of 0 to 255 in the layout of Keras are divided by 255, as in its examples.

    Raises:
      UserError: if the file is missing or damaged, or has no training examples.
    """
    if not path.is_file():
        raise UserError("must be the path of an .npz file, there is no such file", dataset=str(path))
    arrays, names = _arrays(path)
    for layout in (_OURS, _KERAS):
        found = {split: next((arrays[n] for n in keys if n in arrays), None) for split, keys in layout.items()}
        train = found["train"]
        if train is not None:
            if layout is _KERAS:
                found = _without_bytes(found)
                train = found["train"]
            assert train is not None
            return Parts(train, found["valid"], found["test"], source=str(path))
    raise UserError(
        f"{path}: array train is missing, must hold train, valid and test, or x_train and x_test (holds "
        f"{', '.join(names)[:_SHOWN]})"
    )


def _arrays(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of all splits that there are, by their names in the file; and what names it holds."""
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path}: must be an .npz file, is truncated or something else")
    wanted = {name for layout in (_OURS, _KERAS) for keys in layout.values() for name in keys}
    try:
        found = headers.of_archive(path, wanted)
    except Exception as error:  # noqa: BLE001 - a damaged file can make the zip and NumPy readers raise nearly anything
        raise _unreadable(path, error) from None
    there = [name for name in found if name in wanted]
    # A small file may unpack to a large one.
    if there and (reason := memory.too_much(_needed([header for header in found.values() if header]))):
        raise UserError(f"{path}: {reason}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in there}, list(found)
    except Exception as error:  # noqa: BLE001 - likewise
        raise _unreadable(path, error) from None


def _needed(arrays: list[headers.Header]) -> int:
    """Bytes at the most while a data set is made of arrays: all of them, and the work on the largest."""
    return sum(array.num_bytes for array in arrays) + _WORK * max(math.prod(array.shape) for array in arrays)


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: must be an .npz file of plain arrays, cannot be read: {str(error)[:_SHOWN]}")


def _without_bytes(found: dict[str, np.ndarray | None]) -> dict[str, np.ndarray | None]:
    arrays = [array for array in found.values() if array is not None and array.size]
    if any(array.dtype != np.uint8 for array in arrays) or all(array.max() <= 1 for array in arrays):
        return found
    return {name: None if array is None else array.astype(np.float32) / 255 for name, array in found.items()}
