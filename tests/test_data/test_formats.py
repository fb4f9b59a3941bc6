"""Files of other programs: `.npy`, `.csv`, idx, PNG, Keras' `.npz`; what is in them, and every mistake."""

import gzip
import io
import struct

import numpy as np
import PIL.Image
import pytest

from data_cases import raises
from dvae import data

GREY = np.random.default_rng(0).integers(0, 256, [20, 3, 4], np.uint8)
GREY[0, 0, :2] = 0, 255
SET_ASIDE = {"valid_fraction": 0.1, "test_fraction": 0.1}


def loaded(path, values="unit", **given):
    return data.load_dataset(str(path), values=values, **given)


def all_examples(dataset):
    """Of a data set whose splits were set aside, in some order."""
    rows = np.concatenate([dataset.train, dataset.valid, dataset.test])
    return rows[np.lexsort(rows.T)]


def in_order(array):
    rows = array.reshape(len(array), -1)
    return rows[np.lexsort(rows.T)]


def idx(array, code=0x08):
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def write_png(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(array).save(path)


def as_npy(folder):
    np.save(folder / "all.npy", GREY / 255)
    return folder / "all.npy"


def as_csv(folder):
    rows = GREY.reshape(20, -1) / 255
    (folder / "all.csv").write_text("\n".join(",".join(repr(float(v)) for v in row) for row in rows))
    return folder / "all.csv"


def as_table(folder):
    """With names, a byte-order mark, semicolons and an empty last line."""
    rows = GREY.reshape(20, -1) / 255
    lines = [";".join(f"pixel {i}" for i in range(12)), *(";".join(repr(float(v)) for v in row) for row in rows), ""]
    (folder / "all.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    return folder / "all.csv"


def as_idx(folder):
    (folder / "digits-idx3-ubyte").write_bytes(idx(GREY))
    return folder / "digits-idx3-ubyte"


def as_idx_gz(folder):
    (folder / "digits-idx3-ubyte.gz").write_bytes(gzip.compress(idx(GREY)))
    return folder / "digits-idx3-ubyte.gz"


def as_pngs(folder):
    for i, image in enumerate(GREY):
        write_png(folder / "images" / f"class{i % 2}" / f"{i:02d}.png", image)
    return folder / "images"


@pytest.mark.parametrize("written", [as_npy, as_csv, as_table, as_idx, as_idx_gz, as_pngs], ids=lambda f: f.__name__)
def test_one_file_holds_all_examples(written, tmp_path):
    path = written(tmp_path)
    dataset = loaded(path, **SET_ASIDE)
    assert (len(dataset.train), len(dataset.valid), len(dataset.test)) == (16, 2, 2)
    np.testing.assert_allclose(all_examples(dataset), in_order(np.float32(GREY) / 255), atol=1e-7)
    assert dataset.image_shape == (None if "csv" in path.name else (3, 4))
    assert loaded(path, "binary", **SET_ASIDE).dynamic
    with raises("has no test split; test_fraction=0.1"):
        loaded(path)


def test_a_folder_of_splits(tmp_path):
    """MNIST's names, with labels beside; a validation split of another format; and folders of images."""
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(GREY[:10])))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.arange(10, dtype=np.uint8))))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(GREY[10:]))
    dataset = loaded(tmp_path, valid_fraction=0.1)
    assert dict(dataset.set_aside) == {"valid": 0.1}
    np.testing.assert_allclose(dataset.test, GREY[10:].reshape(10, 12) / 255, atol=1e-7)
    np.save(tmp_path / "valid.npy", GREY[:3] / 255)
    dataset = loaded(tmp_path)
    assert dict(dataset.set_aside) == {}
    np.testing.assert_allclose(dataset.valid, GREY[:3].reshape(3, 12) / 255, atol=1e-7)

    for split, images in (("train", GREY[:5]), ("test", GREY[5:7]), ("validation", GREY[7:10])):
        for i, image in enumerate(images):
            write_png(tmp_path / "pngs" / split / f"{i}.png", image)
    dataset = loaded(tmp_path / "pngs")
    np.testing.assert_allclose(dataset.valid, GREY[7:10].reshape(3, 12) / 255, atol=1e-7)


@pytest.mark.parametrize("valid", [{}, {"x_val": GREY[:4]}, {"x_valid": GREY[:4]}])
def test_npz_in_the_layout_of_keras(tmp_path, valid):
    np.savez(tmp_path / "keras.npz", x_train=GREY, x_test=GREY[:5], y_train=np.arange(20), **valid)
    dataset = loaded(tmp_path / "keras.npz", **({} if valid else {"valid_fraction": 0.2}))
    assert (len(dataset.train), len(dataset.valid), len(dataset.test)) == (20 if valid else 16, 4, 5)
    np.testing.assert_allclose(dataset.test, GREY[:5].reshape(5, 12) / 255, atol=1e-7)
    np.savez(tmp_path / "ones.npz", x_train=GREY % 2, x_test=GREY[:5] % 2)
    assert not loaded(tmp_path / "ones.npz", "binary", valid_fraction=0.2).dynamic  # bytes of 0 and 1 are no levels


def test_other_types_of_idx(tmp_path):
    values = np.array([[-1.5, 2.25], [1e3, 0], [3, 3], [4, 5]])
    (tmp_path / "floats.idx").write_bytes(idx(values.astype(">f4"), 0x0D))
    dataset = loaded(tmp_path / "floats.idx", "real", valid_fraction=0.25, test_fraction=0.25)
    np.testing.assert_array_equal(all_examples(dataset), in_order(values.astype(np.float32)))


def write_npy_of_objects(path):
    np.save(path, np.array([{"a": 1}]))


def write_npz(path):
    buffer = io.BytesIO()
    np.savez(buffer, a=1)
    path.write_bytes(buffer.getvalue())


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("x.npy", b"no array", ["must be an array as np.save writes it"]),
        ("x.npy", write_npy_of_objects, ["must be an array as np.save writes it"]),
        ("x.npy", write_npz, ["must be an array as np.save writes it"]),
        ("x.csv", b"", ["is empty"]),
        ("x.csv", b"a,b\n", ["line of names and no rows"]),
        ("x.csv", b"a,b\n1,2\n1\n", ["line 3 has 1 fields, must have 2"]),
        ("x.csv", b"1,2\n\n1,red\n", ["line 3 has 'red', must be numbers only"]),
        ("x.csv", b"1,\n1,2\n3,4\n5,6\n1,\n", ["contains nan", "are missing"]),
        ("x.csv", b"\xff\xfe1", ["UTF-8"]),
        ("x-idx3-ubyte", b"PK", ["must be an idx file"]),
        ("x-idx3-ubyte", idx(GREY)[:-1], ["has 255 bytes, must have 256 for an array of shape (20, 3, 4)"]),
        ("x-idx3-ubyte", idx(GREY)[:6], ["must have"]),
        ("x-idx3-ubyte", bytes([0, 0, 8, 3]) + b"\xff" * 12, ["has 16 bytes, must have"]),
        ("x.idx.gz", gzip.compress(idx(GREY))[:-9], ["cannot be decompressed"]),
        ("x.txt", b"1 2", ["must be an .npz, .npy, .csv or idx file, or a folder of PNG images"]),
        ("folder/broken.png", b"\x89PNG", ["cannot be read as an image"]),
        ("folder/notes.txt", b"", ["has no PNG images, and no files train.npy"]),
    ],
)
def test_a_file_that_is_not_what_it_says(tmp_path, name, write, words):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if callable(write):
        write(path)
    else:
        path.write_bytes(write)
    with raises(*words):
        loaded(tmp_path / name.split("/")[0], "real", valid_fraction=0.3, test_fraction=0.3)


def test_images_that_do_not_fit(tmp_path):
    write_png(tmp_path / "a.png", GREY[0])
    write_png(tmp_path / "b.png", GREY[0].T)
    with raises("b.png: is 3x4, must be 4x3 as a.png is"):
        loaded(tmp_path, **SET_ASIDE)
    write_png(tmp_path / "b.png", GREY[0].astype(np.uint16) * 200)
    with raises("b.png: has more than 8 bits a pixel"):
        loaded(tmp_path, **SET_ASIDE)


def test_two_files_for_one_split(tmp_path):
    np.save(tmp_path / "train.npy", GREY)
    np.save(tmp_path / "train_more.npy", GREY)
    with raises("has train.npy and train_more.npy, must have one for train"):
        loaded(tmp_path)
    with raises("must be the path of a file or a folder of data, there is none"):
        loaded(tmp_path / "absent.npy")
