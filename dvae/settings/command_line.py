"""What both command lines share: readable help, and one line for a user's mistake."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable
from typing import NoReturn

from absl import app, flags, logging

from dvae.errors import UserError, one_line

_WIDTH = 110
_UNREAD = 128 + 13  # as a shell shows a program that SIGPIPE has ended


def run(main: Callable[[], None], *, description: str, groups: dict[str, list[str]], epilogue: str = "") -> None:
    """Parses the flags and runs `main`.

    A mistake of the user, in the flags or a `UserError` from below, ends with one line on stderr and exit status 2,
    or that of its kind (`dvae.errors`).

    One whose output nobody reads any more (`... | head`) ends quietly.

    Args:
      main: the program.
      description: for `--help`.
      groups: names of flags under headings, for `--help`.
      epilogue: what `--help` ends with.
    """

    def parse(arguments: list[str]) -> list[str]:
        if any(a.lstrip("-") in ("help", "helpshort", "h") for a in arguments[1:] if a.startswith("-")):
            print(_help(description, groups, epilogue))
            sys.exit(0)
        try:
            rest = flags.FLAGS(arguments)
        except flags.Error as error:
            _fail(str(error))
        except RecursionError:  # absl looks for the flag that a very long name could have meant
            _fail("there is no flag of such a name; see --helpshort")
        if len(rest) > 1:
            _fail(f"{rest[1]}: not a flag; see --helpshort")
        return rest

    def guarded(_: list[str]) -> None:
        logging.set_verbosity(logging.WARNING)  # TensorFlow reports every checkpoint at level INFO
        try:
            main()
        except UserError as error:
            _fail(error.on_command_line(), error.status)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)

    try:
        try:
            app.run(guarded, flags_parser=parse)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # What is left to be written is written nowhere, or Python would complain of it at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_UNREAD)


def _fail(message: str, status: int = UserError.status) -> NoReturn:
    print(one_line(message), file=sys.stderr)
    sys.exit(status)


def _help(description: str, groups: dict[str, list[str]], epilogue: str) -> str:
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
    return "\n".join([*parts, *(["", epilogue] if epilogue else [])])
