"""Functions that AutoGraph leaves alone."""

from __future__ import annotations

import tensorflow as tf

# TensorFlow rewrites the source of every function that a `tf.function` calls, so that `for`, `while` and `if` may stand
# over tensors. A function takes some 40 ms; all together they took a fifth of the time until the first step. What has
# none of these over tensors, and calls nothing that has, is left as it is.
plain = tf.autograph.experimental.do_not_convert
