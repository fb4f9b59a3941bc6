"""Which pixels of an example are observed and which are to be predicted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from dvae.data import headers
from dvae.data.dataset import Dataset
from dvae.errors import UserError
from dvae.files import user_path


class ObservedPart(NamedTuple):
    """A division of the D pixels of an example, in their order.

    Attributes:
      observed: indices of the given pixels, int32 `[D1]`.
      target: indices of the others, int32 `[D2]`.
    """

    observed: np.ndarray
    target: np.ndarray

    def split(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Examples `x [B, D]` as `(observed [B, D1], target [B, D2])`."""
        return tf.gather(x, self.observed, axis=1), tf.gather(x, self.target, axis=1)

    @classmethod
    def from_mask(cls, mask: np.ndarray) -> ObservedPart:
        """From a flat mask `[D]`, true where a pixel is observed."""
        return cls(*(np.flatnonzero(part).astype(np.int32) for part in (mask, ~mask)))


def observed_part(observed: str, dataset: Dataset) -> ObservedPart:
    """The division that `--observed` asks for.

    Args:
      observed: `top` or `left` half of an image; a fraction of the pixels, row by row from the top; or the path of an
        `.npy` file with a mask, 1 where a pixel is observed and 0 elsewhere, of the shape of an example or flat.
      dataset: what is to be divided.

    Raises:
      UserError: it is none of these, does not fit the data, or leaves nothing to observe or to predict.
    """
    num_pixels = dataset.num_pixels
    if observed in ("top", "left"):
        if dataset.image_shape is None:
            raise UserError(
                f"the examples of {dataset.name} are no images; give a fraction or a mask file", observed=observed
            )
        rows, columns = np.indices(dataset.image_shape)
        height, width = dataset.image_shape
        mask = rows < height // 2 if observed == "top" else columns < width // 2
    elif observed.endswith(".npy"):
        mask = _read_mask(observed, dataset)
    else:
        mask = np.arange(num_pixels) < round(_fraction(observed) * num_pixels)
    part = ObservedPart.from_mask(mask.ravel())
    if not len(part.observed) or not len(part.target):
        raise UserError(
            f"observes {len(part.observed)} of {num_pixels} pixels; must leave some on either side", observed=observed
        )
    return part


def _fraction(observed: str) -> float:
    try:
        fraction = float(observed)
    except ValueError:
        fraction = float("nan")
    if not 0 < fraction < 1:
        raise UserError("must be top, left, a fraction between 0 and 1, or the path of an .npy file", observed=observed)
    return fraction


def _read_mask(observed: str, dataset: Dataset) -> np.ndarray:
    path = user_path(observed=observed)
    try:
        with path.open("rb") as file:
            shape = headers.of_array(file).shape  # before memory is taken for it
    except Exception as error:  # whatever a damaged file makes NumPy raise
        raise UserError(
            f"cannot be read: must hold one array, as np.save writes it ({str(error)[:100]})", observed=observed
        ) from error
    shapes = [(dataset.num_pixels,)] + ([dataset.image_shape] if dataset.image_shape else [])
    if shape not in shapes:
        wanted = " or ".join(map(str, shapes))
        raise UserError(f"has shape {shape}, must have {wanted} as an example of {dataset.name}", observed=observed)
    try:
        mask = np.load(path, allow_pickle=False)
    except Exception as error:
        raise UserError(f"cannot be read as an array ({error})", observed=observed) from error
    if mask.dtype.kind not in "buif" or not np.all((mask == 0) | (mask == 1)):
        raise UserError("must contain zeros and ones only", observed=observed)
    return mask.astype(bool)
