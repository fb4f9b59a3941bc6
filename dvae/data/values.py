"""What a pixel may be: the kinds of values that likelihoods take, how they are checked, hints for what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dvae.errors import UserError

_ROUNDING = 1e-5  # of values that were interpolated in float32
_LEAST_LOG = 1e-30  # far above the smallest normal float32
_SHOWN = 1000  # examples that the range of a picture is found from


class Values(NamedTuple):
    """A kind of values.

    Attributes:
      rule: the bounds, in words.
      low, high: the bounds.
      likelihoods: names of those that take them.
      described: how a run says what its data are.
    """

    rule: str
    low: float
    high: float
    likelihoods: tuple[str, ...]
    described: str


BINARY = "binary"  # zeros and ones, or the probability of a one
VALUES = {
    BINARY: Values("in [0, 1]", 0, 1, ("bernoulli",), "static binary"),
    "unit": Values("in [0, 1]", 0, 1, ("continuous_bernoulli",), "values in [0, 1] as they are"),
    "real": Values("finite numbers", -np.inf, np.inf, ("gaussian", "gaussian_per_pixel"), "real values"),
    "non_negative": Values(
        "0 or above", 0, np.inf, ("zero_inflated", "zero_inflated_per_pixel"), "values of 0 and above"
    ),
}


def checked(array: np.ndarray, values: str, label: str) -> np.ndarray:
    """The array, with what exceeds the bounds by no more than the rounding of an interpolation put at its ends.

    Args:
      array: of examples.
      values: a name in `VALUES`.
      label: what an error begins with.

    Raises:
      UserError: a value is out of bounds, or no number.
    """
    if array.dtype.kind not in "buif":
        hint = " (columns of text: leave them out, or encode them as numbers)" if array.dtype.kind in "OUS" else ""
        raise UserError(f"{label} has dtype {array.dtype}, must be bool, integer or float{hint}")
    kind = VALUES[values]
    low, high = array.min(), array.max()  # a NaN anywhere makes both NaN
    is_bounded = np.isfinite(kind.high)
    with np.errstate(over="ignore"):
        is_finite = is_bounded or (np.isfinite(np.float32(low)) and np.isfinite(np.float32(high)))
    if kind.low <= low and high <= kind.high and is_finite:
        return array
    if is_bounded and low >= kind.low - _ROUNDING and high <= kind.high + _ROUNDING:
        return np.clip(array, kind.low, kind.high)
    over = high > kind.high + _ROUNDING if is_bounded else not np.isfinite(np.float32(high))
    offender = high if over or np.isnan(low) else low
    rule = kind.rule if is_bounded or is_finite or not np.isfinite(offender) else "numbers of float32"
    raise UserError(f"{label} contains {offender}, values must be {rule}{_hint(array, values, low, high)}")


def check_training(array: np.ndarray, values: str, label: str) -> None:
    """Raises a `UserError` where training examples leave a likelihood nothing to start from."""
    if values == "real" and np.all(array == array[0]):
        raise UserError(f"{label} has {len(array)} examples that are all alike, must have some that differ")
    if values == "non_negative" and not np.any(array >= _LEAST_LOG):
        raise UserError(f"{label} has no value of {_LEAST_LOG:g} or above: there is nothing to learn from zeros")


def grey_levels(train: np.ndarray, values: str) -> Callable[[np.ndarray], np.ndarray]:
    """How values are shown: from `[n, D]` to grey levels in [0, 1], the same for all examples of a data set.

    Real values from black to white between their 0.5 and 99.5 percent; those of 0 and above as log(1 + x / median),
    white at the 99.9 percent of those above 0.
    """
    if values in (BINARY, "unit"):
        return lambda x: x
    some = train[:: -(-len(train) // _SHOWN)].astype(np.float64)
    if values == "real":
        low, high = np.quantile(some, [0.005, 0.995])
        if low == high:
            low, high = some.min(), max(some.max(), some.min() + 1)
        return lambda x: np.clip((x - low) / (high - low), 0, 1)
    positive = some[some > 0] if np.any(some > 0) else np.ones(1)
    typical, largest = np.quantile(positive, [0.5, 0.999])
    return lambda x: np.clip(np.log1p(np.maximum(x, 0) / typical) / np.log1p(largest / typical), 0, 1)


def _hint(array: np.ndarray, values: str, low: Any, high: Any) -> str:
    """What the values look like, where following the advice cannot ruin them."""
    if np.isnan(low):
        return f" ({np.isnan(array).sum()} are missing: leave those examples out or fill them in)"
    if not (np.isfinite(low) and np.isfinite(high)):
        return ""
    if values == "non_negative":
        return ' (noise around zero: x.clip(0), or the likelihood gaussian, whose values are "real")'
    return _hint_of_probabilities(array, low, high) if values in (BINARY, "unit") else ""


def _hint_of_probabilities(array: np.ndarray, low: Any, high: Any) -> str:
    is_whole = np.all(array == np.round(array))
    if is_whole and low == -1 and high == 1 and np.all(np.abs(array) == 1):
        return " (spins of -1 and 1: (1 + x) / 2)"
    if is_whole and low >= 0 and 32 <= high <= 255:
        return " (divide grey levels of 0 to 255 by 255)"
    if low >= 0:
        return ' (energies, amounts: the likelihood zero_inflated takes "non_negative" values, gaussian "real" ones)'
    return ' (measurements: the likelihood gaussian takes "real" values)'
