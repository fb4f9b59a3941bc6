"""Times a training step of every system and objective, in turn, on the same machine.

    python benchmarks/step_times.py
    python benchmarks/step_times.py "dvaess elbo 1 16" "dvaess mcmc"

A configuration is a system, an objective (elbo if left out), K, the number of samples (1 if left out), the number of
latents, and further settings that are integers, `batch_size=200`. The published set-up: 200 latents (mcmc: 16), batch
100, 1000 particles moved by 40 sweeps, two groups with shared context where no objective is given and one group where
it is, on random images of MNIST's size. Machines are noisy: look at the ratios within a round, to the first
configuration. Compilation is not timed.
"""

import argparse
import pathlib
import sys
import time
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import dvae.quiet  # noqa: F401, I001  (before TensorFlow)
import numpy as np
import tensorflow as tf

from dvae.data import BatchOrder, make_dataset
from dvae.settings.complete import complete
from dvae.systems import SYSTEMS
from dvae.tasks import TASKS

NUM_EXAMPLES = 50_000


def random_images(num_pixels: int = 784):
    """As many as MNIST's, as bright, and as large if nothing else is said."""
    images = (np.random.default_rng(0).random((NUM_EXAMPLES, num_pixels), np.float32) < 0.13).astype(np.uint8)
    return make_dataset("random", train=images, valid=images[:100], test=images[:100])


def runner(settings: dict, dataset) -> Callable[[int], None]:
    """A function that trains so many steps; it has compiled when it comes back."""
    config = complete({"dataset": "binarized_mnist", **settings})
    task = TASKS[config.objective](config, dataset)
    trainer = task.trainer(task.new_state())
    order = BatchOrder(num_examples=NUM_EXAMPLES, batch_size=config.batch_size, seed=0)

    def run(num_steps: int) -> None:
        first = int(trainer.state.global_step)
        trainer.run_steps(tf.constant(order.indices(first, num_steps)))

    run(1)
    return run


def in_turn(runs: dict[str, Callable[[int], None]], *, num_rounds: int, num_steps: int) -> dict[str, list[float]]:
    """Milliseconds a step of each, one number a round."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(num_rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run(num_steps)
            times[name].append(1e3 * (time.perf_counter() - start) / num_steps)
    return times


def settings_of(configuration: str) -> dict:
    """From `system [objective [K [latents]]] [setting=number ...]`; two groups where the objective is left out."""
    words = [word for word in configuration.split() if "=" not in word]
    model, objective, num_samples, num_latents = [*words, None, None, None][:4]
    settings = {"model": model, "objective": objective or "elbo", "num_samples": int(num_samples or 1)}
    if num_latents is not None:
        settings["num_latents"] = int(num_latents)
    if objective is None and SYSTEMS[model].most_groups > 1:
        settings |= {"num_groups": 2, "shared_context": True}
    return settings | {
        name: int(number) for name, _, number in (w.partition("=") for w in configuration.split()) if number
    }


def main() -> None:
    several = [f"{model} {rest}" for rest in ("iw 5", "iw 25", "structured 5") for model in ("pwl", "dvaess")]
    systems = sorted(SYSTEMS, key="pwl".__ne__)  # pwl first
    default = [*systems, "pwl structured", "dvaess structured", *several, "dvaess elbo 1 16", "dvaess mcmc"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configurations", nargs="*", default=default)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="in a round, for each configuration")
    arguments = parser.parse_args()

    dataset = random_images()
    runs = {name: runner(settings_of(name), dataset) for name in arguments.configurations}
    times = in_turn(runs, num_rounds=arguments.rounds, num_steps=arguments.steps)
    reference = arguments.configurations[0]
    print(f"| configuration | ms a step (median) | least | most | ratio to {reference} |\n|---|---|---|---|---|")
    for name, values in times.items():
        ratio = np.median(np.divide(values, times[reference]))
        print(f"| {name} | {np.median(values):.1f} | {min(values):.1f} | {max(values):.1f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
