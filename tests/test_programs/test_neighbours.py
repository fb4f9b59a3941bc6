"""Files of a user's that hide this project's packages, and which version a run notes."""

import importlib.metadata
import json
import os
import subprocess
import sys

import pytest

import runs
from dvae import neighbours, provenance
from programs import ROOT


def start(folder, *arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["models.py", "samplers/__init__.py"])
@pytest.mark.parametrize("program", [["-m", "run_training", "--helpshort"], ["-m", "dvae.report"], ["own.py"]])
def test_a_file_that_hides_a_package_is_told_of_in_one_line(tmp_path, name, program):
    """The programs, and a script of the user's beside it."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    (tmp_path / "own.py").write_text("import dvae")
    completed = start(tmp_path, *program)
    found, package = tmp_path / name.removesuffix("/__init__.py"), name.split("/")[0].removesuffix(".py")
    told = f"{found}: hides the package `{package}` of discrete-vae; rename it, or start from a folder without it\n"
    assert (completed.returncode, completed.stdout, completed.stderr) == (2, "", told)


def test_it_is_an_import_error_for_whoever_catches_it(tmp_path):
    """Other errors are shown as ever."""
    (tmp_path / "models.py").touch()
    (tmp_path / "own.py").write_text("try:\n    import dvae\nexcept ImportError as e:\n    print(e)\n1 / 0")
    completed = start(tmp_path, "own.py")
    assert completed.stdout.startswith(f"{tmp_path / 'models.py'}: hides")
    assert completed.returncode == 1
    assert completed.stderr.startswith("Traceback")
    assert completed.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_one_that_is_imported_already_is_found_too(tmp_path):
    (tmp_path / "models.py").touch()
    completed = start(tmp_path, "-c", f"import models, sys; sys.path[:] = [{str(ROOT)!r}, *sys.path]; import dvae")
    assert completed.returncode == 2
    assert "models.py: hides" in completed.stderr


def test_a_folder_without_init_hides_nothing(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "trained.txt").touch()
    assert start(tmp_path, "-m", "run_training", "--helpshort").returncode == 0
    neighbours.check()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "_HOME", tmp_path)
    return tmp_path


def git(folder, *arguments):
    identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_of_a_checkout(home):
    git(home, "init", "-q")
    (home / "file").write_text("1")
    git(home, "add", "file")
    git(home, "commit", "-qm", "first")
    commit = git(home, "rev-parse", "HEAD")
    git(home, "tag", "-am", "a tag", "v1")
    assert provenance.program() == {"version": provenance.__version__, "commit": commit}
    (home / "file").write_text("2")
    assert provenance.program()["commit"] == f"{commit}-dirty"


class Installed:
    """A distribution as pip leaves it."""

    def __init__(self, folder, noted):
        self._folder, self._noted = folder, noted

    def locate_file(self, name):
        return self._folder / name

    def read_text(self, name):
        assert name == "direct_url.json"
        return self._noted


@pytest.mark.parametrize(
    ("noted", "commit"),
    [
        ('{"url": "https://example.org/x.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}', "abc"),
        ('{"url": "file:///x", "dir_info": {}}', None),
        ("{", None),
        (None, None),
    ],
)
def test_the_commit_of_an_installation(home, monkeypatch, noted, commit):
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Installed(home, noted))
    assert provenance.program()["commit"] == commit
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Installed(home / "elsewhere", noted))
    assert provenance.program()["commit"] is None


def test_no_commit_is_made_up(home, monkeypatch):
    """In no checkout and no installation; in a damaged checkout; without git."""

    def none(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", none)
    assert provenance.program()["commit"] is None
    (home / ".git").mkdir()
    assert provenance.program()["commit"] is None
    monkeypatch.setenv("PATH", "")
    assert provenance.program()["commit"] is None


def test_a_run_notes_the_version(tmp_path):
    run = runs.open_run(runs.small_config(model="pwl", hidden_layers=0), tmp_path / "run")
    run.directory.release()
    assert json.loads(run.directory.config_file.read_text())["program"] == provenance.program()
