"""Looks at YAML before it is loaded: the C parser of PyYAML builds nodes by recursion, and what is nested too deeply ends the process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from jasco_pl.system.errors import UserError

DEEPEST = 100
MOST_BYTES = 4 << 20
_SHORT = 2 * DEEPEST  # nothing so short is nested so deeply
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def check_arguments(arguments: Sequence[str]) -> None:
    """Look at the configurations that a command line names, and at the values on it, which are YAML too.

    Raises:
        UserError: one is nested too deeply, larger than any configuration, or not UTF-8.
    """
    for place, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if name in ("-c", "--config"):
            _check_file(value if equals else "".join(arguments[place + 1 : place + 2]))
        else:
            _check(word, "a value on the command line")
            _check(value, "a value on the command line")


def _check_file(name: str) -> None:
    path = Path(name)
    try:
        if not path.is_file():
            return  # who reads it says so
        size = path.stat().st_size
        content = path.read_bytes().decode() if size <= MOST_BYTES else ""
    except UnicodeDecodeError:
        raise UserError(f"{name!r} is not UTF-8, as configurations are.") from None
    except (OSError, ValueError):
        return
    if size > MOST_BYTES:
        raise UserError(f"{name!r} is no configuration: it has more than {MOST_BYTES >> 20} MiB.")
    _check(content, repr(name))


def _check(text: str, what: str) -> None:
    if len(text) < _SHORT:
        return
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise UserError(f"{what} is nested too deeply: more than {DEEPEST} lists and mappings in each other.")
    except yaml.YAMLError:
        return  # who loads it says what is wrong
