"""Who is told about a run, and of how much."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from dvae.errors import UserError


class Voice(NamedTuple):
    """Attributes: `say`, where lines go; `quiet`, whether those about progress are left out, and bars with them."""

    say: Callable[[UserError | str], None] = print
    quiet: bool = False

    def progress(self, text: str) -> None:
        """A line that nobody needs who only wants the result."""
        if not self.quiet:
            self.say(text)
