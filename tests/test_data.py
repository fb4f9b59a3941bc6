"""The data sets: contents, splits, order of the batches, and every mistake a user can make. Needs no network."""

import collections
import hashlib
import io
import itertools
import math
import pickle
import re

import numpy as np
import pytest
import scipy.io
import sklearn.datasets
from absl import logging

from dvae import data
from dvae.data import bars_and_stripes, binarized_mnist, files, npz, omniglot
from dvae.data.dataset import BINARIZATION_SEEDS
from dvae.errors import UserError


def raises(*words):
    """Expects a UserError of one line that holds all the words, in this order."""
    return pytest.raises(UserError, match=r"\A[^\n]*" + r"[^\n]*".join(re.escape(str(w)) for w in words) + r"[^\n]*\Z")


def toy_splits(num_pixels=6, seed=0):
    rng = np.random.default_rng(seed)
    return {
        name: rng.integers(0, 2, (n, num_pixels), np.uint8) for name, n in [("train", 7), ("valid", 3), ("test", 4)]
    }


def files_under(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


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
    assert dataset.mean_pixel.dtype == np.float32
    np.testing.assert_allclose(dataset.mean_pixel, [np.mean([float(v) for v in c]) for c in dataset.train.T], rtol=1e-6)
    again = data.load_dataset(name, tmp_path)
    assert again.checksum == dataset.checksum
    np.testing.assert_array_equal(again.valid, dataset.valid)


def test_every_name_is_loaded_from_the_table(tmp_path, monkeypatch):
    assert list(data.LOADERS) == ["digits", "bars_and_stripes", "binarized_mnist", "omniglot"]
    monkeypatch.setitem(data.LOADERS, "omniglot", lambda data_dir: data_dir)
    assert data.load_dataset("omniglot", str(tmp_path)) == tmp_path


@pytest.mark.parametrize("name", ["foo", "", "npz", "Digits", "data.npy"])
def test_unknown_dataset(name, tmp_path):
    with raises(f"--dataset={name}: must be one of digits, bars_and_stripes, binarized_mnist, omniglot or", ".npz"):
        data.load_dataset(name, tmp_path)


def test_unknown_split(tmp_path):
    with raises("--split=validation", "train, valid, test"):
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
    with raises(f"--num_examples={wanted}", "at least 1"):
        data.spread(10, wanted)


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


def forbidden_download(*args, **kwargs):
    raise AssertionError("a file that exists is not downloaded")


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


# Users' own files


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
    dataset = npz.load(tmp_path / "grey.npz")
    assert dataset.dynamic
    assert dataset.image_shape is None  # 12 is not a square
    np.testing.assert_array_equal(dataset.train, grey["train"].astype(np.float32))
    assert abs(dataset.valid.mean() - 0.5) < 5 * 0.5 / math.sqrt(500 * 12)
    assert np.any(dataset.valid != dataset.test)  # the same grey values, other seeds


def test_npz_image_that_is_not_square(tmp_path):
    np.savez(tmp_path / "wide.npz", **{name: x.reshape(-1, 2, 8) for name, x in toy_splits(16).items()})
    assert npz.load(tmp_path / "wide.npz").image_shape == (2, 8)


def with_value(value, dtype=np.float64):
    train = np.zeros((7, 6), dtype)
    train[3, 2] = value
    return train


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"valid": None}, ["array valid is missing", "holds train, test"]),
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
        ({"train": np.full((7, 6), "1")}, ["array train has dtype <U1", "float"]),
        ({"train": np.zeros((7, 6), complex)}, ["array train has dtype complex128", "float"]),
        ({"train": np.full((7, 6), None)}, ["cannot be read"]),  # pickled objects
    ],
)
def test_npz_array_that_breaks_a_rule(tmp_path, change, words):
    path = tmp_path / "own.npz"
    np.savez(path, **{name: array for name, array in (toy_splits() | change).items() if array is not None})
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
    with raises(f"--dataset={tmp_path / 'absent.npz'}", "no such file"):
        data.load_dataset(str(tmp_path / "absent.npz"), tmp_path)
    (tmp_path / "folder.npz").mkdir()
    with raises(f"--dataset={tmp_path / 'folder.npz'}", "no such file"):
        data.load_dataset(str(tmp_path / "folder.npz"), tmp_path)


# Downloads: file:// addresses stand in for the network


@pytest.fixture
def remote(tmp_path):
    """A published file, and the path that it is to be put at."""
    source = tmp_path / "server" / "file.bin"
    source.parent.mkdir()
    source.write_bytes(b"what was published" * 1000)
    published = files.PublishedFile(source.as_uri(), "sha256", hashlib.sha256(source.read_bytes()).hexdigest())
    return published, tmp_path / "home" / "sub" / "file.bin"


def test_digests():
    # Published values: FIPS 180 for "abc"; git's own blob of "hello\n" and the empty blob.
    assert files.digest_of(b"abc", "sha256") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.digest_of(b"hello\n", "git blob sha1") == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert files.digest_of(b"", "git blob sha1") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


@pytest.mark.parametrize("algorithm", ["sha256", "git blob sha1"])
def test_missing_file_is_downloaded_once(remote, algorithm, monkeypatch):
    published, path = remote
    content = b"what was published" * 1000
    published = published._replace(algorithm=algorithm, digest=files.digest_of(content, algorithm))
    assert files.fetch(published, path) == content
    assert files_under(path.parents[1]) == [path]
    assert list(path.parent.iterdir()) == [path]  # no temporary folder left either
    monkeypatch.setattr(files.keras.utils, "get_file", forbidden_download)
    assert files.fetch(published, path) == content


def test_download_of_another_file_is_refused(remote):
    published, path = remote
    expected = "0" * 64
    with raises(published.url, published.digest, f"expected {expected}", path):
        files.fetch(published._replace(digest=expected), path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/file.bin", "file:///there/is/no/such/file.bin"])
def test_network_failure(remote, url, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    published, path = remote
    with raises(path, "download failed", url, "by hand") as caught:
        files.fetch(published._replace(url=url), path)
    assert caught.value.__suppress_context__
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("interruption", [OSError("reset\nby peer"), KeyboardInterrupt()])
def test_broken_download_leaves_nothing(remote, interruption, monkeypatch):
    published, path = remote

    def break_off(fname, origin, cache_dir, cache_subdir):
        with open(f"{cache_dir}/{cache_subdir}{fname}", "w") as half:
            half.write("half")
        raise interruption

    monkeypatch.setattr(files.keras.utils, "get_file", break_off)
    expected = raises(path, "reset by peer") if isinstance(interruption, OSError) else pytest.raises(KeyboardInterrupt)
    with expected:
        files.fetch(published, path)
    assert list(path.parent.iterdir()) == []


def test_data_dir_that_cannot_be_used(remote, tmp_path):
    published, _ = remote
    (tmp_path / "a_file").write_text("not a folder")
    with raises(tmp_path / "a_file" / "sub" / "file.bin"):
        files.fetch(published, tmp_path / "a_file" / "sub" / "file.bin")
    with raises(tmp_path, "must be a file"):
        files.fetch(published, tmp_path)


@pytest.mark.parametrize("name", ["binarized_mnist", "omniglot"])
def test_published_data_without_network(name, tmp_path, monkeypatch):
    def unreachable(fname, origin, **kwargs):
        raise Exception(f"URL fetch failure on {origin}: None -- unreachable")  # noqa: TRY002 - as Keras does

    monkeypatch.setattr(files.keras.utils, "get_file", unreachable)
    with raises(tmp_path / name, "http", "by hand"):
        data.load_dataset(name, tmp_path)
    assert files_under(tmp_path) == []


# The order of the batches


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
        ({"batch_size": 11}, ["--batch_size=11", "training examples (10)"]),
        ({"batch_size": 0}, ["--batch_size=0", "at least 1"]),
        ({"seed": -1}, ["--seed=-1", "at least 0"]),
    ],
)
def test_batch_order_settings(settings, words):
    with raises(*words):
        data.BatchOrder(**({"num_examples": 10, "batch_size": 2, "seed": 0} | settings))
