"""The error of log Z against seconds, of our samplers and of `rbms`, in turn, on the same machine, on the CPU.

    pip install -r benchmarks/requirements.txt
    python benchmarks/log_z.py --output=DIR

1000 chains of our AIS and population annealing, each from four bases, and of the AIS of `rbms`. With T temperatures all
of them make T sweeps; T doubles from 16 to 16,384, but only while a run should take less than `--time_limit`. The RBM
is trained on the digits, unless `--rbm` gives one.

A package that is not installed is left out. Compilation is reported apart. On a busy machine,
`taskset -c 0 python benchmarks/log_z.py` compares on one core: `comparison.py` says why.
"""

import argparse
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

import comparison  # before TensorFlow
from comparison import CHAINS, Machine, rbms, torch
from samplers import annealed_importance, gibbs, pcd, persistent_chains, population_annealing
from samplers.annealing_path import Base, biases_base, means_base, uniform_base
from samplers.annealing_schedules import linear_betas
from samplers.log_partition import exact_log_z
from samplers.rbm import RBM

TARGET_ERRORS = (0.05, 0.01)  # nats
PEER = "rbms: AIS"

# Estimators of log Z: from the number of temperatures and a seed.
Estimator = Callable[[int, int], float]


class Point(NamedTuple):
    """What the runs of one estimator with one number of temperatures came to."""

    seconds: float  # median of a run
    error: float  # root mean square, nats
    compilation: float  # seconds more that the first run took


def annealed_importance_log_z(rbm: RBM, base: Base, betas: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    return annealed_importance.sample(rbm, base, betas=betas, num_chains=CHAINS, seed=seed).log_z


def population_annealing_log_z(rbm: RBM, base: Base, betas: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    return population_annealing.sample(rbm, base, betas=betas, num_particles=CHAINS, seed=seed).log_z


def chain_means_base(rbm: RBM, seed: tf.Tensor) -> Base:
    """The means of chains after a few sweeps from fair coins."""
    coin_seed, sweep_seed = tf.unstack(tf.random.split(seed, 2))
    left = persistent_chains.fair_coins(rbm, [CHAINS], coin_seed)
    state = gibbs.sweep(rbm, left, sweep_seed, num_sweeps=tf.constant(50))
    return means_base(tf.reduce_mean(state.left, axis=0), tf.reduce_mean(state.right, axis=0))


def left_biases_base(rbm: RBM) -> Base:
    """That of `rbms`."""
    return Base(rbm.bias_left, tf.zeros_like(rbm.bias_right))


BASES = {
    "biases": lambda rbm, _: biases_base(rbm),
    "left biases": lambda rbm, _: left_biases_base(rbm),
    "uniform": lambda rbm, _: uniform_base(rbm),
    "means": chain_means_base,
}
ALGORITHMS = {"AIS": annealed_importance_log_z, "PA": population_annealing_log_z}


def estimators(machine: Machine) -> dict[str, Estimator]:
    rbm = machine.rbm()

    def ours(algorithm, base) -> Estimator:
        def estimate(num_temperatures: int, seed: int) -> float:
            base_seed, annealing_seed = tf.unstack(tf.random.split(tf.constant([num_temperatures, seed]), 2))
            betas = linear_betas(num_temperatures)
            return float(ALGORITHMS[algorithm](rbm, BASES[base](rbm, base_seed), betas, annealing_seed))

        return estimate

    def theirs(num_temperatures: int, seed: int) -> float:
        torch.manual_seed(seed)
        return rbms.partition_function.ais.compute_partition_function_ais(CHAINS, num_temperatures + 1, parameters)

    all_estimators = {f"ours: {name}, {base}": ours(name, base) for name in ALGORITHMS for base in BASES}
    if rbms:
        parameters = comparison.rbms_machine(machine)
        all_estimators[PEER] = theirs
    return all_estimators


def report(arguments: argparse.Namespace) -> str:
    """Writes the picture too, if a directory for it is given."""
    machine, log_z = load_machine(arguments.rbm) if arguments.rbm else (trained_on_digits(), None)
    log_z, how = known_log_z(machine, log_z, arguments.truth_temperatures)
    comparison.progress(f"log Z = {log_z:.4f} nats, {how}")
    curves = measure(estimators(machine), log_z, num_seeds=arguments.seeds, time_limit=arguments.time_limit)
    if arguments.output:
        draw(curves, arguments.output / "log_z_error.png")
    num_left, num_right = machine.weights.shape
    return (
        f"# Error of log Z against seconds, {CHAINS} chains\n\n{comparison.surroundings()}\n\n"
        f"{'The RBM of ' + arguments.rbm.name if arguments.rbm else 'An RBM trained on the digits'}, "
        f"{num_left}+{num_right} units; log Z = {log_z:.4f} nats, {how}. Root mean square error of {arguments.seeds} "
        f"runs (itself known to {1 / np.sqrt(2 * arguments.seeds):.0%}), nats, and median seconds of a run. Bases: "
        f"*biases* (no couplings), *left biases* (that of rbms), *uniform*, *means* (of chains after 50 sweeps, which "
        f"are in the seconds). Compilation is not in the seconds: ours compiles once for all bases and all numbers of "
        f"temperatures up to 1023, then once for every doubling, so only the first of them shows it.\n\n"
        f"{log_z_table(curves)}\n\n{answer_table(curves)}\n"
    )


def load_machine(file: pathlib.Path) -> tuple[Machine, float | None]:
    with np.load(file) as arrays:
        machine = Machine(*(arrays[name].astype(np.float32) for name in Machine._fields))
        return machine, float(arrays["log_z"]) if "log_z" in arrays else None


def trained_on_digits(*, num_right: int = 20, num_steps: int = 5000, batch_size: int = 100) -> Machine:
    """PCD with one sweep a step on scikit-learn's digits, whose pixels are drawn anew for every batch."""
    comparison.progress("training an RBM on the digits")
    grey = tf.constant(load_digits().data / 16, tf.float32)
    means = tf.reduce_mean(grey, axis=0)
    bias_left = means_base(means, means, least=0.01).bias_left
    start = tf.random.stateless_normal([grey.shape[1], num_right], [0, 0], stddev=0.1)
    rbm = RBM(bias_left, tf.zeros([num_right]), start)
    state = persistent_chains.initial_state(rbm, num_chains=CHAINS, seed=tf.constant([0, 1]))

    @tf.function
    def update(rbm, state, number):
        index_seed, pixel_seed, chain_seed = tf.unstack(tf.random.split(tf.stack([1, number]), 3))
        index = tf.random.stateless_uniform([batch_size], index_seed, 0, grey.shape[0], tf.int32)
        pixels = tf.gather(grey, index)
        images = tf.cast(tf.random.stateless_uniform(tf.shape(pixels), pixel_seed) < pixels, tf.float32)
        state, _ = pcd.step(rbm, state, chain_seed, num_sweeps=1)
        with tf.GradientTape() as tape:
            tape.watch(rbm)
            loss = tf.reduce_mean(rbm.free_energy(images)) - tf.reduce_mean(rbm.free_energy(state.left))
        rate = 0.3 * (1 - tf.cast(number, tf.float32) / num_steps)
        return RBM(*(p - rate * g for p, g in zip(rbm, tape.gradient(loss, rbm), strict=True))), state

    for number in tf.range(num_steps):
        rbm, state = update(rbm, state, number)
    return Machine(*(parameter.numpy() for parameter in rbm))


def known_log_z(machine: Machine, log_z: float | None, num_temperatures: int) -> tuple[float, str]:
    """log Z, and how it is known."""
    if log_z is not None:
        return log_z, "as the file says"
    rbm = machine.rbm()
    if min(machine.weights.shape) <= 20:
        return float(exact_log_z(rbm)), "by enumeration"
    comparison.progress(f"log Z by AIS with {num_temperatures} temperatures")
    base_seed, seed = tf.unstack(tf.random.split([0, 0], 2))
    base, betas = chain_means_base(rbm, base_seed), linear_betas(num_temperatures)
    estimate = annealed_importance.sample(rbm, base, betas=betas, num_chains=CHAINS, seed=seed)
    error = float(estimate.standard_error)
    return float(estimate.log_z), f"by our AIS with {num_temperatures} temperatures, standard error {error:.4f}"


def measure(
    all_estimators: dict[str, Estimator], log_z: float, *, num_seeds: int, time_limit: float
) -> dict[str, dict[int, Point]]:
    """Points by estimator and number of temperatures; for each number the estimators take turns, seed by seed."""
    curves: dict[str, dict[int, Point]] = {name: {} for name in all_estimators}
    running = dict(all_estimators)
    for num_temperatures in (2**power for power in range(4, 15)):
        first = {name: comparison.seconds_of(estimate, num_temperatures, 0)[1] for name, estimate in running.items()}
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in running}
        for seed in range(1, num_seeds + 1):
            for name, estimate in running.items():
                value, seconds = comparison.seconds_of(estimate, num_temperatures, seed)
                runs[name].append((seconds, value - log_z))
        for name, values in runs.items():
            seconds, errors = np.array(values).T
            median = float(np.median(seconds))
            point = Point(median, float(np.sqrt(np.mean(errors**2))), max(0.0, first[name] - median))
            curves[name][num_temperatures] = point
            result = f"error {point.error:.4f} in {point.seconds:.3f} s"
            comparison.progress(f"{num_temperatures} temperatures, {name}: {result}")
            if 2 * median > time_limit:
                del running[name]
    return curves


def log_z_table(curves: dict[str, dict[int, Point]]) -> str:
    lines = [f"| temperatures | {' | '.join(curves)} |", "|---" * (len(curves) + 1) + "|"]
    for num_temperatures in sorted(set().union(*curves.values())):
        points = (curve.get(num_temperatures) for curve in curves.values())
        cells = (f"{point.error:.3f} in {point.seconds:.3f} s" if point else "" for point in points)
        lines.append(f"| {num_temperatures} | {' | '.join(cells)} |")
    return "\n".join(lines)


def answer_table(curves: dict[str, dict[int, Point]]) -> str:
    """Seconds to the wanted errors, and ratios; then the best of ours against `rbms` in words."""
    columns = " | ".join(f"s to an error below {target} nats | rbms / this" for target in TARGET_ERRORS)
    lines = [f"| | {columns} | compilation, s, median |", "|---" * (2 * len(TARGET_ERRORS) + 2) + "|"]
    reached = {
        target: {name: seconds_to_reach(target, curve) for name, curve in curves.items()} for target in TARGET_ERRORS
    }
    for name, curve in curves.items():
        cells = [cell for target in TARGET_ERRORS for cell in answer_cells(target, curve, name, reached[target])]
        compilation = np.median([point.compilation for point in curve.values()])
        lines.append(f"| {name} | {' | '.join(cells)} | {compilation:.1f} |")
    for target, seconds in reached.items():
        best = min((name for name in curves if name.startswith("ours")), key=seconds.get)
        texts = [
            f"{name} {answer_cells(target, curves[name], name, seconds)[0]}" for name in (best, PEER) if name in curves
        ]
        ratio = answer_cells(target, curves[best], best, seconds)[1]
        lines += ["", f"Seconds to reach an RMS error below {target} nats: {', '.join(texts)}; ratio {ratio}."]
    return "\n".join(lines)


def answer_cells(target: float, curve: dict[int, Point], name: str, reached: dict[str, float]) -> tuple[str, str]:
    """Seconds and ratio in words; *at most* where the fewest temperatures are good enough, which bounds the ratio."""
    seconds, peer_seconds = reached[name], reached.get(PEER, np.inf)
    if not np.isfinite(seconds):
        return "not reached", "unknown"
    is_bound = all(point.error < target for point in curve.values())
    ratio = f"{'at least ' if is_bound else ''}{peer_seconds / seconds:.1f}" if np.isfinite(peer_seconds) else "unknown"
    return f"{'at most ' if is_bound else ''}{seconds:.3f}", ratio


def seconds_to_reach(target: float, curve: dict[int, Point]) -> float:
    """Where a curve falls below the target to stay, by log-log interpolation; infinite if nowhere."""
    points = list(curve.values())
    above = [number for number, point in enumerate(points) if point.error >= target]
    if not above:
        return points[0].seconds
    if above[-1] + 1 == len(points):
        return np.inf
    pair = points[above[-1] : above[-1] + 2]
    log_errors, log_seconds = np.log([(point.error, point.seconds) for point in reversed(pair)]).T
    return float(np.exp(np.interp(np.log(target), log_errors, log_seconds)))


def draw(curves: dict[str, dict[int, Point]], file: pathlib.Path) -> None:
    """A colour for each base, dashes for population annealing, black for the peer."""
    figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
    colours = {base: f"C{number}" for number, base in enumerate(BASES)}
    for name, curve in curves.items():
        seconds, errors, _ = zip(*curve.values(), strict=True)
        colour = colours.get(name.partition(", ")[2], "black")
        line = "--" if " PA," in name else "-"
        axes.loglog(seconds, errors, marker="o", markersize=3, linestyle=line, color=colour, label=name)
    for target in TARGET_ERRORS:
        axes.axhline(target, color="grey", linewidth=0.8)
    axes.set(xlabel="seconds", ylabel="root mean square error of log Z, nats")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(file, dpi=130)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8, help="runs of every estimator")
    parser.add_argument("--time_limit", type=float, default=10, help="seconds of a run, at most")
    parser.add_argument("--rbm", type=pathlib.Path, help=".npz with bias_left, bias_right, weights, and maybe log_z")
    parser.add_argument(
        "--truth_temperatures", type=int, default=2**17, help="for log Z of an RBM too large to enumerate"
    )
    arguments = comparison.parse(parser, files="log_z.md and log_z_error.png")
    comparison.publish(report(arguments), arguments.output, "log_z.md")


if __name__ == "__main__":
    main()
