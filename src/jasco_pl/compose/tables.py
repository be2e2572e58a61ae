"""The tables that pieces are drawn from: YAML files beside this module, read once and checked.

The order of names and lists is part of the tables: draws depend on it, and with them every piece.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from jasco_pl.compose.song import SCALES, Chord
from jasco_pl.notation.harmony import TYPES

PULSES = {"4/4": 4, "3/4": 3, "6/8": 2}
PLAYERS = ("comp", "second", "pad", "bass", "melody", "drums", "light", "rise")  # as sections ask for them
# One bar of a groove: drum name -> steps.
Groove = dict[str, str]
_DEGREE = re.compile(r"^([b#]?)([1-7])(.*)$")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # reads the tables in a tenth of the time


@dataclass(frozen=True)
class Instrument:
    """A GM program (0-based), the words a caption may use, and its comfortable melody range in MIDI numbers."""

    program: int
    words: tuple[str, ...]
    low: int = 57
    high: int = 84


@dataclass(frozen=True)
class Style:
    """What a piece of one style draws from; chances are 0..1, instrument names are keys of `INSTRUMENTS`."""

    words: tuple[str, ...]
    moods: tuple[str, ...]
    meters: dict[str, float]
    bpm: tuple[int, int]
    families: tuple[str, ...]
    grooves: tuple[str, ...]
    kits: tuple[int, ...]
    bass: tuple[str, ...]
    bass_lines: tuple[str, ...]
    comp: tuple[str, ...]
    comp_patterns: tuple[str, ...]
    lead: tuple[str, ...]
    pad: tuple[str, ...] = ()
    pad_chance: float = 0.4
    second_comp: tuple[str, ...] = ()
    minor: float = 0.4
    sevenths: float = 0.1
    slash: float = 0.08
    tail: float = 0.05
    swing: tuple[float, float] = (0.5, 0.5)
    swing_sixteenths: bool = False
    drums_chance: float = 0.85
    melody_density: float = 0.5
    compound_bpm: tuple[int, int] = (60, 100)
    rubato: float = 0.5


@dataclass(frozen=True)
class Kind:
    """A kind of section, e.g. a verse: see `forms.yaml`."""

    energy: tuple[float, float]
    material: str
    players: tuple[str, ...]
    words: tuple[str, ...]


@dataclass(frozen=True)
class _Forms:
    """`forms.yaml`."""

    scenes: dict[str, Kind]
    forms: tuple[str, ...]


@dataclass(frozen=True)
class _Band:
    """`instruments.yaml`."""

    instruments: dict[str, Instrument]
    kits: dict[int, tuple[str, ...]]
    drums: dict[str, int]


@dataclass(frozen=True)
class _Patterns:
    """`patterns.yaml`: name -> metre -> steps of a bar."""

    bass: dict[str, dict[str, str]]
    comp: dict[str, dict[str, str]]
    melody: dict[str, tuple[str, ...]]
    drums: dict[str, dict[str, tuple[Groove, ...]]]


@dataclass(frozen=True)
class _Captions:
    """`captions.yaml`."""

    templates: dict[str, tuple[str, ...]]
    meters: dict[str, tuple[str, ...]]
    tempi: dict[int, tuple[str, ...]]
    absent: dict[str, tuple[str, ...]]
    sections: tuple[str, ...]
    levels: dict[str, tuple[str, ...]]
    motions: dict[str, tuple[str, ...]]
    full: tuple[str, ...]
    alone: tuple[str, ...]


def typed(value: Any, kind: Any, where: str) -> Any:
    """What YAML holds as `kind`: a plain class, a dataclass (YAML: a mapping of its fields), or tuples (lists) and dicts of such.

    Args:
        where: its place, for the error message.

    Raises:
        ValueError: it is something else, or a dataclass's field is unknown or missing.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin is tuple and isinstance(value, list):
        kinds = inner[:1] * len(value) if inner[-1] is ... else inner
        if len(kinds) == len(value):
            return tuple(typed(item, each, where) for item, each in zip(value, kinds, strict=True))
    elif origin is dict and isinstance(value, dict):
        return {typed(key, inner[0], where): typed(item, inner[1], f"{where}: {key}") for key, item in value.items()}
    elif is_dataclass(kind) and isinstance(value, dict):
        hints = get_type_hints(kind)
        _check_known(value, hints, where)
        if missing := [field.name for field in fields(kind) if field.default is MISSING and field.name not in value]:
            raise ValueError(f"{where} lacks {missing[0]!r}")
        return kind(**{key: typed(item, hints[key], f"{where}: {key}") for key, item in value.items()})  # type: ignore[operator]
    elif type(value) is kind or (kind is float and type(value) is int):
        return kind(value)
    raise ValueError(f"{where}: {value!r} is not of the kind {getattr(kind, '__name__', kind) if origin is None else kind}")


def degrees(line: str) -> tuple[Chord, ...]:
    """Read a line of degrees such as `1 5/3 6m 4` as chords above the tonic C.

    Raises:
        ValueError: a degree or a chord type is not known; names it.
    """
    chords = []
    for token in line.split():
        match = _DEGREE.match(token)
        if match is None or match[3] not in TYPES:
            raise ValueError(f"not a degree with a known chord type: {token!r} in {line!r}")
        shift = {"b": -1, "#": 1, "": 0}[match[1]]
        chords.append(Chord((SCALES["major"][int(match[2]) - 1] + shift) % 12, match[3]))
    return tuple(chords)


def check_steps(steps: str, meter: str, symbols: str, where: str) -> None:
    """Raises ValueError unless `steps` are a bar of that metre, a whole number of them a pulse, and all among `symbols`."""
    _check_known((meter,), PULSES, where)
    _check_known(steps, symbols, where)
    if not steps or len(steps) % PULSES[meter]:
        raise ValueError(f"{where}: the {len(steps)} steps of {steps!r} do not fill the {PULSES[meter]} pulses of {meter}")


def check_style(style: Style, where: str) -> None:
    """Raises ValueError where a style names what no other table has, or holds a chance beyond 0..1."""
    instruments = dict.fromkeys(("bass", "comp", "lead", "pad", "second_comp"), INSTRUMENTS)
    tables: dict[str, Mapping[Any, Any]] = {
        **instruments,
        "meters": PULSES,
        "families": FAMILIES,
        "grooves": GROOVES,
        "kits": KITS,
        "bass_lines": BASS_LINES,
        "comp_patterns": COMP_PATTERNS,
    }
    for name, table in tables.items():
        _check_known(getattr(style, name), table, f"{where}: {name}")
    for name in ("pad_chance", "minor", "sevenths", "slash", "tail", "drums_chance", "melody_density", "rubato"):
        if not 0 <= getattr(style, name) <= 1:
            raise ValueError(f"{where}: {name} is {getattr(style, name)}, not within 0..1")


def _check_known(names: Any, known: Any, where: str) -> None:
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{where}: {unknown[0]!r} is unknown, which is none of {', '.join(map(str, known))}")


def grown(base: Style | None, raw: Any, where: str) -> Style:
    """A style of a later edition: `raw` (YAML) whole, or what it has beside an earlier one; lists of names are added, the rest replaces.

    Raises:
        ValueError: as `typed`.
    """
    if base is None or not isinstance(raw, dict):
        return typed(raw, Style, where)
    hints = get_type_hints(Style)
    _check_known(raw, hints, where)
    new = {key: typed(value, hints[key], f"{where}: {key}") for key, value in raw.items()}
    return replace(base, **{key: getattr(base, key) + value if get_args(hints[key])[1:] == (...,) else value for key, value in new.items()})


def _load(file: str) -> Any:
    return yaml.load(Path(__file__).with_name(file).read_text(encoding="utf-8"), _LOADER)


def _read(file: str, kind: Any) -> Any:
    return typed(_load(file), kind, file)


def _checked(patterns: _Patterns) -> _Patterns:
    for role, table, symbols in (("bass", patterns.bass, "1358-."), ("comp", patterns.comp, "Xxabcdef-.")):
        for name, bars in table.items():
            for meter, steps in bars.items():
                check_steps(steps, meter, symbols, f"patterns.yaml: {role}: {name}")
    for meter, rhythms in patterns.melody.items():
        for steps in rhythms:
            check_steps(steps, meter, "x.", "patterns.yaml: melody")
    for name, meters in patterns.drums.items():
        for meter, grooves in meters.items():
            for groove in grooves:
                _check_known(groove, DRUM_KEYS, f"patterns.yaml: drums: {name}")
                for steps in groove.values():
                    check_steps(steps, meter, "Xxo?.", f"patterns.yaml: drums: {name}")
    return patterns


def _onsets(steps: str, meter: str) -> tuple[float, ...]:
    """Where a rhythm strikes, in pulses of the bar."""
    return tuple(i * PULSES[meter] / len(steps) for i, step in enumerate(steps) if step == "x")


_band: _Band = _read("instruments.yaml", _Band)
INSTRUMENTS = _band.instruments
KITS = _band.kits  # GM preset of bank 128 -> caption words
DRUM_KEYS = _band.drums

_patterns = _checked(_read("patterns.yaml", _Patterns))
BASS_LINES = _patterns.bass
COMP_PATTERNS = _patterns.comp
RHYTHMS = {meter: tuple(_onsets(steps, meter) for steps in rhythms) for meter, rhythms in _patterns.melody.items()}
GROOVES = _patterns.drums

# Family -> mode -> progressions, as chords above the tonic C.
FAMILIES: dict[str, dict[str, tuple[tuple[Chord, ...], ...]]] = {
    family: {mode: tuple(map(degrees, lines)) for mode, lines in modes.items()}
    for family, modes in _read("progressions.yaml", dict[str, dict[str, tuple[str, ...]]]).items()
}

STYLES: dict[str, Style] = _read("styles.yaml", dict[str, Style])
STYLES_2 = STYLES | {name: grown(STYLES.get(name), raw, f"styles_2.yaml: {name}") for name, raw in _load("styles_2.yaml").items()}
for _file, _styles in (("styles.yaml", STYLES), ("styles_2.yaml", STYLES_2)):
    for _name, _style in _styles.items():
        check_style(_style, f"{_file}: {_name}")

_forms: _Forms = _read("forms.yaml", _Forms)
SCENES = _forms.scenes
FORMS = tuple(tuple(form.split()) for form in _forms.forms)
for _kind in SCENES.values():
    _check_known(_kind.material, "ABC", "forms.yaml: material")
    for _line in _kind.players:
        _check_known(_line.split(), PLAYERS, "forms.yaml: players")
for _form in FORMS:
    _check_known(_form, SCENES, "forms.yaml: forms")

_captions: _Captions = _read("captions.yaml", _Captions)
TEMPLATES, METER_WORDS, TEMPI, ABSENT = _captions.templates, _captions.meters, _captions.tempi, _captions.absent
SECTION_TEMPLATES, LEVEL_WORDS, MOTION_WORDS = _captions.sections, _captions.levels, _captions.motions
FULL_WORDS, ALONE_WORDS = _captions.full, _captions.alone
