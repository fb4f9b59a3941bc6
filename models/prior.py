"""The prior p(z): one restricted Boltzmann machine with learned parameters."""

from __future__ import annotations

import keras
import tensorflow as tf

from samplers.rbm import RBM


class RBMPrior(keras.layers.Layer):
    """RBM over `num_left + num_right` latents; all parameters start at 0, where p(z) is uniform.

    Args:
      num_left, num_right: units on either side.
      weights_regularizer: penalty on the pairwise parameters (not on the biases).
      spins: whether what is learned are fields and couplings of spins -1 and 1 (`RBM.of_spins`), and not biases and
        weights of units 0 and 1: the same family, but a step in a coupling does not move the units' means as one
        in a weight does.
    """

    def __init__(
        self,
        num_left: int,
        num_right: int,
        *,
        weights_regularizer: keras.regularizers.Regularizer | None = None,
        spins: bool = False,
    ) -> None:
        super().__init__(name="prior")
        self.spins = spins
        self.bias_left = self.add_weight(shape=(num_left,), initializer="zeros", name="bias_left")
        self.bias_right = self.add_weight(shape=(num_right,), initializer="zeros", name="bias_right")
        self.pairwise = self.add_weight(
            shape=(num_left, num_right), initializer="zeros", regularizer=weights_regularizer, name="pairwise"
        )
        self.built = True

    def rbm(self) -> RBM:
        """The machine at the current parameters, differentiable in them."""
        parameters = [tf.convert_to_tensor(v) for v in (self.bias_left, self.bias_right, self.pairwise)]
        return RBM.of_spins(*parameters) if self.spins else RBM(*parameters)
