"""A user's own data: an `.npz` file with the arrays train, valid and test."""

import zipfile
from pathlib import Path

import numpy as np

from dvae.data.dataset import SPLITS, Dataset, make_dataset
from dvae.errors import UserError


def load(path: Path) -> Dataset:
    """Reads the arrays `train`, `valid` and `test`, values in [0, 1] (see `make_dataset` for shapes and types).

    Training data of zeros and ones only is binary; any other is grey and binarized afresh in every batch.

    Raises:
      UserError: if the file is missing or damaged, or an array is missing or breaks a rule.
    """
    if not path.is_file():
        raise UserError("must be the path of an .npz file, there is no such file", dataset=str(path))
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path}: must be an .npz file, is truncated or something else")
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = archive.files
            arrays = {name: archive[name] for name in SPLITS if name in names}
    except Exception as error:  # noqa: BLE001 - a damaged file can make the zip and NumPy readers raise nearly anything
        raise UserError(f"{path}: must be an .npz file of plain arrays, cannot be read: {error}") from None
    for name in SPLITS:
        if name not in arrays:
            raise UserError(
                f"{path}: array {name} is missing, must hold train, valid and test (holds {', '.join(names)})"
            )
    return make_dataset(str(path), **arrays, source=str(path))
