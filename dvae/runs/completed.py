"""Whether a run is complete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dvae.errors import UserError
from dvae.evaluation import saved_model
from dvae.files import read_json
from dvae.runs.cautions import cautions
from dvae.runs.checkpoints import saved_in
from dvae.runs.run_directory import RunDirectory
from dvae.runs.summary import describe_results


def results_of_complete(
    directory: RunDirectory, likelihood_of: str | None, say: Callable[[str], None]
) -> dict[str, Any] | None:
    """The results of a run that has all that it leaves; None if something is missing or damaged, which is told.

    Raises:
      UserError: it cannot be made again, since there is no checkpoint any more: nobody means to train once more.
    """
    if not directory.results_file.exists():
        return None
    try:
        results = read_json(directory.results_file)
        describe_results(results, directory.path, likelihood_of=likelihood_of)
        cautions(results)
        saved_model.read_origin(directory.saved_model)
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:150]
        what = f"results.json or saved_model is missing or damaged ({reason})"
        if not saved_in(directory.checkpoints):
            rule = (
                f"the run in it was complete, but its {what}, and there is no checkpoint: restore it or choose another"
            )
            raise UserError(rule, log_dir=str(directory.path)) from error
        say(f"{directory.path}: {what}: they are made again from the last checkpoint")
        return None
    return results
