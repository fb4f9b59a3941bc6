"""Checks of what the samplers are given: a wrong argument ends in one ValueError, never in another number.

What is known only when a graph runs (the inputs of an exported sampler) is asserted there, an InvalidArgumentError with
the same text. Within a function that XLA compiles nothing can be asserted: what enters one is checked outside.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf


def require(holds: Callable[..., tf.Tensor], subject: str, value: Any, rule: str, *others: Any) -> None:
    """That a condition holds of an argument; where a graph does not know its value yet, it is asserted in the graph.

    Args:
      holds: the condition, a boolean tensor from the value and others.
      subject: name of the argument.
      value: of the argument.
      rule: what must hold, in words.
      others: what the condition takes besides.

    Raises:
      ValueError: it does not: `subject = value: rule`.
    """
    tensors = [tf.convert_to_tensor(tensor) for tensor in (value, *others)]
    known = [tf.get_static_value(tensor) for tensor in tensors]
    if any(part is None for part in known):
        tf.debugging.Assert(holds(*tensors), [f"{subject}: {rule}, is", tensors[0]])
        return
    with tf.init_scope():  # computed here and now, whatever graph is being made
        is_right = bool(holds(*map(tf.constant, known)))
    if not is_right:
        raise ValueError(f"{subject} = {_shown(known[0])}: {rule}")


def check_count(name: str, value: Any, *, least: int = 1) -> None:
    """An integer of at least `least`.

    Raises:
      ValueError: it is none.
    """
    rule = f"must be an integer of at least {least}"
    tensor = tf.convert_to_tensor(value)
    if not tensor.dtype.is_integer or tensor.shape.rank != 0:
        raise ValueError(f"{name} = {value}: {rule}")
    require(lambda count: count >= least, name, tensor, rule)


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

    def rise(betas: tf.Tensor) -> tf.Tensor:
        from_0_to_1 = (tf.reduce_min(betas) == 0) & (tf.reduce_max(betas) == 1)
        return (tf.size(betas) > 1) & from_0_to_1 & tf.reduce_all(betas[1:] >= betas[:-1])

    require(rise, "betas", betas, rule)
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
    """A number, or numbers, all of them if they are few."""
    values = np.asarray(values)
    if values.ndim == 0 or values.size <= 6:
        return str(values.tolist())
    ends = [f"{number:g}" for number in values.ravel()[[0, 1, -2, -1]]]
    return f"[{ends[0]}, {ends[1]}, ..., {ends[2]}, {ends[3]}] ({values.size} of them)"
