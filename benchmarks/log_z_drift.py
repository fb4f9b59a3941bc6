"""Why the log Z that a population tracks through training drifts: an experiment with a machine that can be enumerated.

    python benchmarks/log_z_drift.py

A 16+16 RBM learns the 4x4 bars and stripes by maximum likelihood (Adam, rate 0.003). A population is carried along by
population annealing and gives the gradient its negative phase; a second, independent one of the same size is carried
along too, but takes no part in the gradient. Printed is how far the log Z that each tracks lies from the exact one.
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import dvae.quiet  # noqa: F401, I001  (before TensorFlow)
import keras
import numpy as np
import tensorflow as tf

from dvae.data.bars_and_stripes import outcomes
from samplers import gibbs, population_annealing
from samplers.log_partition import exact_log_z
from samplers.persistent_chains import initial_state
from samplers.rbm import RBM

UNITS, RATE, BATCH = 16, 3e-3, 100


class Training:
    """Maximum likelihood of an RBM, with a population that gives the gradient and one that only watches.

    Args:
      data: binary, `[n, 16]`.
      num_particles: of each population.
      num_sweeps: of a step.
      sweeps_before: sweeps at the old parameters, before the reweighting, which otherwise sees the very states that
        the gradient was made of.
    """

    def __init__(self, data: np.ndarray, *, num_particles: int, num_sweeps: int, sweeps_before: int) -> None:
        self.data, self.num_sweeps, self.sweeps_before = tf.constant(data, tf.float32), num_sweeps, sweeps_before
        weights = np.random.default_rng(0).normal(scale=0.01, size=[UNITS, UNITS])
        self.variables = [tf.Variable(tf.zeros([UNITS])) for _ in range(2)] + [tf.Variable(weights, dtype=tf.float32)]
        self.optimizer = keras.optimizers.Adam(RATE, epsilon=1e-3)
        self.optimizer.build(self.variables)
        self.working, self.watching = (
            initial_state(self.rbm(), num_chains=num_particles, seed=tf.constant([seed, 1])) for seed in range(2)
        )

    def rbm(self) -> RBM:
        return RBM(*(tf.convert_to_tensor(variable) for variable in self.variables))

    def run(self, first: int, num_steps: int) -> None:
        for step in range(first, first + num_steps):
            self.working, self.watching = self._step(self.working, self.watching, tf.constant([step, 2]))

    @tf.function(jit_compile=True)
    def _step(self, working, watching, seed):
        batch_seed, before_seed, *seeds = tf.unstack(tf.random.split(seed, 4))
        rbm = self.rbm()
        x = tf.gather(
            self.data, tf.random.stateless_uniform([BATCH], batch_seed, maxval=len(self.data), dtype=tf.int32)
        )
        with tf.GradientTape() as tape:
            tape.watch(rbm)
            loss = tf.reduce_mean(rbm.free_energy(x)) - tf.reduce_mean(rbm.free_energy(working.left))
        self.optimizer.apply(list(tape.gradient(loss, rbm)), self.variables)
        if self.sweeps_before:
            moved = gibbs.sweep(rbm, working.left, before_seed, num_sweeps=tf.constant(self.sweeps_before)).left
            working = working._replace(left=moved)
        return tuple(
            population_annealing.step(self.rbm(), state, seed, num_sweeps=self.num_sweeps)[0]
            for state, seed in zip((working, watching), seeds, strict=True)
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000, help="parameter updates")
    steps = parser.parse_args().steps
    data = outcomes().reshape(-1, UNITS)
    print("| particles | sweeps before + after | step | exact log Z | that makes the gradient | that only watches |")
    print("|---|---|---|---|---|---|")
    for num_particles, before, after in ((1000, 0, 40), (1000, 20, 20), (250, 0, 40), (1000, 0, 5)):
        training = Training(data, num_particles=num_particles, num_sweeps=after, sweeps_before=before)
        for stop in np.linspace(0, steps, 4, dtype=int)[1:]:
            training.run(stop - steps // 3, steps // 3)
            exact = float(exact_log_z(training.rbm()))
            working, watching = (float(state.log_z) - exact for state in (training.working, training.watching))
            print(
                f"| {num_particles} | {before} + {after} | {stop} | {exact:.2f} | {working:+.2f} | {watching:+.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
