"""Pictures: each example in its place, white where a pixel's probability is 1."""

import numpy as np
import tensorflow as tf

from dvae import pictures


def test_grid_places_examples_row_by_row():
    """Three 2x3 examples in two columns, enlarged 19 times; the fourth place is grey."""
    examples = np.random.default_rng(0).random((3, 6))
    picture = pictures.grid(examples, (2, 3), columns=2)
    factor = 19  # 56 pixels over 3
    assert (picture.dtype, picture.shape) == (np.uint8, (5 * factor, 7 * factor, 1))
    small = picture[::factor, ::factor, 0]
    np.testing.assert_array_equal(np.kron(small, np.ones((factor, factor))), picture[..., 0])
    for number, (row, column) in enumerate([(0, 0), (0, 4), (3, 0)]):
        np.testing.assert_array_equal(
            small[row : row + 2, column : column + 3], np.round(255 * examples[number]).reshape(2, 3)
        )
    np.testing.assert_array_equal(small[3:, 4:], 128)
    np.testing.assert_array_equal(small[2], 128)  # the line between


def test_grid_of_examples_that_are_no_images():
    """Each is a line, cut where it is too wide."""
    picture = pictures.grid(np.eye(2, 5000), None)
    assert picture.shape == (3, 4096, 1)
    assert (picture[0, 0, 0], picture[0, 1, 0], picture[2, 1, 0]) == (255, 0, 255)


def test_originals_above_their_reconstructions():
    """12 examples: one full row of 10 pairs; the two that do not fill a row are left out."""
    originals, reconstructions = np.arange(12.0)[:, None], 100 + np.arange(12.0)[:, None]
    pairs = pictures.beside(originals, reconstructions)
    np.testing.assert_array_equal(pairs[:, 0], [*range(10), *range(100, 110)])
    np.testing.assert_array_equal(pictures.beside(originals[:3], reconstructions[:3])[:, 0], [0, 1, 2, 100, 101, 102])


def test_saved_picture_reads_back(tmp_path):
    picture = pictures.grid(np.random.default_rng(0).random((4, 9)), (3, 3))
    pictures.save(tmp_path / "picture.png", picture)
    np.testing.assert_array_equal(tf.io.decode_png((tmp_path / "picture.png").read_bytes()), picture)
