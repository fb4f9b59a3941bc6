"""One contender of `training_iteration.py`: builds, compiles, then trains as many steps as each line of stdin says.

It runs in a process of its own, since neither two versions of this project nor TensorFlow and PyTorch go into one.

    python benchmarks/contender.py pytorch LATENTS
    python benchmarks/contender.py TREE CONFIGURATION

Answers each line, and first the compilation, with the seconds that it took.
"""

import sys
import time


def of_pytorch(latents: str = "200"):
    """A function that trains so many steps in eager PyTorch."""
    import numpy as np  # noqa: PLC0415

    from training_iteration_torch import TrainingIteration  # noqa: PLC0415

    iteration, rng = TrainingIteration(int(latents) // 2), np.random.default_rng(0)

    def run(num_steps: int) -> None:
        for _ in range(num_steps):
            iteration.step(rng.choice(50_000, 100, replace=False))

    run(1)
    return run


def of_tree(tree: str, configuration: str):
    """A function that trains so many steps by the project in a folder.

    The configuration is as for `step_times.py`; `pixels=1568` among its settings is the size of the images.
    """
    sys.path[:0] = [f"{tree}/benchmarks", tree]
    import step_times  # noqa: PLC0415

    settings = step_times.settings_of(configuration)
    pixels = settings.pop("pixels", None)
    images = step_times.random_images(pixels) if pixels else step_times.random_images()
    return step_times.runner(settings, images)


def main() -> None:
    start = time.perf_counter()
    run = of_pytorch(*sys.argv[2:]) if sys.argv[1] == "pytorch" else of_tree(*sys.argv[1:])
    print(time.perf_counter() - start, flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        run(int(line))
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
