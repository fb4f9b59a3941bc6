"""What a file system, or the memory, refuses while a run is under way, in one line."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from dvae.errors import StorageError, UserError

# What TensorFlow passes on as text.
_REFUSALS = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOENT, errno.EIO, errno.EFBIG, errno.ESTALE
)  # fmt: skip


@contextlib.contextmanager
def telling_of_files(folder: Path) -> Iterator[None]:
    """One line for what is refused in the midst of a run in a folder; nothing that was written before is lost.

    Raises:
      StorageError: in place of what the file system said.
      UserError: memory is not enough.
    """

    def refused(where: Any, reason: str) -> StorageError:
        rule = "could not be written ({}); once it can, the same command goes on from the last checkpoint"
        return StorageError(f"{where}: {rule.format(reason)}")

    try:
        yield
    except MemoryError as error:
        raise UserError(f"{folder}: memory is not enough for this run ({error})") from error
    except BrokenPipeError:  # nobody reads what is said any more; the files are well
        raise
    except OSError as error:
        raise refused(error.filename or folder, error.strerror or str(error)) from error
    except tf.errors.OpError as error:
        reasons = [os.strerror(code) for code in _REFUSALS if os.strerror(code) in str(error)]
        if reasons:
            raise refused(folder, reasons[0]) from error
        if isinstance(error, tf.errors.ResourceExhaustedError):
            text = " ".join(str(error).split())[:150]
            raise UserError(f"{folder}: memory is not enough for this run ({text})") from error
        raise
