"""Parts of an evaluation done by the workers of a cluster, with the numbers that they would have here."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import dvae.quiet  # noqa: F401  (before TensorFlow)
from dvae.evaluation.functions import Functions
from dvae.evaluation.importance_weighted import Block, ValuesOf, values_of
from dvae.evaluation.saved_model import load

if TYPE_CHECKING:
    from distributed import Client


def by_workers(client: Client, folder: Path) -> ValuesOf:
    """`values_of` blocks of examples, by the model in a folder that every worker sees."""

    def values(blocks: Iterable[Block]) -> Iterator[dict[str, np.ndarray]]:
        # A block's fields, since to read a block itself a worker would load its module: TensorFlow, with its messages.
        futures = [client.submit(_values, str(folder.resolve()), *block, pure=False) for block in blocks]
        return (future.result() for future in futures)

    return values


def _values(folder: str, *block: Any) -> dict[str, np.ndarray]:
    return values_of(_functions(folder), Block(*block))


@functools.lru_cache(maxsize=1)
def _functions(folder: str) -> Functions:
    return load(Path(folder)).functions
