"""Times the pieces of a training step of an autoencoder, each beside its floor: its matrix products alone.

    python benchmarks/pieces.py
    python benchmarks/pieces.py "dvaess elbo 1 200" "pwl elbo 1 400"

A configuration is as for `step_times.py`. Every piece runs by itself, forwards and (where a gradient flows) backwards,
on the machine's cores; in a step the prior's sweeps run beside encoder and decoder, so that the step can take less than
the sum. The floor of a piece is the time of its dense products, of the same shapes, one after the other, compiled; that
of the update is the time to read what it reads and write what it writes. Both are measured in the same rounds.
"""

import argparse
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import dvae.quiet  # noqa: F401, I001  (before TensorFlow)
import numpy as np
import tensorflow as tf
from step_times import NUM_EXAMPLES, random_images, settings_of

from dvae.compiling import compiled
from dvae.data import BatchOrder
from dvae.settings.complete import complete
from dvae.tasks import TASKS
from samplers import gibbs

SEED = tf.constant([1, 2])


class Product(NamedTuple):
    """`count` products of `[batch, rows, inner]` and `[batch, inner, columns]`."""

    batch: int
    rows: int
    inner: int
    columns: int
    count: int


class Piece(NamedTuple):
    """Attributes: runs it once; its products; bytes that it must move where that is its floor."""

    run: Callable[[], Any]
    products: tuple[Product, ...] = ()
    num_bytes: int = 0


def floor(piece: Piece) -> Callable[[], Any]:
    """Runs a piece's products, or moves its bytes."""
    if piece.num_bytes:
        numbers = tf.zeros([piece.num_bytes // 8])  # read once, written once
        return lambda: _copied(numbers)
    operands = [
        (tf.random.uniform([p.batch, p.rows, p.inner]), tf.random.uniform([p.batch, p.inner, p.columns]), p.count)
        for p in piece.products
    ]
    return lambda: [_products(a, b, count) for a, b, count in operands]


_copied = tf.function(lambda x: x + 1, jit_compile=True, autograph=False)


@tf.function(jit_compile=True, autograph=False, reduce_retracing=True)
def _products(a: tf.Tensor, b: tf.Tensor, count: int) -> tf.Tensor:
    if a.shape[0] == 1:
        a, b = a[0], b[0]

    def one(i: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # The last sum is an input of the next product, so that none can be taken out of the loop.
        return i + 1, tf.matmul(a + total[..., :1, :1] * 0, b)

    return tf.while_loop(lambda i, _: i < count, one, (tf.constant(0), tf.zeros_like(tf.matmul(a, b))))[1]


def pieces_of(configuration: str, dataset) -> dict[str, Piece]:
    """The pieces of a step by name, the step itself first."""
    config = complete({"dataset": "binarized_mnist", **settings_of(configuration)})
    task = TASKS[config.objective](config, dataset)
    trainer = task.trainer(task.new_state())
    state, loss = trainer.state, trainer._steps[0]._loss
    model = state.model
    order = BatchOrder(num_examples=NUM_EXAMPLES, batch_size=config.batch_size, seed=0)
    indices = tf.constant(order.indices(0, 5))
    trainer.run_steps(indices)
    index = indices[0]
    x = tf.cast(tf.gather(trainer._steps[0]._examples, index), tf.float32)
    batch, half, num_samples = config.batch_size, config.num_left, config.num_samples
    particles, sweeps = config.num_particles, config.prior_sweeps
    rows = batch * num_samples

    encode = tf.function(lambda: loss._encode(x, training=True), autograph=False)
    encoding = encode()
    sampled = tf.function(
        lambda given: loss._sample_relaxed(given, num_samples=num_samples, seed=SEED, chains=state.chains.read(index)),
        autograph=False,
    )
    sample = sampled(encoding)
    prior_step = tf.function(lambda: trainer._steps[0]._move_prior(SEED), autograph=False)
    prior, _ = prior_step()
    rbm = tf.nest.map_structure(tf.convert_to_tensor, model.prior.rbm())

    def with_gradient(function: Callable[..., Any], variables: list[tf.Variable], inputs: Any) -> Callable[[], Any]:
        """Forwards and backwards, for a sum of all that comes out."""

        def run() -> Any:
            with tf.GradientTape() as tape:
                tape.watch(tf.nest.flatten(inputs))
                outputs = [tf.reduce_sum(t) for t in tf.nest.flatten(function(inputs)) if t.dtype == tf.float32]
            return tape.gradient(outputs, [variables, tf.nest.flatten(inputs)])

        return tf.function(run, autograph=False)

    encoder = [v.value for v in model.posterior.trainable_variables]
    decoder = [v.value for v in model.likelihood.trainable_variables]
    gradients = [tf.zeros_like(v) for v in model.trainable_variables]
    num_weights = sum(int(tf.size(g)) for g in gradients)

    found = {
        "step": Piece(lambda: trainer.run_steps(indices)),
        "prior: step of the sampler": Piece(prior_step, _sweep_products(1, particles, half, sweeps)),
        "prior: its sweeps alone": Piece(
            lambda: gibbs.sweep(rbm, prior.left, SEED, num_sweeps=sweeps), _sweep_products(1, particles, half, sweeps)
        ),
        "prior: uniform numbers alone": Piece(lambda: _uniforms(half, particles, sweeps)),
        "encoder, forwards": Piece(encode, _dense_products(model.posterior, batch, 1)),
        "encoder, both ways": Piece(
            with_gradient(lambda _: loss._encode(x, training=True), encoder, []),
            _dense_products(model.posterior, batch, 3),
        ),
        "decoder, both ways": Piece(
            with_gradient(lambda zeta: loss._log_prob(x, zeta, training=True), decoder, sample.zeta),
            _dense_products(model.likelihood, rows, 3),
        ),
        "divergence, both ways": Piece(
            with_gradient(
                lambda given: loss._divergence(
                    given._replace(encoding=sample.encoding),
                    loss._objective.smoothed(rbm),
                    loss._log_z(rbm, prior.left, prior.log_z),
                ),
                [],
                sample._replace(encoding=()),
            )
        ),
        "update": Piece(compiled(lambda: trainer._steps[0]._update(gradients)), num_bytes=7 * 4 * num_weights),
    }
    if config.model == "dvaess":
        left = state.chains.read(index)
        one_row = _sweep_products(batch, num_samples, half, 1)
        found["posterior: binary sweeps"] = Piece(
            lambda: gibbs.sweep(encoding, left, SEED, num_sweeps=config.num_gibbs_sweeps),
            _sweep_products(batch, num_samples, half, config.num_gibbs_sweeps),
        )
        found["posterior: all sweeps, both ways"] = Piece(
            with_gradient(lambda given: sampled(given).zeta, [], encoding),
            (*_sweep_products(batch, num_samples, half, config.num_gibbs_sweeps), *one_row * 3),
        )
    return found


def _sweep_products(batch: int, chains: int, half: int, sweeps: int) -> tuple[Product, ...]:
    return (Product(batch, half, half, chains, 2 * sweeps),)


def _dense_products(part, rows: int, times: int) -> tuple[Product, ...]:
    kernels = [v.shape for v in part.trainable_variables if len(v.shape) == 2]
    return tuple(Product(1, rows, inner, columns, times) for inner, columns in kernels)


@tf.function(jit_compile=True, autograph=False)
def _uniforms(half: int, particles: int, sweeps: int) -> tf.Tensor:
    def one(i: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        right, left = gibbs.half_word_uniforms(
            tf.constant([half, particles]), half, gibbs.sweep_seed(SEED, i), tf.float32
        )
        return i + 1, total + right + left

    return tf.while_loop(lambda i, _: i < sweeps, one, (tf.constant(0), tf.zeros([half, particles])))[1]


def milliseconds(runs: dict[str, Callable[[], Any]], *, num_rounds: int) -> dict[str, list[float]]:
    """Of each, one number a round, in turn."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(num_rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            for tensor in tf.nest.flatten(run()):
                if tensor is not None:
                    np.asarray(tensor)
            if number:
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configurations", nargs="*", default=["dvaess elbo 1 200", "pwl elbo 1 200"])
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    dataset = random_images()
    for configuration in arguments.configurations:
        pieces = pieces_of(configuration, dataset)
        runs = {name: piece.run for name, piece in pieces.items()}
        runs |= {f"floor of {n}": floor(p) for n, p in pieces.items() if p.products or p.num_bytes}
        times = milliseconds(runs, num_rounds=arguments.rounds)
        times["step"] = [value / 5 for value in times["step"]]
        print(f"\n{configuration}\n\n| piece | ms (median) | its floor, ms | ratio |\n|---|---|---|---|")
        for name in pieces:
            median, least = np.median(times[name]), np.median(times.get(f"floor of {name}", np.nan))
            beside = "" if np.isnan(least) else f"{least:.2f} | {median / least:.2f}"
            print(f"| {name} | {median:.2f} | {beside or ' | '} |")


if __name__ == "__main__":
    main()
