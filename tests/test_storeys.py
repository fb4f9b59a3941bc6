"""Who may import whom: `samplers` below `models` below `dvae` below the two programs."""

import ast
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
SAMPLERS = {"samplers", "tensorflow", "tensorflow_probability", "numpy", *sys.stdlib_module_names}
ALLOWED = {"samplers": SAMPLERS, "models": SAMPLERS | {"models", "keras"}}
PROGRAMS = {"run_training", "run_eval"}
MODULES = sorted(path for storey in ("samplers", "models", "dvae") for path in (ROOT / storey).rglob("*.py"))


def imports(source):
    """Full names of all that is imported in `source`, also inside functions; relative imports stay in their storey."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and ast.unparse(node) == "tf.keras":
            yield "keras"


def violations(storey, source):
    names = [name.removeprefix("tensorflow.") if "keras" in name else name for name in imports(source)]
    packages = {name.partition(".")[0] for name in names}
    return packages - ALLOWED[storey] if storey in ALLOWED else packages & PROGRAMS


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_from_below(path):
    assert not violations(path.relative_to(ROOT).parts[0], path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("storey", "source", "found"),
    [
        ("samplers", "import tensorflow as tf\nimport numpy.random\nfrom samplers import rbm\nimport math", set()),
        ("samplers", "import absl.flags", {"absl"}),
        ("samplers", "def f():\n    from models.encoder import Encoder", {"models"}),
        ("samplers", "import tensorflow as tf\nlayer = tf.keras.layers.Dense(1)", {"keras"}),
        ("samplers", "from tensorflow import keras", {"keras"}),
        ("models", "import keras\nfrom samplers.rbm import RBM\nfrom models import layers", set()),
        ("models", "from dvae import config", {"dvae"}),
        ("dvae", "import absl.logging\nimport models.encoder", set()),
        ("dvae", "import run_training", {"run_training"}),
    ],
)
def test_the_walker_sees_violations(storey, source, found):
    assert violations(storey, source) == found
