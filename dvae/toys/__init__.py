"""Toy experiments of the papers, in which every gradient and every divergence is known."""

import dvae.quiet  # noqa: F401  (before TensorFlow)
