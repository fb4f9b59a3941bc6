"""Progress bars and the lines above them: the one place where either is made.

A bar is drawn on a terminal, and in a notebook that has ipywidgets; a file gets none. `TQDM_DISABLE=1` silences all.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable
from typing import Any

from tqdm import TqdmWarning
from tqdm.notebook import tqdm_notebook

with warnings.catch_warnings():
    warnings.simplefilter("ignore", TqdmWarning)  # a notebook without ipywidgets shows the lines alone
    from tqdm.auto import tqdm


def progress_bar(iterable: Iterable | None = None, *, shown: bool = True, **described: Any) -> tqdm:
    """A progress bar.

    Args:
      iterable: whose items are counted; without, `update` counts.
      shown: whether to draw it at all.
      described: `desc`, `unit`, `total` and the like, as tqdm has them.
    """
    if not shown:
        described["disable"] = True
    elif "TQDM_DISABLE" not in os.environ:  # which tqdm reads where nothing else is said
        # By itself tqdm would look for the terminal in a notebook too, whose bars are no text.
        described["disable"] = False if issubclass(tqdm, tqdm_notebook) else None
    return tqdm(iterable, **described)


def say_above(text: str) -> None:
    """Prints a line above the bars; at once, where nobody sees a terminal."""
    tqdm.write(text)
    sys.stdout.flush()
