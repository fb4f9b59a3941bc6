"""OMNIGLOT, 28x28 grey levels, in the split of Burda et al.: 23,000 / 1,345 / 8,070 images, ordered by alphabet.

References:
  B. Lake, R. Salakhutdinov, J. Tenenbaum, Human-level concept learning through probabilistic program induction, 2015.
  Y. Burda, R. Grosse, R. Salakhutdinov, Importance weighted autoencoders, ICLR 2016 (the split and the file).
"""

import io
from pathlib import Path

import numpy as np
import scipy.io
from absl import logging

from dvae.data.files import PublishedFile, digest_of, fetch
from dvae.data.parts import Parts
from dvae.errors import UserError

SIDE = 28
SHAPES = {"data": (SIDE**2, 24345), "testdata": (SIDE**2, 8070)}
NUM_VALID = 1345
PUBLISHED = PublishedFile(
    "https://raw.githubusercontent.com/yburda/iwae/master/datasets/OMNIGLOT/chardata.mat",
    "git blob sha1",
    "016a3536ffe5e1d38e42563a18d7a78bfaf643ec",
)


def load(data_dir: Path) -> Parts:
    """Reads `data_dir/omniglot/chardata.mat`, downloaded if missing. The last 1,345 training images are for validation.

    A file that is already there may be a reconstruction of the published one (the drawings are public, their exact
    resizing is not): it is used, with a warning, if its arrays have the names and shapes of the original.
    """
    path = data_dir / "omniglot" / "chardata.mat"
    content = fetch(PUBLISHED, path)
    arrays = _read_mat(content, path)
    train, test = upright(arrays["data"]), upright(arrays["testdata"])
    digest = digest_of(content, PUBLISHED.algorithm)
    if digest != PUBLISHED.digest:
        logging.warning(
            f"{path} is not the published file ({PUBLISHED.algorithm} is {digest}, published {PUBLISHED.digest}): "
            "results are on a reconstruction of the split of Burda et al."
        )
    return Parts(train[:-NUM_VALID], train[-NUM_VALID:], test, source=str(path))


def upright(columns: np.ndarray) -> np.ndarray:
    """Turns images stored one a column, each in column-major (MATLAB) order, [784, n], into rows-first [n, 28, 28]."""
    return columns.reshape(SIDE, SIDE, -1).transpose(2, 1, 0)


def _read_mat(content: bytes, path: Path) -> dict[str, np.ndarray]:
    try:
        arrays = scipy.io.loadmat(io.BytesIO(content), variable_names=list(SHAPES))
    except Exception as error:  # noqa: BLE001 - a damaged file can make loadmat raise nearly anything
        raise UserError(
            f"{path}: must be a whole MATLAB file, cannot be read: {error}; delete it to download it"
        ) from None
    for key, shape in SHAPES.items():
        found = arrays[key].shape if key in arrays else "missing"
        if found != shape:
            raise UserError(f"{path}: array {key} is {found}, must be {shape}")
    return arrays
