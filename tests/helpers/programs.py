"""The two programs as a user starts them."""

import functools
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
QUICK = (
    "--num_steps=24 --batch_size=16 --hidden_units=12 --num_particles=20 --prior_sweeps=2 --report_every=5 "
    "--eval_every=10 --checkpoint_every=8 --valid_samples=5 --valid_temperatures=5 --valid_log_z_temperatures=10 "
    "--valid_pictures=0 --log_z_chains=50 --test_examples=32 --test_samples=20 --test_temperatures=10 "
    "--test_log_z_temperatures=50 --noreport"
).split()


def run(script, *arguments, cwd=ROOT):
    return subprocess.run(
        [sys.executable, str(ROOT / script), *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )


@functools.cache
def help_of(script):
    return run(script, "--helpshort")


def run_python(code, folder):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    completed = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, f"{code}\n{completed.stderr}"
