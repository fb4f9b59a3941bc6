"""Checks of what the samplers are given: a wrong argument ends in one ValueError, never in another number.

What is known only when a graph runs (the inputs of an exported sampler) is asserted there, an InvalidArgumentError with
the same text. Within a function that XLA compiles nothing can be asserted: what enters one is checked outside.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
import tensorflow as tf


def check_count(name: str, value: Any, *, least: int = 1) -> None:
    """An integer of at least `least`.

    Raises:
      ValueError: it is none.
    """
    known = tf.get_static_value(value) if tf.is_tensor(value) else value
    rule = f"must be an integer of at least {least}"
    if known is None:
        if not value.dtype.is_integer:
            raise ValueError(f"{name} of type {value.dtype.name}: {rule}")
        tf.debugging.Assert(value >= least, [f"{name}: {rule}, is", value])
        return
    known = np.asarray(known)
    is_integer = known.ndim == 0 and known.dtype.kind in "iu"
    if not is_integer or known < least:
        raise ValueError(f"{name} = {known}: {rule}")


def check_number(name: str, value: Any, *, above: float, below: float = np.inf) -> None:
    """A finite real number in an open range.

    Raises:
      ValueError: it is none.
    """
    is_number = isinstance(value, numbers.Real | np.number) and not isinstance(value, bool)
    if not is_number or not np.isfinite(value) or not above < value < below:
        bound = f"in ({above:g}, {below:g})" if below < np.inf else f"a finite number above {above:g}"
        raise ValueError(f"{name} = {value!r}: must be {bound}")


def check_betas(betas: Any) -> tf.Tensor:
    """Inverse temperatures `[T + 1]` that rise from 0 to 1, as float64.

    Raises:
      ValueError: they do not.
    """
    rule = "must rise from 0 to 1 (T + 1 of them, T at least 1)"
    if not tf.is_tensor(betas):
        betas = tf.constant(np.asarray(betas, np.float64))
    if betas.shape.rank != 1:
        raise ValueError(f"betas of shape {betas.shape}: {rule}")
    betas = tf.cast(betas, tf.float64)
    known = tf.get_static_value(betas)
    if known is not None:
        if len(known) < 2 or known[0] != 0 or known[-1] != 1 or not np.all(np.diff(known) >= 0):
            raise ValueError(f"betas = {_shown(known)}: {rule}")
        return betas
    is_right = (tf.size(betas) > 1) & tf.reduce_all(betas[1:] >= betas[:-1])
    is_right &= (tf.reduce_min(betas) == 0) & (tf.reduce_max(betas) == 1)
    tf.debugging.Assert(is_right, [f"betas: {rule}, are", betas])
    return betas


def check_in_range(name: str, values: tf.Tensor, low: float, high: float) -> None:
    """All of `values` are in `[low, high]`, as far as they are known.

    Raises:
      ValueError: some are not (NaN is not).
    """
    known = tf.get_static_value(values) if tf.is_tensor(values) else np.asarray(values)
    if known is not None and not np.all((known >= low) & (known <= high)):
        wrong = known[~((known >= low) & (known <= high))].flat[0]
        raise ValueError(f"{name} has {wrong:g} in it: must be in [{low:g}, {high:g}]")


def check_binary(name: str, states: tf.Tensor) -> None:
    """All of `states` are 0 or 1, as far as they are known.

    Raises:
      ValueError: some are not.
    """
    known = tf.get_static_value(states) if tf.is_tensor(states) else np.asarray(states)
    if known is not None and not np.all((known == 0) | (known == 1)):
        raise ValueError(f"{name} has {known[(known != 0) & (known != 1)].flat[0]:g} in it: must be 0 or 1")


def check_seed(seed: Any) -> tf.Tensor:
    """An int32 `[2]` seed, of anything that holds two such integers.

    Raises:
      ValueError: it is none.
    """
    rule = "must be two integers, int32 [2]"
    try:
        tensor = tf.convert_to_tensor(seed, tf.int32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"seed = {seed!r}: {rule}") from error
    if not tensor.shape.is_compatible_with([2]):
        raise ValueError(f"seed of shape {tensor.shape}: {rule}")
    return tensor


def check_shape(name: str, tensor: tf.Tensor, wanted: tf.TensorShape, described: str) -> None:
    """A shape, as far as both are known; `described` says what is wanted in letters.

    Raises:
      ValueError: it is another.
    """
    if not tensor.shape.is_compatible_with(wanted):
        raise ValueError(f"{name} of shape {tuple(tensor.shape)}: must be {described}, {tuple(wanted)}")


def _shown(values: np.ndarray) -> str:
    if len(values) <= 6:
        return str(values.tolist())
    return f"[{values[0]:g}, {values[1]:g}, ..., {values[-2]:g}, {values[-1]:g}] ({len(values)} of them)"
