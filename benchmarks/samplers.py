"""Times our samplers of binary RBMs against those of other packages, in turn, on the same machine, on the CPU.

    pip install -r benchmarks/requirements.txt
    python benchmarks/samplers.py --output=DIR

Two parts; `--part` chooses one.

* `gibbs`: 1000 chains moved by 40 sweeps of block Gibbs in float32, with 100+100 and 200+200 units. A sweep draws
  right | left, then left | right. All start from the same states. First it is checked that they do the same: the mean
  free energy of the left units after the 40 sweeps has one expectation, whether or not the chains have mixed by then.
* `log_z`: the error of log Z by 1000 chains against seconds, of our AIS and population annealing and of the AIS of
  `rbms`. With T temperatures all of them make T sweeps.

A package that is not installed is left out. Machines are noisy: look at the ratios within a round, not at the
milliseconds. Where something else wants the cores, packages whose threads wait for one another look ten times slower
than they are: the tables say what the load was; `taskset -c 0 python benchmarks/samplers.py` compares on one core.
Compilation is reported apart.
"""

import argparse
import importlib
import importlib.metadata
import os
import pathlib
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import dvae.quiet  # noqa: F401, I001  (before TensorFlow)
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.neural_network import BernoulliRBM

from samplers import annealed_importance, gibbs, pcd, persistent_chains, population_annealing
from samplers.annealing_path import Base, biases_base, means_base, uniform_base
from samplers.annealing_schedules import linear_betas
from samplers.log_partition import exact_log_z
from samplers.rbm import RBM


def installed(*modules: str) -> bool:
    """Imports the modules, if their packages are there."""
    try:
        for module in modules:
            importlib.import_module(module)
    except ImportError as error:
        progress(f"left out: {modules[0].partition('.')[0]} ({error})")
        return False
    return True


def progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


HAS_TORCH = installed("torch")
HAS_JAX = installed("jax")
HAS_RBMS = installed("rbms.bernoulli_bernoulli.classes", "rbms.partition_function.ais", "rbms.sampling.gibbs")
HAS_THRML = installed("thrml.models")
if HAS_TORCH:
    import torch
if HAS_JAX:
    import jax
if HAS_RBMS:
    import rbms
if HAS_THRML:
    import thrml

NUM_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
LOAD = os.getloadavg()[0]
CHAINS, SWEEPS = 1000, 40
SIZES = (100, 200)
THRML_SIZE = 100  # it takes seconds already
CHECK_RUNS = 10
LARGEST_DEVIATION = 4.5  # standard errors; by chance in 1 of 10,000 runs of this program
TARGET_ERRORS = (0.05, 0.01)  # nats


class Machine(NamedTuple):
    """The parameters of an RBM as float32 arrays, for everybody to convert."""

    bias_left: np.ndarray
    bias_right: np.ndarray
    weights: np.ndarray

    @classmethod
    def random(cls, num_units: int) -> "Machine":
        """`num_units` on each side: logits have a standard deviation of about 1, and half of the units are on."""
        rng = np.random.default_rng(num_units)
        weights = rng.normal(0, 2 / np.sqrt(num_units), [num_units, num_units])
        own = rng.normal(0, 0.5, [2, num_units])
        parameters = own[0] - weights.sum(1) / 2, own[1] - weights.sum(0) / 2, weights
        return cls(*(parameter.astype(np.float32) for parameter in parameters))

    def rbm(self) -> RBM:
        return RBM(*map(tf.constant, self))

    def free_energy(self, left: np.ndarray) -> np.ndarray:
        bias_left, bias_right, weights = (parameter.astype(np.float64) for parameter in self)
        return -(left @ bias_left) - np.logaddexp(0, bias_right + left @ weights).sum(-1)


# Competitors: from a machine and the left units that all chains start from, `[CHAINS, N]`, a function of a seed that
# returns the left units after SWEEPS sweeps.
Run = Callable[[int], np.ndarray]


def gibbs_ours(machine: Machine, start: np.ndarray) -> Run:
    rbm, left, num_sweeps = machine.rbm(), tf.constant(start), tf.constant(SWEEPS)
    return lambda seed: gibbs.sweep_in_parts(rbm, left, tf.constant([0, seed]), num_sweeps=num_sweeps).left.numpy()


def gibbs_ours_in_one_piece(machine: Machine, start: np.ndarray) -> Run:
    rbm, left = machine.rbm(), tf.constant(start)
    return lambda seed: gibbs.sweep(rbm, left, tf.constant([0, seed]), num_sweeps=tf.constant(SWEEPS)).left.numpy()


def gibbs_products(machine: Machine, start: np.ndarray) -> Run:
    """The two matrix products of each sweep, and nothing else, in the parts that ours computes at the same time."""
    weights = tf.constant(machine.weights / np.linalg.norm(machine.weights, 2))  # so that nothing overflows
    transposed, left = tf.constant(weights.numpy().T), tf.constant(start.T)

    @tf.function(jit_compile=True)
    def products(left: tf.Tensor, num_sweeps: tf.Tensor) -> tf.Tensor:
        for _ in tf.range(num_sweeps):
            left = tf.matmul(weights, tf.matmul(transposed, left))
        return left

    @tf.function
    def in_parts(left: tf.Tensor, num_sweeps: tf.Tensor) -> tf.Tensor:
        return tf.concat([products(part, num_sweeps) for part in tf.split(left, 2, axis=1)], axis=1)

    return lambda _: in_parts(left, tf.constant(SWEEPS)).numpy()


def gibbs_torch(machine: Machine, start: np.ndarray) -> Run:
    """Written by hand; `torch.bernoulli` would be slower than comparing with `torch.rand_like`."""
    bias_left, bias_right, weights, first = map(torch.tensor, (*machine, start))

    def bernoulli(logits):
        return (torch.rand_like(logits) < torch.sigmoid(logits)).to(logits.dtype)

    @torch.inference_mode()
    def run(seed: int) -> np.ndarray:
        torch.manual_seed(seed)
        left = first
        for _ in range(SWEEPS):
            right = bernoulli(bias_right + left @ weights)
            left = bernoulli(bias_left + right @ weights.T)
        return left.numpy()

    return run


def gibbs_jax(machine: Machine, start: np.ndarray) -> Run:
    """Written by hand."""
    bias_left, bias_right, weights = map(jax.numpy.asarray, machine)

    def bernoulli(key, logits):
        return jax.random.bernoulli(key, jax.nn.sigmoid(logits)).astype(logits.dtype)

    def sweep(left, key):
        right_key, left_key = jax.random.split(key)
        right = bernoulli(right_key, bias_right + left @ weights)
        return bernoulli(left_key, bias_left + right @ weights.T), None

    @jax.jit
    def sweeps(left, key):
        return jax.lax.scan(sweep, left, jax.random.split(key, SWEEPS))[0]

    left = jax.numpy.asarray(start)
    return lambda seed: np.asarray(sweeps(left, jax.random.key(seed)).block_until_ready())


def gibbs_rbms(machine: Machine, start: np.ndarray) -> Run:
    """It draws the right units once more at the end: 81 half sweeps, not 80."""
    parameters = rbms_machine(machine)
    chains = parameters.init_chains(num_samples=CHAINS, start_v=torch.tensor(start))

    def run(seed: int) -> np.ndarray:
        torch.manual_seed(seed)
        return rbms.sampling.gibbs.sample_state(SWEEPS, chains, parameters)["visible"].numpy()

    return run


def rbms_machine(machine: Machine):
    bias_left, bias_right, weights = map(torch.tensor, machine)
    return rbms.bernoulli_bernoulli.classes.BBRBM(weight_matrix=weights, vbias=bias_left, hbias=bias_right)


def gibbs_sklearn(machine: Machine, start: np.ndarray) -> Run:
    """Parameters in float32; it draws its uniform numbers in float64."""
    model = BernoulliRBM(n_components=len(machine.bias_right))
    model.intercept_visible_, model.intercept_hidden_, model.components_ = *machine[:2], machine.weights.T

    def run(seed: int) -> np.ndarray:
        model.random_state_ = np.random.RandomState(seed)
        left = start
        for _ in range(SWEEPS):
            left = model.gibbs(left)
        return left

    return run


def gibbs_thrml(machine: Machine, start: np.ndarray) -> Run:
    """Its units are spins, s = 2 z - 1, so W -> W / 4 and a -> a / 2 + W 1 / 4; its programs move one chain."""
    left, right = ([thrml.SpinNode() for _ in bias] for bias in machine[:2])
    biases = [bias / 2 + machine.weights.sum(1 - side) / 4 for side, bias in enumerate(machine[:2])]
    model = thrml.models.IsingEBM(
        nodes=left + right,
        edges=[(node, other) for node in left for other in right],
        biases=jax.numpy.concatenate(biases),
        weights=jax.numpy.asarray(machine.weights.ravel() / 4),
        beta=jax.numpy.array(1.0),
    )
    blocks = [thrml.Block(right), thrml.Block(left)]
    program = thrml.models.IsingSamplingProgram(model, blocks, clamped_blocks=[])
    schedule = thrml.SamplingSchedule(n_warmup=SWEEPS, n_samples=1, steps_per_sample=1)
    states = [jax.numpy.zeros([CHAINS, len(right)], bool), jax.numpy.asarray(start, bool)]

    @jax.jit
    @jax.vmap
    def sweeps(key, states):
        return thrml.sample_states(key, program, schedule, states, [], [blocks[1]])[0][0]

    return lambda seed: np.asarray(sweeps(jax.random.split(jax.random.key(seed), CHAINS), states).block_until_ready())


def competitors(num_units: int) -> dict[str, Callable[[Machine, np.ndarray], Run]]:
    available = {
        "ours": (gibbs_ours, True),
        "ours, in one piece": (gibbs_ours_in_one_piece, True),
        "PyTorch, by hand": (gibbs_torch, HAS_TORCH),
        "JAX, by hand": (gibbs_jax, HAS_JAX),
        "rbms": (gibbs_rbms, HAS_RBMS),
        "scikit-learn": (gibbs_sklearn, True),
        "thrml": (gibbs_thrml, HAS_THRML and num_units == THRML_SIZE),
        "products": (gibbs_products, True),
    }
    return {name: build for name, (build, is_available) in available.items() if is_available}


def gibbs_part(num_rounds: int) -> str:
    sections = [f"# {SWEEPS} sweeps of block Gibbs, {CHAINS} chains\n\n{surroundings()}\n"]
    for num_units in SIZES:
        sections.append(f"## {num_units}+{num_units} units\n\n{gibbs_table(num_units, num_rounds)}\n")
    sections.append(
        "Times are milliseconds for all sweeps of all chains. Ratios are taken round by round. *products* are the "
        "matrix products of the sweeps alone. *mean F*: mean free energy of the left units after the sweeps, nats; in "
        "brackets how far it is from ours, in standard errors of the difference.\n"
    )
    return "\n".join(sections)


def gibbs_table(num_units: int, num_rounds: int) -> str:
    """Builds all, checks that they agree, times them in turn."""
    machine = Machine.random(num_units)
    start = (np.random.default_rng(0).random([CHAINS, num_units]) < 0.5).astype(np.float32)
    runs: dict[str, Run] = {}
    first_seconds = {}
    for name, build in competitors(num_units).items():
        began = time.perf_counter()
        runs[name] = build(machine, start)
        runs[name](0)
        first_seconds[name] = time.perf_counter() - began
        progress(f"{num_units}+{num_units} {name}: {first_seconds[name]:.1f} s to build and run once")
    agreement = check_agreement(machine, runs)

    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(1, num_rounds + 1):
        for name, run in runs.items():
            times[name].append(1e3 * seconds_of(run, number)[1])
        progress("   ".join(f"{name} {values[-1]:.1f} ms" for name, values in times.items()))

    lines = ["| | ms, median | min to max | ratio to ours | min to max | built and compiled, s | mean F |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for name, values in times.items():
        ratios = np.divide(values, times["ours"])
        lines.append(
            f"| {name} | {np.median(values):.1f} | {min(values):.1f} to {max(values):.1f} "
            f"| {np.median(ratios):.2f} | {ratios.min():.2f} to {ratios.max():.2f} "
            f"| {max(0, first_seconds[name] - np.median(values) / 1e3):.1f} | {agreement[name]} |"
        )
    return "\n".join(lines)


def check_agreement(machine: Machine, runs: dict[str, Run]) -> dict[str, str]:
    """Mean free energies in words, for the table. Ends the program if one is not that of ours."""
    means, errors = {}, {}
    for name, run in runs.items():
        if name != "products":
            values = np.concatenate([machine.free_energy(run(1000 + number)) for number in range(CHECK_RUNS)])
            means[name], errors[name] = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    texts = {"products": ""}
    deviations = {name: (means[name] - means["ours"]) / np.hypot(errors[name], errors["ours"]) for name in means}
    for name, deviation in deviations.items():
        texts[name] = f"{means[name]:.2f} ± {errors[name]:.2f}" + ("" if name == "ours" else f" ({deviation:+.1f})")
        progress(f"mean free energy, {name}: {texts[name]}")
    wrong = [name for name, deviation in deviations.items() if abs(deviation) > LARGEST_DEVIATION]
    if wrong:
        sys.exit(f"not the same distribution as ours: {', '.join(wrong)}")
    return texts


def seconds_of(function: Callable, *arguments) -> tuple[object, float]:
    """What the function returns, and how long it took."""
    time.sleep(0.05)  # until the threads of whoever ran before have stopped looking for work
    began = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - began


def surroundings() -> str:
    """Cores, load before the program started, versions."""
    names = ["tensorflow"] + ["torch"] * HAS_TORCH + ["jax"] * HAS_JAX + ["rbms"] * HAS_RBMS + ["thrml"] * HAS_THRML
    versions = (f"{name} {importlib.metadata.version(name)}" for name in [*names, "scikit-learn"])
    return f"CPU cores: {NUM_CORES}; load average {LOAD:.1f} before the start; {', '.join(versions)}."


# Estimators of log Z: from the number of temperatures and a seed.
Estimator = Callable[[int, int], float]
PEER = "rbms: AIS"


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
    if HAS_RBMS:
        parameters = rbms_machine(machine)
        all_estimators[PEER] = theirs
    return all_estimators


def log_z_part(arguments: argparse.Namespace) -> str:
    """Writes the picture too, if a directory for it is given."""
    machine, log_z = load_machine(arguments.rbm) if arguments.rbm else (trained_on_digits(), None)
    log_z, how = known_log_z(machine, log_z, arguments.truth_temperatures)
    progress(f"log Z = {log_z:.4f} nats, {how}")
    curves = measure(estimators(machine), log_z, num_seeds=arguments.seeds, time_limit=arguments.time_limit)
    if arguments.output:
        draw(curves, arguments.output / "log_z_error.png")
    num_left, num_right = machine.weights.shape
    return (
        f"# Error of log Z against seconds, {CHAINS} chains\n\n{surroundings()}\n\n"
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
    progress("training an RBM on the digits")
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
    progress(f"log Z by AIS with {num_temperatures} temperatures")
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
        first = {name: seconds_of(estimate, num_temperatures, 0)[1] for name, estimate in running.items()}
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in running}
        for seed in range(1, num_seeds + 1):
            for name, estimate in running.items():
                value, seconds = seconds_of(estimate, num_temperatures, seed)
                runs[name].append((seconds, value - log_z))
        for name, values in runs.items():
            seconds, errors = np.array(values).T
            median = float(np.median(seconds))
            point = Point(median, float(np.sqrt(np.mean(errors**2))), max(0.0, first[name] - median))
            curves[name][num_temperatures] = point
            progress(f"{num_temperatures} temperatures, {name}: error {point.error:.4f} in {point.seconds:.3f} s")
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
    """Seconds and ratio in words; *at most* where the fewest temperatures are good enough."""
    seconds, peer_seconds = reached[name], reached.get(PEER, np.inf)
    if not np.isfinite(seconds):
        return "not reached", "unknown"
    bound = "at most " if all(point.error < target for point in curve.values()) else ""
    return f"{bound}{seconds:.3f}", f"{peer_seconds / seconds:.1f}" if np.isfinite(peer_seconds) else "unknown"


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
    parser.add_argument("--part", choices=["gibbs", "log_z"], help="both if left out")
    parser.add_argument("--rounds", type=int, default=15, help="of the timing of Gibbs sweeps")
    parser.add_argument("--seeds", type=int, default=8, help="runs of every estimator of log Z")
    parser.add_argument("--time_limit", type=float, default=10, help="seconds of a run that estimates log Z, at most")
    parser.add_argument("--rbm", type=pathlib.Path, help=".npz with bias_left, bias_right, weights, and maybe log_z")
    parser.add_argument(
        "--truth_temperatures", type=int, default=2**17, help="for log Z of an RBM too large to enumerate"
    )
    parser.add_argument("--output", type=pathlib.Path, help="a directory for gibbs.md, log_z.md and log_z_error.png")
    arguments = parser.parse_args()
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
    parts = {"gibbs": lambda: gibbs_part(arguments.rounds), "log_z": lambda: log_z_part(arguments)}
    for name in [arguments.part] if arguments.part else parts:
        text = parts[name]()
        print(text, flush=True)
        if arguments.output:
            (arguments.output / f"{name}.md").write_text(text)


if __name__ == "__main__":
    main()
