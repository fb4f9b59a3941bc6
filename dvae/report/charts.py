"""The charts of a report, as Plotly figures: they can be zoomed, and tell their numbers under the pointer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from dvae.report.latents import ACTIVE, Latents
from dvae.report.record import Record

_COLOURS = ("#2563eb", "#ea580c", "#059669", "#9333ea", "#dc2626", "#0891b2", "#ca8a04", "#64748b")
_HEIGHT, _BINS = 340, 30


def curves(records: Sequence[Record], group: str, names: Mapping[str, str], *, log_y: bool = False) -> go.Figure | None:
    """Metrics by step, or by seconds of training where they are known; None if no run has any.

    Args:
      records: a colour for each.
      group: "train" or "valid".
      names: what a metric is called, by its name; each has its dashes.
      log_y: whether the axis is logarithmic.
    """
    figure, by_step, by_second = _empty(), [], []
    for number, record in enumerate(records):
        metrics = getattr(record, group)
        for dash, (name, title) in zip(("solid", "dash", "dot", "dashdot"), names.items(), strict=False):
            if name not in metrics or np.isnan(metrics[name]).all():
                continue
            shown = ~np.isnan(metrics[name])
            label = title if len(records) == 1 else record.name if len(names) == 1 else f"{record.name}: {title}"
            by_step.append(metrics["step"][shown])
            by_second.append(metrics.get("training_seconds", metrics["step"])[shown])
            figure.add_scatter(
                x=by_step[-1], y=metrics[name][shown], name=label, mode="lines",
                line={"color": colour(number), "dash": dash},
            )  # fmt: skip
    if not figure.data:
        return None
    figure.update_xaxes(title="steps")
    if log_y:
        figure.update_yaxes(type="log")
    if all("training_seconds" in getattr(record, group) for record in records if getattr(record, group)):
        choices = (("by steps", by_step, "steps"), ("by seconds", by_second, "seconds of training"))
        buttons = [
            {"label": label, "method": "update", "args": [{"x": x}, {"xaxis.title.text": title}]}
            for label, x, title in choices
        ]
        figure.update_layout(
            updatemenus=[{"type": "buttons", "direction": "right", "buttons": buttons, "x": 1, "y": 1.2}]
        )
    return figure


def log_z(records: Sequence[Record]) -> go.Figure | None:
    """Of the prior, by step, with its error where that is known."""
    figure = _empty()
    for number, record in enumerate(records):
        values = record.valid.get("log_z")
        if values is None or np.isnan(values).all():
            continue
        errors = np.nan_to_num(record.valid["log_z_standard_error"])
        figure.add_scatter(
            x=record.valid["step"],
            y=values,
            error_y={"array": errors},
            name=record.name,
            line={"color": colour(number)},
        )
    if not figure.data:
        return None
    figure.update_xaxes(title="steps")
    figure.update_yaxes(title="nats")
    return figure


def examples(records: Sequence[Record]) -> go.Figure | None:
    """NLL of the test examples, as histograms."""
    figure = _empty()
    for number, record in enumerate(records):
        if len(record.examples.get("nll", ())) > 1:
            figure.add_histogram(
                x=record.examples["nll"], name=record.name, nbinsx=60, opacity=0.65, marker={"color": colour(number)}
            )
    if not figure.data:
        return None
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(title="NLL of an example, nats")
    figure.update_yaxes(title="examples")
    return figure


def activity(latents: Mapping[str, Latents]) -> go.Figure | None:
    """Of the units, the most active first."""
    if not latents:
        return None
    figure = _empty()
    for number, (name, found) in enumerate(latents.items()):
        figure.add_scatter(
            x=np.arange(1, len(found.activity) + 1), y=np.sort(found.activity)[::-1], name=name, mode="lines",
            line={"color": colour(number)},
        )  # fmt: skip
    figure.add_hline(ACTIVE, line={"dash": "dot", "color": "#64748b"}, annotation_text="active above")
    figure.update_xaxes(title="units, the most active first")
    figure.update_yaxes(title="variance of the posterior mean")
    return figure


def modes(latents: Mapping[str, Latents]) -> go.Figure | None:
    """Of the posteriors that are Boltzmann machines."""
    figure = _empty()
    for number, (name, found) in enumerate(latents.items()):
        if found.num_modes:
            counts = np.bincount(found.num_modes)
            figure.add_bar(x=np.arange(len(counts)), y=counts, name=name, marker={"color": colour(number)})
    if not figure.data:
        return None
    figure.update_xaxes(title="modes of a posterior", dtick=1)
    figure.update_yaxes(title="examples")
    return figure


def energies(latents: Mapping[str, Latents]) -> go.Figure | None:
    """Of the prior: of encoded examples, filled, and of draws from the prior, in outline; in the same bins."""
    found = {name: one for name, one in latents.items() if one.encoded_energies}
    if not found:
        return None
    every = np.concatenate([of_run for one in found.values() for of_run in (one.encoded_energies, one.prior_energies)])
    low, high = float(every.min()), float(every.max())
    bins = {"start": low, "end": high + 1e-6, "size": max(high - low, 1e-3) / _BINS}
    figure = _empty()
    for number, name in enumerate(latents):
        if name not in found:
            continue
        label = "" if len(latents) == 1 else f"{name}: "
        filled = {"color": colour(number), "opacity": 0.45}
        outline = {"color": "rgba(0,0,0,0)", "line": {"color": colour(number), "width": 1.5}}
        for energies_of, what, marker in (
            (found[name].encoded_energies, "examples, encoded", filled),
            (found[name].prior_energies, "drawn from the prior", outline),
        ):
            figure.add_histogram(x=energies_of, name=f"{label}{what}", marker=marker, xbins=bins)
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(title="E(z), nats")
    figure.update_yaxes(title="draws")
    return figure


def _empty() -> go.Figure:
    return go.Figure(
        layout={
            "template": "plotly_white",
            "height": _HEIGHT,
            "margin": {"l": 60, "r": 20, "t": 40, "b": 50},
            "legend": {"orientation": "h", "y": -0.25},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "system-ui, sans-serif"},
        }
    )


def colour(number: int) -> str:
    """Of a run, in all charts."""
    return _COLOURS[number % len(_COLOURS)]
