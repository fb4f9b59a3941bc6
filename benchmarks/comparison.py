"""What the comparisons with other packages share; `gibbs.py` and `log_z.py` import it before TensorFlow.

All run in turn, on the same machine, on the CPU. A package that is not installed is left out.

Machines are noisy: look at the ratios within a round, not at the milliseconds. Where something else wants the cores,
packages whose threads wait for one another look ten times slower than they are: the tables say what the load was;
`taskset -c 0 python ...` compares on one core.
"""

import argparse
import importlib
import importlib.metadata
import os
import pathlib
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import dvae.quiet  # noqa: F401, I001  (before TensorFlow)
import numpy as np
import tensorflow as tf

from samplers.rbm import RBM


def progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def package(*modules: str) -> ModuleType | None:
    """The package of the modules, which are imported; None if it is not installed."""
    name = modules[0].partition(".")[0]
    try:
        for module in modules:
            importlib.import_module(module)
    except ImportError as error:
        progress(f"left out: {name} ({error})")
        return None
    return sys.modules[name]


torch = package("torch")
jax = package("jax")
rbms = package("rbms.bernoulli_bernoulli.classes", "rbms.partition_function.ais", "rbms.sampling.gibbs")
thrml = package("thrml.models")

NUM_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
LOAD = os.getloadavg()[0]
CHAINS = 1000


class Machine(NamedTuple):
    """The parameters of an RBM as float32 arrays, for everybody to convert."""

    bias_left: np.ndarray
    bias_right: np.ndarray
    weights: np.ndarray

    def rbm(self) -> RBM:
        return RBM(*map(tf.constant, self))


def rbms_machine(machine: Machine):
    bias_left, bias_right, weights = map(torch.tensor, machine)
    return rbms.bernoulli_bernoulli.classes.BBRBM(weight_matrix=weights, vbias=bias_left, hbias=bias_right)


def seconds_of(function: Callable, *arguments, awake: bool = False) -> tuple[object, float]:
    """What the function returns, and how long it took; the second time if its threads are to be `awake`."""
    time.sleep(0.05)  # until the threads of whoever ran before have stopped looking for work
    if awake:
        function(*arguments)
    began = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - began


def surroundings() -> str:
    """Cores, load when the program started, versions."""
    names = ["tensorflow", *(peer.__name__ for peer in (torch, jax, rbms, thrml) if peer), "scikit-learn"]
    versions = (f"{name} {importlib.metadata.version(name)}" for name in names)
    return f"CPU cores: {NUM_CORES}; load average {LOAD:.1f} at the start; {', '.join(versions)}."


def parse(parser: argparse.ArgumentParser, *, files: str) -> argparse.Namespace:
    """The arguments, and one more: `--output`, a directory for `files`, which is made."""
    parser.add_argument("--output", type=pathlib.Path, help=f"a directory for {files}")
    arguments = parser.parse_args()
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
    return arguments


def publish(text: str, output: pathlib.Path | None, name: str) -> None:
    """Prints the text, and writes it into the directory, if one is given."""
    print(text, flush=True)
    if output:
        (output / name).write_text(text, encoding="utf-8")
