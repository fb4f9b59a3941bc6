"""Users' own files: what is accepted, and every mistake."""

import io
import math
import pickle

import numpy as np
import pytest

from data_cases import raises, toy_splits
from dvae import data
from dvae.errors import UserError


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16, np.float32, np.float64, ">f8"])
@pytest.mark.parametrize("shape", [(16,), (4, 4), (4, 4, 1)])
def test_npz_shapes_and_types(tmp_path, dtype, shape):
    splits = toy_splits(num_pixels=16)
    path = tmp_path / "own.npz"
    np.savez_compressed(path, **{name: x.reshape(-1, *shape).astype(dtype) for name, x in splits.items()}, labels=[1])
    dataset = data.load_dataset(str(path), tmp_path)
    assert not dataset.dynamic
    assert dataset.image_shape == (4, 4)
    for name, pixels in splits.items():
        np.testing.assert_array_equal(dataset.split(name), pixels)
        assert dataset.split(name).dtype == np.uint8


def test_npz_grey_is_dynamic(tmp_path):
    grey = {name: np.random.default_rng(0).random((n, 12)) for name, n in [("train", 5), ("valid", 500), ("test", 500)]}
    np.savez(tmp_path / "grey.npz", **grey)
    dataset = data.load_dataset(str(tmp_path / "grey.npz"))
    assert dataset.dynamic
    assert dataset.image_shape is None  # 12 is not a square
    np.testing.assert_array_equal(dataset.train, grey["train"].astype(np.float32))
    assert abs(dataset.valid.mean() - 0.5) < 5 * 0.5 / math.sqrt(500 * 12)
    assert np.any(dataset.valid != dataset.test)  # the same grey values, other seeds


def test_npz_image_that_is_not_square(tmp_path):
    np.savez(tmp_path / "wide.npz", **{name: x.reshape(-1, 2, 8) for name, x in toy_splits(16).items()})
    assert data.load_dataset(str(tmp_path / "wide.npz")).image_shape == (2, 8)


def with_value(value, dtype=np.float64):
    train = np.zeros((7, 6), dtype)
    train[3, 2] = value
    return train


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"valid": None}, ["has no valid split", "valid_fraction=0.1"]),
        ({"train": None}, ["array train is missing", "holds valid, test, labels"]),
        ({"train": with_value(np.nan)}, ["array train contains nan", "[0, 1]"]),
        ({"train": with_value(np.inf)}, ["array train contains inf", "[0, 1]"]),
        ({"train": with_value(-0.25)}, ["array train contains -0.25", "[0, 1]"]),
        ({"train": with_value(1.5)}, ["array train contains 1.5", "[0, 1]"]),
        ({"train": with_value(255, np.uint8)}, ["array train contains 255", "[0, 1]", "by 255"]),
        ({"test": np.full((4, 6), 200, np.uint8)}, ["array test contains 200", "by 255"]),
        ({"train": with_value(-1, np.int8)}, ["array train contains -1", "[0, 1]"]),
        ({"test": np.zeros((4, 5))}, ["array test has 5 pixels", "must have 6"]),
        ({"train": np.zeros(6)}, ["array train has shape (6,)", "[n, D]"]),
        ({"train": np.float32(1)}, ["array train has shape ()", "[n, D]"]),
        ({"train": np.zeros((7, 1, 2, 3))}, ["array train has shape (7, 1, 2, 3)", "[n, H, W, 1]"]),
        ({"valid": np.zeros((0, 6))}, ["array valid has shape (0, 6)", "empty"]),
        ({"valid": np.zeros((6, 0))}, ["array valid has shape (6, 0)", "empty"]),
        ({"train": np.zeros((7, 2, 3)), "test": np.zeros((4, 3, 2))}, ["array test has images of (3, 2)", "(2, 3)"]),
        ({"train": np.zeros((7, 2, 3, 3))}, ["[n, H, W, 1]", "colours"]),
        ({"train": np.full((7, 6), "1")}, ["array train has dtype <U1", "float", "columns of text"]),
        ({"train": np.zeros((7, 6), complex)}, ["array train has dtype complex128", "float"]),
        ({"train": np.full((7, 6), None)}, ["cannot be read"]),  # pickled objects
    ],
)
def test_npz_array_that_breaks_a_rule(tmp_path, change, words):
    path = tmp_path / "own.npz"
    arrays = toy_splits() | change | {"labels": np.arange(7)}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with raises(path, *words):
        data.load_dataset(str(path), tmp_path)


def test_npz_never_unpickles(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    np.savez(tmp_path / "own.npz", **(toy_splits() | {"valid": np.array([Trap()], object)}))
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Trap()))
    for name in ("own.npz", "pickle.npz"):
        with raises(name):
            data.load_dataset(str(tmp_path / name), tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_npz_damaged_file(tmp_path):
    path = tmp_path / "own.npz"
    np.savez_compressed(path, **toy_splits())
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[60] ^= 0xFF  # inside the first compressed array
    array = io.BytesIO()
    np.save(array, np.zeros((3, 4)))
    for damaged in (b"", b"PK", content[: len(content) // 2], content[:-1], bytes(flipped), array.getvalue(), b"a\nb"):
        path.write_bytes(damaged)
        with raises(path):
            data.load_dataset(str(path), tmp_path)


def test_npz_missing_file(tmp_path):
    with raises(f"dataset={str(tmp_path / 'absent.npz')!r}", "no such file"):
        data.load_dataset(str(tmp_path / "absent.npz"), tmp_path)
    (tmp_path / "folder.npz").mkdir()
    with raises(f"dataset={str(tmp_path / 'folder.npz')!r}", "no such file"):
        data.load_dataset(str(tmp_path / "folder.npz"), tmp_path)


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ([0.0, 1.0000001, 0.5], None),  # rounding of an interpolation: clipped
        ([-1e-7, 1.0, 0.5], None),
        ([1.0, 7.9, 3.3], "zero_inflated"),  # lengths
        ([0, 3, 12], "zero_inflated"),  # counts
        ([0, 17, 255], "by 255"),
        ([0.0, 254.5, 3.0], "zero_inflated"),
        ([-1, 1, 1], "spins"),
        ([-3, 0, 3], "gaussian"),
        ([0.0, np.inf, 1.0], ""),
        ([0.0, np.nan, 1.0], "missing"),
    ],
)
def test_advice_fits_what_the_values_look_like(values, hint):
    """Following it must not ruin the data: lengths divided by 255 are all black."""
    rows = np.tile(np.array(values), (4, 2))
    given = dict.fromkeys(("train", "valid", "test"), rows)
    if hint is None:
        dataset = data.make_dataset("mine", **given)
        assert 0 <= dataset.train.min() <= dataset.train.max() <= 1
        return
    with pytest.raises(UserError, match=r"values must be in \[0, 1\]") as caught:
        data.make_dataset("mine", **given)
    advice = str(caught.value).partition("[0, 1]")[2]
    assert (hint in advice) if hint else not advice
    assert ("255" in advice) == (hint == "by 255")


@pytest.mark.parametrize(
    "name", ["~nosuchuser/x.npz", "s3://bucket/x.npz", "\udcff.npz", "a\0b.npz", "a" * 300 + ".npz"]
)
def test_what_is_no_path_here_is_one_line(name):
    with pytest.raises(UserError, match=r"dataset=.*must be a path") as caught:
        data.load_dataset(name, ".")
    assert "\n" not in str(caught.value)
    str(caught.value).encode("utf-8")
