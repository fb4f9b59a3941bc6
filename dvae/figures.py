"""Figures, drawn by matplotlib without a display and written whole.

matplotlib is an extra (`pip install discrete-vae[plots]`): trainings and evaluations do without.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dvae.errors import UserError
from dvae.files import partial_path

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure


def new_figure(rows: int = 1, columns: int = 1, *, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """A figure and its axes `[rows, columns]`, `width` by `height` inches.

    Raises:
      UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise UserError("figures need matplotlib: pip install 'discrete-vae[plots]'") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG, whole or not at all."""
    figure.savefig(partial_path(path), format="png", dpi=120)
    partial_path(path).replace(path)
