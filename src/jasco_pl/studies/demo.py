"""`jasco demo`: requests from a file, clips of them measured against what was asked for, and the README.md that shows them.

A file of requests is YAML:

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

import math
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from jasco_pl.controls import ADHERENCES, CONTROLS, Control, Option, all_options
from jasco_pl.controls.options import DURING, WHOLE
from jasco_pl.generation.jasco import Request
from jasco_pl.metrics.report import aligned_table
from jasco_pl.notation.timed_text import written
from jasco_pl.pages.base import templates
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import write_text

PREPARED = Path(__file__).parent / "assets" / "demo.yaml"
"""The requests that are made when no file is given."""
COLUMNS = [column for adherence in ADHERENCES for column in adherence.columns]
"""Of the figures: against the chords as typed, the melody as read, the onsets that are heard in the drum part."""
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
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
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
        elif kinds[key] == "flag":
            if value is not True:
                raise UserError(f"{where} has {key}: {value!r}, where true is accepted.")
        elif not isinstance(value, str):
            raise UserError(f"{where} has {key}: {value!r}, where text is accepted.")
    *others, last = dict.fromkeys(control.option.name for control in CONTROLS.values())
    if not {*others, last} & set(fields):
        raise UserError(f"{where} has nothing to follow: give it {', '.join(others)} or {last}.")
    files = {key: os.path.normpath(file.parent / value) for key, value in fields.items() if kinds[key] == "file"}
    return Request(**{**fields, **files})


@dataclass
class Shown:
    """One request as the page shows it.

    Attributes:
        name: of its files.
        request: with the first seed.
        audio, without, picture: file names, relative to the page; `without` is the clip without controls.
        chords: what was asked for and what is heard, one line each; None where there were none to compare.
        figures: by key of `COLUMNS`, for every seed the figure of the clip and that of the clip without controls.
    """

    name: str
    request: Request
    audio: str
    without: str
    picture: str
    chords: tuple[str, str] | None = None
    figures: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def add(self, kept: Mapping[str, float], bare: Mapping[str, float]) -> None:
        """The figures of one more seed, each as far as it is defined."""
        for column in COLUMNS:
            if column.key in kept or column.key in self.figures:
                pair = kept.get(column.key, math.nan), bare.get(column.key, math.nan)
                self.figures.setdefault(column.key, []).append(pair)


def write_readme(
    folder: str | os.PathLike[str], shown: Sequence[Shown], *, title: str, about: str, made_by: str, sampling: Sequence[str]
) -> Path:
    """Write README.md into the folder in which the clips lie.

    Args:
        folder: where.
        shown: the requests in their order, each with the same number of seeds.
        title: the heading.
        about: Markdown, put before the figures.
        made_by: the command that made all of it.
        sampling: words that `jasco generate` needs besides what a request holds.

    Raises:
        UserError: the file cannot be written.
    """
    path = Path(folder) / "README.md"
    seeds = max((len(pairs) for one in shown for pairs in one.figures.values()), default=1)
    starts = {one.request.seed for one in shown}
    text = (
        templates()
        .get_template("studies/demo.md")
        .render(
            title=title,
            about=about,
            made_by=made_by,
            shown=shown,
            seeds=seeds,
            first=starts.pop() if len(starts) == 1 else None,
            table=_table(shown, seeds),
            given=lambda one: _all_given(one.request, path.parent),
            command=lambda request: generate_command(request, sampling),
        )
    )
    write_text(path, text)
    return path


def generate_command(request: Request, sampling: Sequence[str] = ()) -> str:
    """The `jasco generate` that makes the clip of a request, in lines for a shell; files are named from the working directory."""
    lines = [f"jasco generate --text {_quoted(written(request.text))}"] if request.text else ["jasco generate"]
    last: list[str] = []
    for control in _asked(request):
        said = [option for option in control.options() if getattr(request, option.name) != option.default]
        words = " ".join(option.flag if option.kind == "flag" else f"{option.flag} {_quoted(_written(request, option))}" for option in said)
        (last if control.option.kind == "file" else lines).append(words)
    for option in WHOLE:
        if getattr(request, option.name) != option.default:
            lines.append(option.flag if option.kind == "flag" else f"{option.flag} {_quoted(_written(request, option))}")
    lines.append(" ".join([*last, f"--seed {request.seed}", *map(_quoted, sampling), "-o out/"]))
    return " \\\n  ".join(lines)


def two_decimals(value: float) -> str:
    """With two decimals; what is not defined as a dash."""
    return "–" if math.isnan(value) else f"{value:.2f}"


def means(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Of either side, over those that are defined."""
    kept, bare = (side[~np.isnan(side)] for side in np.array(pairs).T)
    return float(kept.mean()) if len(kept) else math.nan, float(bare.mean()) if len(bare) else math.nan


def _table(shown: Sequence[Shown], seeds: int) -> str:
    """A line a figure: the clip that is kept, then, where there are more, all seeds."""
    heading = ["example", "figure", "this clip", "without controls"]
    heading += [f"{seeds} seeds", f"{seeds} seeds without"] * (seeds > 1)
    table = [heading]
    for one in shown:
        for column in (column for column in COLUMNS if column.key in one.figures):
            pairs = np.array(one.figures[column.key])
            spread = [_spread(pairs[:, 0]), _spread(pairs[:, 1])] if seeds > 1 else []
            table.append([f"[{one.name}](#{one.name.lower()})", column.title, *(two_decimals(value) for value in pairs[0]), *spread])
    return aligned_table(table)


def _all_given(request: Request, folder: Path) -> list[str]:
    """What the controls are given, and for which seconds they hold."""
    during = getattr(request, DURING.name)
    return [_given(request, control, folder) for control in _asked(request)] + ([f"during `{during}`"] if during is not None else [])


def _given(request: Request, control: type[Control], folder: Path) -> str:
    """What a control is given, in Markdown."""
    option, source = control.option, getattr(request, control.option.name)
    shown = f"`{source}`"
    if option.kind == "file":
        shown = f"[{Path(source).name}]({os.path.relpath(source, folder).replace(os.sep, '/')})"
    more = [detail for detail in control.details if getattr(request, detail.name) != detail.default]
    details = ", ".join(f"{detail.name} {_written(request, detail)}" for detail in more)
    return f"{option.name} {shown}" + (f" ({details})" if details else "")


def _asked(request: Request) -> list[type[Control]]:
    """The controls that a request asks for, one of those that follow the same thing or say it in a detail."""
    asked = {control.option.name: control for control in CONTROLS.values() if getattr(request, control.option.name) is not None}
    details = {detail.name for control in asked.values() for detail in control.details}
    return [control for name, control in asked.items() if name not in details]  # what is said beside another stands there


def _written(request: Request, option: Option) -> str:
    """A value as it is written for a command."""
    value = getattr(request, option.name)
    return _seen(value) if option.kind == "file" else f"{value:g}" if option.kind == "number" else str(value)


def _spread(values: np.ndarray) -> str:
    defined = values[~np.isnan(values)]
    if len(defined) < 2:
        return two_decimals(defined[0]) if len(defined) else two_decimals(math.nan)
    return f"{defined.mean():.2f} ± {defined.std(ddof=1):.2f}"


def _seen(path: object) -> str:
    """A path as it is named from the working directory, if it lies below."""
    near = os.path.relpath(str(path))
    return os.path.abspath(str(path)) if near.startswith("..") else near


def _quoted(word: str) -> str:
    """For a shell; in double quotes rather than in single ones, since prompts have apostrophes."""
    return f'"{word}"' if shlex.quote(word) != word and not set('"$`\\!') & set(word) else shlex.quote(word)
