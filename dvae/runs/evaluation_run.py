"""An evaluation of an exported model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvae.config import ANNEALED_CHAINS, ANNEALED_FLATTENING, PROTOCOLS, EvaluationSettings
from dvae.data import Dataset, spread
from dvae.errors import UserError
from dvae.evaluation import estimates, pilot
from dvae.evaluation.functions import Functions
from dvae.files import output_file, write_table
from dvae.runs.cautions import cautions
from dvae.runs.elsewhere import by_workers
from dvae.runs.exported import exported
from dvae.runs.summary import described_evaluation, described_pilot
from dvae.settings.rules import check_evaluation
from models.posterior import BASES

if TYPE_CHECKING:
    from distributed import Client

# What a protocol decides.
_OF_PROTOCOL = frozenset({"posterior_base", "posterior_temperatures"})
# Samples of each example where they are annealed to the true posterior, unless others are asked for.
# In place of what an exported model has of its own.
_NOT_ANNEALED = {"posterior_temperatures": 1, "posterior_base": BASES[0]}


def evaluate(
    log_dir: str | Path | None = None,
    *,
    saved_model: str | Path | None = None,
    dataset: str | Dataset | None = None,
    data_dir: str | None = None,
    split: str = "test",
    protocol: str | None = None,
    examples_output: str | Path | None = None,
    progress: bool = True,
    client: Client | None = None,
    say: Callable[[UserError | str], None] = print,
    **settings: Any,
) -> dict[str, Any]:
    """Evaluates a trained model: NLL, ELBO, log Z, and the exact NLL where the latents can be enumerated.

    Args:
      log_dir: a finished run; or
      saved_model: an exported folder.
      dataset: name, path or `Dataset`; if left out, the one that the model was trained on, whose checksum must agree.
      data_dir: folder of the data files; if left out, that of the run in `log_dir`, or "data".
      split: train, valid or test.
      protocol: how an RBM posterior is annealed: "pilot", by as few temperatures as a pilot on validation examples
        finds enough; "published", by 500 from its biases; if left out, as the model was exported with. What
        `settings` say of it has precedence.
      examples_output: a file for what was measured of each example: CSV with its number in the split, NLL, ELBO,
        entropy, effective sample size, exact NLL.
      progress: whether to show progress bars.
      client: of a Dask cluster, among whose workers the examples are divided; the numbers are the same.
      say: where the result in words goes, and remarks: settings without effect, an error of log Z that was not
        reached, too few samples that count.
      settings: fields of `dvae.config.EvaluationSettings`.

    Returns:
      The content of a `results.json`.

    Raises:
      UserError: a ValueError that names the argument.
    """
    if protocol is not None and protocol not in PROTOCOLS:
        raise UserError(f"must be one of {', '.join(PROTOCOLS)}", protocol=protocol)
    table = output_file(examples_output=examples_output) if examples_output else None
    _check_names(settings)
    # What is wrong by itself is said before anything is loaded.
    by_default = {}
    if settings.get("true_posterior_temperatures"):
        by_default = {"num_samples": ANNEALED_CHAINS, "flattening": ANNEALED_FLATTENING}
    check_evaluation(EvaluationSettings(**{**_NOT_ANNEALED, **by_default, **settings}))
    model = exported(log_dir, saved_model)
    folder, functions, origin = model.folder, model.functions, model.origin
    data = model.data(dataset, data_dir)
    images = data.split(split)
    in_use = estimates.settings_in_use(functions)
    for name, value in settings.items():
        if name not in in_use:
            say(UserError(f"has no effect on the model in {folder}", **{name: value}))
    found = origin.get("posterior_pilot") if not _OF_PROTOCOL & settings.keys() else None
    if protocol is not None and not in_use >= _OF_PROTOCOL:
        say(UserError(f"has no effect on the model in {folder}", protocol=protocol))
    elif protocol is not None:
        base, temperatures = settings.get("posterior_base"), settings.get("posterior_temperatures")
        seed = settings.get("seed", 0)
        how = pilot.annealing(functions, data.valid, protocol=protocol, seed=seed, base=base, temperatures=temperatures)
        settings |= {"posterior_base": how.base, "posterior_temperatures": how.temperatures}
        found = how.found
        if found:
            say(described_pilot(how.base, how.temperatures, found))
    complete = EvaluationSettings(**_as_exported(functions) | by_default | settings)
    numbers = spread(len(images), complete.num_examples)
    images = images[numbers]
    elsewhere = by_workers(client, folder) if client is not None else None
    evaluation = estimates.evaluate(functions, images, complete, progress=progress, values_of_blocks=elsewhere)
    wanted, reached = evaluation.log_z_error, evaluation.log_z_standard_error
    if wanted is not None and reached is not None and reached > wanted:
        say(
            UserError(
                f"not reached with {evaluation.log_z_temperatures} temperatures (the standard error is {reached:.2g}); "
                "raise log_z_temperatures",
                log_z_error=wanted,
            )
        )
    results = estimates.results_with_exact_nll(
        functions,
        images,
        evaluation,
        numbers=numbers,
        progress=progress,
        model=origin["settings"]["model"],
        dataset=data.name,
        split=split,
        posterior_pilot=found,
        recipe=origin["settings"].get("recipe", "published"),  # models of before had no other
        step=origin["step"],
        seconds=origin["seconds"],
    )
    say(described_evaluation(results.content, likelihood_of=origin.get("likelihood_of")))
    for remark in cautions(results.content):
        say(remark)
    if table:
        try:
            write_table(table, results.of_examples, zip(*results.of_examples.values(), strict=True))
        except OSError as error:  # the results, which took longer, are not lost by it
            say(UserError(f"could not be written ({error.strerror})", examples_output=examples_output))
    return results.content


def _check_names(settings: dict[str, Any]) -> None:
    names = {field.name for field in dataclasses.fields(EvaluationSettings)}
    for name, value in settings.items():
        if name not in names:
            raise UserError("is no setting of an evaluation; see `run_eval.py --helpshort`", **{name: value})


def _as_exported(functions: Functions) -> dict[str, Any]:
    """The settings that an exported model has of its own."""
    if "posterior_settings" not in functions:
        return dict(_NOT_ANNEALED)
    exported = functions["posterior_settings"]()
    return {
        "posterior_temperatures": int(exported["temperatures"]),
        "posterior_base": BASES[int(exported["base"])],
        "flattening": tuple(float(factor) for factor in exported["flattening"]),
    }
