"""What array files say of their size, read before memory is taken for it."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

_LONGEST_HEADER = 2**16


class Header(NamedTuple):
    """Attributes: of an array, its `shape` and `dtype`."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def num_bytes(self) -> int:
        """That the array takes."""
        return math.prod(self.shape) * self.dtype.itemsize


def of_array(file: IO[bytes]) -> Header:
    """Of an `.npy` file.

    Raises:
      ValueError: it is none.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if any(length < 0 for length in shape) or dtype.hasobject:
        raise ValueError(f"an array of shape {shape} and type {dtype} is none of plain numbers")
    return Header(shape, dtype)


def of_archive(path: Path, wanted: Iterable[str]) -> dict[str, Header | None]:
    """Of the wanted arrays in an `.npz` file, by name; None for others.

    Raises:
      ValueError, zipfile.BadZipFile: it is none, or a header and the archive's directory disagree on a size.
    """
    found: dict[str, Header | None] = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            found[name] = None
            if name in wanted:
                with archive.open(member) as file:
                    header = of_array(file)
                if not 0 <= member.file_size - header.num_bytes < _LONGEST_HEADER:
                    raise ValueError(f"array {name} says {header.num_bytes} bytes, the archive {member.file_size}")
                found[name] = header
    return found
