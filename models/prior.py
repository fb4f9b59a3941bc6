"""The prior p(z): one restricted Boltzmann machine with learned parameters."""

from __future__ import annotations

import keras
import tensorflow as tf

from samplers.rbm import RBM


class RBMPrior(keras.layers.Layer):
    """RBM over `num_left + num_right` latents; all parameters start at 0, where p(z) is uniform.

    Args:
      num_left, num_right: units on either side.
      weights_regularizer: penalty on the pairwise weights (not on the biases).
    """

    def __init__(
        self, num_left: int, num_right: int, *, weights_regularizer: keras.regularizers.Regularizer | None = None
    ) -> None:
        super().__init__(name="prior")
        self.bias_left = self.add_weight(shape=(num_left,), initializer="zeros", name="bias_left")
        self.bias_right = self.add_weight(shape=(num_right,), initializer="zeros", name="bias_right")
        self.pairwise = self.add_weight(
            shape=(num_left, num_right), initializer="zeros", regularizer=weights_regularizer, name="pairwise"
        )
        self.built = True

    def rbm(self) -> RBM:
        """The machine at the current parameters, differentiable in them."""
        return RBM(*(tf.convert_to_tensor(v) for v in (self.bias_left, self.bias_right, self.pairwise)))
