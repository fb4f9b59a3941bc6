"""The README's commands and its Python as they stand there, made short."""

import re
import shlex

import numpy as np
import pytest

from programs import QUICK, ROOT, help_of, run, run_python


def readme_commands():
    """The README's `python run_...` commands, continued lines joined."""
    text = (ROOT / "README.md").read_text().replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip().startswith("python run_")]


@pytest.mark.slow
def test_readme_commands_run(tmp_path):
    """Every `python run_...` command of the README on the built-in data, in the order it stands there, made short."""
    np.savez(tmp_path / "my_data.npz", **{name: np.eye(32, 12) for name in ("train", "valid", "test")})
    np.savetxt(tmp_path / "my_table.csv", np.random.default_rng(0).normal(size=(40, 5)), delimiter=",")
    commands = [command for command in readme_commands() if "mnist" not in command]
    assert len(commands) >= 3
    for command in commands:
        script, *arguments = shlex.split(command)[1:]
        short = QUICK if script == "run_training.py" else ["--num_samples=20", "--log_z_temperatures=50"]
        completed = run(script, *arguments, *short, cwd=tmp_path)
        assert completed.returncode == 0, f"{command}\n{completed.stderr}"
    (tmp_path / "runs" / "digits").symlink_to(tmp_path / "runs" / "digits-pwl4")


# Makes what a piece of the README trains short, and gives it images of MNIST's size.
SHORTLY = """
import dvae, dvae.quiet
configure, quick = dvae.configure, {quick}
def shortly(**given):
    if given["dataset"] == "binarized_mnist":
        given["dataset"] = "images.npz"
    return configure(**given | quick)
dvae.configure = shortly
"""


@pytest.mark.slow
def test_readme_code_runs(tmp_path):
    """Every piece of Python in the README, in the order it stands there, made short."""
    pieces = python_code("README.md")
    assert sum("dvae.train(" in piece for piece in pieces) == 3
    assert any("Conv2D" in piece and "trained_model(" in piece for piece in pieces)
    images = np.random.default_rng(0).integers(0, 2, [40, 28, 28], np.uint8)
    np.savez(tmp_path / "images.npz", train=images, valid=images[:9], test=images[:8])
    short = [argument.removeprefix("--").split("=") for argument in QUICK if "=" in argument]
    preamble = SHORTLY.format(quick={name: int(value) for name, value in short} | {"num_latents": 16})
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "digits").symlink_to(tmp_path / "runs" / "from-python")  # that a later piece loads
    run_python("\n".join([preamble, *pieces]), tmp_path)


def python_code(document):
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


def test_readme_flags_exist():
    """Every flag in the README is one of the program it is given to."""
    for command in readme_commands():
        script, *arguments = shlex.split(command)[1:]
        known = set(re.findall(r"--(?:\[no\])?(\w+)", help_of(script).stdout))
        assert {a.split("=")[0].lstrip("-") for a in arguments if a.startswith("--")} <= known, command
