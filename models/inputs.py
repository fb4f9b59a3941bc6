"""What an encoder is shown of an example: centred, and where values have no natural size, of the order of 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf


class Inputs:
    """A fixed map from examples to an encoder's inputs, `[B, D]` to `[B, D]`.

    Attributes:
      num_pixels: D.

    Args:
      num_pixels: D.
      of: the map.
    """

    def __init__(self, num_pixels: int, of: Callable[[tf.Tensor], tf.Tensor]) -> None:
        self.num_pixels, self._of = num_pixels, of

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return self._of(x)


def mean_example(examples: np.ndarray) -> np.ndarray:
    """The mean of `examples [n, D]`, float32 `[D]`."""
    return examples.mean(axis=0, dtype=np.float64).astype(np.float32)


def centred(examples: np.ndarray) -> Inputs:
    """`x - mean`, the mean that of `examples [n, D]`; as published."""
    mean = mean_example(examples)
    return Inputs(len(mean), lambda x: x - mean)


def standardised(examples: np.ndarray, unit: np.ndarray) -> Inputs:
    """`(x - mean) / unit`; `unit` is a number or `[D]`."""
    mean, unit = mean_example(examples), np.asarray(unit, np.float32)
    return Inputs(len(mean), lambda x: (x - mean) / unit)


def logarithmic(examples: np.ndarray, typical: float) -> Inputs:
    """`(log(1 + x / typical) - mean) / deviation` of examples of 0 and above, of whatever orders of magnitude.

    The mean is that of each pixel, the deviation that of all pixels around theirs.
    """
    curved = np.log1p(examples.astype(np.float64) / typical)
    mean = mean_example(curved)
    deviation = np.float32(root_mean_square_deviation(curved) or 1.0)
    scale = np.float32(typical)
    return Inputs(len(mean), lambda x: (tf.math.log1p(x / scale) - mean) / deviation)


def root_mean_square_deviation(examples: np.ndarray) -> float:
    """Of all pixels from their means: `sqrt(mean_d var_d)`."""
    return float(np.sqrt(np.var(examples, axis=0, dtype=np.float64).mean()))
