"""The generator: published answers, an implementation in Python's integers, and what its numbers are like."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import reference
from samplers import gibbs, random

# From the authors' test vectors (Random123, `kat_vectors`): key, counter, words.
KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]
SHAPES = (), (1,), (5,), (4, 3), (3, 4), (1, 7), (2, 3, 5), (2, 1, 3, 2)
SEEDS = [0, 0], [3, -4], [2**31 - 1, -(2**31)]
every_mode = pytest.mark.parametrize("compiled", [False, True], ids=["uncompiled", "compiled"])


@pytest.mark.parametrize(("key", "counter", "words"), KNOWN)
def test_known_answers(key, counter, words):
    assert reference.threefry(key, counter) == words
    inputs = (tf.constant(value, tf.uint32) for value in (*key, *counter))
    assert tuple(int(word) for word in random.threefry(*inputs)) == words


@every_mode
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_words_and_uniforms_are_those_of_the_reference(shape, compiled):
    """Bit for bit, in every mode."""
    for seed in SEEDS:
        functions = {
            "words": lambda seed: random.words(list(shape), seed),
            "float32": lambda seed: random.uniform(list(shape), seed),
            "float64": lambda seed: random.uniform(list(shape), seed, tf.float64),
        }
        wanted = {
            "words": reference.words(shape, seed),
            "float32": reference.uniform(shape, seed),
            "float64": reference.uniform(shape, seed, double=True),
        }
        for name, function in functions.items():
            function = tf.function(function, jit_compile=True) if compiled else function
            found = function(tf.constant(seed))
            np.testing.assert_array_equal(found, wanted[name], err_msg=name)
            assert (found.dtype.name, found.shape) == (name.replace("words", "uint32"), shape)


@every_mode
@pytest.mark.parametrize("batch_axis", [-1, -2, -3])
@pytest.mark.parametrize("num_rows", [5, 6])
def test_rows_of_a_batch_draw_what_they_draw_in_the_whole(compiled, batch_axis, num_rows):
    """Wherever the rows lie, also where a block's two words do, and however they are divided; seeds are split alike."""
    whole = [3, 4, 7]
    whole[batch_axis] = num_rows

    def draw(shape, seed):
        of_uniform, of_double, of_halves = random.split(seed, 3)
        named = {"batch_axis": batch_axis}
        return [
            random.uniform(shape, of_uniform, **named),
            random.uniform(shape, of_double, tf.float64, **named),
            *random.half_uniforms(shape, gibbs.sweep_seed(of_halves, 3), **named),
        ]

    expected = draw(whole, tf.constant([3, -4]))
    function = tf.function(draw, jit_compile=True) if compiled else draw
    for first, num in ((0, 2), (2, 1), (1, num_rows - 1)):
        shape = list(whole)
        shape[batch_axis] = num
        found = function(shape, random.RowsSeed(tf.constant([3, -4]), first, num_rows))
        for got, wanted in zip(found, expected, strict=True):
            rows = np.take(wanted, range(first, first + num), axis=batch_axis)
            np.testing.assert_array_equal(got, rows)


def test_shapes_may_be_known_late():
    """As where a graph is built for any number of chains."""
    late = tf.function(random.uniform, input_signature=[tf.TensorSpec([2], tf.int32)] * 2)
    for shape in ([4, 3], [5, 2]):
        found = late(tf.constant(shape), tf.constant([1, 2]))
        np.testing.assert_array_equal(found, reference.uniform(shape, [1, 2]))


@every_mode
def test_seeds_and_halves_agree_in_every_mode(compiled):
    def draw(seed):
        return *random.split(seed, 3), random.fold_in(seed, 7), *random.half_uniforms([3, 4], seed)

    found = (tf.function(draw, jit_compile=True) if compiled else draw)(tf.constant([5, -6]))
    seeds = {tuple(seed.numpy()) for seed in found[:4]}
    assert len(seeds) == 4
    for got, wanted in zip(found[:3], tf.random.split([5, -6], 3, alg="philox"), strict=True):
        np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(found[3], tf.random.fold_in([5, -6], 7, alg="philox"))
    words = reference.words((3, 4), [5, -6])
    np.testing.assert_array_equal(found[4], (words % 65536 + 0.5) / 65536)
    np.testing.assert_array_equal(found[5], (words // 65536 + 0.5) / 65536)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_uniform(dtype):
    """Kolmogorov-Smirnov of 2^18 numbers, chi-squared of neighbouring pairs in 16 x 16 cells; below 1; all multiples.

    False-failure rate 1e-6. Power: a density that is 2 % too high on one half moves the distribution function by 0.01,
    where the test sees 0.006; cells that are 5 % too frequent and too rare in turn are noticed with a probability above
    0.999.
    """
    numbers = random.uniform([512, 512], tf.constant([8, 9]), dtype).numpy()
    assert stats.kstest(numbers.ravel(), "uniform").pvalue > 5e-7
    assert stats.kstwo.isf(5e-7, numbers.size) < 0.006
    pairs = (16 * numbers[:, ::2]).astype(int) * 16 + (16 * numbers[:, 1::2]).astype(int)
    counts, even = np.bincount(pairs.ravel(), minlength=256), np.full(256, 1 / 256)
    assert reference.chi_squared_p_value(counts, even) > 5e-7
    wrong = even * np.tile([1.05, 0.95], 128)
    assert reference.chi_squared_power(pairs.size, even, wrong, 5e-7) > 0.999
    steps = numbers * 2.0 ** (23 if dtype == tf.float32 else 52)
    np.testing.assert_array_equal(steps, np.floor(steps))
    assert 0 <= numbers.min() < 1e-4
    assert 1 - 1e-4 < numbers.max() < 1


@pytest.mark.parametrize("other", [[1, 3], [2, 2], [1, 1], [2, 1], [1, 2 + 2**16]])
def test_neighbouring_seeds_draw_independently(other):
    """Every bit of 4096 words agrees with probability 1/2. False-failure rate 1e-6; a 1 % dependence is noticed."""
    words = [random.words([64, 64], tf.constant(seed)).numpy() for seed in ([1, 2], other)]
    agreeing = 32 * 4096 - int(np.bitwise_count(words[0] ^ words[1]).sum())
    assert stats.binomtest(agreeing, 32 * 4096).pvalue > 1e-6
    assert stats.binom.sf(stats.binom.isf(5e-7, 32 * 4096, 0.5), 32 * 4096, 0.51) > 0.98


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_bernoulli(dtype):
    """A draw is 1 where the uniform of its seed is below sigma(logit)."""
    logits = tf.constant(np.linspace(-4, 4, 60).reshape(3, 20), dtype)
    found = random.bernoulli(logits, tf.constant([4, 4]))
    uniform = reference.uniform((3, 20), [4, 4], double=dtype == tf.float64)
    np.testing.assert_array_equal(found, uniform < 1 / (1 + np.exp(-logits)))
    assert found.dtype == dtype
    assert 0.2 < np.mean(found) < 0.8


def test_shuffle():
    """Every order of three is as frequent; rows move whole. 6000 seeds; false-failure rate 1e-6."""
    rows = tf.constant([[0, 10], [1, 11], [2, 12]])

    @tf.function(jit_compile=True)
    def shuffled(numbers):
        return tf.map_fn(
            lambda number: random.shuffle(rows, tf.stack([3, number])), numbers, fn_output_signature=tf.int32
        )

    orders = shuffled(tf.range(6000)).numpy()
    np.testing.assert_array_equal(orders[..., 1], orders[..., 0] + 10)
    counts = np.bincount(orders[..., 0] @ [9, 3, 1], minlength=27)
    counts = counts[counts > 0]
    assert len(counts) == 6
    assert reference.chi_squared_p_value(counts, np.full(6, 1 / 6)) > 1e-6


def test_other_types_are_refused():
    with pytest.raises(ValueError, match="must be float32 or float64"):
        random.uniform([2], tf.constant([0, 0]), tf.bfloat16)
