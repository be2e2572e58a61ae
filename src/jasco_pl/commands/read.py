"""Print what would be asked for: chords with their times, the melody's notes, the drums' onsets. No network is loaded, nothing is made.

  jasco read --chords "Dm7 | G7 | Cmaj7 A7" --bpm 120 --seconds 10
  jasco read --chords song.musicxml
  jasco read --melody tune.mid --drums loop.wav --json

Takes what `jasco generate` takes for its controls, reads it in the same way and refuses it in the same words. Chords are printed as a line
of times, `C@0 G7@2`, which can be given again. What a chord line may be:

  bars          C | G7 | Am F    |: C | G :| x3    | C / / G |    C | %
  a chord a bar C G Am F    Em-C-G-D    Am, F, C, G    (C G) x2 Am    C*2 G
  beats         C 4 G 4    C / / / G / / /
  times         C@0 G@1:30    0:00 C 0:02 G    (C, 0.0), (G, 2.0)
  a sheet       [Verse] C G Am F    [Am]Hello [F]you    chords over lines of lyrics
  degrees       I V vi IV in G    1 5 6- 4 with --key G
  names         English; German (H7 Fis Es) and Romance (Do Lam Sol7) where the line says so
  a file        .lab .csv .tsv .jams .json .musicxml .mxl .cho .crd .pro .txt, links of iReal Pro

Of a MIDI file the melody's track is named, with what else the file has; --track NAME or NUMBER takes another.
Without --bpm the line fills the clip once; with it the line is played in time, over and over. docs/inputs.md says more.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from jasco_pl.commands.generate import DEFAULT_SECONDS, add_control_arguments, asked_of
from jasco_pl.controls.during import read_during, said
from jasco_pl.controls.inputs import INPUTS, previews
from jasco_pl.generation.outline import Length, whole_frames
from jasco_pl.generation.whole import clip_seconds
from jasco_pl.notation.harmony import FRAME_RATE
from jasco_pl.system.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is asked for, and how to say how it was read."""
    add_control_arguments(parser)
    parser.add_argument("--seconds", type=float, help=f"length of the clip (default {DEFAULT_SECONDS:g}, or --bars)")
    parser.add_argument("--json", action="store_true", help="as JSON: chords, melody, track, notes, and audio by its option")


def run(args: argparse.Namespace) -> int:
    """Always 0."""
    length = Length(whole_frames(clip_seconds(asked_of(args), args.seconds, DEFAULT_SECONDS), FRAME_RATE), FRAME_RATE)
    found = previews(asked_of(args), length.seconds)
    if not found:
        raise UserError('there is nothing to read: give --chords, as in --chords "C | G7 | Am F", --melody, --drums or other audio.')
    data: dict[str, Any] = {}
    for preview in found.values():
        data |= preview.data
    notes = list(dict.fromkeys([*(note for preview in found.values() for note in preview.notes), *_during(args, list(found), length)]))
    if args.json:
        print(json.dumps({**data, "notes": notes}, ensure_ascii=False))
        return 0
    for preview in found.values():
        for line in preview.lines:
            print(line)
    for note in notes:
        print(f"note: {note}")
    return 0


def _during(args: argparse.Namespace, asked: list[str], length: Length) -> list[str]:
    """What --during says, in a note."""
    if args.during is None:
        return []
    options = [kind.option.name for kind in dict.fromkeys(INPUTS.values())]
    return [said(read_during(args.during, options, asked, length), asked, FRAME_RATE)]
