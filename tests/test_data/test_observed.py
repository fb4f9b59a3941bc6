"""Which pixels are observed: by hand on a 3 x 4 image, and every mistake."""

import numpy as np
import pytest

from dvae.data import make_dataset
from dvae.data.observed import observed_part
from dvae.errors import UserError

ROWS, COLUMNS = np.indices((3, 4))
MASK = np.array([[1, 0, 0, 1], [0, 1, 1, 0], [0, 0, 0, 1]])


def images(*shape):
    array = np.random.default_rng(0).integers(0, 2, [5, *shape])
    return make_dataset("some", train=array, valid=array, test=array)


@pytest.mark.parametrize(
    ("observed", "wanted"),
    [
        ("top", ROWS < 1),
        ("left", COLUMNS < 2),
        ("0.25", ROWS * 4 + COLUMNS < 3),
        ("0.5", ROWS * 4 + COLUMNS < 6),
    ],
)
def test_part(observed, wanted):
    part = observed_part(observed, images(3, 4))
    np.testing.assert_array_equal(part.observed, np.flatnonzero(wanted))
    np.testing.assert_array_equal(part.target, np.flatnonzero(~wanted))


@pytest.mark.parametrize("mask", [MASK, MASK.ravel(), MASK.astype(bool), MASK.astype(float)])
def test_mask_file(mask, tmp_path):
    np.save(tmp_path / "mask.npy", mask)
    part = observed_part(str(tmp_path / "mask.npy"), images(3, 4))
    np.testing.assert_array_equal(part.observed, [0, 3, 5, 6, 11])
    np.testing.assert_array_equal(part.target, [1, 2, 4, 7, 8, 9, 10])


def test_halves_of_what_is_no_image():
    np.testing.assert_array_equal(observed_part("0.5", images(7)).observed, [0, 1, 2, 3])
    with pytest.raises(UserError, match="observed='top': the examples of some are no images"):
        observed_part("top", images(7))


@pytest.mark.parametrize(
    ("observed", "reason"),
    [
        ("bottom", "must be top, left, a fraction"),
        ("0", "a fraction between 0 and 1"),
        ("1.0", "a fraction between 0 and 1"),
        ("nan", "a fraction between 0 and 1"),
        ("0.01", "observes 0 of 12 pixels"),
        ("0.99", "observes 12 of 12 pixels"),
        ("absent.npy", "cannot be read"),
    ],
)
def test_mistakes(observed, reason):
    with pytest.raises(UserError, match=f"observed='{observed}': .*{reason}"):
        observed_part(observed, images(3, 4))


def test_files_that_are_no_array(tmp_path):
    path = tmp_path / "mask.npy"
    for content, reason in ((b"PK\x03\x04 damaged", "cannot be read"), (b"", "cannot be read")):
        path.write_bytes(content)
        with pytest.raises(UserError, match=reason):
            observed_part(str(path), images(3, 4))
    np.savez(tmp_path / "mask.npz", mask=MASK)
    (tmp_path / "mask.npz").replace(path)
    with pytest.raises(UserError, match="must hold one array"):
        observed_part(str(path), images(3, 4))


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (MASK.T, r"has shape \(4, 3\), must have \(12,\) or \(3, 4\)"),
        (2 * MASK, "zeros and ones only"),
        (np.zeros([3, 4]), "observes 0 of 12"),
        (np.array([[None] * 4] * 3), "cannot be read"),
        (np.full([3, 4], "a"), "zeros and ones only"),
    ],
)
def test_mistakes_in_masks(mask, reason, tmp_path):
    np.save(tmp_path / "mask.npy", mask, allow_pickle=True)
    with pytest.raises(UserError, match=reason):
        observed_part(str(tmp_path / "mask.npy"), images(3, 4))
