"""The one exception that is the user's to mend."""


class UserError(Exception):
    """A user's mistake, said in one line: the name of the flag or file, its value, and the rule it breaks.

    The command line prints the message on stderr, without a traceback, and exits with status 2. Example:
    `--num_latents=201: must be divisible by 2 * num_groups (2)`.
    """

    def __init__(self, message: str):
        super().__init__(" ".join(message.splitlines()))
