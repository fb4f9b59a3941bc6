"""Statically binarized MNIST: 50,000 / 10,000 / 10,000 images of 28x28 pixels. The test file is ordered by digit.

References:
  R. Salakhutdinov and I. Murray, On the quantitative analysis of deep belief networks, ICML 2008.
  H. Larochelle and I. Murray, The neural autoregressive distribution estimator, AISTATS 2011 (the split).
"""

from pathlib import Path

import numpy as np

from dvae.data.files import PublishedFile, fetch, verify
from dvae.data.parts import Parts
from dvae.errors import UserError

NUM_PIXELS = 784
SHA256 = {
    "train": "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d",
    "valid": "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2",
    "test": "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c",
}
URL = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/binarized_mnist_{split}.amat"


def load(data_dir: Path) -> Parts:
    """Reads `data_dir/binarized_mnist/binarized_mnist_{train,valid,test}.amat`, downloaded if missing."""
    splits = {}
    for split, digest in SHA256.items():
        published = PublishedFile(URL.format(split=split), "sha256", digest)
        path = data_dir / "binarized_mnist" / f"binarized_mnist_{split}.amat"
        text = fetch(published, path)
        verify(published, path, text)
        splits[split] = parse_amat(text, num_pixels=NUM_PIXELS, source=str(path))
    return Parts(**splits, source=str(data_dir / "binarized_mnist"))


def parse_amat(text: bytes, *, num_pixels: int, source: str) -> np.ndarray:
    """Parses lines of `num_pixels` digits 0 or 1 with one space between, uint8 [n, num_pixels].

    Every line has the same length, so the file is a matrix of characters: its even columns are the pixels.

    Raises:
      UserError: names `source` and the first line with another layout.
    """
    width = 2 * num_pixels
    num_lines = len(text) // width
    characters = np.frombuffer(text, np.uint8, count=num_lines * width).reshape(num_lines, width)
    pixels = characters[:, 0::2] - ord("0")  # any other character wraps around to more than 1
    good = (
        (pixels <= 1).all(axis=1) & (characters[:, 1:-1:2] == ord(" ")).all(axis=1) & (characters[:, -1] == ord("\n"))
    )
    if not good.all() or num_lines * width != len(text) or not num_lines:
        line = num_lines if good.all() else int(np.argmin(good))
        raise UserError(
            f"{source}: line {line + 1} must be {num_pixels} digits 0 or 1, one space between, and a newline"
        )
    return pixels
