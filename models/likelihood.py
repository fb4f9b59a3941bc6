"""The likelihood p(x | z): a decoder network, and independent pixels given its outputs."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from models.inputs import Inputs, centred, mean_example
from models.networks import LayerFactory, feature_width
from samplers import random

_OUTPUTS_AT_ONCE = 2**24  # of the decoder in evaluation: 64 MB


class Likelihood(keras.layers.Layer, abc.ABC):
    """`p(x | z) = prod_d p(x_d | outputs_d)`, `outputs = head(decoder(z))`.

    A likelihood of one's own is a subclass with `distribution`, `values` where these are not binary, and
    `outputs_per_pixel` where a pixel has more than one parameter. Training, evaluation, the exact NLL and the exported
    model all ask it for `log_prob` and its kin, which follow from `distribution`.

    Args:
      decoder: any Keras layer from latents `[rows, units]` to features `[rows, width]`.
      layers: makes the head, a linear map of the features.
      examples: the training data, `[n, D]`, for where the parameters start.
      num_units: latents.

    Attributes:
      values: what a pixel may be, a name in `dvae.data.VALUES`: "binary", "unit", "real", "non_negative".
      mean_pixel: of the training data, `[D]`.
      outputs_per_pixel: how many parameters a pixel has. The first ones of all pixels come first.
      num_outputs: `outputs_per_pixel * D`.
    """

    values: ClassVar[str] = "binary"
    outputs_per_pixel = 1

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Sees to it that training, evaluation and enumeration, all `log_prob...`, speak of one distribution."""
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        for name in ("log_prob_of_draws", "log_prob_of_pairs"):
            if "log_prob" in own and name not in own:
                raise TypeError(f"{cls.__name__}: overrides log_prob, so it must override {name} as well")
        if "distribution" in own:  # closed forms of another distribution are not inherited
            for name in ("log_prob", "log_prob_of_draws", "log_prob_of_pairs", "mean", "sample", "parameters"):
                if name not in own:
                    setattr(cls, name, vars(Likelihood)[name])

    def __init__(
        self, decoder: keras.layers.Layer, *, layers: LayerFactory, examples: np.ndarray, num_units: int
    ) -> None:
        super().__init__(name="likelihood")
        self.num_units = num_units
        self.num_pixels = examples.shape[1]
        self.num_outputs = self.outputs_per_pixel * self.num_pixels
        self.mean_pixel = mean_example(examples)
        self.decoder = decoder
        self.head = layers.dense(feature_width("decoder", decoder, num_units), self.num_outputs, name="outputs")
        self.built = True

    @abc.abstractmethod
    def distribution(self, outputs: tf.Tensor) -> tfd.Distribution:
        """p(x_d | outputs_d) of every pixel, batch shape `[..., D]`, from `outputs [..., num_outputs]`."""

    @classmethod
    def inputs(cls, examples: np.ndarray) -> Inputs:
        """What an encoder is shown of such examples; from training data `[n, D]`, or a part of its pixels."""
        return centred(examples)

    def parameters(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """What `outputs [..., num_outputs]` say of each pixel, by name, `[..., D]`."""
        return {"mean": self.distribution(outputs).mean()}

    def remarks(self) -> list[str]:
        """What a person should know of the trained parameters before believing an NLL."""
        return []

    def outputs(self, z: tf.Tensor, *, training: bool) -> tf.Tensor:
        """The pixels' parameters `[..., num_outputs]` for binary or relaxed latents `[..., units]`.

        All leading dimensions are one batch to the decoder, whose batch statistics are over all of it.
        """
        features = self.decoder(tf.reshape(z, [-1, self.num_units]), training=training)
        return tf.reshape(self.head(features), tf.concat([tf.shape(z)[:-1], [self.num_outputs]], 0))

    def log_prob(self, x: tf.Tensor, z: tf.Tensor, *, training: bool) -> tf.Tensor:
        """`log p(x | z)` in nats, `[..., B]`, for `x [B, D]` and `z [..., B, units]`."""
        return tf.reduce_sum(self.distribution(self.outputs(z, training=training)).log_prob(x), axis=-1)

    def log_prob_of_draws(self, x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        """`log p(x | z)` of the trained model, nats, float64 `[K, B]`, for `x [B, D]` and binary `z [K, B, units]`.

        As `log_prob`, but pixels are summed in float64, and samples decoded some at a time: however many there are of
        whatever width, the decoder's outputs take no more than 64 MB, or those of a single one.
        """

        def log_prob(z: tf.Tensor) -> tf.Tensor:
            pixels = self.distribution(self.outputs(z, training=False)).log_prob(x)
            return tf.reduce_sum(tf.cast(pixels, tf.float64), axis=-1)

        num, num_images = tf.shape(z)[0], tf.shape(x)[0]
        at_once = tf.clip_by_value(_OUTPUTS_AT_ONCE // (num_images * self.num_outputs), 1, num)
        num_blocks = -(-num // at_once)
        whole_blocks = tf.pad(z, [[0, num_blocks * at_once - num], [0, 0], [0, 0]])
        blocks = tf.reshape(whole_blocks, [num_blocks, at_once, num_images, self.num_units])
        by_block = tf.map_fn(log_prob, blocks, fn_output_signature=tf.TensorSpec([None, None], tf.float64))
        return tf.reshape(by_block, [num_blocks * at_once, num_images])[:num]

    def log_prob_of_pairs(self, x: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """`log p(x_n | outputs_s)` of every pair, nats, float64 `[S, n]`, for `x [n, D]`, `outputs [S, num_outputs]`.

        Enumeration is made of it, one example at a time: memory is that of `outputs`. Override where the sum over
        pixels has a closed form.
        """
        pixels = self.distribution(outputs)
        log_prob = lambda image: tf.reduce_sum(tf.cast(pixels.log_prob(image), tf.float64), axis=-1)  # noqa: E731
        return tf.transpose(tf.map_fn(log_prob, x, fn_output_signature=tf.TensorSpec([None], tf.float64)))  # [S, n]

    def mean(self, z: tf.Tensor, *, training: bool) -> tf.Tensor:
        """`E[x | z]`, `[..., D]`."""
        return self.distribution(self.outputs(z, training=training)).mean()

    def sample(self, z: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Draws of x, one for each `z [..., units]`, moving averages in use; `[..., D]`.

        By the distribution's own sampler, whose random numbers are others where XLA compiles it.
        """
        return tf.cast(self.distribution(self.outputs(z, training=False)).sample(seed=seed), z.dtype)


class BernoulliLikelihood(Likelihood):
    """`p(x | z) = prod_d Bernoulli(x_d; sigma(l_d))`, `l = outputs = head(decoder(z)) + logit(mean pixel)`.

    The network learns what differs from the mean image, whose pixels are clipped to [0.001, 0.999] first.
    """

    def __init__(
        self, decoder: keras.layers.Layer, *, layers: LayerFactory, examples: np.ndarray, num_units: int
    ) -> None:
        super().__init__(decoder, layers=layers, examples=examples, num_units=num_units)
        mean = np.clip(self.mean_pixel, 0.001, 0.999)
        self.mean_logits = tf.constant(np.log(mean) - np.log1p(-mean), tf.float32)

    def outputs(self, z: tf.Tensor, *, training: bool) -> tf.Tensor:
        return super().outputs(z, training=training) + self.mean_logits

    def distribution(self, outputs: tf.Tensor) -> tfd.Distribution:
        return tfd.Bernoulli(logits=outputs)

    def parameters(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"logits": outputs}

    def log_prob_of_pairs(self, x: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """`x . l - sum_d softplus(l_d)`: one matrix product for all pairs."""
        logits, x = tf.cast(outputs, tf.float64), tf.cast(x, tf.float64)
        return tf.matmul(logits, x, transpose_b=True) - tf.reduce_sum(tf.math.softplus(logits), axis=-1, keepdims=True)

    def sample(self, z: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return random.bernoulli(self.outputs(z, training=False), seed)
