"""What a data set is: three checked splits of one kind of values; how grey images become binary, and subsets."""

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from dvae.data.parts import Parts
from dvae.data.values import BINARY, VALUES, check_training, checked, grey_levels
from dvae.errors import UserError

SPLITS = ("train", "valid", "test")
# Binary copies of grey data are drawn once, with these seeds, so that every evaluation sees the same pixels.
BINARIZATION_SEEDS = {"train": 1001, "valid": 1002, "test": 1003}


class Dataset(NamedTuple):
    """Examples x in three splits: in {0, 1}^D, or their pixel probabilities; or real. Made by `make_dataset`.

    Attributes:
      name: what the user called it.
      train: [n, D] uint8 if binary; float32 in [0, 1], the probability of a 1, if grey; float32 if real.
      valid, test: [n, D] uint8, binary; float32 if real.
      image_shape: (height, width) with height * width = D, rows first; None when an example is not an image.
      dynamic: whether `train` is grey, to be binarized afresh in every training batch.
      checksum: SHA-256 (hex) of the three arrays, their names, shapes and dtypes.
      values: what a pixel may be, a name in `dvae.data.VALUES`.
      set_aside: splits that were set aside from the training examples, with their fractions.
      is_named: whether `load_dataset` finds it by its name; if not, it was handed in.
    """

    name: str
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    image_shape: tuple[int, int] | None
    dynamic: bool
    checksum: str
    values: str = BINARY
    set_aside: Mapping[str, float] = {}
    is_named: bool = False

    @property
    def num_pixels(self) -> int:
        """D, the number of pixels of an example."""
        return self.train.shape[1]

    @property
    def described(self) -> str:
        """What its values are, in words."""
        return "binarized afresh in every batch" if self.dynamic else VALUES[self.values].described

    @property
    def grey_levels(self) -> Callable[[np.ndarray], np.ndarray]:
        """How values are shown, see `dvae.data.values.grey_levels`."""
        return grey_levels(self.train, self.values)

    def split(self, name: str) -> np.ndarray:
        """The split 'train', 'valid' or 'test' for evaluation, [n, D], uint8 if binary.

        A grey training split is binarized once, with the seed `BINARIZATION_SEEDS["train"]`.
        """
        if name not in SPLITS:
            raise UserError(f"must be one of {', '.join(SPLITS)}", split=name)
        if name == "train" and self.dynamic:
            return binarize(self.train, BINARIZATION_SEEDS["train"])
        return getattr(self, name)


def make_dataset(
    name: str,
    *,
    train: Any,
    valid: Any = None,
    test: Any = None,
    values: str = BINARY,
    valid_fraction: float | None = None,
    test_fraction: float | None = None,
    source: str | None = None,
) -> Dataset:
    """Checks the examples and makes a `Dataset` of them.

    Binary values: a training split of zeros and ones only is stored as binary, any other as grey (`dynamic`).
    Validation and test splits that are grey are binarized here, once, with `BINARIZATION_SEEDS`. Values of other kinds
    are kept as they are, in float32.

    Args:
      name: the data set's name.
      train, valid, test: bool, integers or floats: arrays, pandas DataFrames, or what NumPy makes arrays of; [n, D], or
        images [n, H, W] or [n, H, W, 1]. Examples given as vectors are taken for square images where D is a square.
      values: "binary", "unit" (values in [0, 1] as they are), "real" or "non_negative": what the likelihood takes.
      valid_fraction, test_fraction: of the training examples, to be set aside where `valid` or `test` is left out.
      source: what an error message names, such as the file; by default `name`.

    Raises:
      UserError: if an array breaks a rule; names the source, the array, the value and the rule.
    """
    if values not in VALUES:
        raise UserError(f"must be one of {', '.join(VALUES)}", values=values)
    parts, set_aside = Parts(
        train=np.asarray(train),
        valid=None if valid is None else np.asarray(valid),
        test=None if test is None else np.asarray(test),
        source=source or name,
    ).complete(valid_fraction=valid_fraction, test_fraction=test_fraction)
    return _of_parts(name, parts, values)._replace(set_aside=set_aside)


def _of_parts(name: str, parts: Parts, values: str) -> Dataset:
    examples, image_shape = {}, None
    for split in SPLITS:
        array, label = np.asarray(getattr(parts, split)), f"{parts.source}: array {split}"
        _check_shape(array, label)
        array = checked(array, values, label)
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
    dynamic = values == BINARY and not np.all((examples["train"] == 0) | (examples["train"] == 1))
    if values == BINARY:
        arrays = {
            "train": examples["train"].astype(np.float32 if dynamic else np.uint8),
            "valid": binarize(examples["valid"], BINARIZATION_SEEDS["valid"]),
            "test": binarize(examples["test"], BINARIZATION_SEEDS["test"]),
        }
    else:
        check_training(examples["train"], values, f"{parts.source}: array train")
        arrays = {split: array.astype(np.float32) for split, array in examples.items()}
    return Dataset(
        name=name,
        train=arrays["train"],
        valid=arrays["valid"],
        test=arrays["test"],
        image_shape=image_shape,
        dynamic=dynamic,
        checksum=_checksum(arrays),
        values=values,
    )


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
        has_colours = array.ndim == 4 and array.shape[3] in (3, 4)
        hint = " (colours: x[..., :3].mean(axis=3) makes them grey)" if has_colours else ""
        raise UserError(f"{label} has shape {array.shape}, must be [n, D], [n, H, W] or [n, H, W, 1]{hint}")
    if array.size == 0:
        raise UserError(f"{label} has shape {array.shape}, must not be empty")


def _checksum(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.shape} {array.dtype.str}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
