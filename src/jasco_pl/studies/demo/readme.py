"""README.md of a folder of clips: every request with the command that makes it, its sound, its picture and its figures."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jasco_pl.controls import CONTROLS, Control, Option
from jasco_pl.generation.jasco import Request
from jasco_pl.metrics.report import Column, aligned_table
from jasco_pl.studies.demo.follow import COLUMNS
from jasco_pl.system.files import atomic_path

Pair = tuple[float, float]


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
    figures: dict[str, list[Pair]] = field(default_factory=dict)

    def add(self, kept: Mapping[str, float], bare: Mapping[str, float]) -> None:
        """The figures of one more seed."""
        for key, value in kept.items():
            self.figures.setdefault(key, []).append((value, bare[key]))


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
    parts = [f"# {title}", about, f"All of it, this page included, was made by\n\n```\n{made_by}\n```", _summary(shown, seeds)]
    parts += [_section(one, path.parent, sampling) for one in shown]
    with atomic_path(path) as temporary:
        temporary.write_text("\n\n".join(filter(None, parts)) + "\n", encoding="utf-8")
    return path


def generate_command(request: Request, sampling: Sequence[str] = ()) -> str:
    """The `jasco generate` that makes the clip of a request, in lines for a shell; files are named from the working directory."""
    lines = [f"jasco generate --text {_quoted(request.text)}"] if request.text else ["jasco generate"]
    last: list[str] = []
    for control in _asked(request):
        said = [option for option in control.options() if getattr(request, option.name) != option.default]
        words = " ".join(f"{option.flag} {_quoted(_written(request, option))}" for option in said)
        (last if control.option.kind == "file" else lines).append(words)
    lines.append(" ".join([*last, f"--seed {request.seed}", *map(_quoted, sampling), "-o out/"]))
    return " \\\n  ".join(lines)


def _summary(shown: Sequence[Shown], seeds: int) -> str:
    """A line a figure: the clip that is kept, then, where there are more, all seeds."""
    heading = ["example", "figure", "this clip", "without controls"]
    heading += [f"{seeds} seeds", f"{seeds} seeds without"] * (seeds > 1)
    table = [heading]
    for one in shown:
        for column in _columns(one):
            pairs = np.array(one.figures[column.key])
            spread = [_spread(pairs[:, 0]), _spread(pairs[:, 1])] if seeds > 1 else []
            table.append([f"[{one.name}](#{one.name.lower()})", column.title, *(f"{value:.2f}" for value in pairs[0]), *spread])
    meaning = (
        "Chord IoU compares the chords as typed with those that Chordino hears, melody accuracy the tune with the strongest pitch class "
    )
    meaning += (
        "above middle C, onset F1 the onsets of the drum part with those of the clip (50 ms). Without controls: the same prompt and seed."
    )
    if seeds > 1:
        first = shown[0].request.seed
        meaning += f" Means over {seeds} seeds ± their standard deviation"
        same = all(one.request.seed == first for one in shown)
        meaning += f" (seeds {first} to {first + seeds - 1}; the clip that is kept is the first, whatever its figures)." if same else "."
    return meaning + "\n\n" + aligned_table(table).rstrip()


def _section(one: Shown, folder: Path, sampling: Sequence[str]) -> str:
    request = one.request
    given = [_given(request, control, folder) for control in _asked(request)]
    parts = [
        f"## {one.name}",
        f"> {request.text}" if request.text else "",
        f"Given: {'; '.join(given)}.",
        f"[**listen**]({one.audio}) · [the same without controls]({one.without})",
        f"![Waveform, spectrum, and what was asked for over what is heard]({one.picture})",
        f"```\n{generate_command(request, sampling)}\n```",
    ]
    if one.chords is not None:
        parts.append("```\nasked  {}\nheard  {}\n```".format(*one.chords))
    return "\n\n".join(filter(None, parts))


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
    """The controls that a request asks for, one of those that follow the same thing."""
    asked = {control.option.name: control for control in CONTROLS.values() if getattr(request, control.option.name) is not None}
    return list(asked.values())


def _written(request: Request, option: Option) -> str:
    """A value as it is written for a command."""
    value = getattr(request, option.name)
    return _seen(value) if option.kind == "file" else f"{value:g}" if option.kind == "number" else str(value)


def _columns(one: Shown) -> list[Column]:
    return [column for column in COLUMNS if column.key in one.figures]


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.2f} ± {values.std(ddof=1):.2f}"


def _seen(path: object) -> str:
    """A path as it is named from the working directory, if it lies below."""
    near = os.path.relpath(str(path))
    return os.path.abspath(str(path)) if near.startswith("..") else near


def _quoted(word: str) -> str:
    """For a shell; in double quotes rather than in single ones, since prompts have apostrophes."""
    return f'"{word}"' if shlex.quote(word) != word and not set('"$`\\!') & set(word) else shlex.quote(word)
