"""Data sets by name: one file a source, all of them handed out as a `Dataset`."""

from collections.abc import Callable
from pathlib import Path

from dvae.data import bars_and_stripes, binarized_mnist, digits, omniglot, paths
from dvae.data.batching import BatchOrder
from dvae.data.dataset import Dataset, binarize, make_dataset, spread
from dvae.data.parts import Parts
from dvae.data.values import BINARY, VALUES
from dvae.errors import UserError
from dvae.files import user_path

__all__ = ["LOADERS", "VALUES", "BatchOrder", "Dataset", "binarize", "load_dataset", "make_dataset", "spread"]

LOADERS: dict[str, Callable[[Path], Parts]] = {
    "digits": digits.load,
    "bars_and_stripes": bars_and_stripes.load,
    "binarized_mnist": binarized_mnist.load,
    "omniglot": omniglot.load,
}


def load_dataset(
    name: str,
    data_dir: str | Path = "data",
    *,
    values: str = BINARY,
    valid_fraction: float | None = None,
    test_fraction: float | None = None,
) -> Dataset:
    """Loads a data set.

    Args:
      name: a key of `LOADERS`, or the path of a file or folder (see `dvae.data.paths`).
      data_dir: the folder of the published files; a missing file is downloaded into it.
      values, valid_fraction, test_fraction: as for `make_dataset`.

    Raises:
      UserError: for an unknown name, and for data that cannot be had or breaks a rule.
    """
    if name in LOADERS:
        parts = LOADERS[name](user_path(data_dir=data_dir))
    elif _is_path(name):
        parts = paths.load(user_path(dataset=name))
    else:
        raise UserError(f"must be one of {', '.join(LOADERS)} or the path of a file or folder", dataset=name)
    dataset = make_dataset(
        name,
        train=parts.train,
        valid=parts.valid,
        test=parts.test,
        values=values,
        valid_fraction=valid_fraction,
        test_fraction=test_fraction,
        source=parts.source,
    )
    return dataset._replace(is_named=True)


def _is_path(name: str) -> bool:
    """A word that is no name of a data set may be a folder's; anything with a suffix or a slash is meant as a path."""
    return bool(name) and ("/" in name or bool(Path(name).suffix) or user_path(dataset=name).exists())
