"""The notebooks run from first cell to last, in a folder of their own; the last cells compare with what is exact."""

import os
import subprocess
import sys

import nbformat
import pytest

from programs import ROOT

FIGURES = {"boltzmann_machine": 7, "digits_in_ten_minutes": 6}


def test_every_notebook_is_known():
    scripts = {path.stem for path in (ROOT / "notebooks").glob("*.py")} - {"execute"}
    assert scripts == set(FIGURES)
    page = (ROOT / "docs" / "notebooks.md").read_text()
    assert all(f"{name}.py" in page for name in FIGURES)


@pytest.mark.slow
def test_notebooks_run(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JUPYTER_PLATFORM_DIRS": "1"}
    completed = subprocess.run(
        [sys.executable, ROOT / "notebooks" / "execute.py", tmp_path],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert completed.returncode == 0, completed.stderr
    for name, num_figures in FIGURES.items():
        outputs = [
            output
            for cell in nbformat.read(tmp_path / f"{name}.ipynb", as_version=4).cells
            for output in cell.get("outputs", [])
        ]
        assert sum("image/png" in output.get("data", {}) for output in outputs) == num_figures
        assert not [output for output in outputs if "Traceback" in output.get("text", "")]
