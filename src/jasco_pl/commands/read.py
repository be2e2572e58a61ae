"""Print what would be asked for: chords with their times, the melody's notes, the drums' onsets. No network is loaded, nothing is made.

  jasco read --chords "Dm7 | G7 | Cmaj7 A7" --bpm 120 --seconds 10
  jasco read --melody tune.mid --drums loop.wav --json

Takes what `jasco generate` takes for its controls, reads it in the same way and refuses it in the same words.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from jasco_pl.commands.generate import DEFAULT_SECONDS, add_control_arguments, asked_of
from jasco_pl.controls.inputs import previews
from jasco_pl.generation.outline import MAX_PAINTED_SECONDS
from jasco_pl.system.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is asked for, and how to say how it was read."""
    add_control_arguments(parser)
    parser.add_argument("--seconds", type=float, default=DEFAULT_SECONDS, help="length of the clip (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="as JSON: chords, melody, track, notes, and audio by its option")


def run(args: argparse.Namespace) -> int:
    """Always 0."""
    if not 0 < args.seconds <= MAX_PAINTED_SECONDS:
        raise UserError(f"a clip lasts up to {MAX_PAINTED_SECONDS:g} seconds, not {args.seconds:g}.")
    found = previews(asked_of(args), args.seconds)
    if not found:
        raise UserError('there is nothing to read: give --chords, as in --chords "C | G7 | Am F", --melody, --drums or other audio.')
    data: dict[str, Any] = {}
    for preview in found.values():
        data |= preview.data
    notes = list(dict.fromkeys(note for preview in found.values() for note in preview.notes))
    if args.json:
        print(json.dumps({**data, "notes": notes}, ensure_ascii=False))
        return 0
    for preview in found.values():
        for line in preview.lines:
            print(line)
    for note in notes:
        print(f"note: {note}")
    return 0
