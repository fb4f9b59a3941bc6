"""Makes notebooks of the scripts in this folder, with what they print and draw.

python notebooks/execute.py [FOLDER]
"""

import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
SCRIPTS = sorted(path for path in HERE.glob("*.py") if path.name != Path(__file__).name)


def execute(script: Path, folder: Path) -> Path:
    """Runs `script` as a notebook in `folder`, and writes it there; the first error in a cell is raised."""
    notebook = jupytext.read(script)
    NotebookClient(notebook, timeout=3600, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    path = folder / f"{script.stem}.ipynb"
    nbformat.write(notebook, path)
    return path


if __name__ == "__main__":
    for one in SCRIPTS:
        print(execute(one, Path(sys.argv[1]) if len(sys.argv) > 1 else HERE), flush=True)
