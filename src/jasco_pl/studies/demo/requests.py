"""Requests in a YAML file: what `jasco demo` makes.

title: Three clips of the demo
about: Markdown, put before the figures; may be left out.
requests:
  1-chords:
    text: mellow pop ballad
    chords: "C | G | Am | F"
    bpm: 96
    melody: tune.mid      # paths are relative to the file
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from jasco_pl.controls import CONTROLS, all_options
from jasco_pl.generation.jasco import Request
from jasco_pl.system.errors import UserError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class RequestFile:
    """A file of requests, by name in its order."""

    title: str
    about: str
    requests: dict[str, Request]


def read_requests(path: str | os.PathLike[str]) -> RequestFile:
    """Read a file of requests; their controls are read when clips are made.

    Raises:
        UserError: the file is not there or not of that form, a request has an unknown field, a value of another kind, or nothing to follow.
    """
    name = os.fspath(path)
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"the file of requests {name!r} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"the file of requests {name!r} is not YAML ({' '.join(str(error).split()).rstrip('.')}).") from None
    if not isinstance(content, dict) or not isinstance(content.get("requests"), dict) or not content["requests"]:
        raise UserError(f"the file of requests {name!r} has no 'requests:' with at least one name and its fields ({_fields()}).")
    if unknown := [key for key in content if key not in ("title", "about", "requests")]:
        raise UserError(f"{name!r} has an unknown entry {unknown[0]!r}; there may be title, about and requests.")
    requests = {
        str(key): _request(f"request {str(key)!r} of {name!r}", str(key), value, Path(path)) for key, value in content["requests"].items()
    }
    return RequestFile(str(content.get("title") or "Clips"), str(content.get("about") or "").strip(), requests)


def _fields() -> str:
    return ", ".join(["text", *all_options(), "seed"])


def _request(where: str, name: str, fields: Any, file: Path) -> Request:
    if not _NAME.fullmatch(name):
        raise UserError(f"{where} cannot name files: letters, digits, - and _ are accepted.")
    if not isinstance(fields, dict) or not fields:
        raise UserError(f"{where} has no fields; there may be {_fields()}.")
    kinds = {"text": "text", "seed": "number", **{option.name: option.kind for option in all_options().values()}}
    for key, value in fields.items():
        if key not in kinds:
            raise UserError(f"{where} has an unknown field {key!r}; there may be {_fields()}.")
        if kinds[key] == "number":
            if isinstance(value, bool) or not isinstance(value, int if key == "seed" else int | float):
                raise UserError(f"{where} has {key}: {value!r}, where a {'whole ' * (key == 'seed')}number is accepted.")
        elif not isinstance(value, str):
            raise UserError(f"{where} has {key}: {value!r}, where text is accepted.")
    *others, last = dict.fromkeys(control.option.name for control in CONTROLS.values())
    if not {*others, last} & set(fields):
        raise UserError(f"{where} has nothing to follow: give it {', '.join(others)} or {last}.")
    files = {key: os.path.normpath(file.parent / value) for key, value in fields.items() if kinds[key] == "file"}
    return Request(**{**fields, **files})
