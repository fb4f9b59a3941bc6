"""The command lines as a user meets them: help, one-line errors, a kill -9."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from programs import QUICK, ROOT, help_of, run

SMALL = ["--dataset=bars_and_stripes", "--model=pwl", "--num_latents=8", "--hidden_layers=0", *QUICK]
# Starts Python and TensorFlow once, then tries each command line in a fork of its own.
FORKS = """
import importlib, json, os, sys, tempfile
script, commands = json.loads(sys.argv[1])
module = importlib.import_module(script)
for needed in ("dvae.quiet", "dvae.runs.training_run", "dvae.runs.evaluation_run"):
    importlib.import_module(needed)
answers = []
for arguments in commands:
    with tempfile.TemporaryFile() as stderr:
        child = os.fork()
        if not child:
            os.dup2(stderr.fileno(), 2)
            sys.argv = [script + ".py", *arguments]
            try:
                module.cli()
            except SystemExit as stop:
                sys.stdout.flush()
                os._exit(stop.code or 0)
            os._exit(99)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        stderr.seek(0)
        answers.append((status, stderr.read().decode()))
json.dump(answers, open(sys.argv[2], "w"))
"""


def run_each(script, commands, folder):
    """The programs' exit status and stderr for each command line that is to fail before it computes anything."""
    commands = [[str(argument) for argument in arguments] for arguments in commands]
    answers = folder / "answers.json"
    task = json.dumps([script.removesuffix(".py"), commands])
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-c", FORKS, task, str(answers)], cwd=folder, env=environment, check=True, capture_output=True
    )
    return [
        subprocess.CompletedProcess(arguments, status, stderr=stderr)
        for arguments, (status, stderr) in zip(commands, json.loads(answers.read_text()), strict=True)
    ]


def expect_each(script, folder, cases):
    """Each of `cases`, (arguments, fragments of the one line), ends as a user's mistake should."""
    for completed, (_, fragments) in zip(run_each(script, [c for c, _ in cases], folder), cases, strict=True):
        expect_one_line(completed, *fragments)


def expect_one_line(completed, *fragments):
    assert completed.returncode == 2, completed.stderr
    assert completed.stderr.count("\n") == 1, completed.stderr
    for fragment in fragments:
        assert fragment in completed.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of the program itself."""
    folder = tmp_path_factory.mktemp("run")
    completed = run("run_training.py", f"--log_dir={folder}", *SMALL)
    assert completed.returncode == 0, completed.stderr
    return folder, completed


def test_output_tells_the_result_and_where_it_is(finished):
    folder, completed = finished
    results = json.loads((folder / "results.json").read_text())
    exact, estimated = (
        f"{results[name]:.3f} +- {results[name + '_standard_error']:.3f} nats" for name in ("exact_nll", "nll")
    )
    assert f"test NLL {exact}, exact (" in completed.stdout
    assert f"estimated: {estimated} (the same examples; 20 importance samples each, effective" in completed.stdout
    assert str(folder / "results.json") in completed.stdout.replace("\n", "")
    # No bars where there is no terminal, and no warnings of TensorFlow's: remarks on settings alone.
    assert all(re.match(r"--\w+=", line) for line in completed.stderr.splitlines()), completed.stderr
    assert completed.stdout.index("compiling the training step") < completed.stdout.index("compiled in ")


@pytest.mark.parametrize("script", ["run_training.py", "run_eval.py"])
def test_output_that_nobody_reads_ends_the_program_quietly(script):
    """As of `run_training.py --helpshort | true`."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, str(ROOT / script), "--helpshort"]
    completed = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (completed.returncode, completed.stderr) == (141, "")


@pytest.mark.slow
def test_an_evaluation_by_two_workers_has_the_same_numbers(finished, tmp_path):
    folder, _ = finished
    found = {}
    for name, flags in {"alone": [], "two": ["--num_workers=2"]}.items():
        outputs = [f"--output={tmp_path / name}.json", f"--examples_output={tmp_path / name}.csv"]
        command = [f"--log_dir={folder}", "--num_samples=20", "--log_z_temperatures=50", *outputs, *flags]
        completed = run("run_eval.py", *command)
        assert completed.returncode == 0, completed.stderr
        assert not re.search(r"^I\d{4} ", completed.stderr, re.MULTILINE), "what Dask is doing, line by line"
        found[name] = [(tmp_path / f"{name}.{kind}").read_text() for kind in ("json", "csv")]
    assert found["alone"] == found["two"]


def test_finished_run_is_not_trained_again(finished):
    folder, _ = finished
    before = (folder / "results.json").read_bytes()
    again = run("run_training.py", f"--config={folder / 'config.json'}", "--noreport")
    assert again.returncode == 0
    assert "complete" in again.stdout
    assert "has no effect" not in again.stderr  # the file has every setting, those that play no part too
    assert (folder / "results.json").read_bytes() == before


def test_other_settings_and_noresume_are_refused(finished, tmp_path):
    folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    command = [f"--log_dir={folder}", *SMALL]
    cases = [([*command, "--seed=7"], ["--seed=7", "has 0"]), ([*command, "--noresume"], ["--noresume", str(folder)])]
    expect_each("run_training.py", tmp_path, cases)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_run_eval_of_run_and_of_exported_folder(finished, tmp_path):
    folder, _ = finished
    output = tmp_path / "evaluation.json"
    sizes = ["--num_samples=50", "--log_z_chains=50", "--log_z_temperatures=50", "--num_examples=32"]
    first = run("run_eval.py", f"--log_dir={folder}", f"--output={output}", *sizes)
    assert first.returncode == 0, first.stderr
    results = json.loads(first.stdout)
    assert results == json.loads(output.read_text())
    assert (results["model"], results["dataset"], results["num_examples"]) == ("pwl", "bars_and_stripes", 32)
    trained = json.loads((folder / "results.json").read_text())
    assert results["exact_nll"] == pytest.approx(trained["exact_nll"], abs=1e-6)
    assert f"test NLL {results['exact_nll']:.3f} +- " in first.stderr
    other = [f"--saved_model={folder / 'saved_model'}", "--flattening=1,3", "--posterior_temperatures=5", "--quiet"]
    second = run("run_eval.py", *other, *sizes)
    flattened = json.loads(second.stdout)
    changed = {name for name in results if flattened[name] != results[name]}
    assert changed == {"nll", "nll_standard_error", "elbo", "effective_sample_size", "flattening"}
    assert flattened["flattening"] == [1, 3]
    assert flattened["posterior_temperatures"] is None
    assert "--posterior_temperatures=5: has no effect on the model in" in second.stderr
    assert "test NLL" not in second.stderr


def test_run_eval_mistakes(finished, tmp_path):
    folder, _ = finished
    of_run = f"--log_dir={folder}"
    cases = [
        ([], ["--log_dir", "--saved_model", "one of the two"]),
        ([f"--log_dir={tmp_path}"], [str(tmp_path), "config.json"]),
        ([f"--saved_model={tmp_path}"], [str(tmp_path), "exported"]),
        ([of_run, "--split=middle"], ["--split=middle"]),
        ([of_run, "--num_samples=0"], ["--num_samples=0"]),
        ([of_run, "--dataset=digits"], ["64 pixels", "16"]),
        ([of_run, "--flattening=1,x"], ["--flattening=1,x: must be numbers"]),
        ([of_run, "--flattening=2,4"], ["--flattening=2,4", "the first 1"]),
        ([of_run, "--flattening=1,0.5"], ["--flattening=1,0.5", "at least 1"]),
        ([of_run, "--flattening=1,2", "--num_samples=5"], ["--num_samples=5", "multiple", "(2)"]),
        ([of_run, f"--output={tmp_path}/no/file"], ["--output"]),
    ]
    expect_each("run_eval.py", tmp_path, cases)


def mistakes_in_flags(folder):
    cases = [
        (["--num_latents=201"], ["--num_latents=201: must be divisible by 2 * num_groups (2)"]),
        (["--model=pwl", "--num_groups=4", "--num_latents=12"], ["--num_latents=12", "2 * num_groups (8)"]),
        (["--model=vae"], ["--model=vae", "dvaess"]),
        (["--model=dvaess", "--num_groups=2"], ["--num_groups=2"]),
        (["--objective=mcmcmc"], ["--objective=mcmcmc"]),
        (["--objective=iw", "--model=dvaepp_exp"], ["--objective=iw", "dvaepp_exp", "elbo", "dvaes_exp"]),
        (["--objective=iw", "--iw_gradient=vimco"], ["--iw_gradient=vimco", "dreg"]),
        (["--objective=mcmc", "--num_latents=22"], ["--num_latents=22", "at most 20"]),
        (["--objective=mcmc", "--num_samples=5"], ["--num_samples=5", "must be 1"]),
        (["--objective=structured", "--observed=1.5"], ["--observed=1.5", "a fraction between 0 and 1"]),
        (["--num_steps=many"], ["num_steps", "many"]),
        (["--num_steps=0"], ["--num_steps=0"]),
        (["--learning_rate=nan"], ["--learning_rate=nan"]),
        (["--beta=-1"], ["--beta=-1"]),
        (["--kl_warmup=1.5"], ["--kl_warmup=1.5"]),
        (["--no_such_flag=1"], ["no_such_flag"]),
        (["stray"], ["stray"]),
        (["--dataset=mnist"], ["--dataset=mnist"]),
        (["--batch_size=5000"], ["--batch_size=5000"]),
        (["--dataset=missing.npz"], ["missing.npz"]),
        (["--config=missing.json"], ["--config=missing.json: must be the config.json of a run"]),
    ]
    return [([f"--log_dir={folder / 'run'}", *case], words) for case, words in cases]


def mistakes_in_data(folder):
    good = np.zeros((20, 6), np.uint8)
    cases = []
    for name, arrays, fragments in (
        ("range", {"train": good + 0.5, "valid": good * 1.0, "test": good + 1.5}, ["test", "1.5"]),
        ("nan", {"train": good * np.nan, "valid": good, "test": good}, ["train", "nan"]),
        ("width", {"train": good, "valid": good[:, :5], "test": good}, ["valid", "5"]),
        ("truncated", {"train": good, "valid": good, "test": good}, []),
    ):
        path = folder / f"{name}.npz"
        np.savez(path, **arrays)
        cases.append(([f"--dataset={path}", f"--log_dir={folder / 'run'}"], [str(path), *fragments]))
    path.write_bytes(path.read_bytes()[:100])
    return cases


def mistakes_in_the_run_directory(folder):
    file = folder / "file"
    file.write_text("precious")
    return [
        ([f"--log_dir={file}"], ["--log_dir", str(file)]),
        ([f"--log_dir={file}/below"], ["--log_dir", str(file)]),
        ([f"--log_dir={folder}"], ["--log_dir", "not empty"]),
    ]


def test_mistakes_leave_everything_as_it_was(tmp_path):
    kinds = (mistakes_in_flags, mistakes_in_data, mistakes_in_the_run_directory)
    expect_each("run_training.py", tmp_path, [case for kind in kinds for case in kind(tmp_path)])
    assert not (tmp_path / "run").exists()
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("script", ["run_training.py", "run_eval.py"])
def test_help_is_grouped_and_complete(script):
    completed = help_of(script)
    assert completed.returncode == 0
    assert not completed.stderr
    if script == "run_training.py":
        text = " ".join(completed.stdout.split())
        assert "parameter updates; if left out, 1000000; 5000 for digits, bars_and_stripes" in text
        assert re.search(
            "dvaes_gauss_int +DVAE# .Gaussian integral. +DVAE# section 3.2 +no +40/30/30", completed.stdout
        )
    flags = set(re.findall(r"--(?:\[no\])?(\w+)", completed.stdout))
    contract = {
        "run_training.py": """model dataset data_dir log_dir num_latents num_groups shared_context num_samples objective
            beta num_gibbs_sweeps num_relaxed_sweeps prior_sampler num_particles prior_sweeps num_steps batch_size
            learning_rate seed eval_every checkpoint_every strategy config resume quiet""",
        "run_eval.py": "log_dir saved_model dataset data_dir split num_examples num_samples seed output",
    }[script].split()
    assert set(contract) <= flags
    assert max(len(line) for line in completed.stdout.splitlines()) <= 120


@pytest.mark.slow
def test_killed_process_ends_with_the_same_bits(tmp_path):
    """kill -9 at three arbitrary moments; the run that survives them ends as one that was left alone."""
    command = [sys.executable, str(ROOT / "run_training.py"), "--dataset=bars_and_stripes", *QUICK, "--num_steps=600"]
    for delay in (9, 12, 15):
        process = subprocess.Popen(
            [*command, f"--log_dir={tmp_path / 'killed'}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    weights = []
    for name in ("killed", "whole"):
        subprocess.run([*command, f"--log_dir={tmp_path / name}"], check=True, capture_output=True)
        shard = next((tmp_path / name / "saved_model" / "variables").glob("*.data-*"))
        weights.append(shard.read_bytes())
    assert weights[0] == weights[1]
