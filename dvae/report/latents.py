"""How a model uses its latents: which units are active, how many modes its machines have."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from dvae.analysis import machines, modes
from dvae.data import Dataset, spread
from dvae.errors import UserError
from dvae.evaluation.signatures import Functions
from dvae.files import write_json
from dvae.report.record import Record
from dvae.runs.exported import exported

ACTIVE = 0.01  # variance over examples of a unit's posterior mean [Burda et al., arXiv:1509.00519]
SAMPLES_OF_MODES = 200
_EXAMPLES, _SAMPLES, _EXAMPLES_OF_MODES = 200, 100, 20
_FILE = "latents.json"


class Latents(NamedTuple):
    """Of one model.

    Attributes:
      means: of each unit over examples and samples, `[units]`.
      activity: variance over examples of each unit's posterior mean, `[units]`.
      num_modes: of the posteriors of a few examples; empty where they are no Boltzmann machines.
      divergence: KL(mean field || posterior) of the same, nats.
      modes_of_prior: None without a prior.
    """

    means: list[float]
    activity: list[float]
    num_modes: list[int]
    divergence: list[float]
    modes_of_prior: int | None

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
        return Latents(**json.loads(path.read_text()))
    model = exported(record.directory.path)
    if "sample_posterior" not in model.functions:
        return None
    try:
        images = model.data(dataset).split("test")
        found = measured(model.functions, images[spread(len(images), _EXAMPLES)])
    except UserError:
        return None
    write_json(path, found._asdict())
    return found


def measured(functions: Functions, images: np.ndarray) -> Latents:
    """By samples from the posteriors of images `[n, D]`."""
    x = tf.constant(machines.inputs(functions, images))
    samples = functions["sample_posterior"](x=x, num_samples=tf.constant(_SAMPLES), seed=tf.constant([0, 0]))["z"]
    means = samples.numpy().mean(axis=0)  # [n, units]
    of_sampling = (means * (1 - means)).mean(axis=0) / (_SAMPLES - 1)  # the part of their variance that is noise
    settings = modes.Settings(num_samples=SAMPLES_OF_MODES, temperatures=100, prior_temperatures=1000)
    found = modes.found(functions, images[:_EXAMPLES_OF_MODES], range(_EXAMPLES_OF_MODES), settings, progress=False)
    of_posteriors = [one for name, one in found.items() if name != modes.PRIOR]
    return Latents(
        means=means.mean(axis=0).tolist(),
        activity=(means.var(axis=0, ddof=1) - of_sampling).tolist(),
        num_modes=[one.num_modes for one in of_posteriors],
        divergence=[one.kl_divergence for one in of_posteriors],
        modes_of_prior=found[modes.PRIOR].num_modes if modes.PRIOR in found else None,
    )
