"""Models compared in pairs: on the same examples their difference is better known than either."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np


def difference(pairs: Iterable[tuple[Mapping[float, float], Mapping[float, float]]]) -> tuple[float, float] | None:
    """Mean difference and its standard error over the examples, each averaged over pairs of models.

    Args:
      pairs: what was measured of each example, by its number, of one model and of the one it is compared with. Pairs of
        other examples than each other's do not count.

    Returns:
      None if there are no pairs, or of less than two examples.
    """
    differences = [
        [ours[example] - theirs[example] for example in sorted(ours)]
        for ours, theirs in pairs
        if ours and ours.keys() == theirs.keys()
    ]
    if not differences or len(differences[0]) < 2:
        return None
    of_examples = np.mean(differences, axis=0)
    return float(of_examples.mean()), float(of_examples.std(ddof=1) / np.sqrt(len(of_examples)))
