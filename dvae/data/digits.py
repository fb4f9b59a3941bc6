"""The handwritten digits that come with scikit-learn: 1,797 images of 8x8 pixels in 17 grey levels."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from dvae.data.parts import Parts

NUM_TRAIN, NUM_VALID, NUM_TEST = 1297, 200, 300
SHUFFLE_SEED = 2018


def load(data_dir: Path) -> Parts:
    """Shuffles the images with a fixed seed into 1,297 / 200 / 300; a pixel is 1 with probability level / 16.

    Args:
      data_dir: not needed, the images are part of the package.
    """
    del data_dir
    grey = load_digits().images / 16.0  # [1797, 8, 8]
    shuffled = grey[np.random.default_rng(SHUFFLE_SEED).permutation(len(grey))]
    train, valid, test = np.split(shuffled, [NUM_TRAIN, NUM_TRAIN + NUM_VALID])
    return Parts(train, valid, test, source="digits")
