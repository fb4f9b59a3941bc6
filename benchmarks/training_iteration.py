"""Times a training iteration of DVAE## against plain PyTorch doing the same, in turn, on the same machine.

    pip install -r benchmarks/requirements.txt
    python benchmarks/training_iteration.py

200 latents, batch 100, a population of 1000 particles moved by 40 sweeps (the published set-up), on random images.
Machines are noisy: look at the ratio within a round, not at the milliseconds. Compilation is reported apart.
"""

import argparse
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import dvae.quiet  # noqa: F401, I001  (before TensorFlow)
import numpy as np
from step_times import NUM_EXAMPLES, in_turn, random_images, runner
from training_iteration_torch import TrainingIteration

from dvae.data import BatchOrder


def plain_pytorch():
    """A function that trains so many steps in eager PyTorch."""
    iteration = TrainingIteration()
    order = BatchOrder(num_examples=NUM_EXAMPLES, batch_size=100, seed=0)
    done = 0

    def run(num_steps: int) -> None:
        nonlocal done
        for index in order.indices(done, num_steps):
            iteration.step(index.astype(np.int64))
        done += num_steps

    run(1)
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=40, help="iterations in a round, for each of the two")
    arguments = parser.parse_args()

    runs = {}
    for name, build in (("ours", lambda: runner({"model": "dvaess"}, random_images())), ("PyTorch", plain_pytorch)):
        start = time.perf_counter()
        runs[name] = build()
        print(f"{name}: built and compiled in {time.perf_counter() - start:.1f} s", flush=True)
    times = in_turn(runs, num_rounds=arguments.rounds, num_steps=arguments.steps)
    for pair in zip(*times.values(), strict=True):
        print("   ".join(f"{name} {value:6.1f} ms" for name, value in zip(times, pair, strict=True)))
    ratios = np.divide(times["ours"], times["PyTorch"])
    print("\n".join(f"{name}: median {np.median(values):.1f} ms per iteration" for name, values in times.items()))
    print(f"ours / PyTorch, pair by pair: median {np.median(ratios):.2f}, {ratios.min():.2f} to {ratios.max():.2f}")


if __name__ == "__main__":
    main()
