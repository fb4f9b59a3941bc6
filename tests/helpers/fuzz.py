"""Feeds mutated inputs of every kind to the program's own functions, and watches what comes of them.

    python tests/helpers/fuzz.py --inputs=2000
    python tests/helpers/fuzz.py --only=npz/17

Each input must be accepted, or refused with one line (`UserError`). A traceback, a process that dies, one that does not
answer within 20 s of processor time, and one that takes over 1 GB more than the good input of its kind are failures.
Input `kind/17` is a function of the seed and its name. One process, which has loaded TensorFlow, takes all of them;
where it ends, another goes on after the input that ended it.
"""

import argparse
import collections
import contextlib
import json
import os
import pathlib
import random
import select
import subprocess
import sys
import tempfile
import time
import traceback
import typing

HERE = pathlib.Path(__file__).resolve()
SEED = 20200713
MOST_SECONDS, MOST_MIB = 20.0, 1000.0
_MOST_WALL = 300.0  # for one that waits and does nothing
_PATIENCE_AT_START = 3600.0  # while TensorFlow is loaded and the good inputs are made, on a busy machine
# Inputs of each kind in 100; of SavedModels few, since each takes a second.
SHARES = {
    "npz": 22, "mask": 9, "config": 11, "again": 4, "metrics": 10, "results": 8, "origin": 12, "checkpoint": 9,
    "saved_model": 2, "flags": 13,
}  # fmt: skip


class Answer(typing.NamedTuple):
    """Attributes: `name` of the input; `outcome`: accepted, refused, or a failure; `seconds`; `mib` at the most."""

    name: str
    outcome: str
    detail: str
    seconds: float
    mib: float

    @property
    def is_failure(self):
        return self.outcome not in ("accepted", "refused")


def names(count):
    """Of so many inputs, of all kinds by their shares, at least one each."""
    return [f"{kind}/{i}" for kind, share in SHARES.items() for i in range(max(1, count * share // 100))]


def fuzz(
    wanted,
    *,
    most_seconds=MOST_SECONDS,
    most_wall=_MOST_WALL,
    most_mib=MOST_MIB,
    command=(sys.executable, str(HERE), "--worker"),
):
    """The answers to inputs, by name."""
    answers, left = [], collections.deque(wanted)
    while left:
        with tempfile.TemporaryFile("w+") as given, tempfile.TemporaryFile("w+") as said:
            json.dump(list(left), given)
            given.seek(0)
            worker = subprocess.Popen(command, stdin=given, stdout=subprocess.PIPE, stderr=said)
            with worker:
                found = list(_answers(worker, most_seconds, most_wall))
                worker.kill()
            said.seek(0)
            if not found and worker.returncode != -9:
                raise RuntimeError(f"the worker did not start: {said.read()[-3000:]}")
        for answer in found:
            left.popleft()
            if answer.mib > most_mib:
                answer = answer._replace(outcome="memory")
            answers.append(answer)
    return answers


def _answers(worker, most_seconds, most_wall):
    """One a line, until the worker ends or hangs; then the input that it was at has failed."""
    at, begun, used, buffer = None, time.monotonic(), 0.0, b""
    while True:
        ready, _, _ = select.select([worker.stdout], [], [], 0.5)
        wall = time.monotonic() - begun
        if not ready:
            if at is None and wall > _PATIENCE_AT_START:
                raise RuntimeError("the worker did not start in time")
            if at is not None and (_cpu_seconds(worker.pid) - used > most_seconds or wall > most_wall):
                yield Answer(at, "hang", "", wall, 0.0)
                return
            continue
        piece = worker.stdout.read1()
        if not piece:
            if at is not None:
                yield Answer(at, "died", "", wall, 0.0)
            return
        *lines, buffer = (buffer + piece).split(b"\n")
        for line in map(json.loads, lines):
            if "begins" in line:
                at, begun, used = line["begins"], time.monotonic(), _cpu_seconds(worker.pid)
            else:
                at = None
                yield Answer(**line)


def _cpu_seconds(pid):
    """That a process has used: on a busy machine the clock says little."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def work(cases):
    """The worker: takes names from standard input, and writes what comes of them to standard output."""
    out = sys.stdout
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        kinds = cases(pathlib.Path(folder))
        base = {}
        for name in json.load(sys.stdin):
            kind = kinds[name.partition("/")[0]]
            if kind not in base:  # the good input, which must be accepted, says what memory the kind takes
                kind.run(kind.good)
                base[kind] = _peak(lambda kind=kind: kind.run(kind.good))[1]
            rng = random.Random(f"{SEED}/{name}")
            mutated = kind.mutate(rng, kind.good)
            print(json.dumps({"begins": name}), file=out, flush=True)
            begun = time.process_time()
            (outcome, detail), mib = _peak(lambda kind=kind, mutated=mutated: _outcome(kind, mutated))
            answer = Answer(name, outcome, detail, time.process_time() - begun, mib - base[kind])
            print(json.dumps(answer._asdict()), file=out, flush=True)


def _outcome(kind, mutated):
    try:
        kind.run(mutated)
    except kind.refusals as error:
        line = str(error)
        try:
            line.encode()
        except UnicodeEncodeError:
            return "not text", repr(line)
        is_line = line.strip() and "\n" not in line and len(line) < 2000
        return ("refused", line) if is_line else ("not one line", line[:3000])
    except BaseException:  # noqa: BLE001 - what is looked for
        return "traceback", traceback.format_exc()[-3000:]
    return "accepted", ""


def _peak(function):
    """What a function returns, and MiB of the process at the most while it ran."""
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    value = function()
    status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
    return value, int(status["VmHWM"].split()[0]) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--only", help="names of inputs, with commas")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        sys.path.insert(0, str(HERE.parents[2]))
        from fuzz_cases import cases  # noqa: PLC0415 - loads TensorFlow

        work(cases)
        return
    answers = fuzz(arguments.only.split(",") if arguments.only else names(arguments.inputs))
    for kind in SHARES:
        mine = [a for a in answers if a.name.startswith(f"{kind}/")]
        counted = collections.Counter(a.outcome for a in mine)
        if mine:
            slowest, largest = max(a.seconds for a in mine), max(a.mib for a in mine)
            shown = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counted.items()))
            print(f"{kind}: {len(mine)} inputs: {shown}; at most {slowest:.1f} s, {largest:+.0f} MiB")
    failures = [answer for answer in answers if answer.is_failure]
    for failure in failures:
        print(f"\n{failure.name}: {failure.outcome} after {failure.seconds:.1f} s, {failure.mib:+.0f} MiB")
        print(failure.detail)
    print(f"{len(answers)} inputs, {len(failures)} failures")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
