"""Draws the validation curves of finished or running trainings, from their `metrics.jsonl`.

    pip install -r benchmarks/requirements.txt
    python benchmarks/learning_curves.py --output=docs/learning_curves.png runs/mnist-dvaess runs/mnist-pwl1

Against steps, and against seconds of training without its evaluations; and prints when each was first at an NLL
(`--nll=92,88`).
"""

import argparse
import json
import pathlib

import matplotlib.pyplot as plt


def validation(run: pathlib.Path) -> dict[str, list[float]]:
    """Steps, seconds, NLL and minus the ELBO (nats) of a run's evaluations on validation data."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lines = [line for line in lines if line["group"] == "valid"]
    curves = {name: [line[name] for line in lines] for name in ("step", "nll", "elbo")}
    return curves | {"seconds": [line.get("training_seconds", float("nan")) for line in lines]}


def first_at(curves: dict[str, list[float]], nll: float) -> str:
    """Steps and seconds of the first evaluation with at most this NLL."""
    for step, seconds, value in zip(curves["step"], curves["seconds"], curves["nll"], strict=True):
        if value <= nll:
            return f"step {step}, {seconds:.0f} s"
    return "not reached"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=pathlib.Path, help="run directories")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="the picture, .png or .pdf")
    parser.add_argument("--nll", default="92,88", help="nats, with commas")
    arguments = parser.parse_args()

    wanted = [float(number) for number in arguments.nll.split(",")]
    print(f"| run | last NLL | {' | '.join(f'NLL {nll:g}' for nll in wanted)} |\n|---|---|{'---|' * len(wanted)}")
    figure, panels = plt.subplots(1, 2, figsize=(12, 4.5), sharey=True, layout="constrained")
    for run in arguments.runs:
        curves = validation(run)
        print(f"| {run.name} | {curves['nll'][-1]:.2f} | {' | '.join(first_at(curves, nll) for nll in wanted)} |")
        for panel, axis in zip(panels, ("step", "seconds"), strict=True):
            (line,) = panel.plot(curves[axis], curves["nll"], marker="o", markersize=3, label=f"{run.name}: NLL")
            minus_elbo = [-value for value in curves["elbo"]]
            panel.plot(curves[axis], minus_elbo, ":", color=line.get_color(), label=f"{run.name}: minus ELBO")
    panels[0].set(xlabel="steps", ylabel="nats per image, validation", ylim=(None, panels[0].get_ylim()[0] + 45))
    panels[1].set(xlabel="seconds of training")
    for panel in panels:
        panel.grid(alpha=0.3)
    panels[0].legend(fontsize=8)
    figure.savefig(arguments.output, dpi=130)


if __name__ == "__main__":
    main()
