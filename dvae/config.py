"""The settings of an experiment: one frozen dataclass, from which the command line's flags are generated."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from absl import flags

from dvae.errors import UserError
from dvae.evaluation import ENUMERABLE_LATENTS
from dvae.prior_samplers import PRIOR_SAMPLERS
from dvae.systems import IW_GRADIENTS, OBJECTIVES, SYSTEMS


def _setting(default: Any, group: str, help_text: str, **rules: Any) -> Any:
    """A field with its help text and the rules its value must meet: `choices`, `least`, `most`, `above`."""
    return dataclasses.field(default=default, metadata={"group": group, "help": help_text, **rules})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Every setting of a training run. `None` means: the published value for the model and the data set.

    `dvae.published.fill_in` replaces the `None`s; `validate` checks each value and how they fit together.
    """

    model: str = _setting("dvaess", "Model", "published system", choices=tuple(SYSTEMS))
    num_latents: int | None = _setting(None, "Model", "binary latents, both sides of the prior together", least=2)
    num_groups: int = _setting(1, "Model", "L, groups of a directed posterior (dvaess has 1)", least=1)
    shared_context: bool | None = _setting(
        None, "Model", "groups of a directed posterior share one hidden network; if not, each has its own"
    )
    hidden_units: int = _setting(200, "Model", "width of the hidden layers", least=1)
    hidden_layers: int | None = _setting(None, "Model", "hidden layers of encoder and decoder", least=0)
    beta: float | None = _setting(None, "Model", "sharpness of the relaxation (dvaes_gauss_int: the least)", above=0.0)
    num_gibbs_sweeps: int = _setting(10, "Model", "s, binary sweeps of dvaess's (or mcmc's) chains in a step", least=1)
    num_relaxed_sweeps: int = _setting(1, "Model", "t, relaxed sweeps of dvaess's posterior in a step", least=1)

    dataset: str = _setting(
        "digits", "Data", "digits, bars_and_stripes, binarized_mnist, omniglot, or the path of an .npz file"
    )
    data_dir: str = _setting("data", "Data", "folder of the data files; what is missing there is downloaded")

    objective: str = _setting("elbo", "Objective", "what is maximised", choices=(*OBJECTIVES, "structured", "mcmc"))
    iw_gradient: str | None = _setting(
        None, "Objective", "gradient of the iw objective in the encoder", choices=tuple(IW_GRADIENTS)
    )
    num_samples: int = _setting(1, "Objective", "K, samples per example in training (iw: 5 or 25)", least=1)
    observed: str | None = _setting(
        None,
        "Objective",
        "what structured prediction is given: top or left half, a fraction of the pixels row by row, or an .npy mask",
    )
    kl_warmup: float = _setting(
        0.3, "Objective", "fraction of training in which the KL weight of elbo and iw rises", least=0, most=1
    )
    weight_decay: float = _setting(
        1e-4, "Objective", "c in the penalty c * sum(w^2) / 2 of kernels, scales and couplings", least=0
    )

    prior_sampler: str = _setting(
        "population_annealing", "Prior sampler", "sampler of p(z)", choices=tuple(PRIOR_SAMPLERS)
    )
    num_particles: int = _setting(1000, "Prior sampler", "particles or chains", least=2)
    tempering_levels: int = _setting(
        10, "Prior sampler", "temperatures of parallel_tempering, each with num_particles chains", least=2
    )
    prior_sweeps: int = _setting(40, "Prior sampler", "Gibbs sweeps of the particles in a step", least=1)

    num_steps: int | None = _setting(None, "Training", "parameter updates", least=1)
    batch_size: int = _setting(100, "Training", "examples in a step", least=2)
    learning_rate: float | None = _setting(None, "Training", "base rate of Adam; scheduled as published", above=0.0)
    seed: int = _setting(0, "Training", "of the weights, the data's order and all sampling", least=0, most=2**31 - 1)
    strategy: str = _setting("default", "Training", "devices: one", choices=("default",))

    log_dir: str = _setting("runs/dvae", "Run directory", "where everything is written")
    report_every: int = _setting(100, "Run directory", "steps between lines of metrics, at the most", least=1)
    eval_every: int | None = _setting(None, "Run directory", "steps between evaluations on validation data", least=1)
    checkpoint_every: int = _setting(1000, "Run directory", "steps between checkpoints", least=1)

    valid_examples: int | None = _setting(None, "Evaluation in training", "validation examples, spread evenly", least=1)
    valid_samples: int = _setting(100, "Evaluation in training", "importance samples per example", least=1)
    valid_temperatures: int = _setting(100, "Evaluation in training", "AIS temperatures of an RBM posterior", least=1)
    valid_log_z_temperatures: int = _setting(
        1000, "Evaluation in training", "AIS temperatures of the prior's log Z", least=1
    )

    test_examples: int = _setting(500, "Final evaluation", "test examples, spread evenly", least=1)
    test_samples: int | None = _setting(None, "Final evaluation", "importance samples per example", least=1)
    test_temperatures: int = _setting(500, "Final evaluation", "AIS temperatures of an RBM posterior", least=1)
    test_log_z_temperatures: int = _setting(10000, "Final evaluation", "AIS temperatures of the prior's log Z", least=1)
    log_z_chains: int = _setting(1024, "Final evaluation", "AIS chains for the prior's log Z", least=2)

    def validate(self) -> None:
        """Raises `UserError` for the first setting that breaks a rule. Only what does not apply is still `None`."""
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name))
        num_groups = self.num_groups if self._has_posterior else 1
        if num_groups > SYSTEMS[self.model].most_groups:
            raise UserError(f"--num_groups={num_groups}: must be 1 for {self.model}, whose posterior is one RBM")
        if self._has_posterior and self.shared_context is False and SYSTEMS[self.model].most_groups == 1:
            raise UserError(f"--noshared_context: {self.model}'s posterior is one RBM, without groups; leave it out")
        if self.observed is not None and self.objective != "structured":
            raise UserError(f"--observed={self.observed}: is for --objective=structured; leave it out")
        if not self._has_posterior and self.num_latents > ENUMERABLE_LATENTS:
            raise UserError(
                f"--num_latents={self.num_latents}: must be at most {ENUMERABLE_LATENTS} for --objective=mcmc, "
                "whose NLL is enumerated"
            )
        if not self._has_posterior and self.num_samples > 1:
            raise UserError(f"--num_samples={self.num_samples}: must be 1 for --objective=mcmc")
        if self.iw_gradient is not None and self.objective != "iw":
            raise UserError(f"--iw_gradient={self.iw_gradient}: is for --objective=iw; leave it out")
        if self.objective == "iw" and SYSTEMS[self.model].log_ratio is None:
            weighed = ", ".join(name for name, system in SYSTEMS.items() if system.log_ratio is not None)
            raise UserError(
                f"--objective=iw: {self.model} has no importance weight of a relaxed sample; must be elbo or "
                f"structured, or --model one of {weighed}"
            )
        if self.num_latents % (2 * num_groups):
            raise UserError(f"--num_latents={self.num_latents}: must be divisible by 2 * num_groups ({2 * num_groups})")

    def without_effect(self) -> list[str]:
        """One line for each setting that was given, before `fill_in`, and plays no part in such a run."""
        is_directed = self._has_posterior and SYSTEMS[self.model].most_groups > 1
        objective = f"--objective={self.objective}"
        rules = [
            ("model num_groups shared_context beta num_relaxed_sweeps", not self._has_posterior, objective),
            ("num_gibbs_sweeps num_relaxed_sweeps", is_directed, f"--model={self.model}"),
            ("prior_sampler num_particles prior_sweeps", self.objective == "structured", objective),
            ("tempering_levels", self.prior_sampler != "parallel_tempering", f"--prior_sampler={self.prior_sampler}"),
            ("kl_warmup", self.objective not in OBJECTIVES, objective),
        ]
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        return [
            f"--{name}={getattr(self, name)}: has no effect with {setting}"
            for names, is_idle, setting in rules
            for name in names.split()
            if is_idle and getattr(self, name) != defaults[name]
        ]

    @property
    def _has_posterior(self) -> bool:
        return self.objective != "mcmc"

    @property
    def num_left(self) -> int:
        """Units on each side of the prior: half of the latents."""
        return self.num_latents // 2


def _check(field: dataclasses.Field, value: Any) -> None:
    if value is None:
        return
    rules, flag = field.metadata, f"--{field.name}={value}"
    if "choices" in rules and value not in rules["choices"]:
        raise UserError(f"{flag}: must be one of {', '.join(rules['choices'])}")
    if isinstance(value, float) and not abs(value) < float("inf"):
        raise UserError(f"{flag}: must be a finite number")
    if "least" in rules and value < rules["least"]:
        raise UserError(f"{flag}: must be at least {rules['least']}")
    if "most" in rules and value > rules["most"]:
        raise UserError(f"{flag}: must be at most {rules['most']}")
    if "above" in rules and value <= rules["above"]:
        raise UserError(f"{flag}: must be above {rules['above']:g}")


_DEFINE = {int: flags.DEFINE_integer, float: flags.DEFINE_float, str: flags.DEFINE_string, bool: flags.DEFINE_bool}


def define_flags() -> dict[str, list[str]]:
    """Defines one absl flag for every setting; returns the flags' names under their groups' headings."""
    types = typing.get_type_hints(Config)
    groups: dict[str, list[str]] = {}
    for field in dataclasses.fields(Config):
        kind = next(t for t in (typing.get_args(types[field.name]) or (types[field.name],)) if t is not type(None))
        choices = field.metadata.get("choices")
        text = field.metadata["help"]
        text += f": {' | '.join(choices)}" if choices else ""
        text += "; if left out, the published value" if field.default is None else ""
        _DEFINE[kind](field.name, field.default, text, allow_override=True)  # absl.logging has a --log_dir of its own
        groups.setdefault(field.metadata["group"], []).append(field.name)
    return groups


def from_flags(values: flags.FlagValues) -> Config:
    """The settings that the command line gave, not yet filled in."""
    return Config(**{field.name: values[field.name].value for field in dataclasses.fields(Config)})
