"""Print what would be asked for: chords with their times, the melody's notes, the drums' onsets, what of a recording is kept.

  jasco read --chords "Dm7 | G7 | Cmaj7 A7" --bpm 120 --seconds 10
  jasco read --chords song.musicxml
  jasco read --melody tune.mid --drums loop.wav --json
  jasco read --paint song.wav --redo 3-6
  jasco read --vary out/take.json

No network is loaded, nothing is made.
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
from collections.abc import Mapping
from typing import Any

from jasco_pl.commands import generate
from jasco_pl.commands.again import varied
from jasco_pl.commands.generate import DEFAULT_SECONDS, add_control_arguments, asked_of
from jasco_pl.controls.during import read_during, said
from jasco_pl.controls.inputs import INPUTS, Preview, opened, previews
from jasco_pl.controls.options import BPM, METER, VARIATION, VARY
from jasco_pl.generation.outline import Length, whole_frames
from jasco_pl.generation.whole import clip_seconds, loop_notes
from jasco_pl.notation.beats import bar_seconds
from jasco_pl.notation.harmony import FRAME_RATE
from jasco_pl.system.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is asked for, and how to say how it was read."""
    add_control_arguments(parser)
    parser.add_argument("--seconds", type=float, help=f"length of the clip (default {DEFAULT_SECONDS:g}, or --bars)")
    parser.add_argument("--json", action="store_true", help="as JSON: chords, melody, track, dynamics, notes, and audio by its option")


def run(args: argparse.Namespace) -> int:
    """Always 0."""
    if args.vary is not None:
        args = _with_take(args)
    asked = asked_of(args)
    length = Length(whole_frames(clip_seconds(asked, args.seconds, DEFAULT_SECONDS), FRAME_RATE), FRAME_RATE)
    found = previews(asked, length.seconds)
    told = [*loop_notes(asked, length.seconds), *_during(args, list(found), length)]
    shown = [_tempo(asked, length)] if list(found) == [BPM.name] else [*found.values()]
    if asked[VARY.name] is not None:
        shown.append(_source(asked, length))
    if not shown:
        raise UserError('there is nothing to read: give --chords, as in --chords "C | G7 | Am F", --melody, --drums or other audio.')
    data: dict[str, Any] = {}
    for preview in shown:
        data |= preview.data
    notes = list(dict.fromkeys([*(note for preview in shown for note in preview.notes), *told]))
    if args.json:
        print(json.dumps({**data, "notes": notes}, ensure_ascii=False))
        return 0
    for preview in shown:
        for line in preview.lines:
            print(line)
    for note in notes:
        print(f"note: {note}")
    return 0


def _with_take(args: argparse.Namespace) -> argparse.Namespace:
    """The same with what a take was asked for, where its JSON is named, as `jasco generate` takes it."""
    defaults = generate.defaults()
    return varied(argparse.Namespace(**{**defaults, **vars(args)}), defaults)


def _tempo(asked: Mapping[str, Any], length: Length) -> Preview:
    """A tempo that nothing else is asked for with: how many bars the clip has."""
    bpm, meter = asked[BPM.name], asked[METER.name]
    bars = length.seconds / bar_seconds(bpm, meter)
    data = {"seconds": length.seconds, "bars": round(bars, 2)}
    return Preview(data, [f"length: {length.seconds:g} s, {bars:.2f} bars of {meter} at {bpm:g} bpm"])


def _source(asked: Mapping[str, Any], length: Length) -> Preview:
    """The recording that is varied."""
    from jasco_pl.audio.files import SAMPLE_RATE  # here: it imports torch
    from jasco_pl.generation.variation import hear_source

    found = opened(asked[VARY.name])
    hear_source(asked, SAMPLE_RATE, SAMPLE_RATE // FRAME_RATE, length, found.notes)
    return Preview({"vary": {"file": asked[VARY.name], "variation": asked[VARIATION.name]}}, found.lines, found.notes)


def _during(args: argparse.Namespace, asked: list[str], length: Length) -> list[str]:
    """What --during says, in a note."""
    if args.during is None:
        return []
    options = [kind.option.name for kind in dict.fromkeys(INPUTS.values())]
    return [said(read_during(args.during, options, asked, length), asked, FRAME_RATE)]
