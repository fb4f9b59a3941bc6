"""Boltzmann machines and quantum annealers' software: RBMs as `dimod` models, any `dimod.Sampler` as prior sampler.

`dimod` (extra `dwave`) is the interface of D-Wave's machines and of many solvers besides.
"""

from __future__ import annotations

import importlib
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from samplers import random
from samplers.arguments import check_count, check_number, check_seed
from samplers.effective_temperature import effective_beta
from samplers.gibbs import GibbsState
from samplers.persistent_chains import reweight, uniform_log_z, uniform_rbm
from samplers.rbm import RBM

try:
    import dimod
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "dimod is not installed: pip install 'discrete-vae[dwave]' (or pip install dimod dwave-samplers)",
        name=error.name,
    ) from error

# What training itself gives to a sampler in every step.
_GIVEN = ("num_reads", "seed", "initial_states")
_SCHEDULE = ("beta_range", "beta_schedule", "beta_schedule_type")


def to_bqm(rbm: RBM, *, vartype: str = "BINARY") -> dimod.BinaryQuadraticModel:
    """The machine as a binary quadratic model, float64, whose energy is `E(z)` in nats.

        BINARY:  E(z) = -(a . left + b . right + left' W right),  z in {0, 1}
        SPIN:    the same number at `s = 2 z - 1`, in {-1, 1}: the constant is the model's `offset`

    A sampler at inverse temperature 1 draws p(z). Variables are numbered, 0 to N - 1 the left units, N to N + M - 1 the
    right ones. Couplings that are 0 are there too.

    Args:
      rbm: one machine.
      vartype: BINARY or SPIN.

    Raises:
      ValueError: it is a batch of machines.
    """
    _check_single(rbm)
    bias_left, bias_right, weights = (np.asarray(parameter, np.float64) for parameter in rbm)
    num_left, num_right = weights.shape
    rows, columns = np.indices(weights.shape).reshape(2, -1)
    bqm = dimod.BinaryQuadraticModel.from_numpy_vectors(
        -np.concatenate([bias_left, bias_right]),
        (rows, num_left + columns, -weights.ravel()),
        0.0,
        "BINARY",
        variable_order=range(num_left + num_right),
    )
    return bqm.change_vartype(vartype, inplace=False)


class Machine(NamedTuple):
    """A machine, and the constant that it lacks.

    Attributes:
      rbm: float64.
      offset: nats; the model's energy is `rbm.energy(left, right) + offset`.
    """

    rbm: RBM
    offset: float


def from_bqm(
    bqm: dimod.BinaryQuadraticModel, *, left: Sequence[Hashable], right: Sequence[Hashable] | None = None
) -> Machine:
    """The machine of a binary quadratic model, of BINARY or SPIN variables, with couplings between two sides only.

    Args:
      bqm: the model.
      left: labels of the variables that become left units, in this order.
      right: of the right ones; None for all others, in the model's order.

    Raises:
      ValueError: a variable is on no side or on both, or two of one side are coupled.
    """
    bqm = bqm.change_vartype("BINARY", inplace=False)
    right = [variable for variable in bqm.variables if variable not in set(left)] if right is None else right
    number = {variable: i for i, variable in enumerate([*left, *right])}
    if len(number) != len(left) + len(right) or number.keys() != set(bqm.variables):
        raise ValueError("left and right: must have each variable of the model once")
    linear, num_left = np.zeros(len(number)), len(left)
    for variable, bias in bqm.iter_linear():
        linear[number[variable]] = bias
    weights = np.zeros([num_left, len(right)])
    for one, other, coupling in bqm.iter_quadratic():
        row, column = sorted((number[one], number[other]))
        if column < num_left or row >= num_left:
            if coupling == 0:
                continue
            raise ValueError(f"variables {one!r} and {other!r}: coupled, so they must be on different sides")
        weights[row, column - num_left] -= coupling
    return Machine(RBM(-linear[:num_left], -linear[num_left:], weights), float(bqm.offset))


class DimodState(NamedTuple):
    """States that a `dimod.Sampler` drew.

    Attributes:
      left, right: binary, `[reads, N]` and `[reads, M]`, drawn together.
      rbm: the parameters that they were drawn at.
      log_z: as in `samplers.persistent_chains.PersistentState`.
    """

    left: tf.Tensor
    right: tf.Tensor
    rbm: RBM
    log_z: tf.Tensor

    def anchored(self, log_z: tf.Tensor) -> DimodState:
        """The state with a log Z that was estimated afresh."""
        return self._replace(log_z=tf.cast(log_z, tf.float64))


class DimodInfo(NamedTuple):
    """What a step tells about itself.

    Attributes:
      effective_sample_size: of the weights from the old parameters to the new, 1 to reads.
      effective_beta: at which the states look like samples, `samplers.effective_temperature`; of p(z) it is 1.
    """

    effective_sample_size: tf.Tensor
    effective_beta: tf.Tensor


class DimodSampler:
    """A `dimod.Sampler` as a sampler of p(z) that follows a machine through training.

    Where the sampler takes `initial_states`, its chains go on from step to step; else every step draws anew. Where it
    takes a `seed`, the same seed draws the same states.

    **Annealers optimise.** The schedules that solvers have by themselves end at a temperature where every mean is 0 or
    1, which is no sample of p(z), and nothing fails. `SimulatedAnnealingSampler` of `dwave.samplers` therefore is given
    a constant beta = 1, with Gibbs' acceptance; of every other sampler only its user knows, and `remark` says so.

    Args:
      sampler: any.
      beta: the inverse temperature at which it draws, of hardware its effective one; energies are divided by it.
      arguments: further ones of its `sample`, which go before what is given here.

    Raises:
      ValueError: `beta` is out of range, or the sampler has no such arguments, or training gives them itself.

    Attributes:
      remark: what a user should know before the training starts; None for nothing.
    """

    def __init__(
        self, sampler: dimod.Sampler, *, beta: float = 1.0, arguments: Mapping[str, Any] | None = None
    ) -> None:
        check_number("beta", beta, above=0.0)
        self._sampler, self._beta, self._arguments = sampler, beta, dict(arguments or {})
        known = [name for name in sampler.parameters if name not in _GIVEN]
        for name in self._arguments:
            if name in _GIVEN:
                raise ValueError(f"{name} is given by training in every step: must be left out")
            if name not in known:
                raise ValueError(
                    f"{name} is no argument of {type(sampler).__name__}: must be one of {', '.join(known)}"
                )

    @property
    def remark(self) -> str | None:
        schedule = [name for name in _SCHEDULE if name in self._arguments]
        if _is_of_dwave(self._sampler, "SimulatedAnnealingSampler"):
            given = f" with {', '.join(schedule)}"
            is_sampling = not schedule
        else:
            given = ""
            is_sampling = (
                _is_of_dwave(self._sampler, "TreeDecompositionSampler") and self._arguments.get("beta", 1) == 1
            )
        if is_sampling:
            return None
        return (
            f"{type(self._sampler).__name__}{given} is taken at its word that it samples at a constant temperature "
            "(annealers' own schedules optimise); training/prior_effective_beta in TensorBoard must stay near 1"
        )

    def initial_state(self, rbm: RBM, *, num_chains: int, seed: tf.Tensor) -> DimodState:
        """States of the machine whose parameters are all 0, by the sampler: a wrong argument ends here.

        Args:
          rbm: gives sizes and type.
          num_chains: `num_reads`.
          seed: int32 `[2]`.

        Raises:
          ValueError: the sampler raises an error, or draws no such states.
        """
        check_count("num_chains", num_chains)
        _check_single(rbm)
        rbm = uniform_rbm(rbm)
        coins_seed, draw_seed = random.split(seed, 2)
        shape = [num_chains, rbm.num_left + rbm.num_right]
        coins = tf.cast(random.uniform(shape, coins_seed) < 0.5, rbm.weights.dtype)
        states = self._draw(rbm, coins, draw_seed, num_sweeps=1)
        return DimodState(*states, rbm, uniform_log_z(rbm))

    def step(self, rbm: RBM, state: DimodState, seed: tf.Tensor, *, num_sweeps: int) -> tuple[DimodState, DimodInfo]:
        """Draws at the parameters of `rbm`; Python, for no graph.

        Args:
          rbm: one machine, after the parameter update.
          state: the states of before.
          seed: int32 `[2]`.
          num_sweeps: `num_sweeps` of samplers that take it, where the arguments do not have it.

        Raises:
          ValueError: the sampler raises an error, or draws no such states.
        """
        check_count("num_sweeps", num_sweeps)
        _check_single(rbm)
        _, log_z, ess = reweight(rbm, state)
        before = tf.concat([state.left, state.right], axis=-1)
        states = self._draw(rbm, before, check_seed(seed), num_sweeps=int(num_sweeps))
        return DimodState(*states, rbm.frozen(), log_z), DimodInfo(ess, effective_beta(rbm, *states))

    def _draw(self, rbm: RBM, before: tf.Tensor, seed: tf.Tensor, *, num_sweeps: int) -> GibbsState:
        num_reads, num_units = before.shape
        bqm = to_bqm(rbm)
        bqm.scale(1 / self._beta)
        given: dict[str, Any] = {
            "num_reads": num_reads,
            "seed": int(random.fold_in(seed, 0)[0]) & 0x7FFFFFFF,  # 31 bits: some samplers take no more
            "initial_states": (before.numpy().astype(np.int8), list(range(num_units))),
        }
        given = {name: value for name, value in given.items() if name in self._sampler.parameters}
        try:
            samples = self._sampler.sample(bqm, **self._by_default(num_sweeps), **self._arguments, **given)
            samples = samples.change_vartype("BINARY", inplace=False)
            order = [samples.variables.index(unit) for unit in range(num_units)]
            states = np.repeat(samples.record.sample[:, order], samples.record.num_occurrences, axis=0)
        except Exception as error:
            text = " ".join(str(error).split())
            raise ValueError(f"{type(self._sampler).__name__} failed ({type(error).__name__}: {text})") from error
        if len(states) != num_reads:
            raise ValueError(
                f"{type(self._sampler).__name__} gave {len(states)} states where {num_reads} were asked for: must be a "
                "sampler that takes num_reads"
            )
        return GibbsState(*rbm.split(tf.constant(states, rbm.weights.dtype)))

    def _by_default(self, num_sweeps: int) -> dict[str, Any]:
        """Arguments that stand in for those that are left out."""
        default: dict[str, Any] = {}
        num_sweeps = self._arguments.get("num_sweeps", num_sweeps)
        if _is_of_dwave(self._sampler, "SimulatedAnnealingSampler"):
            default |= {"proposal_acceptance_criteria": "Gibbs", "initial_states_generator": "none"}
            if not any(name in self._arguments for name in _SCHEDULE):
                per_beta = self._arguments.get("num_sweeps_per_beta", 1)
                default |= {"beta_schedule_type": "custom", "beta_schedule": [1.0] * max(1, num_sweeps // per_beta)}
        elif "num_sweeps" in self._sampler.parameters:
            default["num_sweeps"] = num_sweeps
        return {name: value for name, value in default.items() if name not in self._arguments}


def find_sampler(path: str) -> dimod.Sampler:
    """The `dimod.Sampler` at `package.module.NAME`: one, or a class or a function without arguments that makes it.

    Raises:
      ValueError: there is none.
    """
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: must be the path of a dimod sampler that can be imported ({error})") from error
    if not isinstance(found, dimod.Sampler) and callable(found):
        try:
            found = found()
        except Exception as error:
            text = " ".join(str(error).split())
            raise ValueError(f"{path}: could not be made ({type(error).__name__}: {text})") from error
    if not isinstance(found, dimod.Sampler):
        raise ValueError(f"{path}: must be a dimod.Sampler, or make one when it is called; is {found!r}")  # noqa: TRY004
    return found


def _is_of_dwave(sampler: dimod.Sampler, name: str) -> bool:
    kind = type(sampler)
    return kind.__name__ == name and kind.__module__.startswith("dwave.samplers")


def _check_single(rbm: RBM) -> None:
    if rbm.weights.shape.rank != 2:
        raise ValueError(f"weights of shape {tuple(rbm.weights.shape)}: must be one machine, not a batch")
