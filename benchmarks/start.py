"""How the strength that DVAE##'s couplings start with shapes the first steps of training.

    pip install -r benchmarks/requirements.txt
    python benchmarks/start.py --data_dir=data --objective=elbo --start=0.1 --seed=0 --output=runs/start
    python benchmarks/start.py --plot=docs/start.png --output=runs/start

The first command trains with the published settings but for that one, and writes a line of JSON at every look; the
second draws all that lies in the folder. A look measures, on validation data and at the parameters as they are,

* the NLL and the entropy of q(z | x), nats;
* the couplings in spins, `sqrt(N mean J^2)`, over 100 examples: above 1 random ones are a spin glass;
* the noise of the encoder's gradient: its standard deviation over batches of 100, over the length of its mean.
"""

import argparse
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import dvae.quiet  # noqa: F401, I001  (before TensorFlow)
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

from dvae.data import BatchOrder, load_dataset, spread
from dvae.data.observed import observed_part
from dvae.evaluation.estimates import evaluate
from dvae.evaluation.signatures import DrawSettings
from dvae.settings.complete import complete
from dvae.tasks import TASKS
from dvae.training.losses import PriorParticles
from models.posterior import BASES

LOOKS = (100, 250, 500, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10_000)
EXAMPLES, BATCHES = 100, 40
MEASURES = {
    "nll": "validation NLL, nats",
    "entropy": "entropy of q, nats",
    "coupling": "sqrt(N mean J^2)",
    "noise": "noise of the encoder's gradient",
}


class Training:
    """A run without a directory."""

    def __init__(self, **settings) -> None:
        self.config = config = complete(
            {"model": "dvaess", "dataset": "binarized_mnist", "num_steps": 10_000, **settings}
        )
        self.dataset = load_dataset(config.dataset, config.data_dir)
        task = TASKS[config.objective](config, self.dataset)
        self.state = task.new_state()
        self._trainer, self._loss = task.trainer(self.state), task.loss(self.state.model)
        self._order = BatchOrder(num_examples=len(self.dataset.train), batch_size=config.batch_size, seed=config.seed)
        draws = DrawSettings(temperatures=config.valid_temperatures, base=BASES.index(config.valid_base))
        self._functions = task.functions(self.state.model, draws)
        self._gradient = tf.function(self._encoder_gradient)

    def train_to(self, step: int) -> None:
        first = int(self.state.global_step)
        self._trainer.run_steps(tf.constant(self._order.indices(first, step - first)))

    def look(self) -> dict[str, float]:
        settings = self.config.for_validation()
        images = self.dataset.valid[spread(len(self.dataset.valid), settings.num_examples)]
        evaluation = evaluate(self._functions, images, settings)
        return {
            "step": int(self.state.global_step),
            "nll": evaluation.nll,
            "entropy": evaluation.entropy,
            "coupling": self._coupling(images[:EXAMPLES].astype(np.float32)),
            "noise": self._noise(),
        }

    def _coupling(self, images: np.ndarray) -> float:
        if self.config.objective == "structured":
            images, _ = observed_part(self.config.observed, self.dataset).split(images)
        weights = self.state.model.posterior.encode(tf.constant(images), training=False).weights
        return float(np.sqrt(self.config.num_left * np.mean(np.square(weights / 4))))

    def _noise(self) -> float:
        """Squared lengths are by the two halves of the batches, so that noise does not lengthen the mean."""
        rng = np.random.default_rng(0)
        gradients = []
        for number in range(BATCHES):
            index = rng.choice(len(self.dataset.train), self.config.batch_size, replace=False).astype(np.int32)
            parts = self._gradient(tf.constant(index), tf.constant([number, 7]))
            gradients.append(np.concatenate([np.ravel(part) for part in parts]).astype(np.float64))
        halves = np.mean(gradients[::2], axis=0), np.mean(gradients[1::2], axis=0)
        variance = np.var(gradients, axis=0, ddof=1).sum()
        return float(np.sqrt(variance / max(halves[0] @ halves[1], 1e-30)))

    def _encoder_gradient(self, index: tf.Tensor, seed: tf.Tensor) -> list[tf.Tensor]:
        """Of a batch, the chains as they are; nothing is changed but for the moving averages of batch normalisation."""
        state, prior = self.state, None
        if state.read_prior():
            prior = PriorParticles(state.read_prior().left, state.read_prior().log_z)
        x = tf.cast(tf.gather(tf.constant(self.dataset.train), index), tf.float32)
        with tf.GradientTape() as tape:
            objective, _ = self._loss.objective(x, state.chains.read(index), prior, step=state.global_step, seed=seed)
        variables = [variable.value for variable in self._loss.encoder.trainable_variables]
        return tape.gradient(objective.inference_loss, variables)


def plot(folder: pathlib.Path, picture: pathlib.Path) -> None:
    """A row for each objective, a column for each measure, a colour for each start, a line for each seed."""
    runs = [(path.stem.split("_"), path) for path in sorted(folder.glob("*_*_*.jsonl"))]
    objectives = sorted({name[0] for name, _ in runs})
    starts = sorted({float(name[1]) for name, _ in runs})
    figure, axes = plt.subplots(
        len(objectives), len(MEASURES), figsize=(15, 3.6 * len(objectives)), layout="constrained", squeeze=False
    )
    for (objective, start, seed), path in runs:
        looks = [json.loads(line) for line in path.read_text().splitlines()]
        for column, (measure, title) in enumerate(MEASURES.items()):
            panel = axes[objectives.index(objective), column]
            colour = plt.cm.viridis(starts.index(float(start)) / max(1, len(starts) - 1) * 0.9)
            label = f"start {float(start):g}" if seed == "0" else None
            panel.plot([look["step"] for look in looks], [look[measure] for look in looks], color=colour, label=label)
            panel.set(xlabel="steps", title=f"{objective}: {title}", xscale="log")
            if measure in ("nll", "noise"):
                panel.set_yscale("log")
            panel.grid(alpha=0.3)
    axes[0, 0].legend(fontsize=8)
    figure.savefig(picture, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", default="data")
    parser.add_argument("--objective", default="elbo", choices=("elbo", "structured"))
    parser.add_argument("--start", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--last", type=int, default=LOOKS[-1], help="step to stop at")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder of the measurements")
    parser.add_argument("--plot", type=pathlib.Path, help="picture to draw of what lies there")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.plot:
        plot(arguments.output, arguments.plot)
        return
    training = Training(
        objective=arguments.objective,
        coupling_start=arguments.start,
        seed=arguments.seed,
        data_dir=arguments.data_dir,
    )
    name = f"{arguments.objective}_{arguments.start:g}_{arguments.seed}.jsonl"
    with (arguments.output / name).open("w") as lines:
        for step in (look for look in LOOKS if look <= arguments.last):
            training.train_to(step)
            lines.write(json.dumps(training.look()) + "\n")
            lines.flush()


if __name__ == "__main__":
    main()
