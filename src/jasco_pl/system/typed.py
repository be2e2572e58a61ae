"""What is read from JSON is what it should be, or one sentence says what it is instead.

Types are those of Python: dataclasses, typed dictionaries, lists, literals; msgspec compares them (https://jcristharif.com/msgspec).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from jasco_pl.system.errors import UserError
from jasco_pl.system.files import loads

T = TypeVar("T")


def from_json(text: bytes, kind: type[T]) -> T:
    """JSON as a type.

    Raises:
        ValueError: it is no JSON, or holds something else; says what and where, without a full stop.
    """
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        raise ValueError(_reason(error)) from None
    except (msgspec.DecodeError, RecursionError):  # Python's reads more: halves of surrogate pairs, which names of files may hold
        return typed(loads(text), kind)


def typed(value: Any, kind: type[T]) -> T:
    """What JSON or YAML held as a type; a dataclass may lack no field without default, and have none that is unknown.

    Raises:
        ValueError: it is something else; says what and where, without a full stop.
    """
    try:
        made = msgspec.convert(value, kind)
        unknown = next(_unknown(value, made, ""), None)
    except msgspec.ValidationError as error:
        raise ValueError(_reason(error)) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if unknown is not None:
        raise ValueError(f"there is no {unknown!r}")
    return made


def read_typed(path: str | Path, kind: type[T]) -> T:
    """A JSON file as a type.

    Raises:
        FileNotFoundError: there is none. UserError: it cannot be read, or is damaged.
    """
    try:
        return from_json(Path(path).read_bytes(), kind)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{str(path)!r} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(f"{str(path)!r} is damaged: {error}.") from error


def _reason(error: msgspec.ValidationError) -> str:
    text, _, place = str(error).rstrip(".").replace("`", "'").partition(" - at ")
    place = place.strip("'").removeprefix("$").removeprefix(".")
    text = text if text[:2].isupper() else text[:1].lower() + text[1:]
    return f"{text} at {place!r}" if place else text


def _unknown(value: Any, made: Any, place: str) -> Iterator[str]:
    """Keys that a dataclass, here or further inside, was not made of."""
    if dataclasses.is_dataclass(made) and isinstance(value, dict):
        names = {field.name for field in dataclasses.fields(made)}
        for key, inner in value.items():
            if key in names:
                yield from _unknown(inner, getattr(made, key), f"{place}{key}.")
            else:
                yield f"{place}{key}"
    elif isinstance(made, dict) and isinstance(value, dict):
        for key, inner in value.items():
            yield from _unknown(inner, made.get(key), f"{place}{key}.")
    elif isinstance(made, list | tuple) and isinstance(value, list):
        for inner, one in zip(value, made, strict=False):
            yield from _unknown(inner, one, place)
