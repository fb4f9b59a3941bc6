"""The end of a training: its best model is exported, and what was exported is evaluated, once, on test data."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from dvae import pictures
from dvae.data import spread
from dvae.evaluation import pilot, saved_model
from dvae.evaluation.estimates import evaluate, results_with_exact_nll
from dvae.evaluation.functions import Functions
from dvae.evaluation.signatures import DrawSettings
from dvae.files import write_json, write_table
from dvae.runs.monitoring import write_test_results
from dvae.runs.run_directory import RunDirectory
from dvae.runs.showing import shown_pictures
from dvae.runs.summary import described_pilot
from dvae.runs.voice import Voice
from dvae.tasks.task import Task
from dvae.training.train_state import TrainState
from models.posterior import BASES

_PICTURES = 40


class Exported(NamedTuple):
    """Attributes: `origin`, step and seconds of training of the model; `how` its posteriors are annealed."""

    origin: dict[str, Any]
    how: pilot.Annealing


def export_best(
    task: Task,
    state: TrainState,
    functions: Functions,
    draw_settings: DrawSettings,
    directory: RunDirectory,
    *,
    seconds: float,
    voice: Voice,
) -> Exported:
    """Writes the model that is best on validation data, with the settings that its evaluation will have.

    Args:
      functions: of the state's model, with the settings in `draw_settings`, which are set.
      seconds: of training, which are noted.
      voice: told of both, and of what the likelihood has to remark.
    """
    config, dataset = task.config, task.dataset
    origin = {"step": int(state.best_step), "seconds": seconds}
    voice.progress(f"exporting the model of step {origin['step']}, the best on validation data")
    with state.best_weights():
        how = pilot.annealing(
            functions,
            dataset.valid,
            protocol=config.test_protocol,
            seed=config.seed,
            base=config.test_base,
            temperatures=config.test_temperatures,
        )
        if how.found:
            voice.progress(f"pilot: {described_pilot(how.base, how.temperatures, how.found)}")
        draw_settings.temperatures.assign(how.temperatures)
        draw_settings.base.assign(BASES.index(how.base))
        described = {
            "posterior_pilot": how.found,
            "settings": dataclasses.asdict(config),
            "checksum": dataset.checksum,
            "values": dataset.values,
            "is_named": dataset.is_named,
            "likelihood_of": task.likelihood_of,
        }
        exported_settings = draw_settings if task.has_posterior else None
        saved_model.save(directory.saved_model, state.model, functions, exported_settings, origin=described | origin)
        for remark in state.model.likelihood.remarks():
            voice.say(remark)
    return Exported(origin, how)


def evaluate_exported(task: Task, exported: Exported, directory: RunDirectory, *, voice: Voice) -> dict[str, Any]:
    """Evaluates what was exported on test data, and writes results, the table of examples and pictures.

    Returns:
      The content of `results.json`.

    Raises:
      DivergenceError: a result is not finite.
    """
    config, test, how = task.config, task.dataset.test, exported.how
    functions = saved_model.load(directory.saved_model).functions
    settings = config.for_test(temperatures=how.temperatures, base=how.base)
    numbers = spread(len(test), settings.num_examples)
    evaluation = evaluate(functions, test[numbers], settings, progress=not voice.quiet)
    shown = shown_pictures(task, functions, _PICTURES)
    pictures.save(directory.samples_picture, shown.samples)
    pictures.save(directory.reconstructions_picture, shown.reconstructions)
    context: dict[str, Any] = {"model": config.model, "dataset": config.dataset, "split": "test"}
    context |= {"posterior_pilot": how.found, "recipe": config.recipe}
    results = results_with_exact_nll(
        functions,
        test[numbers],
        evaluation,
        numbers=numbers,
        progress=not voice.quiet,
        **context,
        **exported.origin,
    )
    write_table(directory.test_examples, results.of_examples, zip(*results.of_examples.values(), strict=True))
    write_test_results(directory, results.content)
    write_json(directory.results_file, results.content)
    return results.content
