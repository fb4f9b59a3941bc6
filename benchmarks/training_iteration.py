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
import tensorflow as tf
from training_iteration_torch import TrainingIteration

from dvae.autoencoding import Autoencoding
from dvae.config import Config
from dvae.data import BatchOrder, make_dataset
from dvae.published import fill_in


def ours(num_examples: int):
    """A function that runs a number of steps; and the seconds it took to build and compile."""
    start = time.perf_counter()
    rng = np.random.default_rng(0)
    images = (rng.random((num_examples, 784)) < 0.13).astype(np.uint8)
    dataset = make_dataset("random", train=images, valid=images[:100], test=images[:100])
    config = fill_in(Config(dataset="binarized_mnist", model="dvaess"))
    problem = Autoencoding(config, dataset)
    trainer = problem.trainer(problem.new_state())
    order = BatchOrder(num_examples=num_examples, batch_size=config.batch_size, seed=0)

    def run(num_steps: int) -> None:
        first = int(trainer.state.global_step)
        tf.nest.map_structure(float, trainer.run_steps(tf.constant(order.indices(first, num_steps))))

    run(1)
    return run, time.perf_counter() - start


def plain_pytorch(num_examples: int):
    """As `ours`, for eager PyTorch."""
    start = time.perf_counter()
    iteration = TrainingIteration()
    order = BatchOrder(num_examples=num_examples, batch_size=100, seed=0)
    done = 0

    def run(num_steps: int) -> None:
        nonlocal done
        for index in order.indices(done, num_steps):
            iteration.step(index.astype(np.int64))
        done += num_steps

    run(1)
    return run, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=40, help="iterations in a round, for each of the two")
    arguments = parser.parse_args()

    num_examples = 50_000
    contestants = {"ours": ours(num_examples), "PyTorch": plain_pytorch(num_examples)}
    for name, (_, seconds) in contestants.items():
        print(f"{name}: built and compiled in {seconds:.1f} s")
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(arguments.rounds):
        for name, (run, _) in contestants.items():
            start = time.perf_counter()
            run(arguments.steps)
            times[name].append(1e3 * (time.perf_counter() - start) / arguments.steps)
        print("   ".join(f"{name} {values[-1]:6.1f} ms" for name, values in times.items()), flush=True)
    ratios = np.divide(times["ours"], times["PyTorch"])
    print("\n".join(f"{name}: median {np.median(values):.1f} ms per iteration" for name, values in times.items()))
    print(f"ours / PyTorch, pair by pair: median {np.median(ratios):.2f}, {ratios.min():.2f} to {ratios.max():.2f}")


if __name__ == "__main__":
    main()
