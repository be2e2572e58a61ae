"""Chords in JSON: JAMS (Humphrey et al. 2014), and what this project writes itself."""

from __future__ import annotations

import json
from typing import Any

from jasco_pl.notation.chords.score import Symbol, Timed
from jasco_pl.notation.chords.times import rising
from jasco_pl.system.errors import UserError

_OWN = ("chords", "chords_read")  # of `jasco read --json`, and of the JSON beside a clip


def read_json(content: str, name: str) -> Timed:
    """Read a JAMS file, or JSON of this project.

    Raises:
        UserError: it is neither, or holds no chords.
    """
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        raise UserError(f"chord file {name!r} is no JSON that can be read; accepted are JAMS and the JSON of `jasco read`.") from None
    if isinstance(data, dict) and isinstance(data.get("annotations"), list):
        return _read_jams(data["annotations"], name)
    pairs = next((data[key] for key in _OWN if isinstance(data.get(key), list)), None) if isinstance(data, dict) else data
    if not isinstance(pairs, list) or not pairs:
        raise UserError(f"chord file {name!r} holds no chords; accepted are JAMS and the JSON of `jasco read`.")
    found = []
    for number, pair in enumerate(pairs, 1):
        where = f"chord {number} of {name!r}"
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
            raise UserError(f'{where} is not understood; expected was a pair, as in ["C", 0.0].')
        found.append((Symbol(pair[0], where), _number(pair[1], where)))
    return Timed(rising(found))


def _read_jams(annotations: list[Any], name: str) -> Timed:
    chords = [one for one in annotations if isinstance(one, dict) and str(one.get("namespace", "")).startswith("chord")]
    filled = [one for one in chords if one.get("data")]
    if not filled:
        raise UserError(f"JAMS file {name!r} holds no annotation of chords (namespace `chord`).")
    data = filled[0]["data"]
    if isinstance(data, dict):  # columns, as older files have them
        columns = [data.get(key) for key in ("time", "duration", "value")]
        if not all(isinstance(column, list) for column in columns):
            raise UserError(f"the annotation of chords in {name!r} is not understood; expected were time, duration and value.")
        data = [dict(zip(("time", "duration", "value"), row, strict=False)) for row in zip(*columns, strict=False)]  # type: ignore[arg-type]
    notes = [f"{name!r} holds {len(filled)} annotations of chords: the first is read"] if len(filled) > 1 else []
    found: list[tuple[Symbol, float]] = []
    end, skipped = 0.0, 0
    for number, one in enumerate(data, 1):
        where = f"chord {number} of {name!r}"
        if not isinstance(one, dict):
            raise UserError(f"{where} is not understood; expected were time, duration and value.")
        start, length = _number(one.get("time"), where), _number(one.get("duration", 0.0), where)
        if length <= 0:
            skipped += 1
            continue
        if found and start - end > 0.01:
            found.append((Symbol("N", where), end))
        found.append((Symbol(_value(one.get("value"), where), where), start))
        end = start + length
    if not found:
        raise UserError(f"JAMS file {name!r} holds no chord that lasts.")
    if skipped:
        notes.append(f"{skipped} chord(s) of no length in {name!r} left out")
    return Timed([*rising(found), (Symbol("N", f"the end of {name!r}"), end)], notes)


def _value(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    raise UserError(f"{where} has no name; expected was a chord, as in C:min7.")


def _number(value: Any, where: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9:
        return float(value)
    raise UserError(f"{where} has no time; expected was a number of seconds.")
