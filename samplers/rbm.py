"""The restricted Boltzmann machine: one class for the prior (one machine) and the posterior (a batch of machines)."""

from __future__ import annotations

import string
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from samplers.arguments import check_binary, check_shape


class _Parameters(NamedTuple):
    bias_left: tf.Tensor
    bias_right: tf.Tensor
    weights: tf.Tensor


class RBM(_Parameters):
    """Restricted Boltzmann machine over binary units `z = [left, right]` in {0, 1}.

        p(z) = exp(-E(z)) / Z,    E(z) = -(a . left + b . right + left' W right)

    A batch of machines has leading dimensions `*batch` in all three parameters. States carry sample dimensions in
    front of the batch: `left` is `[..., *batch, N]`, `right` is `[..., *batch, M]`. A NamedTuple of tensors is a
    `tf.nest` structure, so an `RBM` passes through `tf.function`, `tf.while_loop` and `tf.nest.map_structure`.

    NumPy arrays and lists serve as well. All three are of one type then: that of the tensors beside them, if there are
    any; else the widest floating-point type among them, and float32 if all are integers.

    Attributes:
      bias_left: `a`, `[*batch, N]`.
      bias_right: `b`, `[*batch, M]`.
      weights: `W`, `[*batch, N, M]`.

    Raises:
      ValueError: the parameters are no finite real numbers, or their types or shapes do not fit together.
    """

    __slots__ = ()

    def __new__(cls, bias_left: Any, bias_right: Any, weights: Any) -> RBM:
        return super().__new__(cls, *_fitting(bias_left=bias_left, bias_right=bias_right, weights=weights))

    # Tensors, also of a machine of arrays.
    bias_left = property(lambda self: _tensor(self[0]))
    bias_right = property(lambda self: _tensor(self[1]))
    weights = property(lambda self: _tensor(self[2]))

    @classmethod
    def of_spins(cls, fields_left: tf.Tensor, fields_right: tf.Tensor, couplings: tf.Tensor) -> RBM:
        """The Ising machine `p(s) ~ exp(u . s_left + v . s_right + s_left' J s_right)` of spins `s = 2 z - 1`.

            W = 4 J,    a = 2 (u - sum_j J_ij),    b = 2 (v - sum_i J_ij)

        Args:
          fields_left, fields_right: u `[*batch, N]`, v `[*batch, M]`.
          couplings: J, `[*batch, N, M]`.
        """
        return cls(
            bias_left=2 * (fields_left - tf.reduce_sum(couplings, axis=-1)),
            bias_right=2 * (fields_right - tf.reduce_sum(couplings, axis=-2)),
            weights=4 * couplings,
        )

    @property
    def num_left(self) -> int:
        return self.weights.shape[-2]

    @property
    def num_right(self) -> int:
        return self.weights.shape[-1]

    def right_logits(self, left: tf.Tensor) -> tf.Tensor:
        """`b + left' W`: `right | left ~ Bernoulli(sigma(right_logits))`; `[..., *batch, M]`."""
        return self.bias_right + self._contract(self._as_units("left", left), "y")

    def left_logits(self, right: tf.Tensor) -> tf.Tensor:
        """`a + W right`: `left | right ~ Bernoulli(sigma(left_logits))`; `[..., *batch, N]`."""
        return self.bias_left + self._contract(self._as_units("right", right), "z")

    def energy(self, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        """`E(z) = -(a . left + b . right + left' W right)` in nats, `[..., *batch]`; also for relaxed units."""
        left, right = self._as_units("left", left), self._as_units("right", right)
        return -(_dot(left, self.bias_left) + _dot(right, self.right_logits(left)))

    def free_energy(self, left: tf.Tensor) -> tf.Tensor:
        """`F(left) = -log sum_right exp(-E) = -a . left - sum_j softplus(b_j + (left' W)_j)`, nats, `[..., *batch]`."""
        left = self._as_units("left", left)
        return -(_dot(left, self.bias_left) + tf.reduce_sum(tf.math.softplus(self.right_logits(left)), axis=-1))

    def split(self, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """`z [..., N + M]` as `(left [..., N], right [..., M])`."""
        return z[..., : self.num_left], z[..., self.num_left :]

    def frozen(self) -> RBM:
        """The machine as it is now: constants to differentiation, and no longer tied to any `tf.Variable`."""
        return RBM(*(tf.stop_gradient(tf.convert_to_tensor(parameter)) for parameter in self))

    def astype(self, dtype: tf.DType) -> RBM:
        """The same machine with parameters of another type."""
        return RBM(*(tf.cast(parameter, dtype) for parameter in self))

    def transpose(self) -> RBM:
        """The same distribution with the names of the two sides exchanged."""
        return RBM(self.bias_right, self.bias_left, tf.linalg.matrix_transpose(self.weights))

    def as_states(self, side: str, units: Any) -> tf.Tensor:
        """Binary states of one side, `left` or `right`, `[samples, *batch, units]`, as tensors of the machine's type.

        Raises:
          ValueError: they are not binary, or of another type or shape.
        """
        units = self._as_units(side, units)
        check_binary(side, units)
        bias = self.bias_left if side == "left" else self.bias_right
        check_shape(side, units, tf.TensorShape([None]).concatenate(bias.shape), "[samples, *batch, units]")
        return units

    def _as_units(self, side: str, units: Any) -> tf.Tensor:
        """States of one side, of the machine's type where they are no tensors yet."""
        if not tf.is_tensor(units):
            units = tf.convert_to_tensor(np.asarray(units).astype(self.weights.dtype.as_numpy_dtype))
        bias = self.bias_left if side == "left" else self.bias_right
        if units.dtype != bias.dtype or not units.shape[-1:].is_compatible_with(bias.shape[-1:]):
            raise ValueError(
                f"{side} is {units.dtype.name} of shape {tuple(units.shape)}: must be {bias.dtype.name} with a last "
                f"dimension of {bias.shape[-1]}, as the machine"
            )
        return units

    def _contract(self, units: tf.Tensor, axis: str) -> tf.Tensor:
        num_batch_axes = self.weights.shape.rank - 2
        if num_batch_axes and units.shape.rank == num_batch_axes + 2:  # [samples, *batch, units]
            # A product for each machine, of all its samples. Of the einsum below XLA makes loops that compute what
            # stands around them (a relaxation's derivative) once for each unit of the other side: ten times slower.
            by_machine = tf.transpose(units, [*range(1, num_batch_axes + 1), 0, num_batch_axes + 1])
            products = tf.matmul(by_machine, self.weights, transpose_b=axis == "z")
            return tf.transpose(products, [num_batch_axes, *range(num_batch_axes), num_batch_axes + 1])
        # Letters y, z are the weights' two axes; the one named `axis` is summed against the units.
        batch = string.ascii_lowercase[: self.weights.shape.rank - 2]
        other = "z" if axis == "y" else "y"
        return tf.einsum(f"...{batch}{axis},{batch}yz->...{batch}{other}", units, self.weights)


def free_energy_difference(old: RBM, new: RBM, left: tf.Tensor) -> tf.Tensor:
    """`F_old(left) - F_new(left)`, nats, float64 `[..., *batch]`.

    Differences are taken unit by unit before they are summed: that of two large sums would have their rounding errors.
    """
    linear = left * (new.bias_left - old.bias_left)
    terms = (linear, softplus_difference(new.right_logits(left), old.right_logits(left)))
    return tf.add_n([tf.reduce_sum(tf.cast(term, tf.float64), axis=-1) for term in terms])


def softplus_difference(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """`softplus(x) - softplus(y)` with one logarithm instead of two, half the time in the loop of AIS; no overflow."""
    return tf.nn.relu(x) - tf.nn.relu(y) + tf.math.log((1 + tf.exp(-tf.abs(x))) / (1 + tf.exp(-tf.abs(y))))


def _tensor(parameter: Any) -> Any:
    return tf.constant(parameter) if isinstance(parameter, np.ndarray) else parameter


def _fitting(**parameters: Any) -> list[Any]:
    """The parameters, arrays in one type; what is no array (a `TensorSpec` of a `tf.nest` structure) stays as it is."""
    is_array = {name: isinstance(value, np.ndarray | list | tuple) for name, value in parameters.items()}
    arrays = {name: np.asarray(value) for name, value in parameters.items() if is_array[name]}
    for name, array in arrays.items():
        if array.dtype.kind not in "buif" or not np.all(np.isfinite(array)):
            raise ValueError(f"{name} of type {array.dtype}: must be finite real numbers")
    dtypes = {value.dtype for name, value in parameters.items() if not is_array[name] and hasattr(value, "dtype")}
    if len(dtypes) > 1:
        shown = ", ".join(f"{name} {value.dtype}" for name, value in parameters.items() if not is_array[name])
        raise ValueError(f"parameters of different types: must be of one ({shown})")
    if arrays:
        floating = [array.dtype for array in arrays.values() if array.dtype.kind == "f"]
        dtype = tf.as_dtype(dtypes.pop() if dtypes else np.result_type(np.float32, *floating)).as_numpy_dtype
        parameters |= {name: array.astype(dtype) for name, array in arrays.items()}
    if all(hasattr(value, "shape") for value in parameters.values()):
        _check_shapes(**{name: tf.TensorShape(value.shape) for name, value in parameters.items()})
    return list(parameters.values())


def _check_shapes(bias_left: tf.TensorShape, bias_right: tf.TensorShape, weights: tf.TensorShape) -> None:
    if weights.rank is None:
        return
    wanted = "[*batch, N], [*batch, M], [*batch, N, M]"
    # Biases may have dimensions in front of the batch: machines that share their weights.
    ends = [tf.TensorShape(bias[-(weights.rank - 1) :]) if bias.rank else bias for bias in (bias_left, bias_right)]
    fits = (
        weights.rank >= 2
        and ends[0].is_compatible_with(weights[:-1])
        and ends[1].is_compatible_with(weights[:-2].concatenate(weights[-1:]))
    )
    if not fits:
        shapes = ", ".join(str(tuple(shape)) for shape in (bias_left, bias_right, weights))
        raise ValueError(f"bias_left, bias_right, weights of shapes {shapes}: must be {wanted}")


def _dot(units: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(units * parameters, axis=-1)
