"""What of a model is shown: pictures and the distributions of its parameters, as many as memory bears."""

from __future__ import annotations

import tensorflow as tf

from dvae.data import spread
from dvae.evaluation.functions import Functions
from dvae.tasks.task import Pictures, Task
from dvae.training.train_state import TrainState

_HISTOGRAM_EXAMPLES = 100
# Bounds of the memory that pictures and histograms take: pixels shown, and couplings of RBM posteriors.
_PIXELS, _COUPLINGS = 2**20, 2**24


def shown_pictures(task: Task, functions: Functions, wanted: int, state: TrainState | None = None) -> Pictures:
    """Pictures of so many validation examples; samples from latents at hand in the state, if it is given."""
    num = min(wanted, max(1, _PIXELS // task.dataset.num_pixels))
    originals = task.dataset.valid[spread(len(task.dataset.valid), num)]
    seed = _seed(task)
    latents = None if state is None else task.latents_at_hand(state, 2 * num, seed)
    return task.pictures(functions, originals, seed, latents=latents)


def shown_parameters(task: Task, state: TrainState) -> dict[str, tf.Tensor]:
    """Parameters whose distributions are shown, by name; those of posteriors for some validation examples."""
    most = max(1, _COUPLINGS // task.config.num_left**2)
    images = task.dataset.valid[: min(_HISTOGRAM_EXAMPLES, most)]
    return task.parameters(state.model, images, _seed(task))


def _seed(task: Task) -> tf.Tensor:
    return tf.constant([task.config.seed, 0])
