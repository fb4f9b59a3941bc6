"""A user's own data by the path of a file or a folder: which of them is which split."""

from __future__ import annotations

from pathlib import Path

from dvae.data import formats, npz
from dvae.data.parts import Parts
from dvae.errors import UserError

# How a split's file or folder begins, in a folder: as MNIST's files are called, and as others are.
_BEGINNINGS = {"train": ("train",), "valid": ("valid", "val"), "test": ("test", "t10k")}


def load(path: Path) -> Parts:
    """Reads an `.npz` file, a file that holds all examples, or a folder with one file or folder for each split.

    In a folder, `train.npy`, `valid.csv`, `t10k-images-idx3-ubyte.gz`, or `train/` with PNG images; labels are left
    alone.
    A folder of PNG images without such names holds all examples.

    Raises:
      UserError: there is nothing of the kind, or it is damaged.
    """
    if path.suffix == ".npz":
        return npz.load(path)
    if not path.exists():
        raise UserError("must be the path of a file or a folder of data, there is none", dataset=str(path))
    found = _splits_in(path) if path.is_dir() else {}
    if "train" not in found:
        if not path.is_dir() and not formats.is_known(path):
            raise UserError("must be an .npz, .npy, .csv or idx file, or a folder of PNG images", dataset=str(path))
        return Parts(formats.read(path), None, None, source=str(path))
    arrays = {name: formats.read(where) for name, where in found.items()}
    return Parts(arrays["train"], arrays.get("valid"), arrays.get("test"), source=str(path))


def _splits_in(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    entries = sorted(e for e in folder.iterdir() if e.is_dir() or formats.is_known(e))
    for name, beginnings in _BEGINNINGS.items():
        own = [e for e in entries if e.name.lower().startswith(beginnings) and "labels" not in e.name]
        if len(own) > 1:
            raise UserError(f"{folder}: has {own[0].name} and {own[1].name}, must have one for {name}")
        if own:
            found[name] = own[0]
    return found
