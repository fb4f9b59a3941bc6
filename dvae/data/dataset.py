"""What a data set is: three checked splits, how grey images become binary, how a subset is taken."""

import hashlib
import math
from typing import Any, NamedTuple

import numpy as np

from dvae.errors import UserError

SPLITS = ("train", "valid", "test")
# Binary copies of grey data are drawn once, with these seeds, so that every evaluation sees the same pixels.
BINARIZATION_SEEDS = {"train": 1001, "valid": 1002, "test": 1003}
_ROUNDING = 1e-5  # of grey levels that were interpolated in float32


class Dataset(NamedTuple):
    """Examples x in {0, 1}^D, or their pixel probabilities, in three splits. Made by `make_dataset`.

    Attributes:
      name: what the user called it.
      train: [n, D] uint8 if binary; float32 in [0, 1], the probability of a 1, if grey.
      valid, test: [n, D] uint8, binary.
      image_shape: (height, width) with height * width = D, rows first; None when an example is not an image.
      dynamic: whether `train` is grey, to be binarized afresh in every training batch.
      checksum: SHA-256 (hex) of the three arrays, their names, shapes and dtypes.
    """

    name: str
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    image_shape: tuple[int, int] | None
    dynamic: bool
    checksum: str

    @property
    def num_pixels(self) -> int:
        """D, the number of pixels of an example."""
        return self.train.shape[1]

    @property
    def mean_pixel(self) -> np.ndarray:
        """The mean of the training examples, float32 [D]."""
        return self.train.mean(axis=0, dtype=np.float64).astype(np.float32)

    def split(self, name: str) -> np.ndarray:
        """The split 'train', 'valid' or 'test' for evaluation, uint8 [n, D].

        A grey training split is binarized once, with the seed `BINARIZATION_SEEDS["train"]`.
        """
        if name not in SPLITS:
            raise UserError(f"must be one of {', '.join(SPLITS)}", split=name)
        if name == "train" and self.dynamic:
            return binarize(self.train, BINARIZATION_SEEDS["train"])
        return getattr(self, name)


def make_dataset(
    name: str, *, train: np.ndarray, valid: np.ndarray, test: np.ndarray, source: str | None = None
) -> Dataset:
    """Checks three arrays and makes a `Dataset` of them.

    A training split of zeros and ones only is stored as binary, any other as grey (`dynamic`). Validation and test
    splits that are grey are binarized here, once, with `BINARIZATION_SEEDS`.

    Args:
      name: the data set's name.
      train, valid, test: bool, integers or floats in [0, 1]; [n, D], or images [n, H, W] or [n, H, W, 1]. Examples
        given as vectors are taken for square images where D is a square.
      source: what an error message names, such as the file; by default `name`.

    Raises:
      UserError: if an array breaks a rule; names the source, the array, the value and the rule.
    """
    source = source or name
    examples, image_shape = {}, None
    for split, array in zip(SPLITS, map(np.asarray, (train, valid, test)), strict=True):
        label = f"{source}: array {split}"
        _check_shape(array, label)
        array = _checked_values(array, label)
        shape = array.shape[1:3] if array.ndim > 2 else None
        if shape and image_shape and shape != image_shape:
            raise UserError(f"{label} has images of {shape}, must be of {image_shape} as in the other splits")
        image_shape = image_shape or shape
        examples[split] = array.reshape(len(array), -1)
        num_pixels = examples["train"].shape[1]
        if examples[split].shape[1] != num_pixels:
            raise UserError(f"{label} has {examples[split].shape[1]} pixels, must have {num_pixels} as train has")

    side = math.isqrt(num_pixels)
    if image_shape is None and side**2 == num_pixels:
        image_shape = (side, side)
    dynamic = not np.all((examples["train"] == 0) | (examples["train"] == 1))
    arrays = {
        "train": examples["train"].astype(np.float32 if dynamic else np.uint8),
        "valid": binarize(examples["valid"], BINARIZATION_SEEDS["valid"]),
        "test": binarize(examples["test"], BINARIZATION_SEEDS["test"]),
    }
    return Dataset(name=name, **arrays, image_shape=image_shape, dynamic=dynamic, checksum=_checksum(arrays))


def binarize(grey: np.ndarray, seed: int) -> np.ndarray:
    """Draws x ~ Bernoulli(grey), uint8 of the shape of `grey`; a pure function of its arguments.

    The uniform draws are in [0, 1), so that pixels of exactly 0 and 1 stay as they are.
    """
    uniform = np.random.default_rng(seed).random(grey.shape, dtype=np.float32)
    return (uniform < grey.astype(np.float32)).astype(np.uint8)


def spread(num_available: int, num_wanted: int | None) -> np.ndarray:
    """Distinct indices spread evenly over a split, int64 [min(num_wanted, num_available)], ascending from 0.

    Index i is ceil(i * num_available / num_wanted): x[::10] for a tenth. Published splits are ordered (by digit class,
    by alphabet), so their first examples are not like the rest. None wants all.
    """
    if num_wanted is None:
        return np.arange(num_available, dtype=np.int64)
    if num_wanted < 1:
        raise UserError("must be at least 1", num_examples=num_wanted)
    num_wanted = min(num_wanted, num_available)
    return -(np.arange(num_wanted, dtype=np.int64) * -num_available // num_wanted)


def _check_shape(array: np.ndarray, label: str) -> None:
    is_image = array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 1)
    if array.ndim != 2 and not is_image:
        raise UserError(f"{label} has shape {array.shape}, must be [n, D], [n, H, W] or [n, H, W, 1]")
    if array.size == 0:
        raise UserError(f"{label} has shape {array.shape}, must not be empty")


def _checked_values(array: np.ndarray, label: str) -> np.ndarray:
    """The array, with what exceeds [0, 1] by no more than the rounding of an interpolation put at its ends."""
    if array.dtype.kind not in "buif":
        raise UserError(f"{label} has dtype {array.dtype}, must be bool, integer or float")
    low, high = array.min(), array.max()  # a NaN anywhere makes both NaN
    if low >= 0 and high <= 1:
        return array
    if low >= -_ROUNDING and high <= 1 + _ROUNDING:
        return np.clip(array, 0, 1)
    offender = high if low >= 0 or high > 1 + _ROUNDING else low
    raise UserError(f"{label} contains {offender}, values must be in [0, 1]{_hint(array, low, high)}")


def _hint(array: np.ndarray, low: Any, high: Any) -> str:
    """What the values look like, where following the advice cannot ruin them."""
    if np.isnan(low):
        return f" ({np.isnan(array).sum()} are missing: leave those examples out or fill them in)"
    if not np.all(array == np.round(array)):
        return ""
    if low == -1 and high == 1 and np.all(np.abs(array) == 1):
        return " (spins of -1 and 1: (1 + x) / 2)"
    if low >= 0 and 32 <= high <= 255:
        return " (divide grey levels of 0 to 255 by 255)"
    return ""


def _checksum(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.shape} {array.dtype.str}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
