"""An exported model where a server looks for it."""

from __future__ import annotations

from pathlib import Path

from dvae.errors import UserError
from dvae.evaluation.without_xla import copy_without_xla
from dvae.files import user_path
from dvae.runs.exported import exported


def export_for_servers(
    log_dir: str | Path | None = None, *, saved_model: str | Path | None = None, output: str | Path
) -> Path:
    """A trained model in the folder `output`, without XLA, which TensorFlow Serving has by an experimental flag only.

    Args:
      log_dir: a finished run.
      saved_model: or an exported folder.
      output: a folder that does not exist yet, for TensorFlow Serving `NAME/VERSION`, as `models/digits/1`.

    Returns:
      `output`.

    Raises:
      UserError: there is no such model, or there is something in `output` already.
      OSError: it cannot be written.
    """
    folder = user_path(output=output)
    if folder.exists():
        raise UserError("must be a folder that does not exist yet", output=str(output))
    model = exported(log_dir, saved_model)
    folder.parent.mkdir(parents=True, exist_ok=True)
    copy_without_xla(model.folder, folder)
    return folder
