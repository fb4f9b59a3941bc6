"""Signatures for servers: every input and output has the batch in front, and no answer depends on what else is in it.

TensorFlow Serving's row format (`instances`) sends a list of rows, so it cannot call a signature with a seed of the
whole batch; and a server may join the requests of several clients into one batch. So here every row is computed by
itself, as the signature of the same name computes a batch of one:

    reconstruct_rows(x, seed)[i] = reconstruct(x[i : i + 1], seed=[seed[i], 0])[0]

Code that XLA compiles for every new shape is compiled once, for one row, however large the batches are.

`serving_default` and `encode` have one input, as `keras.layers.TFSMLayer` wants it; their seed is 0, so that they are
functions of their input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from dvae.evaluation.functions import Functions, input_width

_SEEDS = tf.TensorSpec([None], tf.int32, "seed")
_COUNTS = tf.TensorSpec([None], tf.int32, "num_samples")
_LOG_ZS = tf.TensorSpec([None], tf.float32, "log_z")
_PREDICTION_SAMPLES = 100


def server_functions(functions: Functions) -> dict[str, Any]:
    """What a server offers beside these functions of `dvae.evaluation.signatures`; tf.functions by name."""
    made: dict[str, Any] = {}
    for name, make in (
        ("reconstruct", _reconstructing),
        ("predict", _predicting),
        ("sample_posterior", _encoding),
        ("generate", _generating),
        ("log_likelihood", _scoring_predictions if "predict" in functions else _scoring),
    ):
        if name in functions:
            made |= make(functions[name])
    return made


def _reconstructing(reconstruct: Any) -> dict[str, Any]:
    x = _rows(reconstruct, "x")

    def of_row(x: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        return _first(reconstruct(x=x[None], seed=_pair(seed)))

    def reconstruct_rows(x: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """Expected pixels `[B, D]` of one sample of q(z | x) for every row, from a seed of its own."""
        return _each(of_row, reconstruct, x, seed)

    def serving_default(x: tf.Tensor) -> dict[str, tf.Tensor]:
        """`reconstruct_rows` with all seeds 0."""
        return reconstruct_rows(x, _zeros(x))

    return _named(_signature(serving_default, [x]), _signature(reconstruct_rows, [x, _SEEDS]))


def _predicting(predict: Any) -> dict[str, Any]:
    """Of structured prediction; the draws of `predict` are left out."""
    observed = _rows(predict, "observed")

    def of_row(observed: tf.Tensor, num_samples: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        found = predict(observed=observed[None], num_samples=num_samples, seed=_pair(seed))
        return {name: tensor[0] for name, tensor in found.items() if name != "samples"}

    def predict_rows(observed: tf.Tensor, num_samples: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """Expected target pixels `[B, D2]` over so many latents, for every row from a seed of its own."""
        return _each(of_row, predict, observed, num_samples, seed)

    def serving_default(observed: tf.Tensor) -> dict[str, tf.Tensor]:
        """`predict_rows` with 100 latents and all seeds 0."""
        return predict_rows(observed, _zeros(observed) + _PREDICTION_SAMPLES, _zeros(observed))

    return _named(_signature(serving_default, [observed]), _signature(predict_rows, [observed, _COUNTS, _SEEDS]))


def _encoding(sample_posterior: Any) -> dict[str, Any]:
    x = _rows(sample_posterior, "x")

    def of_row(x: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        return _first(_first(sample_posterior(x=x[None], num_samples=tf.constant(1), seed=_pair(seed))))

    def encode_rows(x: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """A draw `z [B, units]` of q(z | x) for every row, from a seed of its own, and its `log_q [B]` in nats."""
        return _each(of_row, sample_posterior, x, seed, sample_axes=1)

    def encode(x: tf.Tensor) -> dict[str, tf.Tensor]:
        """`encode_rows` with all seeds 0."""
        return encode_rows(x, _zeros(x))

    return _named(_signature(encode, [x]), _signature(encode_rows, [x, _SEEDS]))


def _generating(generate: Any) -> dict[str, Any]:
    def of_row(seed: tf.Tensor) -> dict[str, tf.Tensor]:
        return _first(generate(num_samples=tf.constant(1), seed=_pair(seed)))

    def generate_rows(seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """Expected pixels `[B, D]` of a draw from the prior for every seed, by a population of its own."""
        return _each(of_row, generate, seed)

    return _named(_signature(generate_rows, [_SEEDS]))


def _scoring(log_likelihood: Any) -> dict[str, Any]:
    x = _rows(log_likelihood, "x")

    def of_row(x: tf.Tensor, num_samples: tf.Tensor, log_z: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        return _first(log_likelihood(x=x[None], num_samples=num_samples, log_z=log_z, seed=_pair(seed)))

    def log_likelihood_rows(
        x: tf.Tensor, num_samples: tf.Tensor, log_z: tf.Tensor, seed: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """What `log_likelihood` says of every row, `[B]` each, by its own number of samples, log Z and seed."""
        return _each(of_row, log_likelihood, x, num_samples, log_z, seed)

    return _named(_signature(log_likelihood_rows, [x, _COUNTS, _LOG_ZS, _SEEDS]))


def _scoring_predictions(log_likelihood: Any) -> dict[str, Any]:
    x = _rows(log_likelihood, "x")

    def of_row(x: tf.Tensor, num_samples: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        return _first(log_likelihood(x=x[None], num_samples=num_samples, seed=_pair(seed)))

    def log_likelihood_rows(x: tf.Tensor, num_samples: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """What `log_likelihood` says of every row, `[B]` each, by its own number of samples and seed."""
        return _each(of_row, log_likelihood, x, num_samples, seed)

    return _named(_signature(log_likelihood_rows, [x, _COUNTS, _SEEDS]))


def _each(
    of_row: Callable[..., dict[str, tf.Tensor]], function: Any, *rows: tf.Tensor, sample_axes: int = 0
) -> dict[str, tf.Tensor]:
    """`of_row` of every row. Its outputs are those of `function` without the axes of the samples and the batch."""
    shapes = function.get_concrete_function().structured_outputs
    specs = {
        name: tf.TensorSpec(spec.shape[sample_axes + 1 :], spec.dtype)
        for name, spec in shapes.items()
        if name != "samples"
    }
    return tf.map_fn(lambda row: of_row(*row), rows, fn_output_signature=specs)


def _rows(function: Any, name: str) -> tf.TensorSpec:
    return tf.TensorSpec([None, input_width(function, name)], tf.float32, name)


def _signature(function: Callable[..., dict[str, tf.Tensor]], inputs: list[tf.TensorSpec]) -> Any:
    return tf.function(function, inputs, autograph=False)


def _pair(seed: tf.Tensor) -> tf.Tensor:
    """A seed of two numbers from that of a row."""
    return tf.stack([seed, 0])


def _zeros(rows: tf.Tensor) -> tf.Tensor:
    return tf.zeros(tf.shape(rows)[:1], tf.int32)


def _first(tensors: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {name: tensor[0] for name, tensor in tensors.items()}


def _named(*functions: Any) -> dict[str, Any]:
    return {function.__name__: function for function in functions}
