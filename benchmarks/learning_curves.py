"""Draws the validation curves of finished or running trainings, from their `metrics.jsonl`.

pip install -r benchmarks/requirements.txt
python benchmarks/learning_curves.py --output=docs/learning_curves.png runs/mnist-dvaess runs/mnist-pwl1
"""

import argparse
import json
import pathlib

import matplotlib.pyplot as plt


def validation_curve(run: pathlib.Path) -> tuple[list[int], list[float], list[float]]:
    """Steps, NLL and minus the ELBO of a run's evaluations on validation data, nats."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lines = [line for line in lines if line["group"] == "valid"]
    return [line["step"] for line in lines], [line["nll"] for line in lines], [-line["elbo"] for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=pathlib.Path, help="run directories")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="the picture, .png or .pdf")
    arguments = parser.parse_args()

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for run in arguments.runs:
        steps, nll, minus_elbo = validation_curve(run)
        (line,) = axes.plot(steps, nll, marker="o", markersize=3, label=f"{run.name}: NLL")
        axes.plot(steps, minus_elbo, linestyle=":", color=line.get_color(), label=f"{run.name}: minus ELBO")
    axes.set(xlabel="steps", ylabel="nats per image, validation", ylim=(None, axes.get_ylim()[0] + 45))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(arguments.output, dpi=130)


if __name__ == "__main__":
    main()
