"""The order of the batches."""

import itertools
import math

import numpy as np
import pytest

from data_cases import raises
from dvae import data


def test_every_epoch_holds_each_example_at_most_once():
    order = data.BatchOrder(num_examples=23, batch_size=5, seed=1)
    assert order.batches_per_epoch == 4
    dropped = set()
    for epoch in range(20):
        batches = order.indices(4 * epoch, 4)
        assert batches.shape == (4, 5)
        assert batches.dtype == np.int32
        seen = set(batches.ravel().tolist())
        assert len(seen) == 20
        assert seen <= set(range(23))
        dropped |= set(range(23)) - seen
    assert len(dropped) > 10  # the remainder is another one in every epoch


def test_every_batch_is_equally_likely_to_hold_an_example():
    order = data.BatchOrder(num_examples=10, batch_size=5, seed=4)
    num_epochs = 2000
    first_batches = order.indices(0, 2 * num_epochs)[::2]
    counts = np.bincount(first_batches.ravel(), minlength=10)
    assert np.all(np.abs(counts / num_epochs - 0.5) < 5 * 0.5 / math.sqrt(num_epochs))


def test_order_continues_from_any_step():
    def new_order():
        return data.BatchOrder(num_examples=11, batch_size=3, seed=7)

    whole = new_order().indices(0, 20)
    for first, num in [(0, 1), (2, 1), (2, 2), (3, 5), (5, 15), (19, 1), (4, 0)]:
        np.testing.assert_array_equal(new_order().indices(first, num), whole[first : first + num])
    used = new_order()
    used.indices(12, 8)
    np.testing.assert_array_equal(used.indices(0, 20), whole)  # the past does not matter either


def test_order_differs_between_epochs_and_seeds():
    orders = [
        tuple(data.BatchOrder(num_examples=50, batch_size=50, seed=seed).indices(epoch, 1).ravel().tolist())
        for seed, epoch in itertools.product(range(4), range(4))
    ]
    assert len(set(orders)) == 16


def test_batch_of_all_examples():
    batches = data.BatchOrder(num_examples=4, batch_size=4, seed=0).indices(0, 3)
    np.testing.assert_array_equal(np.sort(batches, axis=1), np.tile(np.arange(4), (3, 1)))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batch_size": 11}, ["batch_size=11", "training examples (10)"]),
        ({"batch_size": 0}, ["batch_size=0", "at least 1"]),
        ({"seed": -1}, ["seed=-1", "at least 0"]),
    ],
)
def test_batch_order_settings(settings, words):
    with raises(*words):
        data.BatchOrder(**({"num_examples": 10, "batch_size": 2, "seed": 0} | settings))
