"""A run, or several side by side, as one page that can be opened anywhere. `python -m dvae.report`."""

import dvae.quiet  # noqa: F401  (before TensorFlow)
