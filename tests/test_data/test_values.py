"""Kinds of values: what each takes, what is said of the rest, how they are shown, and examples set aside."""

import numpy as np
import pytest

from data_cases import raises, toy_splits
from dvae import data
from dvae.data.parts import SPLIT_SEED
from dvae.data.values import VALUES, grey_levels
from dvae.systems import LIKELIHOODS

RNG = np.random.default_rng(0)
FITTING = {
    "binary": RNG.integers(0, 2, [9, 6]),
    "unit": RNG.random([9, 6]),
    "real": RNG.normal(50, 20, [9, 6]),
    "non_negative": np.where(RNG.random([9, 6]) < 0.5, 0, RNG.lognormal(0, 3, [9, 6])),
}


def made(train, values, **given):
    return data.make_dataset("mine", train=train, valid=train[:2], test=train[:3], values=values, **given)


def test_every_likelihood_says_what_values_it_takes():
    assert set(FITTING) == set(VALUES)
    for name, likelihood in LIKELIHOODS.items():
        assert [kind for kind in VALUES if name in VALUES[kind].likelihoods] == [likelihood.values]


@pytest.mark.parametrize("values", ["unit", "real", "non_negative"])
def test_real_values_are_kept_as_they_are(values):
    dataset = made(FITTING[values], values)
    assert (dataset.values, dataset.dynamic, dataset.train.dtype) == (values, False, np.float32)
    for split, num in (("train", 9), ("valid", 2), ("test", 3)):
        np.testing.assert_array_equal(dataset.split(split), FITTING[values][:num].astype(np.float32))
    assert made(FITTING[values] + 1e-3, "real").checksum != made(FITTING[values], "real").checksum


def test_grey_images_are_binarized_for_bernoulli_alone():
    grey = FITTING["unit"]
    assert made(grey, "binary").dynamic
    assert set(np.unique(made(grey, "binary").test)) <= {0, 1}
    assert not made(grey, "unit").dynamic


def spoiled(values, value):
    array = FITTING[values].astype(float)
    array[4, 2] = value
    return array


@pytest.mark.parametrize(
    ("values", "array", "words"),
    [
        ("unit", FITTING["real"], ["must be in [0, 1]", "gaussian"]),
        ("unit", FITTING["non_negative"] + 2, ["must be in [0, 1]", "zero_inflated", "non_negative"]),
        ("real", spoiled("real", np.nan), ["contains nan, values must be finite numbers (1 are missing"]),
        ("real", spoiled("real", -np.inf), ["contains -inf, values must be finite numbers"]),
        ("real", spoiled("real", 1e39), ["contains 1e+39, values must be numbers of float32"]),
        ("real", np.ones([9, 6]), ["array train has 9 examples that are all alike"]),
        ("non_negative", spoiled("non_negative", -0.25), ["contains -0.25, values must be 0 or above", "clip(0)"]),
        ("non_negative", spoiled("non_negative", np.inf), ["contains inf"]),
        ("non_negative", np.zeros([9, 6]), ["array train has no value of 1e-30 or above"]),
        ("colour", FITTING["real"], ["values='colour': must be one of binary, unit, real, non_negative"]),
    ],
)
def test_what_does_not_fit_is_one_line(values, array, words):
    with raises(*words):
        made(array, values)


@pytest.mark.parametrize("values", VALUES)
def test_all_values_are_shown_in_grey(values):
    """In order, the extremes apart from each other, whatever their unit."""
    train = FITTING[values].astype(np.float32)
    levels = grey_levels(train, values)
    shown, order = levels(train), np.argsort(train, axis=None)
    assert shown.min() >= 0
    assert shown.max() <= 1
    assert np.all(np.diff(shown.ravel()[order]) >= 0)
    assert shown.max() - shown.min() > 0.9
    if values in ("real", "non_negative"):
        np.testing.assert_allclose(grey_levels(1000 * train, values)(1000 * train), shown, atol=1e-4)


def test_examples_are_set_aside_by_a_fixed_seed():
    rows = np.arange(40)[:, None] * np.ones(3) / 40
    dataset = data.make_dataset("mine", train=rows, values="unit", valid_fraction=0.1, test_fraction=0.25)
    assert dict(dataset.set_aside) == {"test": 0.25, "valid": 0.1}
    numbers = {split: np.round(dataset.split(split)[:, 0] * 40).astype(int) for split in data.dataset.SPLITS}
    assert [len(numbers[split]) for split in ("train", "valid", "test")] == [26, 4, 10]
    assert sorted(np.concatenate(list(numbers.values()))) == list(range(40))
    assert all(list(some) == sorted(some) for some in numbers.values())
    np.testing.assert_array_equal(numbers["test"], np.sort(np.random.default_rng(SPLIT_SEED).permutation(40)[:10]))
    again = data.make_dataset("mine", train=rows, values="unit", valid_fraction=0.1, test_fraction=0.25)
    assert again.checksum == dataset.checksum


def test_what_a_source_has_is_not_set_aside():
    splits = toy_splits()
    dataset = data.make_dataset("mine", **splits, valid_fraction=0.5, test_fraction=0.5)
    assert dict(dataset.set_aside) == {}
    np.testing.assert_array_equal(dataset.train, splits["train"])
    only_valid = data.make_dataset("mine", **(splits | {"valid": None}), valid_fraction=0.01)
    assert (len(only_valid.train), len(only_valid.valid), len(only_valid.test)) == (6, 1, 4)


def test_nothing_left_to_train_on():
    with raises("mine: has 2 examples, of which none are left to train on"):
        data.make_dataset("mine", train=np.eye(2), valid_fraction=0.5, test_fraction=0.5)
    with raises("mine: has no test split; test_fraction=0.1 sets a tenth"):
        data.make_dataset("mine", train=np.eye(9), valid_fraction=0.5)


class Frame:
    """A table by NumPy's protocol, which is how pandas' DataFrames become arrays: of objects where a column is text."""

    def __init__(self, columns):
        self.columns = columns

    def __array__(self, dtype=None, copy=None):
        [kind, *others] = {column.dtype for column in self.columns}
        return np.stack([column.astype(object if others else kind) for column in self.columns], axis=1)


def test_a_table_that_becomes_an_array():
    columns = list(FITTING["real"].T)
    dataset = data.make_dataset("t", train=Frame(columns), valid=Frame(columns), test=Frame(columns), values="real")
    np.testing.assert_array_equal(dataset.train, FITTING["real"].astype(np.float32))
    with raises("array train has dtype object", "columns of text"):
        data.make_dataset("t", train=Frame([*columns, np.full(9, "a")]), valid=Frame(columns), test=Frame(columns))
