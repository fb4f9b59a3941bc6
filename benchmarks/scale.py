"""How the time of a training step and the memory grow with latents, K, batch and pixels, beside what is expected.

    python benchmarks/scale.py
    python benchmarks/scale.py latents

Each series changes one number of "dvaess elbo 1 200", or of "pwl elbo 1 200", and every configuration has a process of
its own. The exponent between two neighbours is log(ratio of times) / log(ratio of numbers): what grows as its power
comes near the expected one where that part of the step outweighs the rest.
"""

import argparse
import math
import sys

import numpy as np

from training_iteration import ROOT, Contender

# Name: configuration with the number left open, its values, and the exponent for large ones with the reason.
SERIES = {
    "latents": ("dvaess elbo 1 {}", (50, 100, 200, 400, 800, 1600), "2: couplings of every example, and their weights"),
    "latents, rank 4": (
        "dvaess elbo 1 {} coupling_rank=4",
        (200, 400, 800, 1600),
        "2: the sweeps; the weights grow as 1",
    ),
    "latents, pwl": ("pwl elbo 1 {}", (50, 100, 200, 400, 800, 1600), "2: the prior's sweeps"),
    "K": ("dvaess iw {} 200", (1, 5, 25, 50), "1: sweeps and decoder; one encoder pass for all"),
    "batch": ("dvaess elbo 1 200 batch_size={}", (50, 100, 200, 400), "1: all but the prior"),
    "pixels": ("pwl elbo 1 200 pixels={}", (392, 784, 1568, 3136), "1: the outer layers"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # (argparse checks the empty list, too.)
    parser.add_argument("series", nargs="*", choices=[*SERIES, []], default=list(SERIES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a round, about")
    arguments = parser.parse_args()
    for name in arguments.series:
        configuration, values, expected = SERIES[name]
        print(f"\n{name} (`{configuration}`), expected exponent {expected}\n\n| {name} | ms a step | exponent | GB |")
        print("|---|---|---|---|")
        before = None
        for value in values:
            contender = Contender(configuration.format(value), str(ROOT), configuration.format(value), said=sys.stderr)
            steps = max(2, round(1e3 * arguments.seconds / contender.milliseconds(2)))
            time = float(np.median([contender.milliseconds(steps) for _ in range(arguments.rounds)]))
            memory = contender.peak_memory()
            contender.close()
            exponent = "" if before is None else f"{math.log(time / before[1]) / math.log(value / before[0]):.2f}"
            print(f"| {value} | {time:.1f} | {exponent} | {memory:.1f} |", flush=True)
            before = value, time


if __name__ == "__main__":
    main()
