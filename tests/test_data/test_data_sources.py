"""The data sets by source: contents, and every mistake in their files. Needs no network."""

import collections
import hashlib
import io
import itertools
import math

import numpy as np
import pytest
import scipy.io
import sklearn.datasets
from absl import logging

from data_cases import forbidden_download, raises, toy_splits
from dvae import data
from dvae.data import bars_and_stripes, binarized_mnist, files, omniglot

# Digits


def test_digits_are_those_of_scikit_learn(tmp_path):
    load_digits = sklearn.datasets.load_digits
    dataset = data.load_dataset("digits", tmp_path)
    assert (len(dataset.train), len(dataset.valid), len(dataset.test)) == (1297, 200, 300)
    assert dataset.image_shape == (8, 8)
    assert dataset.dynamic
    levels = collections.Counter(map(bytes, load_digits().data.astype(np.uint8)))
    train = collections.Counter(map(bytes, np.round(dataset.train * 16).astype(np.uint8)))
    assert train <= levels  # every training image is one of them, and none is used twice
    left = np.array([list(image) for image in (levels - train).elements()])
    assert len(left) == 500
    assert abs(dataset.valid.mean() - left.mean() / 16) < 0.03
    assert abs(dataset.test.mean() - left.mean() / 16) < 0.03


# Bars and stripes


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_bars_and_stripes_is_the_exact_distribution(split, tmp_path):
    exact = collections.Counter()  # by enumeration of the process that makes an image
    for orientation, lines in itertools.product("-|", itertools.product([0, 1], repeat=4)):
        image = [[lines[row if orientation == "-" else column] for column in range(4)] for row in range(4)]
        exact[tuple(itertools.chain(*image))] += 1 / 2 * 1 / 16
    dataset = data.load_dataset("bars_and_stripes", tmp_path)
    examples = dataset.split(split)
    counts = collections.Counter(map(tuple, examples.tolist()))
    assert {image: count / len(examples) for image, count in counts.items()} == exact
    assert len(examples) == {"train": 3200, "valid": 320, "test": 320}[split]
    assert not dataset.dynamic
    assert dataset.image_shape == (4, 4)

    nll_of_perfect_model = -np.mean([math.log(exact[tuple(x)]) for x in examples.tolist()])
    assert bars_and_stripes.entropy() == pytest.approx(nll_of_perfect_model, rel=1e-12)
    assert bars_and_stripes.entropy() == pytest.approx(-sum(p * math.log(p) for p in exact.values()), rel=1e-12)


def test_bars_and_stripes_subsets_stay_balanced(tmp_path):
    train = data.load_dataset("bars_and_stripes", tmp_path).train
    subset = train[data.spread(len(train), 64)]
    counts = collections.Counter(map(bytes, subset))
    assert sorted(counts.values()) == [2] * 28 + [4] * 2  # the empty and the full image twice


# Binarized MNIST


def amat(pixels):
    return "".join(" ".join(map(str, row)) + "\n" for row in pixels.tolist()).encode()


@pytest.mark.parametrize("num_pixels", [1, 2, 6])
def test_parse_amat_agrees_with_numpy(num_pixels):
    text = amat(toy_splits(num_pixels)["train"])
    expected = np.loadtxt(io.BytesIO(text), ndmin=2)
    pixels = binarized_mnist.parse_amat(text, num_pixels=num_pixels, source="x.amat")
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"", 1),
        (b"\n", 1),
        (b"0 1 1\n1 0 0", 2),  # the last newline is missing
        (b"0 1 1\n1 0\n", 2),  # truncated
        (b"0 1 1\n1 0 0\n\n", 3),
        (b"0 1 1\n1 2 0\n", 2),
        (b"0 1 1\n1 / 0\n", 2),  # the character before 0
        (b"0 1 1\n1\t0 0\n", 2),
        (b"0 1 1\n1,0,0\n", 2),
        (b"0 1 1 1 0 0\n", 1),  # one line twice as long
        (b"0 1 1\r\n1 0 0\r\n", 1),
        (b"0 1\n0 1\n0 1\n", 1),  # another width, same total size
        (b"<html></html>", 1),
    ],
)
def test_parse_amat_refuses_another_layout(text, line):
    with raises("x.amat", f"line {line} must be 3 digits"):
        binarized_mnist.parse_amat(text, num_pixels=3, source="x.amat")


@pytest.fixture
def small_mnist(tmp_path, monkeypatch):
    """A folder with a small set of files, whose checksums stand in for the published ones."""
    splits = toy_splits(num_pixels=16)
    folder = tmp_path / "binarized_mnist"
    folder.mkdir()
    for name, pixels in splits.items():
        (folder / f"binarized_mnist_{name}.amat").write_bytes(amat(pixels))
        monkeypatch.setitem(binarized_mnist.SHA256, name, hashlib.sha256(amat(pixels)).hexdigest())
    monkeypatch.setattr(binarized_mnist, "NUM_PIXELS", 16)
    monkeypatch.setattr(files.keras.utils, "get_file", forbidden_download)
    return tmp_path, splits


def test_binarized_mnist_files(small_mnist):
    data_dir, splits = small_mnist
    dataset = data.load_dataset("binarized_mnist", data_dir)
    assert not dataset.dynamic
    assert dataset.image_shape == (4, 4)
    for name, pixels in splits.items():
        np.testing.assert_array_equal(dataset.split(name), pixels)


def test_binarized_mnist_checksum_mismatch(small_mnist):
    data_dir, _ = small_mnist
    path = data_dir / "binarized_mnist" / "binarized_mnist_test.amat"
    path.write_bytes(path.read_bytes()[:-1])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with raises(
        path, f"sha256 is {digest}, expected {binarized_mnist.SHA256['test']}", "delete it to download it again"
    ):
        data.load_dataset("binarized_mnist", data_dir)
    assert path.exists()  # the user's file is left alone


# OMNIGLOT


@pytest.fixture
def small_omniglot(tmp_path, monkeypatch):
    """chardata.mat with few images and its path; image n has a single bright row-0, column-n pixel."""
    monkeypatch.setattr(omniglot, "SHAPES", {"data": (784, 9), "testdata": (784, 4)})
    monkeypatch.setattr(omniglot, "NUM_VALID", 2)
    monkeypatch.setattr(files.keras.utils, "get_file", forbidden_download)
    images = np.zeros((9, 28, 28))
    for n in range(9):
        images[n, 0, n] = 1.0  # top edge
        images[n, 27, 0] = 0.25  # bottom left
    columns = np.stack([image.flatten(order="F") for image in images], axis=1)
    path = tmp_path / "omniglot" / "chardata.mat"
    path.parent.mkdir()
    scipy.io.savemat(path, {"data": columns, "testdata": columns[:, 5:], "target": np.eye(3)}, do_compression=True)
    return path, images


def test_omniglot_is_upright_and_split(small_omniglot, tmp_path, monkeypatch, caplog):
    path, images = small_omniglot
    digest = files.digest_of(path.read_bytes(), "git blob sha1")
    monkeypatch.setattr(omniglot, "PUBLISHED", omniglot.PUBLISHED._replace(digest=digest))
    dataset = data.load_dataset("omniglot", tmp_path)
    assert dataset.dynamic
    assert dataset.image_shape == (28, 28)
    np.testing.assert_array_equal(dataset.train.reshape(-1, 28, 28), images[:7].astype(np.float32))
    np.testing.assert_array_equal(dataset.valid.reshape(-1, 28, 28)[:, :27], images[7:, :27])
    np.testing.assert_array_equal(dataset.test.reshape(-1, 28, 28)[:, :27], images[5:, :27])
    assert not caplog.records


def test_omniglot_reconstruction_is_used_with_a_warning(small_omniglot, tmp_path, monkeypatch):
    path, _ = small_omniglot
    warnings = []
    monkeypatch.setattr(logging, "warning", lambda *args: warnings.append(args))
    data.load_dataset("omniglot", tmp_path)
    ((message,),) = warnings
    assert str(path) in message
    assert "not the published file" in message
    assert "\n" not in message


def test_omniglot_damaged_file(small_omniglot, tmp_path):
    path, _ = small_omniglot
    content = path.read_bytes()
    for damaged in (b"", content[:100], content[: len(content) // 2], b"\n".join([b"<html>"] * 99), b"\0" * 999):
        path.write_bytes(damaged)
        with raises(path):
            data.load_dataset("omniglot", tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"testdata": np.zeros((784, 3))}, ["array testdata", "(784, 3)", "must be (784, 4)"]),
        ({"data": np.zeros((9, 784))}, ["array data", "(9, 784)", "must be (784, 9)"]),
        ({"testdata": None}, ["array testdata is missing"]),
        ({"data": np.full((784, 9), 255.0)}, ["array train contains 255.0", "[0, 1]"]),
        ({"data": np.full((784, 9), np.nan)}, ["array train contains nan", "[0, 1]"]),
        ({"data": np.full((784, 9), "a")}, ["array train has dtype"]),
    ],
)
def test_omniglot_other_arrays(small_omniglot, tmp_path, change, words):
    path, _ = small_omniglot
    arrays = {key: value for key, value in scipy.io.loadmat(path).items() if not key.startswith("_")} | change
    scipy.io.savemat(path, {key: value for key, value in arrays.items() if value is not None})
    with raises(path, *words):
        data.load_dataset("omniglot", tmp_path)
