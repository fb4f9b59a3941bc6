"""The one generator of random numbers: the same numbers compiled or not.

TensorFlow's own stateless floats differ between XLA and its other kernels, and Threefry, the fast one under XLA, has no
other kernels. So its words are made here from integer operations, which all compilers agree about:

    Threefry-2x32 with 20 rounds: a block of two words from the key (a seed) and a counter, by additions, rotations and
    exclusive-ors. The counters are (0, 0), (1, 0), ...

Under XLA it becomes the same fused loop as the built-in one. Elsewhere a call is a hundred small operations: code that
draws much is to be compiled.

References:
  Salmon, Moraes, Dror & Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import tensorflow as tf

from samplers.arguments import check_seed
from samplers.tracing import plain

_ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)
_PARITY = 0x1BD11BDA  # of the key schedule


class RowsSeed(NamedTuple):
    """The seed of a batch some of whose rows are here: each draws what it draws where all of them are.

    It stands wherever a function whose random numbers are of a batch takes a seed, as in training.

    Attributes:
      seed: of the whole batch, int32 `[2]`.
      first: number of the first row that is here.
      num_rows: of the whole batch.
    """

    seed: tf.Tensor
    first: int
    num_rows: int


Seed: TypeAlias = tf.Tensor | RowsSeed


@plain
def as_seed(seed: Seed) -> Seed:
    """The same, checked."""
    return seed._replace(seed=check_seed(seed.seed)) if isinstance(seed, RowsSeed) else check_seed(seed)


@plain
def split(seed: Seed, num: int) -> list[Seed]:
    """`num` independent seeds, int32 `[2]` each, from one; of the same rows."""
    if isinstance(seed, RowsSeed):
        return [seed._replace(seed=part) for part in split(seed.seed, num)]
    return tf.unstack(tf.random.split(check_seed(seed), num, alg="philox"))


@plain
def fold_in(seed: tf.Tensor, number: tf.Tensor | int) -> tf.Tensor:
    """The seed number `number` of a series, int32 `[2]`."""
    return tf.random.fold_in(check_seed(seed), number, alg="philox")


@plain
def words(shape: tf.Tensor | list[int], seed: Seed, *, batch_axis: int = -2) -> tf.Tensor:
    """Random 32-bit words, uint32 of any shape whose rank is known; `seed` is int32 `[2]`.

    `batch_axis`, counted from the end, is where the rows of a `RowsSeed` lie.
    """
    shape = tf.convert_to_tensor(shape, tf.int32)
    rank = shape.shape[0]
    if rank == 0:
        return words([1], seed)[0]
    # The first words of all blocks are the upper half of the last axis but one, the second words the lower: under XLA
    # faster than halves of a flat array that is then reshaped.
    axis = max(rank - 2, 0)
    if isinstance(seed, RowsSeed):
        return _words_of_rows(shape, seed, rank + batch_axis, axis)
    halves = tf.concat([shape[:axis], [(shape[axis] + 1) // 2], shape[axis + 1 :]], 0)
    counter = tf.bitcast(tf.reshape(tf.range(tf.reduce_prod(halves)), halves), tf.uint32)
    key = tf.bitcast(check_seed(seed), tf.uint32)
    both = tf.concat(threefry(key[0], key[1], counter, tf.zeros_like(counter)), axis)
    return tf.slice(both, tf.zeros_like(shape), shape)


def _words_of_rows(shape: tf.Tensor, seed: RowsSeed, batch_axis: int, axis: int) -> tf.Tensor:
    """`words` of some rows of a batch, whose two words of a block lie apart along `axis`."""
    rows = seed.first + tf.range(shape[batch_axis])
    halves = tf.unstack(shape)
    halves[batch_axis] = seed.num_rows
    halves[axis] = (halves[axis] + 1) // 2
    index = [tf.range(half) for half in halves]
    index[batch_axis] = rows % halves[axis] if batch_axis == axis else rows
    counter = tf.constant(0)
    for place, half in zip(index, halves, strict=True):
        counter = counter[..., None] * half + place
    key, counter = tf.bitcast(check_seed(seed.seed), tf.uint32), tf.bitcast(counter, tf.uint32)
    first, second = threefry(key[0], key[1], counter, tf.zeros_like(counter))
    if batch_axis == axis:
        is_second = tf.reshape(rows >= halves[axis], [-1] + [1] * (len(halves) - 1 - axis))
        return tf.where(is_second, second, first)
    return tf.slice(tf.concat([first, second], axis), tf.zeros_like(shape), shape)


@plain
def uniform(
    shape: tf.Tensor | list[int], seed: Seed, dtype: tf.DType = tf.float32, *, batch_axis: int = -2
) -> tf.Tensor:
    """Uniform numbers in [0, 1): multiples of 2^-23 in float32, of 2^-52 in float64.

    `seed` is int32 `[2]`, or of some rows, which lie along `batch_axis`, counted from the end.
    """
    # The bits become the fraction of a number in [1, 2): a conversion of unsigned integers would be slower.
    if dtype == tf.float32:
        fraction = tf.bitwise.right_shift(words(shape, seed, batch_axis=batch_axis), _word(9))
        return tf.bitcast(tf.bitwise.bitwise_or(fraction, _word(0x3F800000)), tf.float32) - 1
    if dtype == tf.float64:
        both = tf.concat([[2], tf.convert_to_tensor(shape, tf.int32)], 0)
        high, low = tf.unstack(tf.cast(words(both, seed, batch_axis=batch_axis), tf.uint64))
        bits = tf.bitwise.bitwise_or(tf.bitwise.left_shift(high, _long(32)), low)
        fraction = tf.bitwise.right_shift(bits, _long(12))
        return tf.bitcast(tf.bitwise.bitwise_or(fraction, _long(0x3FF0000000000000)), tf.float64) - 1
    raise ValueError(f"dtype={dtype}: must be float32 or float64")


@plain
def half_uniforms(shape: tf.Tensor | list[int], seed: Seed, *, batch_axis: int = -2) -> tuple[tf.Tensor, tf.Tensor]:
    """Two arrays of float32 uniforms from one of words, 16 bits each: the midpoints `(k + 1/2) / 2^16`."""
    bits = words(shape, seed, batch_axis=batch_axis)
    halves = tf.bitwise.bitwise_and(bits, _word(0xFFFF)), tf.bitwise.right_shift(bits, _word(16))
    low, high = ((tf.cast(tf.bitcast(half, tf.int32), tf.float32) + 0.5) * 2.0**-16 for half in halves)
    return low, high


@plain
def bernoulli(logits: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Binary draws with `P(1) = sigma(logits)`, in the type of the logits; `seed` is int32 `[2]`."""
    return tf.cast(uniform(tf.shape(logits), seed, logits.dtype) < tf.sigmoid(logits), logits.dtype)


@plain
def shuffle(values: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """`values` in a random order along the first axis; `seed` is int32 `[2]`."""
    return tf.gather(values, tf.argsort(words([tf.shape(values)[0]], seed), stable=True))


def threefry(key0: tf.Tensor, key1: tf.Tensor, counter0: tf.Tensor, counter1: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Threefry-2x32-20: two random words for every pair of counters, all uint32."""
    keys = key0, key1, tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(key0, key1), _word(_PARITY))
    x0, x1 = counter0 + keys[0], counter1 + keys[1]
    for i in range(5):
        for rotation in _ROTATIONS[i % 2]:
            x0 += x1
            x1 = tf.bitwise.bitwise_xor(_rotated(x1, rotation), x0)
        x0 += keys[(i + 1) % 3]
        x1 += keys[(i + 2) % 3] + _word(i + 1)
    return x0, x1


def _rotated(x: tf.Tensor, bits: int) -> tf.Tensor:
    left, right = tf.bitwise.left_shift(x, _word(bits)), tf.bitwise.right_shift(x, _word(32 - bits))
    return tf.bitwise.bitwise_or(left, right)


def _word(value: int) -> tf.Tensor:
    return tf.constant(value, tf.uint32)


def _long(value: int) -> tf.Tensor:
    return tf.constant(value, tf.uint64)
