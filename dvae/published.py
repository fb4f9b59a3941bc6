"""The published settings, which stand in for what the user leaves out."""

from __future__ import annotations

import dataclasses

from dvae.config import Config
from dvae.systems import SYSTEMS


@dataclasses.dataclass(frozen=True)
class _Defaults:
    num_latents: int = 200
    num_steps: int = 1_000_000
    valid_examples: int = 1000
    test_samples: int = 1000  # the papers use 4000; with an RBM posterior of 200 latents that takes hours on a CPU


@dataclasses.dataclass(frozen=True)
class _OfObjective:
    hidden_layers: int = 2
    learning_rate: float = 3e-3
    num_latents: int | None = None
    test_samples: int | None = None
    iw_gradient: str | None = None
    observed: str | None = None


_BY_OBJECTIVE = {
    "iw": _OfObjective(iw_gradient="dreg"),
    "mcmc": _OfObjective(num_latents=16),
    "structured": _OfObjective(hidden_layers=1, learning_rate=3e-4, observed="top", test_samples=4000),
}
# digits and bars_and_stripes are small enough for a demonstration: their 16 latents can be enumerated, so that every
# number can be checked.
_BY_DATASET = {
    "omniglot": _Defaults(valid_examples=1345),
    "digits": _Defaults(num_latents=16, num_steps=5000, test_samples=4000),
    "bars_and_stripes": _Defaults(num_latents=16, num_steps=5000, test_samples=4000),
}


def fill_in(config: Config) -> Config:
    """Replaces every `None` by the published value for model, structure, data and objective; validates the whole.

    Evaluations come every 20,000 steps, or every 10,000 if training has 100,000 or fewer, as published; a training of
    fewer than 100,000 steps has ten.

    Raises:
      UserError: a setting breaks a rule.
    """
    defaults = _BY_DATASET.get(config.dataset, _Defaults())
    num_steps = _first(config.num_steps, defaults.num_steps)
    of_objective = _BY_OBJECTIVE.get(config.objective, _OfObjective())
    published = dataclasses.asdict(of_objective)
    config = dataclasses.replace(
        config, **{name: _first(getattr(config, name), value) for name, value in published.items()}
    )
    system = SYSTEMS.get(config.model) if config.objective != "mcmc" else None
    if system is not None:
        config = dataclasses.replace(config, shared_context=_first(config.shared_context, system.shared_context))
        config = dataclasses.replace(config, beta=_first(config.beta, system.published_beta(config)))
    config = dataclasses.replace(
        config,
        num_latents=_first(config.num_latents, defaults.num_latents),
        num_steps=num_steps,
        valid_examples=_first(config.valid_examples, defaults.valid_examples),
        test_samples=_first(config.test_samples, defaults.test_samples),
        eval_every=_first(config.eval_every, 20_000 if num_steps > 100_000 else max(1, num_steps // 10)),
    )
    config.validate()
    return config


def _first(given, published):
    return published if given is None else given
