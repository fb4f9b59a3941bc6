"""What is wrong with the numbers of an evaluation, and what to try: said after them, a line each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from dvae.errors import UserError
from samplers.weights import FEWEST

# How the settings of the final evaluation of a training are called, which are others in an evaluation by itself.
OF_TRAINING = MappingProxyType({"log_z_temperatures": "test_log_z_temperatures", "num_samples": "test_samples"})
_CLOSER = {"true_posterior_temperatures": 1000, "example_error": 0.1}
_ERRORS = 2.0  # by which an estimate may be off
_SHOWN = 0.001  # nats: smaller differences are not seen in what is printed


def cautions(results: Mapping[str, Any], names: Mapping[str, str] = MappingProxyType({})) -> list[UserError]:
    """Remarks on the numbers of an evaluation; none if all is well.

    Args:
      results: the content of a results.json.
      names: what settings are called where they can be changed, if otherwise (`OF_TRAINING`).
    """
    found = (_of_log_z(results, names), _of_samples(results, names))
    return [remark for remark in found if remark is not None]


def _of_log_z(results: Mapping[str, Any], names: Mapping[str, str]) -> UserError | None:
    """Of an estimate of log Z whose error is not known."""
    if results["log_z"] is None or results["log_z_standard_error"] is not None:
        return None
    size, chains = results["log_z_effective_sample_size"], results["log_z_chains"]
    halves = results["log_z_from_uniform"], results["log_z_from_own_means"]
    return UserError(
        f"the error of log Z is not known: the effective sample size is {size:.1f} of {chains} chains, those from the "
        f"uniform distribution say {halves[0]:.2f}, those from the prior's own means {halves[1]:.2f}. The largest is "
        "reported; log Z is probably higher, and so is the NLL. More temperatures help",
        **{names.get("log_z_temperatures", "log_z_temperatures"): results["log_z_temperatures"]},
    )


def _of_samples(results: Mapping[str, Any], names: Mapping[str, str]) -> UserError | None:
    """Of an NLL that too few importance samples carry, or that is not the exact one."""
    size, num_samples = results["effective_sample_size"], results["num_samples"]
    if size is None or num_samples is None:
        return None
    wrong = []
    if size < FEWEST:
        wrong.append(f"the effective sample size is {size:.1f}, so the NLL estimated is probably too high")
    if results["exact_nll"] is not None:
        wrong += _unlike(results["nll"] - results["exact_nll"], _error_of_estimate(results))
    if not wrong:
        return None
    temperatures = results.get("true_posterior_temperatures")
    if temperatures is None:  # no way through the true posterior
        advice, mentions = "More samples help", {}
    elif temperatures:
        advice, mentions = "More of {true_posterior_temperatures} help", {"true_posterior_temperatures": temperatures}
    else:
        advice = (
            "More samples help a little; an evaluation of the run with {true_posterior_temperatures} {example_error} "
            "carries them to the true posterior (docs/true_nll.md)"
        )
        mentions = _CLOSER
    setting: dict[str, Any] = {names.get("num_samples", "num_samples"): num_samples}
    return UserError(f"{'; '.join(wrong)}. {advice}", mentions=mentions, **setting)


def _unlike(difference: float, error: float | None) -> list[str]:
    if error is None or abs(difference) <= max(_ERRORS * error, _SHOWN):
        return []
    side = "above" if difference > 0 else "below"
    return [
        f"the NLL estimated is {abs(difference):.3f} nats {side} the exact one, more than {_ERRORS:.0f} standard "
        f"errors of {error:.3f}: take the exact one"
    ]


def _error_of_estimate(results: Mapping[str, Any]) -> float | None:
    """Standard error of the NLL given its examples, of the samples and of log Z; where it is not known, over examples.

    The examples are the same as those of the exact NLL, so that their spread is no part of the difference.
    """
    sampling, of_log_z = results.get("nll_sampling_error"), results["log_z_standard_error"]
    if sampling is None or (of_log_z is None and results["log_z"] is not None):
        return results["nll_standard_error"]
    return math.hypot(sampling, of_log_z or 0.0)
