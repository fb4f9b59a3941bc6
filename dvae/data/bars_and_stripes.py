"""Bars and stripes, generated: a distribution that is known exactly and small enough to enumerate.

A 4x4 image is made by choosing the orientation (rows or columns) with probability 1/2, then switching each of the four
lines on with probability 1/2.

References:
  D. MacKay, Information Theory, Inference, and Learning Algorithms, 2003, chapter 43.
"""

import itertools
import math
from pathlib import Path

import numpy as np

from dvae.data.parts import Parts

SIDE = 4
TRAIN_COPIES, VALID_COPIES, TEST_COPIES = 100, 10, 10


def outcomes() -> np.ndarray:
    """The 32 equally probable outcomes, uint8 [32, 4, 4]; the empty and the full image occur twice each."""
    lines = np.array(list(itertools.product([0, 1], repeat=SIDE)), np.uint8)  # [16, 4]
    rows = np.repeat(lines[:, :, None], SIDE, axis=2)
    return np.concatenate([rows, rows.transpose(0, 2, 1)])


def entropy() -> float:
    """The entropy of the distribution in nats, about 3.379: the smallest mean NLL that a model can have on each split.

    Of the 32 outcomes of probability 1/32, 28 are different images; the other four are the empty and the full image,
    each of which both orientations make, with probability 2/32 = 1/16 each:

        H = -28 * 1/32 log(1/32) - 2 * 1/16 log(1/16) = 0.875 log 32 + 0.125 log 16
    """
    return 0.875 * math.log(32) + 0.125 * math.log(16)


def load(data_dir: Path) -> Parts:
    """Every split holds each outcome equally often, so that its empirical distribution is the exact one.

    Copies of an outcome stand together, so that evenly spread subsets (`spread`) stay balanced too.

    Args:
      data_dir: not needed, the images are generated.
    """
    del data_dir
    images = outcomes()
    return Parts(
        train=np.repeat(images, TRAIN_COPIES, axis=0),
        valid=np.repeat(images, VALID_COPIES, axis=0),
        test=np.repeat(images, TEST_COPIES, axis=0),
        source="bars_and_stripes",
    )
