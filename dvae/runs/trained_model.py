"""The way back: the trained Keras model of a run directory."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from dvae.building import Networks, likelihood_class
from dvae.config import Config
from dvae.data import Dataset, load_dataset
from dvae.errors import UserError
from dvae.runs.checkpoints import read, saved_in
from dvae.runs.run_directory import RunDirectory, described_networks
from dvae.tasks import TASKS
from dvae.training.train_state import variables_by_path
from models.likelihood import Likelihood


class TrainedModel(NamedTuple):
    """What a run has made.

    Attributes:
      model: with the weights that were best on validation data: a `models.autoencoder.DiscreteVAE`, or what the
        objective trains instead.
      config: of the run.
      dataset: that it was trained on.
      step: at which the weights were best.
    """

    model: Any
    config: Config
    dataset: Dataset
    step: int


def trained_model(
    log_dir: str | Path,
    *,
    dataset: Dataset | None = None,
    data_dir: str | None = None,
    encoder: keras.layers.Layer | None = None,
    decoder: keras.layers.Layer | None = None,
    likelihood: type[Likelihood] | None = None,
) -> TrainedModel:
    """The trained Keras model of a run, finished or not: prior, posterior and likelihood, ready for use.

    Args:
      log_dir: of the run; it has been evaluated on validation data and saved once at least.
      dataset: if it was handed in in training.
      data_dir: folder of the data files, if they have moved.
      encoder, decoder, likelihood: what was handed in in training, built of the same layers.

    Raises:
      UserError: a ValueError that names the argument: there is no such run, or data or networks are not those of it.
    """
    directory = RunDirectory(log_dir)
    description = directory.description()
    config = directory.config()
    networks = Networks(encoder, decoder, likelihood)
    if dataset is None:
        dataset = load_dataset(
            config.dataset,
            data_dir or config.data_dir,
            values=likelihood_class(config, networks).values,
            valid_fraction=config.valid_fraction,
            test_fraction=config.test_fraction,
        )
    if dataset.checksum != description["data"]["checksum"]:
        raise UserError(f"the data are not those of the run in {directory.path} (checksum)", dataset=dataset.name)
    task = TASKS[config.objective](config, dataset, networks)
    model = task.new_model()
    handed_in: dict[str, Any] = described_networks(task.networks)
    for name, network in handed_in.items():
        trained = description["networks"].get(name)
        if network != trained:
            raise UserError(f"the run in {directory.path} has {trained}: hand in the same", **{name: network})
    return TrainedModel(model, config, dataset, _restore_best(directory, model))


def _restore_best(directory: RunDirectory, model: keras.Model) -> int:
    """Puts the best weights of the newest checkpoint into the model; the step they are of."""
    saved = saved_in(directory.checkpoints)
    best_nll, best_step = tf.Variable(float("inf")), tf.Variable(0, dtype=tf.int64)
    if saved:
        weights = {path: variable.value for path, variable in variables_by_path(model).items()}
        checkpoint = tf.train.Checkpoint(best_weights=weights, best_nll=best_nll, best_step=best_step)
        _read_newest(checkpoint, saved)
    if not bool(tf.math.is_finite(best_nll)):
        raise UserError("has no evaluated checkpoint yet", log_dir=str(directory.path))
    return int(best_step)


def _read_newest(checkpoint: tf.train.Checkpoint, saved: list[Path]) -> None:
    """Reads the newest one that can be read; warns of those that cannot.

    Raises:
      UserError: none can.
    """
    for path in reversed(saved):
        try:
            read(checkpoint, path).assert_existing_objects_matched().expect_partial()
        except Exception as error:  # a damaged file can make the reader raise nearly anything
            reason = " ".join(str(error).split())[:200]
            if path == saved[0]:
                raise UserError(f"{path}: does not hold the weights of this model ({reason})") from error
            warnings.warn(f"{path}: cannot be read, the checkpoint before it serves ({reason})", stacklevel=2)
        else:
            return
