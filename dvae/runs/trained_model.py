"""The way back: the trained Keras model of a run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from dvae.building import Networks
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
    config = _config(directory, description["settings"])
    if dataset is None:
        dataset = load_dataset(config.dataset, data_dir or config.data_dir)
    if dataset.checksum != description["data"]["checksum"]:
        raise UserError(f"the data are not those of the run in {directory.path} (checksum)", dataset=dataset.name)
    task = TASKS[config.objective](config, dataset, Networks(encoder, decoder, likelihood))
    model = task.new_model()
    handed_in: dict[str, Any] = described_networks(task.networks)
    for name, network in handed_in.items():
        trained = description["networks"].get(name)
        if network != trained:
            raise UserError(f"the run in {directory.path} has {trained}: hand in the same", **{name: network})
    return TrainedModel(model, config, dataset, _restore_best(directory, model))


def _config(directory: RunDirectory, settings: dict[str, Any]) -> Config:
    try:
        return Config(**settings)
    except TypeError as error:
        raise UserError(
            f"the run in it was begun by another version of this program ({error})", log_dir=str(directory.path)
        ) from error


def _restore_best(directory: RunDirectory, model: keras.Model) -> int:
    """Puts the best weights of the newest checkpoint into the model; the step they are of."""
    saved = saved_in(directory.checkpoints)
    best_nll, best_step = tf.Variable(float("inf")), tf.Variable(0, dtype=tf.int64)
    if saved:
        weights = {path: variable.value for path, variable in variables_by_path(model).items()}
        checkpoint = tf.train.Checkpoint(best_weights=weights, best_nll=best_nll, best_step=best_step)
        try:
            read(checkpoint, saved[-1]).assert_existing_objects_matched().expect_partial()
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{saved[-1]}: does not hold the weights of this model ({reason})") from error
    if not bool(tf.math.is_finite(best_nll)):
        raise UserError("has no evaluated checkpoint yet", log_dir=str(directory.path))
    return int(best_step)
