"""Times our block Gibbs against that of other packages, in turn, on the same machine, on the CPU.

    pip install -r benchmarks/requirements.txt
    python benchmarks/gibbs.py --output=DIR

1000 chains are moved by 40 sweeps in float32, with 100+100 and 200+200 units. A sweep draws right | left, then
left | right. All start from the same states. First it is checked that they do the same: the mean free energy of the
left units after the 40 sweeps has one expectation, whether or not the chains have mixed by then.

Every call comes right after another of the same package, as in training. A package that is not installed is left out.
Compilation is reported apart. On a busy machine,
`taskset -c 0 python benchmarks/gibbs.py` compares on one core: `comparison.py` says why.
"""

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from sklearn.neural_network import BernoulliRBM

import comparison  # before TensorFlow
from comparison import CHAINS, Machine, jax, rbms, thrml, torch
from samplers import gibbs

SWEEPS = 40
SIZES = (100, 200)
THRML_SIZE = 100  # it takes seconds already
CHECK_RUNS = 10
LARGEST_DEVIATION = 4.5  # standard errors; by chance in 1 of 10,000 runs of this program


def random_machine(num_units: int) -> Machine:
    """`num_units` on each side: logits have a standard deviation of about 1, and half of the units are on."""
    rng = np.random.default_rng(num_units)
    weights = rng.normal(0, 2 / np.sqrt(num_units), [num_units, num_units])
    own = rng.normal(0, 0.5, [2, num_units])
    parameters = own[0] - weights.sum(1) / 2, own[1] - weights.sum(0) / 2, weights
    return Machine(*(parameter.astype(np.float32) for parameter in parameters))


def free_energy(machine: Machine, left: np.ndarray) -> np.ndarray:
    bias_left, bias_right, weights = (parameter.astype(np.float64) for parameter in machine)
    return -(left @ bias_left) - np.logaddexp(0, bias_right + left @ weights).sum(-1)


# Competitors: from a machine and the left units that all chains start from, `[CHAINS, N]`, a function of a seed that
# returns the left units after SWEEPS sweeps.
Run = Callable[[int], np.ndarray]


def gibbs_ours(machine: Machine, start: np.ndarray) -> Run:
    rbm, left, num_sweeps = machine.rbm(), tf.constant(start), tf.constant(SWEEPS)
    return lambda seed: gibbs.sweep(rbm, left, tf.constant([0, seed]), num_sweeps=num_sweeps).left.numpy()


def gibbs_products(machine: Machine, start: np.ndarray) -> Run:
    """The two matrix products of each sweep, and nothing else."""
    # An orthogonal matrix, so that nothing overflows and nothing becomes subnormal, which would be slow.
    weights = tf.constant(np.linalg.qr(machine.weights)[0])
    transposed, left = tf.transpose(weights), tf.constant(start.T)

    @tf.function(jit_compile=True)
    def products(left: tf.Tensor, num_sweeps: tf.Tensor) -> tf.Tensor:
        for _ in tf.range(num_sweeps):
            left = tf.matmul(weights, tf.matmul(transposed, left))
        return left

    return lambda _: products(left, tf.constant(SWEEPS)).numpy()


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
    parameters = comparison.rbms_machine(machine)
    chains = parameters.init_chains(num_samples=CHAINS, start_v=torch.tensor(start))

    def run(seed: int) -> np.ndarray:
        torch.manual_seed(seed)
        return rbms.sampling.gibbs.sample_state(SWEEPS, chains, parameters)["visible"].numpy()

    return run


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
        "PyTorch, by hand": (gibbs_torch, torch),
        "JAX, by hand": (gibbs_jax, jax),
        "rbms": (gibbs_rbms, rbms),
        "scikit-learn": (gibbs_sklearn, True),
        "thrml": (gibbs_thrml, thrml and num_units == THRML_SIZE),
        "products": (gibbs_products, True),
    }
    return {name: build for name, (build, is_available) in available.items() if is_available}


def report(num_rounds: int) -> str:
    sections = [f"# {SWEEPS} sweeps of block Gibbs, {CHAINS} chains\n\n{comparison.surroundings()}\n"]
    for num_units in SIZES:
        sections.append(f"## {num_units}+{num_units} units\n\n{table(num_units, num_rounds)}\n")
    sections.append(
        "Times are milliseconds for all sweeps of all chains. Ratios are taken round by round. *products* are the "
        "matrix products of the sweeps alone. *mean F*: mean free energy of the left units after the sweeps, nats; in "
        "brackets how far it is from ours, in standard errors of the difference.\n"
    )
    return "\n".join(sections)


def table(num_units: int, num_rounds: int) -> str:
    """Builds all, checks that they agree, times them in turn."""
    machine = random_machine(num_units)
    start = (np.random.default_rng(0).random([CHAINS, num_units]) < 0.5).astype(np.float32)
    runs: dict[str, Run] = {}
    first_seconds = {}
    for name, build in competitors(num_units).items():
        began = time.perf_counter()
        runs[name] = build(machine, start)
        runs[name](0)
        first_seconds[name] = time.perf_counter() - began
        comparison.progress(f"{num_units}+{num_units} {name}: {first_seconds[name]:.1f} s to build and run once")
    agreement = check_agreement(machine, runs)

    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(1, num_rounds + 1):
        for name, run in runs.items():
            times[name].append(1e3 * comparison.seconds_of(run, number, awake=True)[1])
        comparison.progress("   ".join(f"{name} {values[-1]:.1f} ms" for name, values in times.items()))

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
            values = np.concatenate([free_energy(machine, run(1000 + number)) for number in range(CHECK_RUNS)])
            means[name], errors[name] = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    texts = {"products": ""}
    deviations = {name: (means[name] - means["ours"]) / np.hypot(errors[name], errors["ours"]) for name in means}
    for name, deviation in deviations.items():
        texts[name] = f"{means[name]:.2f} ± {errors[name]:.2f}" + ("" if name == "ours" else f" ({deviation:+.1f})")
        comparison.progress(f"mean free energy, {name}: {texts[name]}")
    wrong = [name for name, deviation in deviations.items() if abs(deviation) > LARGEST_DEVIATION]
    if wrong:
        sys.exit(f"not the same distribution as ours: {', '.join(wrong)}")
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="of the timing")
    arguments = comparison.parse(parser, files="gibbs.md")
    comparison.publish(report(arguments.rounds), arguments.output, "gibbs.md")


if __name__ == "__main__":
    main()
