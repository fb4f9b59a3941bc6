"""A program: a small run trained for some steps on the replicas of its strategy, and all that came of it.

python shared_training.py '{"model": "pwl", "strategy": "mirrored", "num_devices": 2}' STEPS FOLDER

writes FOLDER/N.npz for each replica N of this process: `metrics [steps, names]`, the variables of its state by number,
and `owners [B]`, the replica that a row of the batch is of, as `Replicas.exchange` puts rows together.
"""

import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")

import numpy as np
import tensorflow as tf

import runs
from dvae import data
from dvae.systems import STRATEGIES
from dvae.tasks import TASKS


def trained(config, num_steps, replicas=None):
    """The trainer after so many steps, each in a call of its own, and their metrics `[steps, names]`."""
    dataset = data.load_dataset(config.dataset, config.data_dir)
    task = TASKS[config.objective](config, dataset)
    order = data.BatchOrder(num_examples=len(dataset.train), batch_size=config.batch_size, seed=config.seed)
    trainer = task.trainer(task.new_state(), replicas)
    trainer.share_state()
    indices = [tf.constant(order.indices(step, 1)) for step in range(num_steps)]
    return trainer, np.array([list(trainer.run_steps(index).totals.values()) for index in indices])


def owners(replicas, batch_size):
    """Each replica marks its rows with its number plus 1; a row of two owners would have the sum."""
    size = batch_size // replicas.num

    def marked(number):
        mark = tf.fill([size, 1, 1], tf.constant(replicas.first + number + 1, tf.uint8))
        return replicas.exchange(number, [tf.constant(0.0)], mark)[1]

    return tf.function(lambda: replicas.run(marked)[0], autograph=False)().numpy().ravel()


def main(settings, num_steps, folder):
    config = runs.small_config(**json.loads(settings))
    replicas = STRATEGIES[config.strategy](config, print)
    trainer, metrics = trained(config, int(num_steps), replicas)
    marks = owners(replicas, config.batch_size)
    for number, step in enumerate(trainer._steps):
        state = {str(place): variable.numpy() for place, variable in enumerate(step.state.variables())}
        path = pathlib.Path(folder) / f"{replicas.first + number}.npz"
        np.savez(path, metrics=metrics, owners=marks, chains=step.state.chains.table.numpy(), **state)


if __name__ == "__main__":
    main(*sys.argv[1:])
