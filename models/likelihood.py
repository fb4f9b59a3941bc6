"""The likelihood p(x | z): independent Bernoulli pixels."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from models.networks import LayerFactory


class BernoulliLikelihood(keras.layers.Layer):
    """`p(x | z) = prod_d Bernoulli(x_d; sigma(l_d))`, `l = network(z) + logit(mean pixel)`.

    The network learns what differs from the mean image, whose pixels are clipped to [0.001, 0.999] first.

    Args:
      factory: makes the layers.
      mean_pixel: `[D]`.
      num_units: latents.
      num_hidden_layers: 0 for a linear decoder.
    """

    def __init__(self, factory: LayerFactory, *, mean_pixel: tf.Tensor, num_units: int, num_hidden_layers: int) -> None:
        super().__init__()
        self.num_units = num_units
        self.num_pixels = mean_pixel.shape[0]
        self.hidden = factory.hidden_stack(num_units, num_hidden_layers)
        self.outputs = factory.dense(self.hidden.num_outputs, self.num_pixels)
        mean = np.clip(mean_pixel, 0.001, 0.999)
        self.mean_logits = tf.constant(np.log(mean) - np.log1p(-mean), tf.float32)
        self.built = True

    def logits(self, z: tf.Tensor, *, training: bool) -> tf.Tensor:
        """Pixel logits `[..., D]` for binary or relaxed latents `[..., units]`; the rest is one batch."""
        hidden = self.hidden(tf.reshape(z, [-1, self.num_units]), training=training)
        logits = self.outputs(hidden) + self.mean_logits
        return tf.reshape(logits, tf.concat([tf.shape(z)[:-1], [self.num_pixels]], 0))

    @tf.function(jit_compile=True)
    def log_prob(self, x: tf.Tensor, z: tf.Tensor, *, training: bool) -> tf.Tensor:
        """`log p(x | z)` in nats, `[..., B]`, for `x [B, D]` and `z [..., B, units]`."""
        pixels = tfd.Bernoulli(logits=self.logits(z, training=training))
        return tf.reduce_sum(pixels.log_prob(x), axis=-1)
