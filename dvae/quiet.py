"""Imported first by the command lines: loads TensorFlow without its messages about absent accelerators."""

import logging
import os
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _import_quietly() -> None:
    # TensorFlow's C++ libraries write to file descriptor 2 before any log level can be set. What they write is shown
    # if the import fails.
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            import tensorflow as tf  # noqa: PLC0415

            # Where there is a prompt, so in a notebook, it would tell of every export.
            tf.get_logger().setLevel(logging.WARNING)
            tf.config.list_physical_devices()
        except BaseException:
            captured.seek(0)
            os.write(stderr, captured.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


_import_quietly()
