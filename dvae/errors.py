"""The one exception that is the user's to mend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

_LONGEST = 1000  # characters of a message


class UserError(ValueError):
    """A user's mistake, said in one line: the name of the setting, its value, and the rule it breaks.

        UserError("must be divisible by 2 * num_groups (2)", num_latents=201)

    Python shows `num_latents=201: must be divisible by 2 * num_groups (2)`. The command line prints
    `--num_latents=201: ...` on stderr, without a traceback, and exits with status 2.

    Args:
      rule: what must hold. Where a mistake is in a file, the text begins with its path.
      mentions: other settings that the rule names, each as `{name}` in its text.
      settings: what breaks the rule, by name.
    """

    status: ClassVar[int] = 2

    def __init__(self, rule: str, /, *, mentions: Mapping[str, Any] | None = None, **settings: Any) -> None:
        self._rule, self._mentions, self._settings = rule, mentions or {}, settings
        super().__init__(self._text(_as_argument))

    def on_command_line(self) -> str:
        """The message with every setting as its flag."""
        return self._text(as_flag)

    def _text(self, shown: Callable[[str, Any], str]) -> str:
        rule = self._rule
        for name, value in self._mentions.items():
            rule = rule.replace("{" + name + "}", shown(name, value))
        subject = " ".join(shown(name, value) for name, value in self._settings.items())
        return one_line(f"{subject}: {rule}" if subject else rule)


def one_line(text: str) -> str:
    """As it can be shown: without line breaks, without bytes that are no text, and not without end."""
    line = " ".join(text.encode(errors="backslashreplace").decode().split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}"


class StorageError(UserError):
    """A file system refuses what a run needs; once it does not, the same command goes on. Exit status 74 (EX_IOERR)."""

    status = 74


class DivergenceError(UserError):
    """Numbers are not finite any more: the same command comes to the same end. Exit status 70 (EX_SOFTWARE)."""

    status = 70


class PeerError(UserError):
    """Another process of the training has ended; started again, all go on from the last checkpoint.

    Exit status 75 (EX_TEMPFAIL).
    """

    status = 75


def _as_argument(name: str, value: Any) -> str:
    return f"{name}={value!r}" if isinstance(value, str) else f"{name}={value}"


def as_flag(name: str, value: Any) -> str:
    """A setting as it is given on the command line."""
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no{name}"
    if isinstance(value, tuple):
        value = ",".join(f"{number:g}" for number in value)
    return f"--{name}={value}"
