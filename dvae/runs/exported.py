"""An exported model as commands are given it: by the run that made it or by its folder; and data that fit it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from dvae.data import Dataset, load_dataset
from dvae.errors import UserError
from dvae.evaluation.saved_model import load
from dvae.evaluation.signatures import Functions, num_pixels
from dvae.files import user_path
from dvae.runs.run_directory import RunDirectory


class Exported(NamedTuple):
    """A model.

    Attributes:
      folder: of the SavedModel.
      functions: its signatures.
      origin: what is known of the run that made it: `settings`, `checksum`, `step`, `seconds`.
    """

    folder: Path
    functions: Functions
    origin: dict[str, Any]

    def data(self, dataset: str | Dataset | None = None, data_dir: str | None = None) -> Dataset:
        """The data that are asked for, or those of the training.

        Raises:
          UserError: they do not fit the model, or are not those of the training where those were asked for.
        """
        if isinstance(dataset, Dataset):
            data = dataset
        else:
            trained_on = self.origin["settings"]
            data = load_dataset(dataset or trained_on["dataset"], data_dir or trained_on["data_dir"])
            if dataset is None and data.checksum != self.origin["checksum"]:
                raise UserError(
                    "the data are not those that the model was trained on (checksum); name the data set to evaluate "
                    "on them all the same",
                    dataset=data.name,
                )
        wanted = num_pixels(self.functions)
        if data.num_pixels != wanted:
            raise UserError(
                f"has {data.num_pixels} pixels, the model in {self.folder} has {wanted}: must be alike",
                dataset=data.name,
            )
        return data


def exported(log_dir: str | Path | None = None, saved_model: str | Path | None = None) -> Exported:
    """The model of a finished run, or of a folder.

    Raises:
      UserError: both are given or neither, or there is no such model.
    """
    if (log_dir is None) == (saved_model is None):
        raise UserError("give one of the two", log_dir=log_dir, saved_model=saved_model)
    folder = user_path(saved_model=saved_model) if saved_model is not None else _exported_by(str(log_dir))
    return Exported(folder, *load(folder))


def _exported_by(log_dir: str) -> Path:
    directory = RunDirectory(log_dir)
    directory.description()
    if not directory.saved_model.exists():
        raise UserError("the run has not finished, so nothing is exported; start it again first", log_dir=log_dir)
    return directory.saved_model
