"""Who may import whom: storeys, the rooms of `dvae/`, and no circle, type-only imports included."""

import ast
import graphlib
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SAMPLERS = {"samplers", "tensorflow", "tensorflow_probability", "numpy", *sys.stdlib_module_names}
ALLOWED = {"samplers": SAMPLERS, "models": SAMPLERS | {"models", "keras"}}
OF_BRIDGE = {"samplers.dimod_bridge": {"dimod"}}  # one module for a library that few have
PROGRAMS = {"run_training", "run_eval"}
PACKAGES = ("samplers", "models", "dvae")
# The floors of `dvae/`, lowest first: a room imports from its own floor and from those below.
FLOORS = [
    (
        "errors",
        "neighbours",
        "provenance",
        "quiet",
        "compiling",
        "published",
        "recipes",
        "interruption",
        "memory",
        "plugins",
        "workers",
    ),
    ("files", "pictures", "figures", "bars", "config", "cluster"),
    ("data",),
    ("training", "evaluation"),
    ("systems", "prior_samplers"),
    ("building",),
    ("tasks",),
    ("settings",),
    ("runs",),
    ("analysis", "toys", "tables"),
    ("report",),
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}


def imports(source):
    """Full names of all that is imported in `source`, also inside functions and for type checkers only."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and ast.unparse(node) == "tf.keras":
            yield "keras"


def violations(storey, source, module=""):
    names = [name.removeprefix("tensorflow.") if "keras" in name else name for name in imports(source)]
    packages = {name.partition(".")[0] for name in names} - OF_BRIDGE.get(module, set())
    return packages - ALLOWED[storey] if storey in ALLOWED else packages & PROGRAMS


def climbs(module, source):
    """Rooms of `dvae/` on floors above that of `module`."""
    rooms = {name.split(".")[1] for name in imports(source) if name.startswith("dvae.")}
    return {room for room in rooms if FLOOR_OF[room] > FLOOR_OF[module.split(".")[1]]}


def module_of(name):
    """The module of the project that an imported name is, or is in; None for any other."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or None


@pytest.mark.parametrize("module", MODULES)
def test_imports_only_from_below(module):
    assert not violations(module.split(".")[0], MODULES[module].read_text(encoding="utf-8"), module)


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("dvae.")])
def test_rooms_import_only_from_their_floor_and_below(module):
    assert not climbs(module, MODULES[module].read_text(encoding="utf-8"))


def test_no_module_imports_itself_in_a_circle():
    graph = {
        module: {module_of(name) for name in imports(path.read_text(encoding="utf-8"))} - {None, module}
        for module, path in MODULES.items()
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


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


def test_the_walker_sees_climbing():
    source = "if TYPE_CHECKING:\n    from dvae.runs.summary import describe_run\nfrom dvae import errors"
    assert climbs("dvae.config", source) == {"runs"}


def test_formulas_meet_no_compiler():
    """XLA is asked for where loops need it (`samplers/`) and where pieces are composed, by `dvae.compiling`."""
    asking = {module for module, path in MODULES.items() if "jit_compile" in path.read_text(encoding="utf-8")}
    assert {module for module in asking if not module.startswith("samplers.")} == {"dvae.compiling"}


def test_settings_are_read_without_tensorflow():
    """In an interpreter of its own: `dvae`, its records and its published numbers."""
    code = "import sys, dvae.config, dvae.published; print({'tensorflow', 'keras', 'numpy'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "set()"


def test_every_test_is_in_a_part_of_the_suite():
    """`make test` runs it in parts, so that no worker grows too large."""
    parts = set(re.findall(r"tests/test_\w+(?:\.py)?", (ROOT / "Makefile").read_text(encoding="utf-8")))
    assert parts == {f"tests/{path.name}" for path in (ROOT / "tests").glob("test_*")}


# Says which worker it is in.
FIVE = """
import os, pytest

@pytest.mark.parametrize("number", range(5))
def test_it(number):
    with open(__file__ + ".workers", "a") as file:
        print(os.environ["PYTEST_XDIST_WORKER"], file=file)
"""


def test_the_tests_of_a_file_stay_in_one_worker(tmp_path):
    """So that what they share is set up, and compiled, once."""
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    files = [tmp_path / f"test_{name}.py" for name in "abc"]
    for file in files:
        file.write_text(FIVE)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", str(tmp_path)]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    workers = [(tmp_path / f"{file.name}.workers").read_text().split() for file in files]
    assert [(len(of_file), len(set(of_file))) for of_file in workers] == [(5, 1)] * 3
