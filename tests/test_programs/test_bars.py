"""Progress bars: on a terminal, in a notebook, and nowhere else. What TensorFlow says beside them: nothing."""

import io
import os
import pty
import subprocess
import sys

import pytest
from tqdm.notebook import tqdm_notebook

from dvae import bars
from programs import ROOT, run_python


def drawn_on(file, **described):
    """What a bar of three steps writes there."""
    with bars.progress_bar(total=3, desc="training", file=file, mininterval=0, **described) as bar:
        for _ in range(3):
            bar.update()


class Terminal(io.StringIO):
    """By what it says of itself."""

    def isatty(self):
        return True


def on_terminal(**described):
    terminal = Terminal()
    drawn_on(terminal, **described)
    return terminal.getvalue()


def test_on_a_terminal_it_is_drawn():
    assert "training: 100%" in on_terminal()


def test_where_it_is_not_wanted_nothing_is_drawn():
    assert on_terminal(shown=False) == ""


@pytest.mark.parametrize("disabled", ["", "1"])
def test_tqdm_is_silenced_by_its_own_variable(disabled):
    """Which it reads when it is imported."""
    ours, theirs = pty.openpty()
    code = "from dvae.bars import progress_bar; print(bool(progress_bar(total=3).disable))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | ({"TQDM_DISABLE": disabled} if disabled else {})
    command = [sys.executable, "-c", code]
    completed = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, env=environment, text=True, check=True)
    os.close(theirs)
    os.close(ours)
    assert completed.stdout == f"{bool(disabled)}\n"


def test_in_a_file_there_is_none(tmp_path):
    with (tmp_path / "log").open("w") as file:
        drawn_on(file)
    assert (tmp_path / "log").read_text() == ""


@pytest.mark.parametrize("shown", [True, False])
def test_in_a_notebook_it_is_drawn_though_there_is_no_terminal(monkeypatch, shown):
    """A notebook's bar is a widget; what tqdm is asked for is seen here, not the widget."""
    asked = []

    class Widget(tqdm_notebook):
        def __init__(self, iterable=None, **described):
            asked.append(described)

        def __del__(self):
            """Nothing was opened."""

    monkeypatch.setattr(bars, "tqdm", Widget)
    bars.progress_bar(total=3, shown=shown)
    assert asked == [{"total": 3, "disable": not shown}]


def test_lines_above_the_bars_are_seen_at_once(capsys):
    bars.say_above("step 3")
    assert capsys.readouterr().out == "step 3\n"


def test_tensorflow_tells_of_no_export_where_there_is_a_prompt(tmp_path):
    """As in a notebook, where it logs at level INFO unless told otherwise."""
    run_python(
        "import sys\n"
        "sys.ps1 = 'In: '\n"
        "import dvae\n"
        "dvae.configure\n"
        "import tensorflow as tf\n"
        "tf.saved_model.save(tf.Module(), 'model')\n"
        "assert not tf.get_logger().isEnabledFor(20), tf.get_logger().level\n",
        tmp_path,
    )
