"""Experiments of the papers that are more than one run: toys whose every gradient is known, and tables."""

import dvae.quiet  # noqa: F401  (before TensorFlow)
