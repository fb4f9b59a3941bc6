"""log p(x) of single examples by a trained model, in as many ways as there are."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from dvae import provenance
from dvae.config import ANNEALED_FLATTENING, EvaluationSettings
from dvae.errors import UserError
from dvae.evaluation import importance_weighted
from dvae.evaluation.enumeration import ENUMERABLE_LATENTS
from dvae.evaluation.functions import Functions
from dvae.evaluation.signatures import DrawSettings, autoencoder_functions
from dvae.runs.trained_model import TrainedModel
from models.autoencoder import DiscreteVAE
from models.posterior import BASES
from samplers.log_partition import exact_log_z

# How draws of an RBM posterior are made: whatever these are, the estimates are unbiased for p(x).
BASE, TEMPERATURES = "fields", 100
_CHAINS_OF_PRIOR, _TEMPERATURES_OF_PRIOR = 1024, 10_000


class Value(NamedTuple):
    """Attributes: `nats` of examples, `[n]`; their `standard_error` that comes of sampling, infinite if not known."""

    nats: np.ndarray
    standard_error: np.ndarray

    def minus(self, other: Value) -> Value:
        """The difference of independent values."""
        return Value(self.nats - other.nats, np.hypot(self.standard_error, other.standard_error))

    def mean(self) -> tuple[float, float]:
        """The mean over examples and its standard error over them."""
        return float(self.nats.mean()), float(self.nats.std(ddof=1) / np.sqrt(len(self.nats)))


def shown(value: Value, decimals: int = 2) -> str:
    """The mean over examples +- its standard error over them (that part of it which comes of sampling), nats.

    Examples whose own error is not known are left out of that part, and counted.
    """
    mean, error = value.mean()
    is_known = np.isfinite(value.standard_error)
    parts = []
    if is_known.any():
        of_sampling = np.sqrt((value.standard_error[is_known] ** 2).sum()) / is_known.sum()
        parts.append(f"{of_sampling:.{decimals}f}")
    if not is_known.all():
        parts.append(f"not known of {(~is_known).sum()}")
    return f"{mean:.{decimals}f} +- {error:.{decimals}f} ({', '.join(parts)})"


def origin_of(trained: TrainedModel, settings: Any) -> dict[str, Any]:
    """All that an analysis of a trained model follows from (`dvae.analysis.kept`)."""
    return {
        "settings": dataclasses.asdict(settings),
        "run": dataclasses.asdict(trained.config),
        "step": trained.step,
        "checksum": trained.dataset.checksum,
        "program": provenance.program(),
    }


def autoencoder(trained: TrainedModel) -> DiscreteVAE:
    """The model of a run.

    Raises:
      UserError: it has no approximate posterior, or is none of autoencoding.
    """
    if not isinstance(trained.model, DiscreteVAE):
        raise UserError("needs an autoencoder with an approximate posterior", objective=trained.config.objective)
    return trained.model


def check_chains(chains: int) -> None:
    """Raises `UserError` where they cannot be divided among the parts of the mixture in which they start."""
    if chains % len(ANNEALED_FLATTENING):
        raise UserError(f"must be a multiple of {len(ANNEALED_FLATTENING)}", chains=chains)


def functions_of(model: DiscreteVAE) -> Functions:
    """What an evaluation uses."""
    return autoencoder_functions(model, DrawSettings(temperatures=TEMPERATURES, base=BASES.index(BASE)))


def log_z_of(model: DiscreteVAE, functions: Functions, seed: tf.Tensor) -> float:
    """Of the prior, nats; exact where the latents can be enumerated. One number for all that is compared."""
    if model.likelihood.num_units <= ENUMERABLE_LATENTS:
        return float(exact_log_z(model.prior.rbm()))
    chains, temperatures = tf.constant(_CHAINS_OF_PRIOR), tf.constant(_TEMPERATURES_OF_PRIOR)
    return float(functions["log_partition"](num_chains=chains, num_temperatures=temperatures, seed=seed)["log_z"])


def estimated(
    functions: Functions,
    images: np.ndarray,
    *,
    num_samples: int,
    log_z: float,
    seed: tf.Tensor,
    flattening: tuple[float, ...] | None = None,
    true_posterior_temperatures: int = 0,
) -> Value:
    """By weighted samples of q as it is or flattened, or by chains from there to the true posterior.

    Args:
      functions: of a model.
      images: binary, `[n, D]`.
      num_samples: of each image.
      log_z: of the prior.
      seed: int32 `[2]`.
      flattening, true_posterior_temperatures: of `dvae.config.EvaluationSettings`; left out, as there.
    """
    if flattening is None:
        flattening = ANNEALED_FLATTENING if true_posterior_temperatures else (1.0,)
    how = EvaluationSettings(
        num_samples=num_samples,
        flattening=flattening,
        true_posterior_temperatures=true_posterior_temperatures,
        posterior_temperatures=TEMPERATURES,
        posterior_base=BASE,
    )
    values = importance_weighted.estimate(functions, images, how, log_z=log_z, seed=seed, progress=True)
    errors = importance_weighted.standard_error(values["effective_sample_size"], num_samples)
    return Value(values["log_likelihood"], errors)
