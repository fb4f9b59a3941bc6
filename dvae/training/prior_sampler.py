"""What a sampler that follows the prior through training offers, and how a step of it comes into the graph."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf


class PriorSampler(NamedTuple):
    """A sampler of p(z) that follows the prior through training.

    Attributes:
      initial_state: a function of `(rbm, *, num_chains, seed)`.
      step: `state, info = step(rbm, state, seed, *, num_sweeps)`, a function of these alone, which compiles what is
        worth it. A state has `left`, the chains at the prior's own temperature, their tracked `log_z`, and
        `anchored(log_z)`.
      info: names of what a step tells about itself.
      reads: names of the settings that concern this sampler and not all others.
      compiled: whether a step is of TensorFlow, and can stand in a graph. If not, it is called as Python in every step,
        with tensors that have values: NumPy, a program, a machine elsewhere may be behind it.
      remark: what a user should know before a training starts.
    """

    initial_state: Callable[..., Any]
    step: Callable[..., Any]
    info: tuple[str, ...]
    reads: frozenset[str] = frozenset()
    compiled: bool = True
    remark: str | None = None


def graph_step(sampler: PriorSampler, *, failed: Callable[[Exception], None]) -> Callable[..., Any]:
    """The sampler's step as it stands in a graph.

    Args:
      sampler: any.
      failed: told what a step that is called as Python has raised; TensorFlow makes an error of its own of it.
    """
    return sampler.step if sampler.compiled else _python_step(sampler, failed)


def _python_step(sampler: PriorSampler, failed: Callable[[Exception], None]) -> Callable[..., Any]:
    told = collections.namedtuple("Info", sampler.info)  # type: ignore[misc]

    def step(rbm: Any, state: Any, seed: tf.Tensor, *, num_sweeps: int) -> tuple[Any, Any]:
        given, wanted = (rbm, state, seed), tf.nest.flatten(state)

        def in_python(*tensors: tf.Tensor) -> list[tf.Tensor]:
            try:
                rbm, before, seed = tf.nest.pack_sequence_as(given, tensors)
                after, info = sampler.step(rbm, before, seed, num_sweeps=num_sweeps)
                tf.nest.assert_same_structure(before, after)
                values = [tf.cast(getattr(info, name), tf.float32) for name in sampler.info]
                return [*tf.nest.flatten(after), *values]
            except Exception as error:
                failed(error)
                raise

        types = [tensor.dtype for tensor in wanted] + [tf.float32] * len(sampler.info)
        found = tf.py_function(in_python, tf.nest.flatten(given), types)
        shapes = [tensor.shape for tensor in wanted] + [tf.TensorShape([])] * len(sampler.info)
        found = [tf.ensure_shape(tensor, shape) for tensor, shape in zip(found, shapes, strict=True)]
        return tf.nest.pack_sequence_as(state, found[: len(wanted)]), told(*found[len(wanted) :])

    return step
