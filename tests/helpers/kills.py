"""Trainings that are killed again and again, in every phase, and started again each time.

python tests/helpers/kills.py SIGKILL 20 some/empty/folder
"""

import itertools
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
import typing

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLAGS = (
    "--model=pwl --dataset=bars_and_stripes --hidden_layers=0 --num_latents=4 --num_steps=1500 --batch_size=16 "
    "--num_particles=20 --prior_sweeps=2 --report_every=70 --eval_every=250 --checkpoint_every=110 --valid_samples=50 "
    "--valid_log_z_temperatures=500 --valid_pictures=2 --log_z_chains=50 --test_examples=100 --test_samples=50 "
    "--test_log_z_temperatures=2000 --noreport"
).split()
# What says that a phase has begun: of the folder, and of what the program has printed.
PHASES: dict[str, typing.Callable[[pathlib.Path, str], bool]] = {
    "loading": lambda run, said: True,
    "compiling": lambda run, said: "all is written to" in said,
    "training": lambda run, said: "compiled in" in said,
    "checkpoint": lambda run, said: any((run / "checkpoints").glob("*.partial")),
    "validation": lambda run, said: _evaluation_is_due(run),
    "export": lambda run, said: (run / "saved_model.partial").exists(),
    "evaluation": lambda run, said: (run / "saved_model").exists(),
    "results": lambda run, said: (run / "test_examples.csv").exists(),
}
# Seconds after which it is ended at the latest.
_DELAYS = {"loading": 5.0, "compiling": 5.0, "training": 2.0, "checkpoint": 0.05}


class Kill(typing.NamedTuple):
    """Attributes: the `phase` waited for; exit `status`; `seconds` until the process had left; the last line `said`."""

    phase: str
    status: int
    seconds: float
    said: str


def survive(number, folder, *, kills, seed):
    """Starts trainings and ends them, `kills` times, one training until it is complete. The kills; the folders.

    Phases come in turn; within one the moment is random. A training that is complete before its phase comes is counted
    as no kill.
    """
    moments, phases = random.Random(seed), itertools.cycle(PHASES)
    done: list[Kill] = []
    trainings = [folder / f"{number.name}-0"]
    while len(done) < kills:
        kill = _end_in(next(phases), number, trainings[-1], moments)
        if kill is None:
            trainings.append(folder / f"{number.name}-{len(trainings)}")
        else:
            done.append(kill)
            print(*kill, sep="; ", flush=True)
    subprocess.run(command(trainings[-1]), check=True, capture_output=True)
    return done, trainings


def _end_in(phase, number, run, moments):
    """Starts a training and ends it in a phase; None if it completes before."""
    with open(f"{run}.out", "wb") as out, open(f"{run}.err", "wb") as err:
        process = subprocess.Popen(command(run), stdout=out, stderr=err)
        while process.poll() is None and not PHASES[phase](run, pathlib.Path(f"{run}.out").read_text()):
            time.sleep(0.01)
        time.sleep(moments.uniform(0, _DELAYS.get(phase, 0.5)))
        if process.poll() is not None and process.returncode:
            raise AssertionError(pathlib.Path(f"{run}.err").read_text()[-2000:])
        if process.poll() is not None or (run / "results.json").exists():
            process.wait()
            return None
        begun = time.monotonic()
        process.send_signal(number)
        status = process.wait()
        seconds = time.monotonic() - begun
    lines = pathlib.Path(f"{run}.err").read_text(errors="replace").replace("\r", "\n").splitlines()
    return Kill(phase, status, seconds, ([line for line in lines if line.strip()] or [""])[-1])


def command(run):
    return [sys.executable, "-u", str(ROOT / "run_training.py"), *FLAGS, f"--log_dir={run}"]


def differences(one, other):
    """Names of what two finished runs do not have alike, bit for bit, and of how many tensors."""
    import tensorflow as tf  # noqa: PLC0415 - needed at the end only

    found = []
    newest = [max((run / "checkpoints").glob("?????????")) for run in (one, other)]
    readers = [tf.train.load_checkpoint(str(checkpoint / "state")) for checkpoint in newest]
    names = set(readers[0].get_variable_to_shape_map())
    names -= {"seconds/.ATTRIBUTES/VARIABLE_VALUE", "_CHECKPOINTABLE_OBJECT_GRAPH"}
    for name in sorted(names):
        a, b = (reader.get_tensor(name) for reader in readers)
        if np.asarray(a).tobytes() != np.asarray(b).tobytes():
            found.append(name)
    results = [json.loads((run / "results.json").read_text()) for run in (one, other)]
    found += [name for name in results[0] if name != "seconds" and results[0][name] != results[1][name]]
    for name in ("test_examples.csv", "samples.png", "reconstructions.png"):
        if (one / name).read_bytes() != (other / name).read_bytes():
            found.append(name)
    if lines_without_seconds(one) != lines_without_seconds(other):
        found.append("metrics.jsonl")
    return found, len(names)


def lines_without_seconds(run):
    """Of its `metrics.jsonl`."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if "seconds" not in name} for line in lines]


def _evaluation_is_due(run):
    newest = max((run / "checkpoints").glob("?????????/progress.json"), default=None)
    try:
        return newest is not None and json.loads(newest.read_text())["evaluation_due"]
    except (OSError, ValueError):
        return False


def main():
    name, kills, folder = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")
    if not (folder / "whole" / "results.json").exists():
        subprocess.run(command(folder / "whole"), check=True, capture_output=True)
    done, trainings = survive(signal.Signals[name], folder, kills=kills, seed=0)
    print(
        f"{name}: {len(done)} kills, {len(trainings)} trainings; at most {max(k.seconds for k in done):.1f} s to leave"
    )
    for training in trainings:
        found, number = differences(folder / "whole", training)
        print(f"{training.name}: of {number} tensors, results, table, pictures and metrics differ: {found or 'none'}")


if __name__ == "__main__":
    main()
