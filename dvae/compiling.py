"""Where XLA comes in: formulas are plain functions of tensors, and whoever composes them compiles the pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def compiled(function: Callable[..., Any], *, autograph: bool = False) -> Callable[..., Any]:
    """`function`, compiled by XLA as one piece.

    `autograph`: whether `for`, `while` and `if` may stand over tensors in it, as in a network that a user hands in. It
    takes its time (`samplers.tracing`).

    A piece that is not worth its launch is better left out, and two that share their gradients may be cheaper apart:
    measure (`benchmarks/step_times.py`). What passes through a piece unchanged is copied.
    """
    return tf.function(function, jit_compile=True, autograph=autograph)
