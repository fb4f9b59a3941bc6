"""Times the evaluation of an exported model by the published protocol and by the one that a pilot chooses, in turn.

    python benchmarks/evaluation.py --saved_model=runs/mnist/saved_model --num_examples=500

Blocks of examples take turns, so that both see the same machine. Both estimates of p(x) are unbiased; the difference of
the two NLL is over the same examples, and its standard error that of the mean of the differences. log Z of the prior is
left out (it is the same for both), compilation too.
"""

import argparse
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import dvae.quiet  # noqa: F401, I001  (before TensorFlow)
import numpy as np
import scipy.stats
import tensorflow as tf

from dvae.data import load_dataset, spread
from dvae.evaluation import pilot, saved_model
from models.posterior import BASES

SEED = tf.constant([0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--saved_model", required=True)
    parser.add_argument("--num_examples", type=int, default=100)
    parser.add_argument("--num_samples", type=int, default=4000)
    parser.add_argument("--block", type=int, default=5, help="examples in a call")
    arguments = parser.parse_args()

    functions, origin = saved_model.load(pathlib.Path(arguments.saved_model))
    data = load_dataset(origin["settings"]["dataset"], origin["settings"]["data_dir"])
    images = data.test[spread(len(data.test), arguments.num_examples)]
    start = time.perf_counter()
    chosen = pilot.annealing(functions, data.valid, protocol="pilot", seed=0)
    print(f"pilot, compilation included: {time.perf_counter() - start:.1f} s: {chosen}", flush=True)
    protocols = {"published": pilot.PUBLISHED, "pilot": chosen}

    def evaluate(name: str, x: np.ndarray) -> dict[str, np.ndarray]:
        outputs = functions["estimate_log_likelihood"](
            x=tf.constant(x, tf.float32),
            num_samples=tf.constant(arguments.num_samples),
            log_z=tf.constant(0.0),
            posterior_temperatures=tf.constant(protocols[name].temperatures),
            posterior_base=tf.constant(BASES.index(protocols[name].base)),
            flattening=tf.constant([1.0]),
            seed=SEED,
        )
        return {key: value.numpy() for key, value in outputs.items()}

    seconds = dict.fromkeys(protocols, 0.0)
    found: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in protocols}
    for name in protocols:
        evaluate(name, images[: arguments.block])
    for first in range(0, len(images) - arguments.block + 1, arguments.block):
        for name in protocols:
            start = time.perf_counter()
            found[name].append(evaluate(name, images[first : first + arguments.block]))
            seconds[name] += time.perf_counter() - start

    joined = {
        name: {key: np.concatenate([b[key] for b in blocks]) for key in blocks[0]} for name, blocks in found.items()
    }
    print(
        "\n| protocol | base | temperatures | ms an example | samples that count | NLL less log Z |\n"
        "|---|---|---|---|---|---|"
    )
    for name, values in joined.items():
        how, count = protocols[name], len(values["log_likelihood"])
        print(
            f"| {name} | {how.base} | {how.temperatures} | {1e3 * seconds[name] / count:.1f} | "
            f"{values['effective_sample_size'].mean():.1f} | {-values['log_likelihood'].mean():.3f} |"
        )
    difference = joined["published"]["log_likelihood"] - joined["pilot"]["log_likelihood"]
    print(
        f"\nNLL by the pilot's less the published, {len(difference)} examples: {difference.mean():.4f} +- "
        f"{scipy.stats.sem(difference):.4f} nats; {seconds['published'] / seconds['pilot']:.1f} times faster"
    )


if __name__ == "__main__":
    main()
