"""What both command lines share: readable help, and one line for a user's mistake."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable

from absl import app, flags, logging

from dvae.errors import UserError

_WIDTH = 110


def run(main: Callable[[], None], *, description: str, groups: dict[str, list[str]]) -> None:
    """Parses the flags and runs `main`.

    A mistake of the user, in the flags or a `UserError` from below, ends with one line on stderr and exit status 2.

    Args:
      main: the program.
      description: for `--help`.
      groups: names of flags under headings, for `--help`.
    """

    def parse(arguments: list[str]) -> list[str]:
        if any(a.lstrip("-") in ("help", "helpshort", "h") for a in arguments[1:] if a.startswith("-")):
            print(_help(description, groups))
            sys.exit(0)
        try:
            rest = flags.FLAGS(arguments)
        except flags.Error as error:
            _fail(str(error))
        if len(rest) > 1:
            _fail(f"{rest[1]}: not a flag; see --helpshort")
        return rest

    def guarded(_: list[str]) -> None:
        logging.set_verbosity(logging.WARNING)  # TensorFlow reports every checkpoint at level INFO
        try:
            main()
        except UserError as error:
            _fail(error.on_command_line())
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)

    app.run(guarded, flags_parser=parse)


def _fail(message: str) -> None:
    print(" ".join(message.split()), file=sys.stderr)
    sys.exit(2)


def _help(description: str, groups: dict[str, list[str]]) -> str:
    parts = [description.strip()]
    for heading, names in groups.items():
        parts.append(f"\n{heading}")
        for name in names:
            flag = flags.FLAGS[name]
            shown = f"--[no]{name}" if flag.boolean else f"--{name}={'...' if flag.default is None else flag.default}"
            is_switch = flag.boolean and flag.default is not None
            text = flag.help + (f" (default {str(flag.default).lower()})" if is_switch else "")
            lead = f"  {shown:<38} "
            parts.append(textwrap.fill(text, _WIDTH, initial_indent=lead, subsequent_indent=" " * len(lead[:41])))
    return "\n".join(parts)
