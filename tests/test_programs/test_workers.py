"""Trainings of several processes as a user starts them: signals, kill -9, and who writes what."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

import workers
from dvae.runs.checkpoints import reader, saved_in
from dvae.workers import Workers
from programs import QUICK, ROOT

PROGRAM = ROOT / "run_training.py"
LONG = ["--num_steps=600", "--eval_every=200", "--checkpoint_every=20"]
SETTINGS = ["--dataset=bars_and_stripes", "--model=pwl", "--num_latents=8", "--hidden_layers=0", *QUICK]


def command(folder, *settings):
    return ["--strategy=multi_worker", f"--log_dir={folder}", *SETTINGS, *settings]


def last_line(text):
    return text.strip().splitlines()[-1]


def checkpoint(folder):
    newest = reader(saved_in(folder / "checkpoints")[-1])
    names = [name for name in newest.get_variable_to_shape_map() if not name.startswith(("seconds", "_"))]
    return {name: newest.get_tensor(name).tobytes() for name in names}


def wait_until(there, process, timeout=1800):
    end = time.monotonic() + timeout
    while not there():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.05)


def test_whoever_waits_for_a_peer_leaves_when_asked_to(tmp_path):
    """Within seconds, with one line that says who is missing before it."""
    [process] = workers.start(PROGRAM, command(tmp_path / "run"), 2, only=[1])
    said = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    _, error = process.communicate(timeout=60)
    assert time.monotonic() - begun < 10
    assert said.startswith("waiting for 1 other workers, 600 s at the most: 127.0.0.1:")
    assert process.returncode == 143
    assert last_line(error).startswith("SIGTERM: ")
    assert not (tmp_path / "run").exists()


def test_a_malformed_description_is_one_line(tmp_path):
    """The other mistakes: tests/test_training/test_workers.py."""
    completed = subprocess.run(
        [sys.executable, PROGRAM, *command(tmp_path / "run")],
        env=os.environ | {"TF_CONFIG": "{"},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert completed.returncode == 2
    assert completed.stderr.startswith("--strategy=multi_worker: TF_CONFIG is '{'; it must be of the form")
    assert len(completed.stderr.splitlines()) == 1


def test_the_example_for_slurm_describes_every_process(tmp_path):
    """As the documentation has it, with stubs of Slurm's programs and of Python; a lost machine puts the job back."""
    [script] = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "many_machines.md").read_text(), flags=re.DOTALL)
    stubs = {
        "scontrol": 'if [ "$1" = show ]; then echo "$SLURM_JOB_NODELIST" | tr , "\\n"; else echo "$@"; fi',
        "srun": 'for id in 0 1; do SLURM_PROCID=$id bash -c "${@: -1}"; done; exit 75',
        "python": 'echo "$TF_CONFIG"',
    }
    for name, text in stubs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    named = {"SLURM_JOB_NODELIST": "node-1,node-2", "SLURM_JOB_ID": "17"}
    environment = os.environ | named | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    completed = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
    *described, requeued = completed.stdout.strip().splitlines()
    assert (completed.returncode, requeued) == (75, "requeue 17"), completed.stderr
    found = [Workers.from_environment({"TF_CONFIG": text}) for text in described]
    assert found == [(("node-1:2222", "node-2:2222"), number) for number in range(2)]


@pytest.mark.slow
def test_a_lost_process_ends_the_others_and_the_job_goes_on(tmp_path):
    """kill -9 of the second, then of the chief; the job that survives them ends as one that was left alone.

    Whoever is left says so in one line, with status 75; the chief, if it is left, has saved what was done.
    """
    workers.finish(workers.start(PROGRAM, command(tmp_path / "whole", *LONG), 2))
    for lost in (1, 0):
        processes = workers.start(PROGRAM, command(tmp_path / "killed", *LONG), 2)
        before = len(saved_in(tmp_path / "killed" / "checkpoints")) and checkpoint_step(tmp_path / "killed")
        wait_until(lambda before=before: checkpoint_step(tmp_path / "killed") > before, processes[0])
        processes[lost].kill()
        left = workers.finish(processes)[1 - lost]
        assert left[0] == 75, left[2]
        assert "another worker has ended" in last_line(left[2])
        if lost == 1:
            assert f"the state is saved at step {checkpoint_step(tmp_path / 'killed')}; " in last_line(left[2])
    ended = workers.finish(workers.start(PROGRAM, command(tmp_path / "killed", *LONG), 2))
    assert [status for status, *_ in ended] == [0, 0]
    assert ended[1][1].strip().splitlines()[-1] == "the chief evaluates and writes what was trained"
    assert checkpoint(tmp_path / "killed") == checkpoint(tmp_path / "whole")
    results = [json.loads((tmp_path / name / "results.json").read_text()) for name in ("killed", "whole")]
    assert results[0]["nll"] == results[1]["nll"]


@pytest.mark.slow
@pytest.mark.parametrize("asked", [[0], [1], [0, 1]])
def test_a_process_that_is_asked_to_leave_takes_all_with_it(tmp_path, asked):
    """Whoever has the signal ends with its status, the others with 75; the chief has saved the step they were at."""
    processes = workers.start(
        PROGRAM, command(tmp_path, "--num_steps=100000", "--checkpoint_every=100000", "--eval_every=100000"), 2
    )
    wait_until(
        lambda: (tmp_path / "metrics.jsonl").exists() and (tmp_path / "metrics.jsonl").stat().st_size > 0, processes[0]
    )
    for number in asked:
        processes[number].send_signal(signal.SIGTERM)
    ended = workers.finish(processes)
    assert [status for status, *_ in ended] == [143 if number in asked else 75 for number in range(2)]
    assert checkpoint_step(tmp_path) > 0
    told = f"the state is saved at step {checkpoint_step(tmp_path)}" if 0 in asked else "the state is saved"
    assert told in last_line(ended[0][2])


def checkpoint_step(folder):
    found = saved_in(folder / "checkpoints")
    return int(found[-1].name) if found else -1
