"""What every data set promises: splits, binarization, subsets, and names."""

import itertools
import math

import numpy as np
import pytest

from data_cases import raises, toy_splits
from dvae import data
from dvae.data.dataset import BINARIZATION_SEEDS
from dvae.data.parts import Parts
from dvae.errors import UserError


def test_user_error_is_one_line():
    assert str(UserError("first\nsecond\r\nthird")) == "first second third"


# What every data set promises


def small_npz(path, train):
    np.savez(path, **(toy_splits() | {"train": train}))
    return str(path)


@pytest.mark.parametrize("name", ["digits", "bars_and_stripes", "binary.npz", "grey.npz"])
def test_dataset_invariants(name, tmp_path):
    if name.endswith(".npz"):
        grey = np.random.default_rng(0).random((7, 6))
        name = small_npz(tmp_path / name, grey if name == "grey.npz" else grey > 0.5)
    dataset = data.load_dataset(name, tmp_path)
    assert dataset.name == name
    assert dataset.dynamic == (dataset.train.dtype == np.float32)
    assert dataset.dynamic or dataset.train.dtype == np.uint8
    assert dataset.num_pixels == dataset.train.shape[1]
    if dataset.image_shape is not None:
        assert math.prod(dataset.image_shape) == dataset.num_pixels
    for split in ("train", "valid", "test"):
        binary = dataset.split(split)
        assert binary.dtype == np.uint8
        assert binary.shape == getattr(dataset, split).shape
        assert set(np.unique(binary)) <= {0, 1}
        np.testing.assert_array_equal(binary, dataset.split(split))  # drawn with a fixed seed
    again = data.load_dataset(name, tmp_path)
    assert again.checksum == dataset.checksum
    np.testing.assert_array_equal(again.valid, dataset.valid)


def test_every_name_is_loaded_from_the_table(tmp_path, monkeypatch):
    assert list(data.LOADERS) == ["digits", "bars_and_stripes", "binarized_mnist", "omniglot"]
    splits = toy_splits()
    monkeypatch.setitem(data.LOADERS, "omniglot", lambda data_dir: Parts(**splits, source=str(data_dir)))
    np.testing.assert_array_equal(data.load_dataset("omniglot", str(tmp_path)).test, splits["test"])


@pytest.mark.parametrize("name", ["foo", "", "npz", "Digits"])
def test_unknown_dataset(name, tmp_path):
    with raises(f"dataset={name!r}: must be one of digits, bars_and_stripes, binarized_mnist, omniglot or", "folder"):
        data.load_dataset(name, tmp_path)


def test_unknown_split(tmp_path):
    with raises("split='validation'", "train, valid, test"):
        data.load_dataset("bars_and_stripes", tmp_path).split("validation")


def test_checksum_sees_every_change():
    splits = toy_splits()

    def checksum(**changes):
        return data.make_dataset("toy", **(splits | changes)).checksum

    flipped = splits["test"].copy()
    flipped[-1, -1] ^= 1
    grey = splits["train"] * 0.5
    changed = [
        checksum(test=flipped),
        checksum(train=grey),
        checksum(train=splits["train"][::-1]),
        checksum(valid=splits["test"], test=splits["valid"]),
        data.make_dataset("toy", **{name: array.reshape(-1, 2) for name, array in splits.items()}).checksum,
    ]
    assert len({checksum(), *changed}) == 1 + len(changed)
    assert checksum(train=splits["train"].astype(np.float64)) == checksum()  # the same data, stored otherwise
    assert checksum(train=np.asfortranarray(splits["train"])) == checksum()


# Binarization and subsets


def test_binarize_draws_each_pixel_with_its_probability():
    probabilities = np.array([0.0, 0.1, 0.5, 0.9, 1.0], np.float32)
    num_draws = 40_000
    binary = data.binarize(np.tile(probabilities, (num_draws, 1)), seed=3)
    standard_error = np.sqrt(probabilities * (1 - probabilities) / num_draws)
    assert np.all(np.abs(binary.mean(axis=0) - probabilities) <= 5 * standard_error)  # exact at 0 and at 1
    correlations = np.corrcoef(binary[:, 1:4].T)[np.triu_indices(3, 1)]
    assert np.all(np.abs(correlations) < 5 / math.sqrt(num_draws))  # pixels are drawn independently


def test_binarize_depends_on_the_seed_only():
    grey = np.full((50, 20), 0.5)
    np.testing.assert_array_equal(data.binarize(grey, 1), data.binarize(grey, 1))
    assert np.any(data.binarize(grey, 1) != data.binarize(grey, 2))
    assert len(set(BINARIZATION_SEEDS.values())) == 3


def test_spread_published_subsets():
    x = np.arange(10_000)
    np.testing.assert_array_equal(x[data.spread(10_000, 1000)], x[::10])
    np.testing.assert_array_equal(x[data.spread(10_000, 500)], x[::20])


@pytest.mark.parametrize(("available", "wanted"), [*itertools.product([1, 7, 30], range(1, 33)), (8070, 999)])
def test_spread_is_even_and_distinct(available, wanted):
    indices = data.spread(available, wanted)
    num = min(available, wanted)
    assert indices.shape == (num,)
    assert len(set(indices.tolist())) == num
    assert indices.min() >= 0
    assert indices.max() < available
    gaps = np.diff(np.append(indices, available))
    assert set(gaps) <= {available // num, -(-available // num)} or num == 1  # no gap differs from another by over 1
    if 1 < num < available:
        assert indices[-1] > num - 1  # not the head


@pytest.mark.parametrize("wanted", [0, -5])
def test_spread_of_nothing(wanted):
    with raises(f"num_examples={wanted}", "at least 1"):
        data.spread(10, wanted)
