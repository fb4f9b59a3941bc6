"""An exported model as commands are given it: by the run that made it or by its folder; and data that fit it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from dvae.config import Config
from dvae.data import Dataset, load_dataset
from dvae.data.values import BINARY
from dvae.errors import UserError
from dvae.evaluation.functions import Functions, num_pixels
from dvae.evaluation.saved_model import load
from dvae.files import user_path
from dvae.runs.run_directory import RunDirectory


class Exported(NamedTuple):
    """A model.

    Attributes:
      folder: of the SavedModel.
      functions: its signatures.
      origin: what is known of the run that made it: `settings`, `checksum`, `step`, `seconds`.
      data_dir: where data files are looked for: as the run's `config.json` says, or the default.
    """

    folder: Path
    functions: Functions
    origin: dict[str, Any]
    data_dir: str

    def data(self, dataset: str | Dataset | None = None, data_dir: str | None = None) -> Dataset:
        """The data that are asked for, or those of the training.

        Raises:
          UserError: they do not fit the model, or are not those of the training where those were asked for.
        """
        values, trained_on = self.origin.get("values", BINARY), self.origin["settings"]  # models of before: binary
        if isinstance(dataset, Dataset):
            data = dataset
            if data.values != values:
                raise UserError(
                    f'is of values="{data.values}", the model in {self.folder} takes "{values}"', dataset=data.name
                )
        else:
            if dataset is None and not self.origin.get("is_named", True):
                raise UserError(
                    "was handed in from Python: hand it in again, dvae.evaluate(..., dataset=dvae.make_dataset(...)), "
                    "or name data to evaluate on",
                    dataset=trained_on["dataset"],
                )
            # A model says what it was trained on, and not where on this machine a download may go.
            data = load_dataset(
                dataset or trained_on["dataset"],
                data_dir or self.data_dir,
                values=values,
                valid_fraction=trained_on.get("valid_fraction"),
                test_fraction=trained_on.get("test_fraction"),
            )
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
    if saved_model is not None:
        folder = user_path(saved_model=saved_model)
        return Exported(folder, *load(folder), data_dir=Config.data_dir)
    directory = RunDirectory(str(log_dir))
    data_dir = directory.description()["settings"].get("data_dir")
    folder = _exported_by(directory)
    return Exported(folder, *load(folder), data_dir=data_dir if isinstance(data_dir, str) else Config.data_dir)


def _exported_by(directory: RunDirectory) -> Path:
    if not directory.saved_model.exists():
        raise UserError(
            "the run has not finished, so nothing is exported; start it again first", log_dir=str(directory.path)
        )
    return directory.saved_model
