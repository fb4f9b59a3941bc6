"""What the tests of the data sets share."""

import re

import numpy as np
import pytest

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


def forbidden_download(*args, **kwargs):
    raise AssertionError("a file that exists is not downloaded")
