"""How a model uses its latents: which units are active and what they draw, how well the prior fits, how many modes."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from dvae import pictures
from dvae.analysis import modes
from dvae.data import Dataset, spread
from dvae.errors import UserError
from dvae.evaluation.functions import Functions, has_prior, means, posterior_inputs
from dvae.files import write_json
from dvae.report.record import Record
from dvae.runs.exported import exported

ACTIVE = 0.01  # variance over examples of a unit's posterior mean [Burda et al., arXiv:1509.00519]
SAMPLES_OF_MODES = 200
_EXAMPLES, _SAMPLES, _EXAMPLES_OF_MODES = 200, 100, 20
_FIELDS, _EXAMPLES_OF_FIELDS = 40, 100  # units that are shown; examples that a field is a mean over
_FILE = "latents.json"


class Latents(NamedTuple):
    """Of one model.

    Attributes:
      means: of each unit over examples and samples, `[units]`.
      activity: variance over examples of each unit's posterior mean, `[units]`.
      num_modes: of the posteriors of a few examples; empty where they are no Boltzmann machines.
      divergence: KL(mean field || posterior) of the same, nats.
      modes_of_prior: None without a prior.
      encoded_energies: of the prior, E(z) of one draw of q(z | x) of each example, nats; empty without a prior.
      prior_energies: of as many draws of p(z).
    """

    means: list[float]
    activity: list[float]
    num_modes: list[int]
    divergence: list[float]
    modes_of_prior: int | None
    encoded_energies: list[float]
    prior_energies: list[float]

    @property
    def num_active(self) -> int:
        return int(np.sum(np.array(self.activity) > ACTIVE))


def latents_of(record: Record, dataset: Dataset | None = None) -> Latents | None:
    """Of a finished run, kept in its folder.

    None for one that has not finished, has no posterior, was exported before the prior's parameters were, or whose data
    are not to be found; `dataset` is what it was trained on, where no name finds it.
    """
    if not record.results:
        return None
    path = record.directory.path / _FILE
    if path.exists():
        kept = json.loads(path.read_text())
        if kept.keys() == set(Latents._fields):  # an earlier version kept less
            return Latents(**kept)
    model = exported(record.directory.path)
    if "sample_posterior" not in model.functions:
        return None
    try:
        data = model.data(dataset)
        images = data.split("test")
        images = images[spread(len(images), _EXAMPLES)]
        z = draws(model.functions, images)
        found = measured(model.functions, images, z)
    except UserError:
        return None
    if has_prior(model.functions):
        most_active = np.argsort(found.activity)[::-1][:_FIELDS]
        field = fields(model.functions, z[0, :_EXAMPLES_OF_FIELDS], most_active)
        largest = np.abs(field).max() or 1.0
        pictures.save(record.directory.fields_picture, pictures.grid(0.5 + 0.5 * field / largest, data.image_shape))
    write_json(path, found._asdict())
    return found


def draws(functions: Functions, images: np.ndarray) -> np.ndarray:
    """Of the posteriors of images `[n, D]`: binary `[samples, n, units]`."""
    x = tf.constant(posterior_inputs(functions, images))
    return functions["sample_posterior"](x=x, num_samples=tf.constant(_SAMPLES), seed=tf.constant([0, 0]))["z"].numpy()


def measured(functions: Functions, images: np.ndarray, z: np.ndarray) -> Latents:
    """By samples `z [samples, n, units]` from the posteriors of images `[n, D]`."""
    of_examples = z.mean(axis=0)  # [n, units]
    of_sampling = (of_examples * (1 - of_examples)).mean(axis=0) / (len(z) - 1)  # the part of their variance: noise
    settings = modes.Settings(num_samples=SAMPLES_OF_MODES, temperatures=100, prior_temperatures=1000)
    found = modes.found(functions, images[:_EXAMPLES_OF_MODES], range(_EXAMPLES_OF_MODES), settings, progress=False)
    of_posteriors = [one for name, one in found.items() if name != modes.PRIOR]
    encoded, prior = _energies(functions, z[0]) if modes.PRIOR in found else ([], [])
    return Latents(
        means=of_examples.mean(axis=0).tolist(),
        activity=(of_examples.var(axis=0, ddof=1) - of_sampling).tolist(),
        num_modes=[one.num_modes for one in of_posteriors],
        divergence=[one.kl_divergence for one in of_posteriors],
        modes_of_prior=found[modes.PRIOR].num_modes if modes.PRIOR in found else None,
        encoded_energies=encoded,
        prior_energies=prior,
    )


def fields(functions: Functions, z: np.ndarray, units: np.ndarray) -> np.ndarray:
    """What single units draw: expected pixels with a unit on less those with it off, mean over latents.

    Args:
      functions: of a model with a prior.
      z: latents, `[n, units]`, whose other units stay as they are.
      units: numbers of those that are asked for, `[m]`.

    Returns:
      `[m, D]`, in units of the data.
    """

    def mean_with(unit: int, value: float) -> np.ndarray:
        changed = z.copy()
        changed[:, unit] = value
        return means(functions["render"](z=tf.constant(changed))).mean(axis=0)

    return np.stack([mean_with(unit, 1.0) - mean_with(unit, 0.0) for unit in units])


def _energies(functions: Functions, encoded: np.ndarray) -> tuple[list[float], list[float]]:
    """E(z) of given latents `[n, units]`, and of as many from the prior."""
    # As many as the modes are found from, of which that function has been compiled.
    drawn = functions["sample_prior"](num_samples=tf.constant(SAMPLES_OF_MODES), seed=tf.constant([0, 1]))["z"]
    of_encoded, of_prior = (
        functions["prior_energy"](z=tf.constant(z))["energy"].numpy().tolist() for z in (encoded, drawn[: len(encoded)])
    )
    return of_encoded, of_prior
