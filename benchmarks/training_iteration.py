"""Times a training iteration against an earlier version of this project and against plain PyTorch doing the same.

    pip install -r benchmarks/requirements.txt
    python benchmarks/training_iteration.py --against=REVISION
    python benchmarks/training_iteration.py --against=REVISION --configuration="pwl elbo 1 400" --no-pytorch

200 latents, batch 100, a population of 1000 particles moved by 40 sweeps (the published set-up), on random images. All
take turns on the same machine; machines are noisy, so look at the ratios within a round and not at the milliseconds.
Ends with status 1 if ours takes more than 1.05 times as long as the earlier version (median of the rounds).
"""

import argparse
import contextlib
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import TextIO

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
_WORSE = 1.05
_PAUSE = 0.3  # seconds before a turn, in which the threads of the one before stop spinning


class Contender:
    """A process of `contender.py`; ready when it is made."""

    def __init__(self, name: str, *arguments: str, said: TextIO = sys.stdout) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "benchmarks" / "contender.py"), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        print(f"{name}: started and compiled in {self._answer():.1f} s", flush=True, file=said)

    def milliseconds(self, num_steps: int) -> float:
        """Of a step, mean of so many."""
        time.sleep(_PAUSE)
        self._process.stdin.write(f"{num_steps}\n")
        self._process.stdin.flush()
        return 1e3 * self._answer() / num_steps

    def peak_memory(self) -> float:
        """The most that the process has held so far, GB."""
        status = pathlib.Path(f"/proc/{self._process.pid}/status").read_text()
        [kilobytes] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
        return int(kilobytes) / 2**20

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> float:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a contender has failed: {self._process.args}")
        return float(line)


@contextlib.contextmanager
def checkout(revision: str) -> Iterator[str]:
    """The project as of a revision, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", folder, revision], check=True, capture_output=True)
        try:
            yield folder
        finally:
            subprocess.run([*git, "remove", "--force", folder], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", help="a revision of this project: a tag or a commit")
    parser.add_argument("--configuration", default="dvaess elbo 1 200", help="of ours, as for step_times.py")
    parser.add_argument("--pytorch", action=argparse.BooleanOptionalAction, default=True, help="DVAE##, K = 1, alone")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=30, help="iterations in a round, for each")
    arguments = parser.parse_args()
    *what, latents = arguments.configuration.split()
    if arguments.pytorch and what != ["dvaess", "elbo", "1"]:
        parser.error('PyTorch does "dvaess elbo 1 LATENTS" alone; give --no-pytorch')

    with contextlib.ExitStack() as stack:
        trees = {"ours": str(ROOT)}
        if arguments.against:
            trees[arguments.against] = stack.enter_context(checkout(arguments.against))
        contenders = {name: Contender(name, tree, arguments.configuration) for name, tree in trees.items()}
        if arguments.pytorch:
            contenders["PyTorch"] = Contender("PyTorch", "pytorch", latents)
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(arguments.rounds):
            for name, contender in contenders.items():
                times[name].append(contender.milliseconds(arguments.steps))
        for contender in contenders.values():
            contender.close()

    print(
        f"\n{arguments.configuration}\n\n"
        "| | ms an iteration, median | ours / this | least | most |\n|---|---|---|---|---|"
    )
    ratios = {name: np.divide(times["ours"], values) for name, values in times.items()}
    for name, values in times.items():
        ratio = ratios[name]
        print(f"| {name} | {np.median(values):.1f} | {np.median(ratio):.2f} | {ratio.min():.2f} | {ratio.max():.2f} |")
    if arguments.against and np.median(ratios[arguments.against]) > _WORSE:
        sys.exit(f"slower than {arguments.against}")


if __name__ == "__main__":
    main()
