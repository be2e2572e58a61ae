"""The exception that is shown to a person as a single sentence."""


class UserError(ValueError):
    """Bad input or surroundings: the message says what was wrong, where, and what is accepted.

    The command line prints the message alone and exits with code 2; nothing half-written is left behind.
    """


class WriteError(UserError):
    """Something cannot be written: no permission, a full disk. The surroundings' fault, whatever input it was met with."""
