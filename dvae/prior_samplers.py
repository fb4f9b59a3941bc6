"""Samplers of p(z) by name: built in, of other packages, or any of `dimod`."""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Callable
from typing import Any

from dvae import plugins
from dvae.config import DIMOD, Config
from dvae.errors import UserError
from dvae.training.prior_sampler import PriorSampler
from samplers import parallel_tempering, pcd, population_annealing
from samplers.persistent_chains import PersistentInfo

PRIOR_SAMPLERS: dict[str, Callable[[Config], PriorSampler]] = {
    "population_annealing": lambda config: PriorSampler(
        population_annealing.initial_state, population_annealing.step, PersistentInfo._fields
    ),
    "pcd": lambda config: PriorSampler(pcd.initial_state, pcd.step, PersistentInfo._fields),
    "parallel_tempering": lambda config: PriorSampler(
        functools.partial(parallel_tempering.initial_state, num_levels=config.tempering_levels),
        parallel_tempering.step,
        parallel_tempering.TemperedInfo._fields,
        reads=frozenset({"tempering_levels"}),
    ),
}

_DIMOD_READS = frozenset({"sampler_arguments", "sampler_beta"})


def prior_sampler(config: Config) -> PriorSampler:
    """The one that the settings name: built in, of an installed package, or any `dimod.Sampler`.

    Raises:
      UserError: there is none of that name, or it does not take what it is given.
    """
    name = config.prior_sampler
    if name.startswith(DIMOD):
        return _dimod_sampler(config)
    if name in PRIOR_SAMPLERS:
        return PRIOR_SAMPLERS[name](config)
    made = plugins.load(name)(config)
    if not isinstance(made, PriorSampler):
        raise UserError(f"its package must make a PriorSampler, not a {type(made).__name__}", prior_sampler=name)
    return made


def prior_sampler_reads(config: Config) -> frozenset[str]:
    """Names of the settings that concern this sampler of the prior and not all others."""
    return _DIMOD_READS if config.prior_sampler.startswith(DIMOD) else prior_sampler(config).reads


def _dimod_sampler(config: Config) -> PriorSampler:
    arguments = sampler_arguments(config)
    try:
        bridge = importlib.import_module("samplers.dimod_bridge")  # here, since few have dimod installed
        sampler = bridge.DimodSampler(
            _found(config.prior_sampler.removeprefix(DIMOD)), beta=config.sampler_beta, arguments=arguments
        )
    except (ModuleNotFoundError, ValueError) as error:
        raise UserError(str(error), prior_sampler=config.prior_sampler) from error
    initial_state = _named_errors(sampler.initial_state, config)
    info = bridge.DimodInfo._fields
    return PriorSampler(initial_state, sampler.step, info, reads=_DIMOD_READS, compiled=False, remark=sampler.remark)


@functools.cache  # a machine elsewhere is called up once
def _found(path: str) -> Any:
    return importlib.import_module("samplers.dimod_bridge").find_sampler(path)


def _named_errors(function: Callable[..., Any], config: Config) -> Callable[..., Any]:
    """With a ValueError as the user's, of the setting that names the sampler."""

    @functools.wraps(function)
    def named(*given: Any, **named: Any) -> Any:
        try:
            return function(*given, **named)
        except ValueError as error:
            raise UserError(str(error), prior_sampler=config.prior_sampler) from error

    return named


def sampler_arguments(config: Config) -> dict[str, Any]:
    """What `--sampler_arguments` says.

    Raises:
      UserError: it is no JSON object.
    """
    try:
        arguments = json.loads(config.sampler_arguments)
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise UserError('must be a JSON object, {"name": value}', sampler_arguments=config.sampler_arguments)
    return arguments
