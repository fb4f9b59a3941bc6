"""A trained model as the functions that it offers, by name, and what they tell of it.

In a training they are those of `dvae.evaluation.signatures`; of an exported model, its signatures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

Functions = Mapping[str, Callable[..., dict[str, tf.Tensor]]]


def has_prior(functions: Functions) -> bool:
    """Whether the model has a prior p(z), whose log Z is to be estimated; one of structured prediction has none."""
    return "prior_energy" in functions


def means(found: Mapping[str, tf.Tensor]) -> np.ndarray:
    """The expected pixels among what a signature returns, whatever their name."""
    return found["probabilities" if "probabilities" in found else "means"].numpy()


def posterior_inputs(functions: Functions, images: np.ndarray) -> np.ndarray:
    """What the posterior is given of images `[n, D]`: in structured prediction the observed pixels; float32."""
    if "pixels" in functions:
        images = images[:, functions["pixels"]()["observed"].numpy()]
    return images.astype(np.float32)


def num_pixels(functions: Functions) -> int:
    """D, the width of the examples that the model takes."""
    return input_width(functions["log_likelihood" if "log_likelihood" in functions else "reconstruct"], "x")


def input_width(function: Any, name: str) -> int:
    """The last dimension of an input of a tf.function or of a loaded signature."""
    concrete = function.get_concrete_function() if hasattr(function, "get_concrete_function") else function
    inputs = tf.nest.flatten(concrete.structured_input_signature)
    return next(spec.shape[-1] for spec in inputs if spec.name == name)
