"""Signals in every phase of a training: what is left, in how many seconds, and that the run goes on bit for bit."""

import signal
import subprocess
import sys
import threading
import time

import pytest

import kills
import runs
from dvae.interruption import Interruption
from programs import ROOT

KILLS = 20
# A program that never saves, in the state that its argument names.
PROGRAM = """
import sys, time
from dvae.interruption import Interruption
interruption = Interruption()
with interruption.watching():
    interruption.at_rest("the state is saved at step 3; the same command goes on from there")
    if sys.argv[1] != "rest":
        interruption.in_motion()
    print("ready", flush=True)
    while not (sys.argv[1] == "moving" and interruption.wanted):
        time.sleep(0.01)
    interruption.at_rest("the state is saved at step 5; the same command goes on from there")
    interruption.obey()
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_a_run_that_is_killed_in_every_phase_ends_with_the_same_bits(name, tmp_path):
    """All tensors of the last checkpoint, results, table, pictures and metrics, of 20 kills and of none."""
    subprocess.run(kills.command(tmp_path / "whole"), check=True, capture_output=True)
    done, trainings = kills.survive(signal.Signals[name], tmp_path, kills=KILLS, seed=1)
    for training in trainings:
        assert kills.differences(tmp_path / "whole", training)[0] == []
    if name == "SIGTERM":
        assert {kill.status for kill in done} == {143}
        assert max(kill.seconds for kill in done) < 5
        assert all(kill.said.startswith("SIGTERM: ") for kill in done)


@pytest.mark.parametrize(("state", "step"), [("rest", 3), ("moving", 5), ("stuck", 3)])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_is_one_line_and_its_status(state, step, number):
    """At rest at once; in motion when it has saved; where that takes too long, with the last checkpoint."""
    process = started(state, signal.SIG_DFL)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    expected = f"{number.name}: the state is saved at step {step}; the same command goes on from there"
    assert said.strip().splitlines() == [expected]


def test_a_signal_that_is_ignored_stays_so():
    """As `nohup` has it."""
    process = started("rest", signal.SIG_IGN)
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=3)
    process.kill()
    process.communicate()


def started(state, disposition):
    """The program in a state, when it is ready; SIGHUP and SIGINT are what a shell may have made of them."""
    program = f"import signal\nfor number in (1, 2):\n    signal.signal(number, signal.{disposition.name})\n{PROGRAM}"
    process = subprocess.Popen(
        [sys.executable, "-c", program, state], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    process.stdout.readline()
    return process


class _AskedToLeave(Interruption):
    """After so many calls of the graph."""

    def __init__(self, after):
        super().__init__()
        self.left = after

    def in_motion(self):
        super().in_motion()
        self.left -= 1
        if not self.left:
            self._number = signal.SIGTERM


def test_a_run_that_was_asked_to_leave_continues_bit_for_bit(shared, tmp_path, capfd):
    """Saved between its stops: weights and every line of metrics are those of a run that was left alone."""
    config, _, last_weights, _ = shared.finished("pwl", tmp_path / "whole")
    left = runs.open_run(config, tmp_path / "left", interruption=_AskedToLeave(3))
    with pytest.raises(SystemExit) as caught:
        left.train()
    left.directory.release()
    assert caught.value.code == 143
    assert f"the state is saved at step {left.step}; the same command goes on from there" in capfd.readouterr().err
    assert left.step not in (0, config.num_steps)
    resumed = runs.open_run(config, tmp_path / "left")
    assert resumed.step == left.step
    resumed.train()
    assert runs.weights_equal(resumed, last_weights)
    assert kills.lines_without_seconds(tmp_path / "left") == kills.lines_without_seconds(tmp_path / "whole")


def test_nothing_is_left_behind_by_watching():
    before = signal.getsignal(signal.SIGTERM), threading.active_count()
    with Interruption().watching():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    time.sleep(0.1)
    assert (signal.getsignal(signal.SIGTERM), threading.active_count()) == before
