"""The Boltzmann machines of an exported model: its prior, and its posteriors of examples."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from dvae.errors import UserError
from dvae.evaluation.functions import Functions, has_prior, posterior_inputs
from samplers.rbm import RBM


def prior_of(functions: Functions) -> RBM | None:
    """p(z); None where there is none, in structured prediction.

    Raises:
      UserError: the model was exported before the prior's parameters were.
    """
    if not has_prior(functions):
        return None
    if "prior_parameters" not in functions:
        raise UserError("the model was exported by an earlier version of this program, without its prior's parameters")
    return _machine(functions["prior_parameters"]())


def posteriors_of(functions: Functions, images: np.ndarray) -> RBM | None:
    """q(z | x) of images `[n, D]`, a batch of machines; None where it is no Boltzmann machine."""
    if "posterior_log_partition" not in functions:
        return None
    return _machine(functions["posterior_parameters"](x=tf.constant(posterior_inputs(functions, images))))


def _machine(parameters: dict[str, tf.Tensor]) -> RBM:
    return RBM(*(parameters[name] for name in ("bias_left", "bias_right", "weights")))
