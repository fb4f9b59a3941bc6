"""What every sampler of p(z) must do, as one list of checks: for the tests of this project and of other packages.

    import dvae

    print(*dvae.check_prior_sampler(my_sampler), sep="\\n")

What is expected comes from enumeration in NumPy, and not from this project's samplers.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from scipy import special, stats

from dvae.training.prior_sampler import PriorSampler, graph_step
from samplers.rbm import RBM

_NUM_LEFT, _NUM_RIGHT = 3, 2
_POWER = 0.99
_SEEDS = [5, -6], [5, -6], [6, -6], [5, 7]  # the first two alike; seeds are any int32
# A move of chains: `left [chains, *batch, N]` from machines, left, a seed and a number of sweeps.
Move = Callable[[RBM, tf.Tensor, tf.Tensor, int], tf.Tensor]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demands:
    """How much is asked of a sampler.

    Attributes:
      num_chains: in the statistical checks.
      bias_error: the error in the left biases that must be seen with a probability of 0.99; fewer chains see only
        larger ones, about `14 / sqrt(num_chains)`.
      level: the false-failure rate of one check.
      sweeps: from chains that are all off to the distribution.
      batches: batch shapes; training has one machine.
      dtypes: of machines; training has float32.
      is_reproducible: whether the same seed draws the same numbers. A run resumes bit for bit only if so.
    """

    num_chains: int = 20_000
    bias_error: float = 0.1
    level: float = 1e-5
    sweeps: int = 30
    batches: tuple[tuple[int, ...], ...] = ((),)
    dtypes: tuple[tf.DType, ...] = (tf.float32,)
    is_reproducible: bool = True


def check_prior_sampler(sampler: PriorSampler, *, start: Callable[..., Any] | None = None, **demands: Any) -> list[str]:
    """Puts a sampler of the prior through all checks.

    Args:
      sampler: any.
      start: the state `start(rbm, left)` of a sampler whose chains are at `left [chains, *batch, N]`; if left out, the
        initial state with `left` and `rbm` replaced.
      demands: of `Demands`, by name.

    Returns:
      A line for each check: what was seen.

    Raises:
      AssertionError: it fails one; the text says which, and what was seen.
    """
    asked = Demands(**demands)
    lines = [check(sampler, asked) for check in SAMPLER_CHECKS]
    return lines + [check(move_of(sampler, start), asked) for check in MOVE_CHECKS]


def move_of(sampler: PriorSampler, start: Callable[..., Any] | None = None) -> Move:
    """A step of the sampler as a move of given chains."""

    def started(rbm: RBM, left: tf.Tensor) -> Any:
        state = sampler.initial_state(rbm, num_chains=left.shape[0], seed=tf.constant([0, 0]))
        return state._replace(left=left, rbm=rbm)

    def move(rbm: RBM, left: tf.Tensor, seed: tf.Tensor, num_sweeps: int) -> tf.Tensor:
        return sampler.step(rbm, (start or started)(rbm, left), seed, num_sweeps=num_sweeps)[0].left

    return move


# Of a sampler.


def check_signature(sampler: PriorSampler, demands: Demands) -> str:
    """`initial_state(rbm, *, num_chains, seed)` and `step(rbm, state, seed, *, num_sweeps)`."""
    initial = inspect.signature(sampler.initial_state)
    assert [*initial.parameters][:3] == ["rbm", "num_chains", "seed"], f"signature: initial_state{initial}"
    step = inspect.signature(sampler.step)
    assert [*step.parameters] == ["rbm", "state", "seed", "num_sweeps"], f"signature: step{step}"
    kind = step.parameters["num_sweeps"].kind
    assert kind is inspect.Parameter.KEYWORD_ONLY, f"signature: num_sweeps must be keyword-only: step{step}"
    return "signature: as demanded"


def check_state(sampler: PriorSampler, demands: Demands) -> str:
    """A state is a structure of tensors that a step keeps; `left` is binary, `log_z` can be anchored."""
    for batch, dtype in itertools.product(demands.batches, demands.dtypes):
        rbm = _rbm(_machines(1, batch), dtype)
        before = sampler.initial_state(rbm, num_chains=6, seed=tf.constant([0, 1]))
        after, info = sampler.step(rbm, before, tf.constant([2, 3]), num_sweeps=2)
        tf.nest.assert_same_structure(before, after)
        for one, other in zip(tf.nest.flatten(before), tf.nest.flatten(after), strict=True):
            assert (one.dtype, one.shape) == (other.dtype, other.shape), f"state: a step makes {other} of {one}"
        for state in (before, after):
            assert (state.left.dtype, state.left.shape) == (dtype, [6, *batch, _NUM_LEFT]), f"left: is {state.left}"
            assert np.isin(state.left, (0, 1)).all(), "left: must be 0 or 1"
            assert (state.log_z.dtype, state.log_z.shape) == (tf.float64, batch), f"log_z: is {state.log_z}"
            assert np.isfinite(state.log_z).all(), "log_z: must be finite"
        anchored = after.anchored(tf.fill(batch, 4.5))
        tf.nest.assert_same_structure(after, anchored)
        assert anchored.log_z.dtype == tf.float64
        np.testing.assert_array_equal(anchored.log_z, np.full(batch, 4.5), "anchored(log_z): must have this log_z")
        told = info._asdict()
        assert tuple(told) == tuple(sampler.info), f"info: {tuple(told)} is not what the sampler says, {sampler.info}"
        for name, value in told.items():
            assert np.isfinite(tf.cast(value, tf.float64)).all(), f"info: {name} must be finite"
            assert value.shape == batch, f"info: {name} is of shape {value.shape}, must be {batch}"
    return f"state: kept by a step, for batches {demands.batches}"


def check_seeds(sampler: PriorSampler, demands: Demands) -> str:
    """The same seed draws the same state; others draw others."""
    rbm = _rbm(_machines(0), demands.dtypes[0])
    states = []
    for seed in _SEEDS:
        before = sampler.initial_state(rbm, num_chains=200, seed=tf.constant(seed))
        after, _ = sampler.step(rbm, before, tf.constant(seed), num_sweeps=2)
        states.append(np.concatenate([before.left, after.left]))
    one, same, *others = states
    if demands.is_reproducible:
        np.testing.assert_array_equal(
            one, same, "the same seed must draw the same numbers (else is_reproducible=False)"
        )
    for other in others:
        assert np.any(one != other), "another seed must draw other numbers"
    return f"seeds: other seeds other numbers{', the same seed the same' if demands.is_reproducible else ''}"


def check_graph(sampler: PriorSampler, demands: Demands) -> str:
    """A step in the graph of a training, as it comes there, is the step by itself."""
    failures: list[Exception] = []
    rbm = _rbm(_machines(0), tf.float32)
    step = tf.function(graph_step(sampler, failed=failures.append), autograph=False)
    state = sampler.initial_state(rbm, num_chains=50, seed=tf.constant([1, 1]))
    found = step(rbm, state, tf.constant([5, 6]), num_sweeps=3)
    wanted = sampler.step(rbm, state, tf.constant([5, 6]), num_sweeps=3)
    tf.nest.assert_same_structure(found[0], wanted[0])
    if demands.is_reproducible:
        for got, expected in zip(tf.nest.flatten(found), tf.nest.flatten(wanted), strict=True):
            np.testing.assert_allclose(got, tf.cast(expected, got.dtype), rtol=1e-5, err_msg="in a graph: differs")
    return "in a training's graph: " + ("as TensorFlow" if sampler.compiled else "called as Python")


# Of a move.


def check_invariance(move: Move, demands: Demands) -> str:
    """Exact samples stay exact samples, and do move."""
    p_values = []
    for batch, dtype in itertools.product(demands.batches, demands.dtypes):
        machines = _machines(21, batch)
        start = _exact_states(machines, batch, demands.num_chains)
        left = move(_rbm(machines, dtype), tf.constant(start, dtype), tf.constant([1, 2]), 2)
        assert (left.dtype, left.shape) == (dtype, [demands.num_chains, *batch, _NUM_LEFT])
        assert np.mean(np.any(left != start, axis=-1)) > 0.4, "chains must move"
        p_values += _p_values(machines, batch, left.numpy(), demands, "exact samples must stay exact samples")
    return f"invariance: p values {_shown(p_values)}; {_power_of(demands)}"


def check_convergence(move: Move, demands: Demands) -> str:
    """From all units off to the distribution: what stays where it is, or goes elsewhere, is found out."""
    batch = demands.batches[min(1, len(demands.batches) - 1)]
    machines, dtype = _machines(21, batch), demands.dtypes[0]
    left = tf.zeros([demands.num_chains, *batch, _NUM_LEFT], dtype)
    left = move(_rbm(machines, dtype), left, tf.constant([3, 2]), demands.sweeps)
    p_values = _p_values(machines, batch, left.numpy(), demands, f"must be found in {demands.sweeps} sweeps")
    return f"convergence: p values {_shown(p_values)} after {demands.sweeps} sweeps; {_power_of(demands)}"


def check_seeds_of_move(move: Move, demands: Demands) -> str:
    """The same seed moves chains to the same states; others, by either word, to others."""
    rbm, start = _rbm(_machines(0), demands.dtypes[0]), tf.zeros([200, _NUM_LEFT], demands.dtypes[0])
    one, same, *others = (move(rbm, start, tf.constant(seed), 2).numpy() for seed in _SEEDS)
    if demands.is_reproducible:
        np.testing.assert_array_equal(one, same)
    for other in others:
        assert np.any(one != other), "another seed must move chains to other states"
    return "seeds of a step: heard"


SAMPLER_CHECKS = (check_signature, check_state, check_seeds, check_graph)
MOVE_CHECKS = (check_invariance, check_convergence, check_seeds_of_move)


# By enumeration.


def all_states(num_units: int) -> np.ndarray:
    """Every binary vector, `[2^num_units, num_units]`; the first unit is the highest bit of the row's number."""
    return np.array(list(itertools.product([0.0, 1.0], repeat=num_units)))


def left_probabilities(bias_left: np.ndarray, bias_right: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`p(left)` of each of `all_states`, the energies of all pairs of states summed over."""
    left, right = all_states(len(bias_left)), all_states(len(bias_right))
    negative_energies = (left @ bias_left)[:, None] + right @ bias_right + left @ weights @ right.T
    return np.exp(special.logsumexp(negative_energies, axis=1) - special.logsumexp(negative_energies))


def _machines(seed: int, batch: tuple[int, ...] = ()) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=[*batch, *s]) for s in ([_NUM_LEFT], [_NUM_RIGHT], [_NUM_LEFT, _NUM_RIGHT]))


def _rbm(machines: tuple[np.ndarray, ...], dtype: tf.DType) -> RBM:
    return RBM(*(tf.constant(parameter, dtype) for parameter in machines))


def _exact_states(machines: tuple[np.ndarray, ...], batch: tuple[int, ...], num_chains: int) -> np.ndarray:
    """Independent draws of p(left), `[num_chains, *batch, N]`."""
    rng, states = np.random.default_rng(1), np.zeros([num_chains, *batch, _NUM_LEFT])
    for index in np.ndindex(*batch):
        p = left_probabilities(*(parameter[index] for parameter in machines))
        states[:, *index] = all_states(_NUM_LEFT)[rng.choice(len(p), size=num_chains, p=p)]
    return states


def _p_values(
    machines: tuple[np.ndarray, ...], batch: tuple[int, ...], left: np.ndarray, demands: Demands, rule: str
) -> list[float]:
    """Of chi-squared tests of the left states of every machine, which must all pass, at the level together."""
    found, level = [], demands.level / max(1, int(np.prod(batch)))
    for index in np.ndindex(*batch):
        bias_left, bias_right, weights = (parameter[index] for parameter in machines)
        p = left_probabilities(bias_left, bias_right, weights)
        numbers = left[:, *index] @ 2 ** np.arange(_NUM_LEFT)[::-1]
        counts = np.bincount(numbers.astype(int), minlength=2**_NUM_LEFT)
        p_value = float(stats.chisquare(counts, len(left) * p).pvalue)
        assert p_value > level, f"{rule}: chi-squared p = {p_value:.1e}, counts {counts}, expected {len(left) * p}"
        power = _power(len(left), p, left_probabilities(bias_left + demands.bias_error, bias_right, weights), level)
        assert power > _POWER, (
            f"{len(left)} chains see an error of {demands.bias_error} in the biases with probability {power:.2f} only: "
            "more chains, or a larger bias_error"
        )
        found.append(p_value)
    return found


def _power(num_draws: int, p: np.ndarray, wrong: np.ndarray, level: float) -> float:
    """The probability that draws from `wrong` are rejected."""
    degrees = len(p) - 1
    return float(stats.ncx2.sf(stats.chi2.isf(level, degrees), degrees, num_draws * np.sum((wrong - p) ** 2 / p)))


def _power_of(demands: Demands) -> str:
    return (
        f"biases off by {demands.bias_error} would be seen with probability > {_POWER}, false failures {demands.level}"
    )


def _shown(p_values: list[float]) -> str:
    return ", ".join(f"{p_value:.3f}" for p_value in p_values)
