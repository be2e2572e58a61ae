"""Make a stretch of a song anew; all else stays as it is, sample by sample.

  jasco edit song.wav --from 1:02 --to 1:08 --text "solo violin over soft strings" --chords "Dm7 | G7 | C" --bpm 120 -o out/
  jasco edit song.flac --from 12 --bars 4 --bpm 96 --keep-chords --melody solo.mid -n 4 -o out/
  jasco edit song.mp3 --from 30 --to 34 --variation 0.5 -o out/song.wav

The song may be of any length, rate, channels and format that is read. Only what lies around the stretch is heard by the model (ten seconds,
or three on either side of a long one), which goes on from it and runs into it again. What is made is as loud as what lies around it, in
all channels, at the song's rate; it fades in and out over a tenth of a second outside of the stretch. Every other sample of a WAV or FLAC
is that of the song, in its own sample format (of mp3, ogg, m4a the decoded sound, as floating-point WAV).

All that is asked for holds in the stretch alone, and its times count from where it begins: the first bar of --chords begins at --from, as
do --melody, --drums, --dynamics, texts over time and --during. What is not said is up to the model, which hears what lies around.
--keep-chords asks for the chords that Chordino hears in the song there. --variation keeps a part of what is there, as in
`jasco generate --vary`.

Nothing is overwritten: a second take is song-2.wav. The JSON beside it holds all settings; --again song.json makes the edit again.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from jasco_pl.audio.decoding import AudioFile
from jasco_pl.commands.again import arguments
from jasco_pl.commands.generate import (
    MOST,
    add_control_arguments,
    add_making_arguments,
    asked_of,
    check_out,
    clip_settings,
    guidance_text,
    names_a_file,
    progress_bar,
    same_sound,
    solver_for,
)
from jasco_pl.controls import all_options
from jasco_pl.controls.inputs import previews
from jasco_pl.controls.options import BARS, VARIATION
from jasco_pl.generation.outline import Outline
from jasco_pl.generation.whole import NOT_EDITED
from jasco_pl.notation.beats import bar_seconds
from jasco_pl.notation.chords.times import seconds_of
from jasco_pl.notation.timed_text import read_prompt
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import or_beside

_CLAIM = 1.0  # second by which a header may be wrong


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which stretch of what, what to make there, and how."""
    parser.add_argument("song", nargs="?", metavar="SONG", help="audio of any length, rate, channels and format that is read")
    where = parser.add_argument_group("which stretch, and what to make there")
    where.add_argument("--from", dest="start", metavar="TIME", help="where the stretch begins: seconds, or m:ss")
    where.add_argument("--to", dest="end", metavar="TIME", help="where it ends (default: where the song does)")
    where.add_argument(BARS.flag, type=float, metavar="N", help="length of the stretch in bars of --bpm and --meter, in place of --to")
    where.add_argument("--text", default="", help="description; texts over time count from where the stretch begins")
    add_control_arguments(where, without=NOT_EDITED)
    where.add_argument("--keep-chords", action="store_true", help="follow the chords that Chordino hears in the song there")
    where.add_argument(
        VARIATION.flag, type=float, default=1.0, metavar="SHARE", help="how far from what is there, 0 to 1 (default %(default)s: made anew)"
    )
    where.add_argument("-n", "--count", type=int, default=1, help="takes, with seeds SEED, SEED+1, ... (default %(default)s)")
    where.add_argument("--seed", type=int, default=0, help="seed of the first take (default %(default)s)")
    where.add_argument("--again", metavar="JSON", help="make an edit again from the JSON beside it")
    add_making_arguments(parser.add_argument_group("how"))
    parser.add_argument(
        "-o", "--out", default="out", metavar="DIR", help="folder of WAV (of a FLAC too) and JSON, or one take's file (default %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Always 0."""
    made = None
    if args.again is not None:
        args, made = _again(args)
    if args.song is None or args.start is None:
        raise UserError("name the song and where the stretch begins, as in: jasco edit song.wav --from 3 --to 6.")
    if not 1 <= args.count <= MOST:
        raise UserError(f"-n must be from 1 to {MOST}, not {args.count}.")
    if args.out == "-":
        raise UserError("an edited song is written whole, not to standard output: -o names a folder or a file.")
    check_out(args.out, args.count, "takes")
    if not 0 <= args.variation <= 1:
        raise UserError(f"a variation lies between 0 (what is there) and 1 (made anew), not at {args.variation:g}.")
    if args.keep_chords and args.chords is not None:
        raise UserError("--keep-chords asks for the song's chords and --chords for others: one of them.")
    begin, end = _stretch(args)
    told = _read_early(args, begin, end)

    from jasco_pl.audio.patching import subtype_for
    from jasco_pl.generation.editing import Edit
    from jasco_pl.generation.jasco import Jasco, Request
    from jasco_pl.generation.parts import check_parts, parts_of
    from jasco_pl.generation.saving import place_take

    asked = {name: value for name, value in asked_of(args).items() if name not in NOT_EDITED}
    parts = parts_of(args.checkpoint, asked, {"song": args.song})
    if made is not None:
        check_parts(made.get("parts", {}), parts)
    jasco = Jasco.from_pretrained(args.checkpoint, args.device, args.precision)
    edit = Edit.of(jasco, args.song, begin, end)
    if args.keep_chords:
        asked["chords"] = edit.chords()
        print(f"chords heard in the song: {asked['chords']}", flush=True)
    requests = [Request(args.text, seed=args.seed + number, **asked) for number in range(args.count)]
    place = {"song": str(args.song), "from": edit.first / edit.file.rate, "to": edit.stop / edit.file.rate, "variation": args.variation}
    lead = edit.before / jasco.codec.frame_rate  # times of a clip are those of its window
    how = {"guidance": guidance_text(args), "solver": solver_for(args, jasco), "progress": progress_bar(f"{args.count} take(s)")}
    for clip in edit.make(requests, args.variation, **how):
        wanted = Path(args.out) if names_a_file(args.out) else Path(args.out) / f"{Path(args.song).stem}-edit-seed{clip.request.seed}.wav"
        clip.notes += filter(None, [subtype_for(edit.file, wanted.suffix.lower())[1]])
        for note in clip.notes:
            if note not in told:
                tqdm.write(f"note: {note}")
                told.add(note)
        settings = clip_settings(clip, args, jasco)
        settings["during"] = {name: [[a - lead, b - lead] for a, b in spans] for name, spans in settings["during"].items()}
        settings |= {"parts": parts, "edit": place}
        path = place_take(wanted, partial(edit.save, clip=clip, settings=settings))
        tqdm.write(f"wrote {path}" if path == wanted else f"wrote {path}, beside the takes that are there")
        if made is not None:
            tqdm.write(same_sound(made, path))
    return 0


def _stretch(args: argparse.Namespace) -> tuple[float, float | None]:
    """Where it begins and ends in seconds; None is the end of the song."""
    begin = _seconds(args.start, "--from")
    if args.bars is None:
        end = None if args.end is None else _seconds(args.end, "--to")
    elif args.end is not None or args.bpm is None:
        raise UserError("--bars is a length in bars of --bpm, in place of --to: give --bars and --bpm, or --to.")
    else:
        end = begin + args.bars * bar_seconds(args.bpm, args.meter)
    if end is not None and end <= begin:
        raise UserError(f"there is nothing to make anew: the stretch {begin:g}-{end:g} s ends where it begins, or before.")
    return begin, end


def _seconds(written: str, flag: str) -> float:
    try:
        found = seconds_of(written.strip())
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise UserError(f"{flag} {written!r} is no time: seconds (62.5) or minutes and seconds (1:02.5) are accepted.")
    return found


def _read_early(args: argparse.Namespace, begin: float, end: float | None) -> set[str]:
    """What can be refused before torch is imported; the notes that were printed."""
    file = AudioFile(args.song)
    if file.claimed_seconds and (begin >= file.claimed_seconds or (end or 0) > file.claimed_seconds + _CLAIM):
        to = "" if end is None else f"{end:g}"
        raise UserError(f"the stretch {begin:g}-{to} s does not lie in the song, which ends at {file.claimed_seconds:.2f} s.")
    outline, told = Outline.of(args.checkpoint), set[str]()
    asked = {name: option.default for name, option in all_options().items()} | {
        name: value for name, value in asked_of(args).items() if name not in NOT_EDITED
    }
    seconds = (file.claimed_seconds or begin + 10) - begin if end is None else end - begin
    if outline is not None and seconds > 0:
        length = outline.length(seconds)
        read_prompt(args.text, length.frames, length.frame_rate)
        outline.check(asked | {"paint": args.song}, guidance_text(args), length)
        for name, preview in previews(asked, length.seconds, listen=False).items():
            for line in [*(preview.lines if name == "chords" else []), *(f"note: {note}" for note in preview.notes)]:
                print(line, flush=True)
            told.update(preview.notes)
    return told


def _again(args: argparse.Namespace) -> tuple[argparse.Namespace, dict[str, Any]]:
    """The arguments that made an edit, and its settings."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args, told = arguments(args, vars(parser.parse_args([])))
    edited = told["edit"]
    kinds = {"song": str, "from": int | float, "to": int | float, "variation": int | float}
    if not isinstance(edited, dict) or not all(isinstance(edited.get(name), kind) for name, kind in kinds.items()):
        raise UserError(f"{args.again!r} does not say which stretch of which song was made anew.")
    found = {"song": or_beside(edited["song"], args.again), "variation": edited["variation"]}
    return argparse.Namespace(**{**vars(args), **found, "start": str(edited["from"]), "end": str(edited["to"]), "bars": None}), told
