"""An exported model for servers that have no XLA."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from dvae.files import partial_path, replace_by

_GRAPHS, _MUST_COMPILE = "saved_model.pb", "_XlaMustCompile"
_FINGERPRINT = "fingerprint.pb"  # of graphs that are others now


def copy_without_xla(folder: Path, output: Path) -> None:
    """Writes the SavedModel in `folder` to `output`, its functions as plain operations where XLA had to compile them.

    What they compute is the same, random numbers included (`samplers.random`), but for rounding.
    """
    partial = partial_path(output)
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(folder, partial, ignore=shutil.ignore_patterns(_FINGERPRINT))
    model = SavedModel.FromString((partial / _GRAPHS).read_bytes())
    for attributes in _attributes(model):
        if _MUST_COMPILE in attributes:
            attributes[_MUST_COMPILE].b = False
    (partial / _GRAPHS).write_bytes(model.SerializeToString())
    replace_by(partial, output)


def _attributes(model: Any) -> Iterable[Any]:
    """Of all functions and of all calls of them."""
    for graph in model.meta_graphs:
        yield from (node.attr for node in graph.graph_def.node)
        for function in graph.graph_def.library.function:
            yield function.attr
            yield from (node.attr for node in function.node_def)
