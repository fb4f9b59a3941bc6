"""Examples as one grey picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

COLUMNS = 10
_SIDE = 56  # small images are enlarged to about this many pixels
_WIDEST = 4096  # of an example that is shown as a line, so many pixels


def grid(probabilities: np.ndarray, image_shape: tuple[int, int] | None, *, columns: int = COLUMNS) -> np.ndarray:
    """Examples side by side, row by row, white where a pixel's probability is 1.

    Args:
      probabilities: `[n, D]` in [0, 1].
      image_shape: (height, width); None shows every example as a line.
      columns: examples in a row.

    Returns:
      uint8 `[height, width, 1]`.
    """
    if image_shape is None:
        probabilities = probabilities[:, :_WIDEST]
    num = len(probabilities)
    height, width = image_shape or (1, probabilities.shape[1])
    columns = columns if image_shape else 1
    rows = -(-num // columns)
    tiles = np.full((rows * columns, height + 1, width + 1), 0.5)  # a grey line between tiles
    tiles[:num, :height, :width] = probabilities.reshape(num, height, width)
    picture = tiles.reshape(rows, columns, height + 1, width + 1).transpose(0, 2, 1, 3)
    picture = picture.reshape(rows * (height + 1), columns * (width + 1))[:-1, :-1]
    factor = max(1, round(_SIDE / max(height, width)))
    return np.kron(np.round(255 * picture).astype(np.uint8), np.ones((factor, factor), np.uint8))[..., None]


def beside(*versions: np.ndarray) -> np.ndarray:
    """Rows of one version of some examples alternating with rows of the others, `[n, D]` each, as input for `grid`."""
    num, pixels = versions[0].shape
    columns = min(COLUMNS, num)
    stacked = np.stack([version[: num - num % columns] for version in versions])
    return stacked.reshape(len(versions), -1, columns, pixels).transpose(1, 0, 2, 3).reshape(-1, pixels)


def save(path: Path, picture: np.ndarray) -> None:
    """Writes a picture as PNG."""
    path.write_bytes(tf.io.encode_png(picture).numpy())
