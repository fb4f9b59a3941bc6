"""Evaluation of the discrete model: NLL, exact NLL, ELBO, log Z with its error. Binary samples only."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
import tensorflow as tf

from dvae.config import EvaluationSettings
from dvae.errors import DivergenceError, UserError
from dvae.evaluation import importance_weighted
from dvae.evaluation.enumeration import exact_log_likelihood
from dvae.evaluation.functions import Functions, has_prior
from dvae.evaluation.importance_weighted import ANNEALED, ValuesOf
from samplers import random
from samplers.log_z_estimates import LogZ, refine

# The fields of results.json: those that other tools rely on, and how the rest of the numbers were had: every setting of
# the evaluation.
_CONTRACT = (
    "model dataset split num_examples num_samples nll nll_standard_error elbo log_z log_z_standard_error "
    "effective_sample_size exact_nll step seconds seed"
).split()
_SETTINGS = tuple(field.name for field in dataclasses.fields(EvaluationSettings))
# What either half of the prior's chains says: outputs of `log_partition`.
_BY_BASE = ("from_uniform", "from_own_means")
_OF_LOG_Z = ("log_z_effective_sample_size", *(f"log_z_{name}" for name in _BY_BASE))
RESULTS = (
    *_CONTRACT,
    "posterior_sampler",
    *(name for name in _SETTINGS if name not in _CONTRACT),
    *_OF_LOG_Z,
    "nll_sampling_error",
    "posterior_pilot",
    "recipe",
    "exact_nll_standard_error",
)
# Of the table of examples, in this order, those that there are.
_COLUMNS = ("example", "nll", "standard_error", "elbo", "entropy", "effective_sample_size", "exact_nll")
# What an evaluation measures, and not how.
MEASURED = (
    "nll nll_standard_error elbo entropy log_z log_z_standard_error log_z_effective_sample_size effective_sample_size"
).split()


class Evaluation(NamedTuple):
    """What was measured, in nats, and how. The fields are named as in `results.json`.

    Attributes:
      num_samples: importance samples an example; None where the latents were enumerated instead.
      nll: `-mean_x log p(x)`; in structured prediction `-mean_x log p(x_2 | x_1)`.
      nll_standard_error: of that mean over examples: `std / sqrt(num_examples)`; None for one.
      elbo: mean evidence lower bound of the discrete model; None without an approximate posterior.
      entropy: of the approximate posterior q(z | x), mean over examples; None without one.
      log_z: the prior's log-partition function by AIS, with its `log_z_standard_error`; None without a prior. The error
        is None where it cannot be known (`samplers.two_bases.from_two_bases`): then log_z is probably too low,
        and with it the NLL.
      log_z_effective_sample_size: of its chains.
      log_z_from_uniform, log_z_from_own_means: what either half of the chains says.
      effective_sample_size: of the importance weights, mean over examples; None without any.
      nll_sampling_error: standard error of `nll` that comes of the samples, the same examples given, but for that of
        log Z: root of the sum of the examples' squared ones, over their number. None where one of those is not known
        (`samplers.weights.is_known`): then their log p(x) is probably too low, and the NLL too high.
      posterior_sampler: "exact" draws, "annealed importance sampling", or "enumeration" of all latents.
      posterior_temperatures, posterior_base: of annealed importance sampling; None for exact draws.
      flattening: of the posterior; None where it was enumerated.
      true_posterior_temperatures: of AIS from q to the true posterior; 0 for importance samples of q alone; None where
        it was enumerated.
      example_error: as wanted of each example.
      log_z_chains, log_z_temperatures: of the estimate of log Z; with `log_z_error` the temperatures that it took.
      log_z_error: as wanted.
      seed: of all sampling.
      of_examples: what was measured of each: `log_likelihood` and its `standard_error`, infinite where it is not known,
        `elbo`, `entropy`, `effective_sample_size`, `[n]`.
    """

    num_examples: int
    num_samples: int | None
    nll: float
    nll_standard_error: float | None
    elbo: float | None
    entropy: float | None
    log_z: float | None
    log_z_standard_error: float | None
    log_z_effective_sample_size: float | None
    log_z_from_uniform: float | None
    log_z_from_own_means: float | None
    effective_sample_size: float | None
    nll_sampling_error: float | None
    posterior_sampler: str
    posterior_temperatures: int | None
    posterior_base: str | None
    flattening: tuple[float, ...] | None
    true_posterior_temperatures: int | None
    example_error: float | None
    log_z_chains: int | None
    log_z_temperatures: int | None
    log_z_error: float | None
    seed: int
    of_examples: dict[str, np.ndarray]


def evaluate(
    functions: Functions,
    images: np.ndarray,
    settings: EvaluationSettings,
    *,
    progress: bool = False,
    values_of_blocks: ValuesOf | None = None,
) -> Evaluation:
    """Evaluates a model by its functions, in place or loaded from a SavedModel: one way for both.

        log p(x) = log mean_k w_k p(x, z_k) / q(z_k | x)

    A model without an approximate posterior is evaluated by enumerating its latents, whatever `num_samples`. A model of
    structured prediction has no prior: `log p(x_2 | x_1) = log mean_k w_k p(x_2 | z_k)` takes its place.

    Args:
      functions: of `dvae.evaluation.signatures`.
      images: `[n, D]`; all of them are used.
      settings: how. With `log_z_error` the number of temperatures is doubled until log Z has that standard error, up to
        `log_z_temperatures`; without, that number is used at once.
      progress: whether to show a progress bar.
      values_of_blocks: as for `dvae.evaluation.importance_weighted.estimate`.

    Raises:
      DivergenceError: it comes out not finite.
      UserError: there is no way to evaluate the model.
    """
    if settings.true_posterior_temperatures and ANNEALED not in functions:
        rule = "needs a model with an approximate posterior that was exported by this version"
        raise UserError(rule, true_posterior_temperatures=settings.true_posterior_temperatures)
    log_z_seed, samples_seed = random.split(tf.constant([settings.seed, 0]), 2)
    partition = _log_z(functions, settings, log_z_seed) if has_prior(functions) else None
    if "estimate_log_likelihood" in functions:
        values = importance_weighted.estimate(
            functions,
            images,
            settings,
            log_z=float(partition.estimate.log_z) if partition else None,
            seed=samples_seed,
            values_of_blocks=values_of_blocks,
            progress=progress,
        )
        is_annealed = "posterior_temperatures" in settings_in_use(functions)
        sampler = "annealed importance sampling" if is_annealed else "exact"
    else:
        exact = exact_log_likelihood(functions, images, progress=progress)
        if exact is None:
            raise UserError("the model has no posterior, and too many latents to enumerate them")
        values, sampler = {"log_likelihood": exact}, "enumeration"

    def mean(name: str) -> float | None:
        return float(values[name].mean()) if name in values else None

    log_likelihood, in_use = values["log_likelihood"], settings_in_use(functions)
    used: dict[str, Any] = {name: getattr(settings, name) if name in in_use else None for name in _SETTINGS}
    if partition is not None:
        used["log_z_temperatures"] = partition.num_temperatures
    used["num_examples"] = len(images)
    for name, of_examples in values.items():
        if not np.isfinite(of_examples).all():
            first = int(np.argmin(np.isfinite(of_examples)))
            raise DivergenceError(f"the {name} of example {first} is {of_examples[first]}, not finite")
    sampling_error = None
    if "effective_sample_size" in values:
        errors = importance_weighted.standard_error(values["effective_sample_size"], settings.num_samples)
        values["standard_error"] = errors
        sampling_error = float(np.sqrt(np.sum(errors**2)) / len(errors)) if np.isfinite(errors).all() else None
    by_base = partition.by_base if partition else dict.fromkeys(_BY_BASE)
    used |= {f"log_z_{name}": value for name, value in by_base.items()}
    return Evaluation(
        **used,
        nll=float(-log_likelihood.mean()),
        nll_standard_error=_over_examples(log_likelihood),
        elbo=mean("elbo"),
        entropy=mean("entropy"),
        log_z=float(partition.estimate.log_z) if partition else None,
        log_z_standard_error=_known(partition.estimate.standard_error) if partition else None,
        log_z_effective_sample_size=float(partition.estimate.effective_sample_size) if partition else None,
        effective_sample_size=mean("effective_sample_size"),
        nll_sampling_error=sampling_error,
        posterior_sampler=sampler,
        of_examples=values,
    )


def _over_examples(values: np.ndarray) -> float | None:
    """Standard error of a mean; None of one."""
    return float(scipy.stats.sem(values)) if len(values) > 1 else None


def settings_in_use(functions: Functions) -> frozenset[str]:
    """Names of the settings that play a part in the evaluation of a model."""
    names = {"num_examples", "seed"}
    if has_prior(functions):
        names |= {"log_z_chains", "log_z_temperatures", "log_z_error"}
    if "estimate_log_likelihood" in functions:
        names |= {"num_samples", "flattening"}
        if ANNEALED in functions:
            names |= {"true_posterior_temperatures", "example_error"}
        if functions["posterior_settings"]()["is_annealed"]:
            names |= {"posterior_temperatures", "posterior_base"}
    return frozenset(names)


class _Partition(NamedTuple):
    """Attributes: the estimate; the temperatures it took; what either half of the chains says, by `_BY_BASE`."""

    estimate: LogZ
    num_temperatures: int
    by_base: dict[str, float]


def _log_z(functions: Functions, settings: EvaluationSettings, seed: tf.Tensor) -> _Partition:
    by_base: dict[str, float] = {}

    def estimate(num_temperatures: int, seed: tf.Tensor) -> LogZ:
        chains, temperatures = tf.constant(settings.log_z_chains), tf.constant(num_temperatures)
        found = functions["log_partition"](num_chains=chains, num_temperatures=temperatures, seed=seed)
        by_base.update({name: float(found[name]) for name in _BY_BASE})
        return LogZ(*(found[name] for name in LogZ._fields))

    most = settings.log_z_temperatures
    if settings.log_z_error is None:
        return _Partition(estimate(most, seed), most, by_base)
    refined = refine(estimate, standard_error=settings.log_z_error, most_temperatures=most, seed=seed)
    return _Partition(refined.estimate, refined.num_temperatures, by_base)


def _known(error: tf.Tensor) -> float | None:
    return float(error) if np.isfinite(error) else None


class Results(NamedTuple):
    """What an evaluation leaves.

    Attributes:
      content: of `results.json`, in the documented order.
      of_examples: columns of a table with a row for each example: its number in the split, NLL with its standard error,
        ELBO, entropy, effective sample size and exact NLL, those that there are. Two models can be compared
        in pairs by it.
    """

    content: dict[str, Any]
    of_examples: dict[str, np.ndarray]


def results_with_exact_nll(
    functions: Functions,
    images: np.ndarray,
    evaluation: Evaluation,
    *,
    numbers: np.ndarray,
    progress: bool = True,
    **context: Any,
) -> Results:
    """An evaluation of a model on images, those of the given `numbers [n]` in the split, and the exact NLL.

    The latter takes minutes where there are many latents; it is computed here, with a bar if `progress`, unless it is
    what the evaluation is of.
    """
    of_examples = dict(evaluation.of_examples)
    exact: np.ndarray | None = of_examples["log_likelihood"]
    if evaluation.num_samples is not None:
        exact = exact_log_likelihood(functions, images, progress=progress)
    columns = of_examples | {"example": numbers, "nll": -of_examples.pop("log_likelihood")}
    if exact is not None:
        columns["exact_nll"] = -exact
    # A loaded model hands its outputs out in another order in every process.
    table = {name: columns[name] for name in _COLUMNS if name in columns}
    values = context | evaluation._asdict()
    values["exact_nll"] = None if exact is None else float(-exact.mean())
    values["exact_nll_standard_error"] = None if exact is None else _over_examples(exact)
    if evaluation.flattening is not None:
        values["flattening"] = list(evaluation.flattening)
    return Results({name: values[name] for name in RESULTS}, table)
