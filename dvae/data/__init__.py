"""Data sets by name: one file a source, all of them handed out as a `Dataset`."""

from collections.abc import Callable
from pathlib import Path

from dvae.data import bars_and_stripes, binarized_mnist, digits, npz, omniglot
from dvae.data.batching import BatchOrder
from dvae.data.dataset import Dataset, binarize, make_dataset, spread
from dvae.errors import UserError
from dvae.files import user_path

__all__ = ["LOADERS", "BatchOrder", "Dataset", "binarize", "load_dataset", "make_dataset", "spread"]

LOADERS: dict[str, Callable[[Path], Dataset]] = {
    "digits": digits.load,
    "bars_and_stripes": bars_and_stripes.load,
    "binarized_mnist": binarized_mnist.load,
    "omniglot": omniglot.load,
}


def load_dataset(name: str, data_dir: str | Path) -> Dataset:
    """Loads a data set.

    Args:
      name: a key of `LOADERS`, or the path of an `.npz` file (see `dvae.data.npz`).
      data_dir: the folder of the published files; a missing file is downloaded into it.

    Raises:
      UserError: for an unknown name, and for data that cannot be had or breaks a rule.
    """
    if name in LOADERS:
        return LOADERS[name](user_path(data_dir=data_dir))
    if name.endswith(".npz"):
        return npz.load(user_path(dataset=name))
    raise UserError(f"must be one of {', '.join(LOADERS)} or the path of an .npz file", dataset=name)
