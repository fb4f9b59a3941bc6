"""Samplers of p(z) from other packages, found by their entry points. Nothing here imports them before they are used.

    [project.entry-points."dvae.prior_samplers"]
    my_sampler = "my_package:make_sampler"

`make_sampler(config)` returns a `dvae.training.prior_sampler.PriorSampler`. `--prior_sampler=my_sampler` then trains by
it, wherever both packages are installed.
"""

from __future__ import annotations

from importlib import metadata
from typing import Any

from dvae.errors import UserError

GROUP = "dvae.prior_samplers"


def installed() -> dict[str, list[metadata.EntryPoint]]:
    """Entry points of installed packages by name, looked for now."""
    found: dict[str, list[metadata.EntryPoint]] = {}
    for entry_point in metadata.entry_points(group=GROUP):
        same = found.setdefault(entry_point.name, [])
        if entry_point.value not in [other.value for other in same]:  # one package may be on the path twice
            same.append(entry_point)
    return found


def load(name: str) -> Any:
    """What an installed package offers under a name.

    Raises:
      UserError: no package or several do, or it cannot be imported.
    """
    found = installed().get(name, [])
    if len(found) != 1:
        where = " and ".join(entry_point.value for entry_point in found) or "no package"
        raise UserError(f"must be offered by one installed package; is by {where}", prior_sampler=name)
    try:
        return found[0].load()
    except Exception as error:
        raise UserError(
            f"{found[0].value} could not be imported ({type(error).__name__}: {error})", prior_sampler=name
        ) from error
