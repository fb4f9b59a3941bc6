"""Every system, trained in full on the small data sets by the programs: the reported NLL is the exact one."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from conftest import SYSTEM_CASES

from dvae.data import bars_and_stripes

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(script, *arguments):
    """Runs a program with optimised code, unlike the other tests; what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = [sys.executable, str(ROOT / script), *arguments]
    completed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def evaluations(case, dataset, folder):
    """16 latents, 4000 samples: what the run reports, and what run_eval makes of its model with another seed."""
    flags = [f"--{name}={value}" for name, value in case.items()]
    run("run_training.py", *flags, f"--dataset={dataset}", "--num_latents=16", f"--log_dir={folder}")
    results = json.loads((folder / "results.json").read_text())
    number = f"--num_examples={results['num_examples']}"
    evaluated = json.loads(run("run_eval.py", f"--saved_model={folder / 'saved_model'}", number, "--seed=1"))
    for outcome in (results, evaluated):
        print(json.dumps(outcome))
        assert outcome["num_samples"] == 4000
    assert evaluated["exact_nll"] == pytest.approx(results["exact_nll"], abs=1e-4)
    return results, evaluated


@pytest.mark.slow
@pytest.mark.parametrize("case", SYSTEM_CASES.values(), ids=SYSTEM_CASES)
def test_reported_nll_is_the_exact_nll(case, tmp_path):
    """On digits, within 0.05 nats of the enumeration of all 65,536 states."""
    for outcome in evaluations(case, "digits", tmp_path):
        assert outcome["nll"] == pytest.approx(outcome["exact_nll"], abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dvae_spike_exp-2-groups", "dvaess", "pwl"])
def test_a_posterior_that_misses_modes_is_not_flattered(name, tmp_path):
    """On bars and stripes, whose posteriors have several modes of which a trained q may have lost some.

    What samples miss can raise an NLL, never lower it. No model is better than the data's entropy, and a trained one is
    within 0.6 nats of it.
    """
    for outcome in evaluations(SYSTEM_CASES[name], "bars_and_stripes", tmp_path):
        assert outcome["exact_nll"] - 0.02 < outcome["nll"] < outcome["exact_nll"] + 0.5
        assert bars_and_stripes.entropy() - 1e-4 <= outcome["exact_nll"] < bars_and_stripes.entropy() + 0.6
