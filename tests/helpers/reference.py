"""What the tests compare with: slow NumPy in float64, by loops and enumeration. Imports nothing of the project.

A machine is a tuple `(a [N], b [M], W [N, M])` of arrays. Conditionals come from the enumerated joint distribution, not
from the logistic function, so that they share no formula with the samplers.
"""

import itertools
import math

import numpy as np
from scipy import special, stats


def machine(seed, num_left, num_right, *, batch=(), scale=1.0):
    """Random parameters, each with leading dimensions `batch`."""
    rng = np.random.default_rng(seed)
    shapes = [num_left], [num_right], [num_left, num_right]
    return tuple(rng.normal(scale=scale, size=[*batch, *shape]) for shape in shapes)


def member(machines, index):
    return tuple(parameter[index] for parameter in machines)


def all_states(num_units):
    """Every binary vector, `[2^num_units, num_units]`; the first unit is the highest bit of the row's number."""
    return np.array(list(itertools.product([0.0, 1.0], repeat=num_units)))


def state_number(states):
    """The row of `all_states` that holds each state, `[..., units]` to `[...]`."""
    number = np.zeros(np.shape(states)[:-1], int)
    for unit in np.moveaxis(np.asarray(states), -1, 0):
        number = 2 * number + unit.astype(int)
    return number


def energy(machine, left, right):
    a, b, w = machine
    total = 0.0
    for i in range(len(a)):
        total -= a[i] * left[i]
        for j in range(len(b)):
            total -= left[i] * w[i, j] * right[j]
    for j in range(len(b)):
        total -= b[j] * right[j]
    return total


def free_energy(machine, left):
    """`-log sum_right exp(-E(left, right))`, the sum over all right states."""
    return -special.logsumexp([-energy(machine, left, right) for right in all_states(len(machine[1]))])


def log_joint(machine):
    """`-E` of every state, `[2^N, 2^M]`."""
    a, b, _ = machine
    return np.array([[-energy(machine, left, right) for right in all_states(len(b))] for left in all_states(len(a))])


def log_z(machine):
    return special.logsumexp(log_joint(machine))


def joint(machine):
    """`p(left, right)`, `[2^N, 2^M]`."""
    return np.exp(log_joint(machine) - log_z(machine))


def p_left(machine):
    return joint(machine).sum(axis=1)


def sweep_kernel(machine):
    """`p(right | left_old) p(left_new | right)` of one sweep, `[left_old, right, left_new]`."""
    p = joint(machine)
    num_left, num_right = p.shape
    kernel = np.zeros([num_left, num_right, num_left])
    for old in range(num_left):
        for right in range(num_right):
            for new in range(num_left):
                kernel[old, right, new] = p[old, right] / p[old].sum() * p[new, right] / p[:, right].sum()
    return kernel


def transition_matrix(machine):
    """`T[old, new]` of one sweep over left states: right | left, then left | right."""
    return sweep_kernel(machine).sum(axis=1)


def mean_field_update(machine, left):
    """One update of the right means from the left ones, then of the left means from the right ones."""
    a, b, w = machine
    logistic = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
    right = [logistic(b[j] + sum(left[i] * w[i, j] for i in range(len(a)))) for j in range(len(b))]
    left = [logistic(a[i] + sum(w[i, j] * right[j] for j in range(len(b)))) for i in range(len(a))]
    return np.array(left), np.array(right)


def mean_field_bound(machine, left, right):
    """`-E(m) + H(m)`, a lower bound of log Z."""
    entropy = sum(-m * math.log(m) - (1 - m) * math.log(1 - m) for m in [*left, *right] if 0 < m < 1)
    return -energy(machine, left, right) + entropy


def systematic_resampling(weights, offset):
    """Ancestor of point j: the first i with `(j + offset) / n < (w_1 + ... + w_i) / sum w`."""
    ancestors, i, cumulative, total = [], 0, weights[0], math.fsum(weights)
    for j in range(len(weights)):
        while (j + offset) / len(weights) >= cumulative / total:
            i += 1
            cumulative += weights[i]
        ancestors.append(i)
    return np.array(ancestors)


def chi_squared_p_value(counts, probabilities):
    """Of Pearson's test that `counts` come from `probabilities`."""
    expected = np.sum(counts) * np.asarray(probabilities)
    return stats.chi2.sf(np.sum((counts - expected) ** 2 / expected), np.size(counts) - 1)


def chi_squared_power(num_draws, probabilities, wrong, level):
    """The probability that the test above, at `level`, rejects draws that come from `wrong` instead."""
    excess = num_draws * np.sum((np.asarray(wrong) - probabilities) ** 2 / probabilities)
    degrees = np.size(probabilities) - 1
    return stats.ncx2.sf(stats.chi2.isf(level, degrees), degrees, excess)


def standard_error(draws):
    """Of the mean over the first axis."""
    return np.std(draws, axis=0, ddof=1) / math.sqrt(len(draws))


def z_score(draws, mean):
    """How many standard errors the mean over the first axis lies from `mean`."""
    return (np.mean(draws, axis=0) - mean) / standard_error(draws)


def z_limit(level, num_comparisons=1):
    """The |z| that `num_comparisons` standard normals exceed with a probability of at most `level` together."""
    return stats.norm.isf(level / num_comparisons / 2)


def finite_differences(function, point, step=1e-5):
    """Central differences of `function` in every entry of `point`."""
    gradient = np.zeros_like(point)
    for entry in np.ndindex(point.shape):
        move = np.zeros_like(point)
        move[entry] = step
        gradient[entry] = (function(point + move) - function(point - move)) / (2 * step)
    return gradient


# Random numbers, with Python's own integers.


def threefry(key, counter):
    """Threefry-2x32-20 of one block, from its definition: words are integers modulo 2^32. [Salmon et al. 2011]"""
    rotations, size = [13, 15, 26, 6, 17, 29, 16, 24], 2**32
    schedule = [key[0], key[1], key[0] ^ key[1] ^ 0x1BD11BDA]
    x, y = (counter[0] + schedule[0]) % size, (counter[1] + schedule[1]) % size
    for number in range(20):
        x = (x + y) % size
        rotation = rotations[number % 8]
        y = ((y << rotation) % size + (y >> (32 - rotation))) ^ x
        if number % 4 == 3:
            injected = number // 4 + 1
            x = (x + schedule[injected % 3]) % size
            y = (y + schedule[(injected + 1) % 3] + injected) % size
    return x, y


def words(shape, seed):
    """Words as the project lays them out: halves of the last axis but one, block by block in row-major order."""
    if not shape:
        return words((1,), seed)[0]
    axis = max(len(shape) - 2, 0)
    halves = [*shape[:axis], (shape[axis] + 1) // 2, *shape[axis + 1 :]]
    key = [int(word) % 2**32 for word in seed]
    blocks = np.array([threefry(key, (number, 0)) for number in range(math.prod(halves))], dtype=np.int64)
    both = np.concatenate([blocks[:, half].reshape(halves) for half in range(2)], axis=axis)
    return both[tuple(slice(size) for size in shape)]


def uniform(shape, seed, *, double=False):
    """Multiples of 2^-23 from the upper bits of a word, or of 2^-52 from two words, the upper one first."""
    if not double:
        return (words(shape, seed) >> 9) / 2**23
    upper, lower = words((2, *shape), seed)
    return (upper * 2**20 + (lower >> 12)) / 2**52
