"""The path of densities that AIS and population annealing follow, from a product of Bernoullis to an RBM."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from samplers import random
from samplers.arguments import check_betas, check_in_range, check_number, check_shape
from samplers.gibbs import Columns, to_columns
from samplers.rbm import RBM, softplus_difference
from samplers.tracing import plain

_SHORTEST_SCHEDULE_BITS = 10


class Base(NamedTuple):
    """The start of the path: independent units, `f_0(z) = exp(a0 . left + b0 . right)`.

    Attributes:
      bias_left: `a0`, `[*batch, N]`.
      bias_right: `b0`, `[*batch, M]`.
    """

    bias_left: tf.Tensor
    bias_right: tf.Tensor

    def log_z(self) -> tf.Tensor:
        """`log Z_0 = sum softplus(a0) + sum softplus(b0)`, nats, float64 `[*batch]`."""
        return tf.add_n([tf.reduce_sum(tf.math.softplus(tf.cast(bias, tf.float64)), axis=-1) for bias in self])

    def fitting(self, rbm: RBM) -> Base:
        """The base as the start of a path to `rbm`: tensors of its type.

        Raises:
          ValueError: it has another shape.
        """
        dtype = rbm.weights.dtype
        biases = []
        for name, bias, end in zip(self._fields, self, (rbm.bias_left, rbm.bias_right), strict=True):
            bias = tf.cast(tf.convert_to_tensor(bias), dtype)
            check_shape(f"{name} of the base", bias, end.shape, "that of the machine")
            biases.append(bias)
        return Base(*biases)

    @plain
    def sample_left(self, num_chains: tf.Tensor | int, seed: tf.Tensor) -> tf.Tensor:
        """Exact draws of the left units, `[num_chains, *batch, N]`."""
        shape = tf.concat([[num_chains], tf.shape(self.bias_left)], 0)
        return random.bernoulli(tf.broadcast_to(self.bias_left, shape), seed)


def uniform_base(rbm: RBM) -> Base:
    """All states alike: `f_beta = exp(-beta E)`, `log Z_0 = (N + M) log 2`. Temperature scales everything."""
    return Base(tf.zeros_like(rbm.bias_left), tf.zeros_like(rbm.bias_right))


def biases_base(rbm: RBM) -> Base:
    """The RBM without its couplings: `f_beta = exp(a . left + b . right + beta left' W right)`."""
    return Base(rbm.bias_left, rbm.bias_right)


def means_base(left_means: tf.Tensor, right_means: tf.Tensor, *, least: float = 1e-3) -> Base:
    """Units with given means, `a0 = logit(left_means)`, `b0 = logit(right_means)`: the *data-mean* base.

    The nearer the means are to the RBM's own, the shorter the path. Of a machine whose left units are pixels, the mean
    image and means of 1/2 on the right are the base of Salakhutdinov & Murray (2008).

    Args:
      left_means: in [0, 1], `[*batch, N]`.
      right_means: in [0, 1], `[*batch, M]`.
      least: in (0, 1/2); means are kept in `[least, 1 - least]`, so that no state is left out that the RBM may have.

    Raises:
      ValueError: means or `least` are out of range.
    """
    check_number("least", least, above=0.0, below=0.5)
    for name, means in (("left_means", left_means), ("right_means", right_means)):
        check_in_range(name, means, 0.0, 1.0)
    clipped = (tf.clip_by_value(tf.convert_to_tensor(m), least, 1 - least) for m in (left_means, right_means))
    return Base(*(tf.math.log(means) - tf.math.log1p(-means) for means in clipped))


class Schedule(NamedTuple):
    """Inverse temperatures as a compiled loop takes them: one compilation serves schedules of many lengths.

    Attributes:
      betas: from 0 to 1, then 1s up to a length that is a power of 2, at least 1024.
      num_temperatures: T, int32 scalar.
    """

    betas: tf.Tensor
    num_temperatures: tf.Tensor

    @classmethod
    def of(cls, betas: tf.Tensor, dtype: tf.DType) -> Schedule:
        """From `betas [T + 1]`, which the arithmetic of the loop takes as `dtype`.

        Raises:
          ValueError: they do not rise from 0 to 1.
        """
        betas = tf.cast(check_betas(betas), dtype)
        length = tf.shape(betas)[0]
        powers = 2 ** tf.range(_SHORTEST_SCHEDULE_BITS, 31)
        padding = tf.reduce_min(tf.boolean_mask(powers, powers >= length)) - length
        return cls(tf.concat([betas, tf.ones([padding], dtype)], 0), length - 1)


class Path(NamedTuple):
    """The geometric path `f_beta = f_0^(1 - beta) exp(-beta E)`, for states in columns (see `samplers.gibbs`).

    Every density on it is an RBM with biases `a0 + beta (a - a0)`, `b0 + beta (b - b0)` and weights `beta W`.
    """

    start: Columns
    end: Columns

    @classmethod
    def between(cls, base: Base, rbm: RBM) -> Path:
        return cls(Columns.of(RBM(base.bias_left, base.bias_right, rbm.weights)), Columns.of(rbm))

    @plain
    def enter(self, left: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """What a loop along the path begins with, from `left [chains, *batch, N]`.

        Returns:
          `left` in columns, `[*batch, N, chains]`; its `right_input`; log-weights of 0, float64 `[*batch, chains]`.
        """
        left = to_columns(left)
        return left, self.end.right_input(left), tf.zeros(tf.shape(left[..., 0, :]), tf.float64)

    @plain
    def at(self, beta: tf.Tensor) -> Columns:
        """The biases at `beta`; the weights stay whole, and `Columns.sweep` scales their products by `beta`."""
        interpolate = lambda start, end: start + beta * (end - start)  # noqa: E731
        return self.end._replace(
            bias_left=interpolate(self.start.bias_left, self.end.bias_left),
            bias_right=interpolate(self.start.bias_right, self.end.bias_right),
        )

    @plain
    def log_ratio(self, old: tf.Tensor, new: tf.Tensor, left: tf.Tensor, right_input: tf.Tensor) -> tf.Tensor:
        """`log f_new(left) - log f_old(left)` with the right units summed out, float64 `[*batch, chains]`.

        With one side summed out the weights vary less than those of whole states. Differences are taken unit by unit
        before they are summed: the rounding error of 10,000 differences of large sums would be as large as the
        statistical error.
        """
        linear = (new - old) * (self.end.bias_left - self.start.bias_left) * left
        from_logits = self.at(old).bias_right + old * right_input
        to_logits = self.at(new).bias_right + new * right_input
        return _sum_units(linear) + _sum_units(softplus_difference(to_logits, from_logits))


def _sum_units(terms: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.reduce_sum(terms, axis=-2), tf.float64)
