"""The rows of the published tables: what each was a run of, and what came out.

Tables 1 to 7 are those of [DVAE##], `poster` is that of the DVAE# poster (NeurIPS 2018). The numbers lie beside this
file (`published/`); NLL in nats, mean and standard deviation over runs of 1,000,000 steps.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

_FOLDER = Path(__file__).parent / "published"
_DATASETS = {"mnist": "binarized_mnist", "omniglot": "omniglot"}
_HAS_WEIGHTS = ("dvaess", "pwl", "gumbolt", "dvaes_gauss_int", "dvaes_gauss", "dvaes_exp", "dvaes_unexp", "dvaes_power")


class Row(NamedTuple):
    """A number of a table.

    Attributes:
      table: "1" to "7", or "poster".
      labels: where it stands in its table, by name, in the order of the table's columns.
      published: the mean; None where there is none.
      deviation: over the runs; None where it is not told.
      settings: of the runs that it is the number of, but for seed and length; empty where it is of another program's.
      measured: the field of the results that it is.
    """

    table: str
    labels: dict[str, str]
    published: float | None
    deviation: float | None
    settings: dict[str, Any]
    measured: str = "nll"


def rows() -> list[Row]:
    """All rows of all tables."""
    return [row for table, read in _READERS.items() for line in _lines(table) for row in read(line)]


def _lines(table: str) -> Iterator[dict[str, str]]:
    [path] = _FOLDER.glob(f"{_FILES.get(table, f'table{table}_*')}.csv")
    with path.open(newline="") as file:
        yield from csv.DictReader(file)


def _number(text: str) -> float | None:
    number = float(text)
    return None if math.isnan(number) else number


def _model(line: Mapping[str, str]) -> dict[str, Any]:
    """The settings of data, system and structure."""
    settings: dict[str, Any] = {
        "dataset": _DATASETS[line["dataset"]],
        "model": line.get("model", "dvaess"),
        "num_latents": int(line["latents"]),
    }
    if settings["model"] != "dvaess":
        settings |= {"num_groups": int(line["groups"]), "shared_context": True}
    return settings


def _labels(line: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: line[name] for name in names}


def _elbo(line: Mapping[str, str]) -> list[Row]:
    labels = _labels(line, "dataset", "latents", "groups", "model")
    return [Row("1", labels, _number(line["nll_mean"]), _number(line["nll_std"]), _model(line))]


def _of_samples(line: Mapping[str, str], table: str, objective: str) -> list[Row]:
    """Of K samples; the ELBO is the importance-weighted bound of one."""
    labels = _labels(line, "dataset", "latents", "num_samples", "groups", "model")
    num_samples = int(line["num_samples"])
    settings = _model(line)
    if objective == "structured" or num_samples > 1:
        settings |= {"objective": objective, "num_samples": num_samples}
    return [Row(table, labels, _number(line["nll_mean"]), _number(line["nll_std"]), settings)]


def _previous(line: Mapping[str, str]) -> list[Row]:
    """Best numbers of other works, of which only those of systems that are here can be run."""
    ours = {"DVAE##": "dvaess", "GumBolt (DVAE## authors)": "gumbolt", "DVAE# (DVAE## authors)": "dvaes_power"}
    found = []
    for dataset, objective in (("mnist", "elbo"), ("omniglot", "elbo"), ("mnist", "iw"), ("omniglot", "iw")):
        labels = {"dataset": dataset, "objective": objective, "model": line["model"]}
        settings: dict[str, Any] = {}
        published = _number(line[f"{dataset}_{objective}"])
        if line["model"] in ours and published is not None:
            model = ours[line["model"]]
            settings = {"dataset": _DATASETS[dataset], "model": model, "num_latents": 400}
            if model != "dvaess":
                settings |= {"num_groups": _BEST_GROUPS[model, dataset], "shared_context": True}
            if objective == "iw":
                settings |= {"objective": "iw", "num_samples": 25}
        found.append(Row("4", labels, published, None, settings))
    return found


# Of table 1, with 400 latents, those that table 4 quotes.
_BEST_GROUPS = {
    ("gumbolt", "mnist"): 2, ("gumbolt", "omniglot"): 2, ("dvaes_power", "mnist"): 4, ("dvaes_power", "omniglot"): 2,
}  # fmt: skip


def _shared_context(line: Mapping[str, str]) -> list[Row]:
    found = []
    for name, is_shared in (("nll_without_shared_context", False), ("nll_with_shared_context", True)):
        labels = _labels(line, "dataset", "latents", "groups", "model") | {"shared_context": str(is_shared).lower()}
        found.append(Row("5", labels, _number(line[name]), None, _model(line) | {"shared_context": is_shared}))
    return found


def _gibbs_lengths(line: Mapping[str, str]) -> list[Row]:
    labels = _labels(line, "dataset", "latents", "relaxed_sweeps_t", "gibbs_sweeps_s")
    lengths = {
        "num_relaxed_sweeps": int(line["relaxed_sweeps_t"]),
        "num_gibbs_sweeps": int(line["gibbs_sweeps_s"]),
    }
    return [Row("6", labels, _number(line["nll_mean"]), _number(line["nll_std"]), _model(line) | lengths)]


def _true_posterior(line: Mapping[str, str]) -> list[Row]:
    settings: dict[str, Any] = {"dataset": "binarized_mnist", "model": "dvaess", "num_latents": int(line["latents"])}
    if line["method"] == "mcmc":
        settings["objective"] = "mcmc"
    labels = {"method": line["method"], "latents": line["latents"]}
    return [
        Row(
            "7",
            labels | {"split": split},
            _number(line[f"{split}_nll_mean"]),
            _number(line[f"{split}_nll_std"]),
            settings,
            measured="exact_nll",
        )
        for split in ("train", "test")
    ]


def _poster(line: Mapping[str, str]) -> list[Row]:
    """Two groups of 200 without shared context. A system without importance weights can have K samples of the ELBO."""
    found = []
    for model in list(line)[2:]:
        num_samples = int(line["num_samples"])
        settings = {
            "dataset": _DATASETS[line["dataset"]],
            "model": model,
            "num_latents": 400,
            "num_groups": 2,
            "shared_context": False,
        }
        if num_samples > 1:
            settings |= {"objective": "iw" if model in _HAS_WEIGHTS else "elbo", "num_samples": num_samples}
        labels = _labels(line, "dataset", "num_samples") | {"model": model}
        found.append(Row("poster", labels, _number(line[model]), None, settings))
    return found


_FILES = {"poster": "dvaesharp_poster"}
_READERS: dict[str, Callable[[Mapping[str, str]], list[Row]]] = {
    "1": _elbo,
    "2": lambda line: _of_samples(line, "2", "iw"),
    "3": lambda line: _of_samples(line, "3", "structured"),
    "4": _previous,
    "5": _shared_context,
    "6": _gibbs_lengths,
    "7": _true_posterior,
    "poster": _poster,
}
TABLES = tuple(_READERS)
