"""The page: numbers, charts and pictures of runs, in one file that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from dvae.analysis.modes import SEEN
from dvae.config import Config
from dvae.data import Dataset
from dvae.files import write_text
from dvae.report import charts
from dvae.report.latents import SAMPLES_OF_MODES, Latents, latents_of
from dvae.report.record import Record, read_all
from dvae.settings.complete import complete
from dvae.tables.plan import name_of
from dvae.tables.rows import rows

# What they are called, and what is to be seen in them.
_PICTURES = {
    "samples_picture": ("Samples", "expected pixels of draws from the prior"),
    "reconstructions_picture": ("Reconstructions", "rows in turn: validation examples, what the model makes of them"),
    "fields_picture": (
        "Latents",
        "expected pixels with one unit on less those with it off, over encoded test examples: white is more, black is "
        "less; the most active unit first",
    ),
}
_PICTURES_OF_PREDICTION = {
    "samples_picture": ("Completions", "rows in turn: what is observed, eight draws of the rest, the example"),
    "reconstructions_picture": ("Their means", "rows in turn: what is observed, the rest as expected, the example"),
}
_MODES_NOTE = f"of the mean field, seen in more than {SEEN} of {SAMPLES_OF_MODES} samples"
_PUBLISHED_STEPS = "1,000,000 steps"


class Number(NamedTuple):
    """Attributes: a `title`; the `value` and its `note`, as text."""

    title: str
    value: str
    note: str = ""


class Chart(NamedTuple):
    """Attributes: a `title`; a `note`; the `figure`, as HTML."""

    title: str
    note: str
    figure: str


def write(log_dirs: Sequence[str | Path], path: Path, *, dataset: Dataset | None = None) -> None:
    """Writes the report of runs, side by side, to a file.

    Args:
      log_dirs: their folders.
      path: of the file.
      dataset: that they were trained on, where no name finds it.

    Raises:
      UserError: a folder is no run.
    """
    records = read_all(log_dirs)
    found = {record.name: latents_of(record, dataset) for record in records}
    write_text(path, page(records, {name: latents for name, latents in found.items() if latents is not None}))


def page(records: Sequence[Record], latents: Mapping[str, Latents]) -> str:
    """The HTML.

    Args:
      records: of the runs, in order.
      latents: how they use their latents, by the runs' names, where that is known.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dvae.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    runs = [_run(number, record, latents.get(record.name)) for number, record in enumerate(records)]
    return environment.get_template("page.html.j2").render(
        title=" / ".join(record.name for record in records),
        script=get_plotlyjs(),
        runs=runs,
        beside=_beside([run["numbers"] for run in runs]),
        pictures_by_kind=_by_kind(runs),
        charts=[chart for chart in _charts(records, latents) if chart is not None],
        settings=_settings(records),
    )


def _run(number: int, record: Record, latents: Latents | None) -> dict[str, Any]:
    settings = record.settings
    structured = settings["objective"] == "structured"
    pictures = _PICTURES_OF_PREDICTION if structured else _PICTURES
    return {
        "name": record.name,
        "colour": charts.colour(number),
        "described": f"{settings['model']} on {settings['dataset']}, {settings['num_latents']} latents, "
        f"{settings['objective']}, {settings['recipe']} recipe, seed {settings['seed']}",
        "numbers": _numbers(record, latents),
        "pictures": [
            (title, note, base64.b64encode(path.read_bytes()).decode())
            for path, title, note in ((getattr(record.directory, name), *said) for name, said in pictures.items())
            if path.exists()
        ],
    }


def _beside(numbers: Sequence[Sequence[Number]]) -> list[tuple[str, list[Number | None]]]:
    """A line for every title, with the number of each run that has it."""
    by_title = [{number.title: number for number in of_run} for of_run in numbers]
    titles = dict.fromkeys(title for found in by_title for title in found)
    return [(title, [found.get(title) for found in by_title]) for title in titles]


def _by_kind(runs: Sequence[dict[str, Any]]) -> list[list[tuple[dict[str, Any], str, str, str]]]:
    """Of one run all pictures in a row; of several a row of each kind, one below the other."""
    pictures = [[(run, *picture) for picture in run["pictures"]] for run in runs]
    if len(runs) == 1:
        return pictures
    return [[of_run[kind] for of_run in pictures if len(of_run) > kind] for kind in range(len(_PICTURES))]


def _numbers(record: Record, latents: Latents | None) -> list[Number]:
    results, numbers = record.results, []
    if results:
        of = "-log p(x₂ | x₁)" if record.settings["objective"] == "structured" else "-log p(x)"
        error = results["nll_standard_error"]
        num = results["num_examples"]
        note = f"{num:,} test example{'s' if num > 1 else ''}, nats"
        if results["exact_nll"] is not None:
            numbers.append(Number("exact NLL", f"{results['exact_nll']:.3f}", "all latent states enumerated"))
        numbers.append(Number(f"NLL, {of}", _with_error(results["nll"], error), note))
    if np.isfinite(record.valid.get("nll", ())).any():
        best, step = float(np.nanmin(record.valid["nll"])), int(record.valid["step"][-1])
        title = "validation NLL" if results else "validation NLL so far"
        numbers.append(Number(title, f"{best:.2f}", f"the best of {step:,} steps"))
    numbers += _published(record.settings)
    if results and results["elbo"] is not None:
        numbers.append(Number("ELBO", f"{results['elbo']:.2f}", "of the discrete model"))
    if results and results["log_z"] is not None:
        error = results["log_z_standard_error"]
        note = "its error is not known" if error is None else "of the prior"
        numbers.append(Number("log Z", _with_error(results["log_z"], error, digits=3), note))
    if results and results["effective_sample_size"] is not None:
        of_samples = f"of {results['num_samples']} importance samples"
        numbers.append(Number("effective samples", f"{results['effective_sample_size']:.0f}", of_samples))
    if latents is not None:
        numbers.append(Number("active units", str(latents.num_active), f"of {len(latents.activity)}"))
        if latents.num_modes:
            single = 100 * np.mean(np.array(latents.num_modes) == 1)
            note = f"median KL to the mean field {np.median(latents.divergence):.2f} nats"
            numbers.append(Number("posteriors with one mode", f"{single:.0f} %", note))
        if latents.modes_of_prior is not None:
            numbers.append(Number("modes of the prior", str(latents.modes_of_prior), _MODES_NOTE))
    if len(record.train.get("step", ())):
        seconds = record.train["seconds_per_step"]
        step = int(results["step"]) if results else int(record.train["step"][-1])
        note = f", {1000 * np.nanmedian(seconds):.1f} ms each" if np.isfinite(seconds).any() else ""
        total = results["seconds"] if results else record.valid.get("training_seconds", [np.nan])[-1]
        numbers.append(Number("training", _duration(total), f"{step:,} steps" + note))
    return numbers


def _published(settings: Mapping[str, Any]) -> list[Number]:
    """The number of the first table that has a row that this is a run of."""
    given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in settings.items()}
    name = _but_seed(Config(**given))
    for row in rows():
        if row.published is None or not row.settings or row.labels.get("split", "test") != "test":
            continue
        if _but_seed(complete(row.settings)) == name:
            table = f"table {row.table}" if row.table.isdigit() else f"DVAE# {row.table}"
            return [Number("published", _with_error(row.published, row.deviation), f"{table}, {_PUBLISHED_STEPS}")]
    return []


def _but_seed(config: Config) -> str:
    return name_of(config).rpartition("-seed")[0]


def _charts(records: Sequence[Record], latents: Mapping[str, Latents]) -> list[Chart | None]:
    shown = [
        ("Validation", "NLL by importance samples, nats", charts.curves(records, "valid", {"nll": "NLL"})),
        ("Training", "what is learned, nats", charts.curves(records, "train", _LEARNED)),
        ("Test examples", "who is hard to explain", charts.examples(records)),
        ("Posterior", "entropy of q(z | x), nats", charts.curves(records, "valid", {"entropy": "entropy"})),
        ("Importance weights", "effective samples in validation",
         charts.curves(records, "valid", {"effective_sample_size": "effective samples"}, log_y=True)),
        ("Does the prior fit?", "its energies of encoded test examples beside those of its own draws",
         charts.energies(latents)),
        ("Active units", "variance over examples of E[z | x]", charts.activity(latents)),
        ("Modes", "fixed points of the mean field", charts.modes(latents)),
        ("log Z of the prior", "by AIS from two bases, nats", charts.log_z(records)),
        ("Health of the prior's sampler", "effective particles and families in a step",
         charts.curves(records, "train", _HEALTH)),
        ("Mixing of the prior's sampler", "split R-hat of its energy: 1 is mixed",
         charts.curves(records, "valid", {"prior_split_r_hat": "split R-hat"})),
        ("Memory of the prior's sampler", "autocorrelation time of its energy, sweeps",
         charts.curves(records, "valid", {"prior_autocorrelation_sweeps": "sweeps"})),
        ("Time", "seconds a step", charts.curves(records, "train", {"seconds_per_step": "seconds a step"}, log_y=True)),
    ]  # fmt: skip
    return [Chart(title, note, _html(figure)) for title, note, figure in shown if figure is not None]


_LEARNED = {
    "relaxed_log_likelihood": "log p(x | zeta)",
    "relaxed_bound": "bound",
    "log_likelihood_given_z": "log p(x | z)",
    "iw_effective_sample_size": "effective samples",
}
_HEALTH = {"prior_effective_sample_size": "effective particles", "prior_num_families": "families"}


def _html(figure: go.Figure) -> str:
    figure.update_layout(showlegend=len(figure.data) > 1)
    return figure.to_html(full_html=False, include_plotlyjs=False, config={"displayModeBar": False, "responsive": True})


def _settings(records: Sequence[Record]) -> list[tuple[str, list[str], bool]]:
    """Name, values, and whether they differ; what differs comes first."""
    names = dict.fromkeys(name for record in records for name in record.settings)
    table = []
    for name in names:
        values = [str(record.settings.get(name, "")) for record in records]
        table.append((name, values, len(set(values)) > 1))
    return sorted(table, key=lambda row: not row[2])


def _with_error(value: float, error: float | None, digits: int = 2) -> str:
    return f"{value:.{digits}f}" + ("" if error is None else f" ± {error:.{digits}f}")


def _duration(seconds: float) -> str:
    if not np.isfinite(seconds):
        return "?"
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
