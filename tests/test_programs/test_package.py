"""What is built of the sources: nothing is missing."""

import importlib
import inspect
import os
import subprocess
import sys
import tarfile
import tomllib

import pytest
from setuptools import Distribution
from setuptools.config.pyprojecttoml import apply_configuration

from programs import ROOT

PACKAGES = ("dvae", "models", "samplers")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture
def described(monkeypatch):
    """What `setup.py` says."""
    found = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("setuptools.setup", lambda **said: found.update(said))
    exec((ROOT / "setup.py").read_text(), {})
    return found


def test_every_package_and_program_is_installed(described):
    files = [path.relative_to(ROOT) for name in PACKAGES for path in (ROOT / name).rglob("*.py")]
    assert set(described["packages"]) == {".".join(file.parent.parts) for file in files}
    assert set(described["py_modules"]) == {path.stem for path in ROOT.glob("*.py")} - {"setup"}


def test_every_file_that_is_no_code_is_installed(described):
    """Each package has its types; `page.html.j2` has been forgotten once."""
    expected = set()
    for name in PACKAGES:
        others = (path for path in (ROOT / name).rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))
        expected |= {path.relative_to(ROOT) for path in others}
    given = {
        path.relative_to(ROOT)
        for package, patterns in described["package_data"].items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    assert given == expected
    assert all(ROOT.joinpath(name, "py.typed").relative_to(ROOT) in given for name in PACKAGES)


@pytest.mark.parametrize("command", PROJECT["scripts"])
def test_every_command_is_there(command):
    module, _, name = PROJECT["scripts"][command].partition(":")
    assert not inspect.signature(getattr(importlib.import_module(module), name)).parameters


def test_the_metadata_are_complete(described):
    """As setuptools reads them: of one place, with the version of the code that runs."""
    metadata = apply_configuration(Distribution(described), "pyproject.toml").metadata
    assert metadata.version == importlib.import_module("dvae").__version__
    assert metadata.long_description.startswith("# Discrete variational autoencoders")
    assert metadata.long_description_content_type == "text/markdown"
    assert metadata.author == "the maintainers"
    assert {"plots", "cluster", "dwave", "gpu", "dev"} <= set(PROJECT["optional-dependencies"])


@pytest.mark.slow
def test_the_tests_of_the_source_distribution_run(tmp_path):
    """All of them can be collected in what is unpacked, and some are run there."""
    build = [sys.executable, "-m", "build", "--sdist", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    [archive] = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    folder = tmp_path / archive.name.removesuffix(".tar.gz")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for what in (
        ["--collect-only", "-m", "slow or not slow"],
        ["tests/test_storeys.py", "tests/test_runs/test_pictures.py"],
    ):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *what]
        completed = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert completed.returncode == 0, completed.stdout[-2000:]
