"""A job of a worker: programs of this project, one after the other, as children that end when their parent does.

    python -m dvae.tables.jobs run_training --model=pwl ...

The parent holds the other end of the child's standard input. A worker that is killed could not tell its child to stop;
it would train on, in a folder where another worker is to continue. Workers load this file alone, without TensorFlow.
"""

import os
import runpy
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

_LOCKED = "another process is working in it"
_LOOK_EVERY, _PATIENCE = 2.0, 60.0  # seconds


class Program(NamedTuple):
    """Attributes: its module's `name`; its `flags`; the file that is there once it has `done` its work."""

    name: str
    flags: list[str]
    done: Path


class Job(NamedTuple):
    """Attributes: a `name`; its `programs`, in order; the file for all they say, `output`."""

    name: str
    programs: list[Program]
    output: Path

    def is_done(self) -> bool:
        return all(program.done.exists() for program in self.programs)


def work(job: Job) -> None:
    """Runs what is not done of a job.

    Raises:
      RuntimeError: with the last line of a program that failed.
    """
    job.output.parent.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    for program in job.programs:
        while not program.done.exists():
            if _run(program, job.output) == 0:
                break
            line = _last_line(job.output)
            # Of a worker that was lost: its child takes a moment to notice.
            if _LOCKED not in line or time.monotonic() - begun > _PATIENCE:
                raise RuntimeError(line)
            time.sleep(_LOOK_EVERY)


def _run(program: Program, output: Path) -> int:
    command = [sys.executable, "-m", "dvae.tables.jobs", program.name, *program.flags]
    with (
        output.open("ab") as file,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, stderr=subprocess.STDOUT) as child,
    ):
        return child.wait()


def _last_line(path: Path) -> str:
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _leave_with_the_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_leave_with_the_parent, daemon=True).start()
    program, sys.argv = sys.argv[1], sys.argv[1:]
    runpy.run_module(program, run_name="__main__", alter_sys=True)
