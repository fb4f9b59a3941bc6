"""What can be seen in a trained model: its Boltzmann machines looked at closely."""

import dvae.quiet  # noqa: F401  (before TensorFlow)
