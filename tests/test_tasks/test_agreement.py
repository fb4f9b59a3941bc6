"""Every system, trained in full on the small data sets by the programs: the reported NLL is the exact one."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from dvae.data import bars_and_stripes
from runs import CASES

SYSTEM_CASES = {name: case for name, case in CASES.items() if case.get("objective") not in ("structured", "mcmc")}
ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(script, *arguments):
    """Runs a program with optimised code, unlike the other tests; what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = [sys.executable, str(ROOT / script), *arguments]
    completed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def trained(case, dataset, folder):
    """16 latents: what the run reports."""
    flags = [f"--{name}={value}" for name, value in case.items()]
    run("run_training.py", *flags, f"--dataset={dataset}", "--num_latents=16", f"--log_dir={folder}")
    results = json.loads((folder / "results.json").read_text())
    print(json.dumps(results))
    return results


def evaluated(folder, results, *flags):
    """What run_eval makes of its model with another seed."""
    number = f"--num_examples={results['num_examples']}"
    outcome = json.loads(run("run_eval.py", f"--saved_model={folder / 'saved_model'}", number, "--seed=1", *flags))
    print(json.dumps(outcome))
    assert outcome["exact_nll"] == pytest.approx(results["exact_nll"], abs=1e-4)
    return outcome


@pytest.mark.slow
@pytest.mark.parametrize("case", SYSTEM_CASES.values(), ids=SYSTEM_CASES)
def test_reported_nll_is_the_exact_nll(case, tmp_path):
    """On digits, within 0.05 nats of the enumeration of all 65,536 states."""
    results = trained(case, "digits", tmp_path)
    for outcome in (results, evaluated(tmp_path, results)):
        assert outcome["num_samples"] == 4000
        assert outcome["nll"] == pytest.approx(outcome["exact_nll"], abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dvae_spike_exp-2-groups", "dvaess", "pwl"])
def test_a_posterior_that_misses_modes_is_not_flattered(name, tmp_path):
    """On bars and stripes, whose posteriors have several modes of which a trained q may have lost some.

    What samples miss can raise an NLL, never lower it; a flattened q misses less. No model is better than the data's
    entropy, and a trained one is within 0.6 nats of it.
    """
    results = trained(SYSTEM_CASES[name], "bars_and_stripes", tmp_path)
    exact = results["exact_nll"]
    assert bars_and_stripes.entropy() - 1e-4 <= exact < bars_and_stripes.entropy() + 0.6
    for outcome in (results, evaluated(tmp_path, results)):
        assert outcome["num_samples"] == 4000
        assert exact - 0.02 < outcome["nll"] < exact + 0.5
    flattened = evaluated(tmp_path, results, "--flattening=1,2,4,8", "--num_samples=16000")
    assert flattened["nll"] == pytest.approx(exact, abs=0.05)
