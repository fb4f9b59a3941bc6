"""Arrays of examples in common file formats: `.npy`, `.csv`, idx (MNIST's), and folders of PNG images."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dvae import memory
from dvae.data import headers
from dvae.errors import UserError

_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP = b"\x1f\x8b"
_DELIMITERS = (",", ";", "\t")
_LARGEST_BYTE = 255


def read(path: Path) -> np.ndarray:
    """Examples in a file or a folder of PNG images.

    Raises:
      UserError: it is of no known format, damaged or empty.
    """
    try:
        return _reader(path)(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


def is_known(path: Path) -> bool:
    """Whether a file's name is that of a format."""
    return path.suffix.lower() in (".npy", ".csv", ".tsv") or "idx" in path.name or "ubyte" in path.name


def _reader(path: Path) -> Callable[[Path], np.ndarray]:
    if path.is_dir():
        return read_png_folder
    by_suffix = {".npy": read_npy, ".csv": read_csv, ".tsv": read_csv}
    return by_suffix.get(path.suffix.lower(), read_idx)


def read_npy(path: Path) -> np.ndarray:
    """The array that `np.save` wrote."""
    try:
        with path.open("rb") as file:
            needed = headers.of_array(file).num_bytes
        reason = memory.too_much(2 * needed)  # the array, and its copies in turn
        array = None if reason else np.load(path, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # whatever a damaged file makes NumPy raise
        raise UserError(f"{path}: must be an array as np.save writes it, cannot be read: {error}") from error
    if array is None:
        raise UserError(f"{path}: {reason}")
    return array


def read_csv(path: Path) -> np.ndarray:
    """A table of numbers, a row for each example, `[n, columns]`; `,`, `;` or tabs between them.

    A first line in which something is no number names the columns, and is left out. An empty field is NaN.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: must be a text of numbers in UTF-8 ({error.reason})") from error
    rows = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise UserError(f"{path}: is empty, must have a row for each example")
    delimiter = max(_DELIMITERS, key=rows[0][1].count)
    fields = [field.strip() for field in rows[0][1].split(delimiter)]
    has_header = any(_number(field) is None for field in fields)
    table = []
    for number, line in rows[has_header:]:
        values = [_number(field) for field in line.split(delimiter)]
        if len(values) != len(fields):
            raise UserError(f"{path}: line {number} has {len(values)} fields, must have {len(fields)} as line 1")
        if None in values:
            text = line.split(delimiter)[values.index(None)].strip()
            raise UserError(f"{path}: line {number} has {text!r}, must be numbers only: leave such columns out")
        table.append(values)
    if not table:
        raise UserError(f"{path}: has a line of names and no rows")
    return np.array(table, np.float64)


def read_idx(path: Path) -> np.ndarray:
    """An array in the format of MNIST's files, which may be compressed; grey levels 0 to 255 divided by 255.

    Four bytes, 0, 0, the type and the number of dimensions, their sizes in four bytes each, then the values.
    """
    content = path.read_bytes()
    if content[:2] == _GZIP:
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, ValueError) as error:
            raise UserError(f"{path}: cannot be decompressed ({error})") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES or not content[3]:
        raise UserError(f"{path}: must be an idx file, begins with other bytes")
    start = 4 + 4 * content[3]
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], ">u4")) if len(content) >= start else ()
    dtype = np.dtype(_IDX_TYPES[content[2]])
    wanted = start + math.prod(shape) * dtype.itemsize
    if len(shape) != content[3] or len(content) != wanted:
        raise UserError(f"{path}: has {len(content)} bytes, must have {wanted} for an array of shape {shape}")
    array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return _of_bytes(array) if dtype == np.dtype(">u1") else array.astype(dtype.newbyteorder("="))


def read_png_folder(path: Path) -> np.ndarray:
    """All PNG images in a folder and the folders in it, by name, as grey levels in [0, 1], `[n, height, width]`."""
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() == ".png" and file.is_file())
    if not files:
        raise UserError(f"{path}: has no PNG images, and no files train.npy, train.csv or train-images-idx3-ubyte")
    images = [_grey_image(file) for file in files]
    height, width = images[0].shape
    for file, image in zip(files, images, strict=True):
        if image.shape != (height, width):
            size = f"{image.shape[1]}x{image.shape[0]}"
            raise UserError(f"{file}: is {size}, must be {width}x{height} as {files[0].name} is")
    return np.stack(images).astype(np.float32) / _LARGEST_BYTE


def _grey_image(file: Path) -> np.ndarray:
    import PIL.Image  # noqa: PLC0415 (only who has images needs it)

    try:
        with PIL.Image.open(file) as image:
            is_deep = image.mode.startswith("I") or image.mode == "F"
            pixels = None if is_deep else np.asarray(image.convert("L"))
    except Exception as error:  # whatever a damaged image makes Pillow raise
        raise UserError(f"{file}: cannot be read as an image ({' '.join(str(error).split())})") from error
    if pixels is None:
        raise UserError(f"{file}: has more than 8 bits a pixel, must be an image of grey levels 0 to 255")
    return pixels


def _of_bytes(array: np.ndarray) -> np.ndarray:
    """Grey levels divided by 255; zeros and ones as they are."""
    return array if not array.size or array.max() <= 1 else array.astype(np.float32) / _LARGEST_BYTE


def _number(field: str) -> float | None:
    try:
        return float(field) if field.strip() else math.nan
    except ValueError:
        return None
