"""What a request may say to the controls that ship: flags of `jasco generate`, keywords of `Request`, fields of a file of requests.

They stand here and not in their controls, so that a command line knows them without torch. A control of which only its class knows what may
be said to it works as well, and costs the command line those seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jasco_pl.notation.level_curve import SHAPES
from jasco_pl.system.errors import UserError


@dataclass(frozen=True)
class Option:
    """One thing that a request may say: a flag of `jasco generate`, a keyword of `Request`, a field in a file of requests.

    Attributes:
        name: as Python and YAML write it.
        help: what `jasco generate --help` says of it.
        kind: of a value as it is written: text, a number, the path of a file, or nothing but the flag, which is true. Python may give more
            than that, as `Control.read` says.
        metavar: what stands for a value in the help; None is the name.
        default: what holds where nothing is said; None is "not asked for".
    """

    name: str
    help: str
    kind: Literal["text", "number", "file", "flag"] = "text"
    metavar: str | None = None
    default: str | float | None = None

    @property
    def flag(self) -> str:
        """On the command line."""
        return f"--{self.name.replace('_', '-')}"


def check_names(options: Iterable[Option], asked: Mapping[str, Any]) -> None:
    """Raise UserError if the name of a file is empty: as a path it would be the folder at hand."""
    for option in options:
        if option.kind == "file" and asked.get(option.name) == "":
            raise UserError(f"the name of the file for {option.name} is empty: give its path, or leave {option.name} out.")


CHORDS = Option("chords", 'chord line, e.g. "C | G7 | Am F", or a file of chords (.lab, .musicxml, ...)', metavar="LINE")
BPM = Option(
    "bpm", "tempo to follow (control beat), and that of the chord line; without it, chords are spread evenly over the clip", kind="number"
)
KEY = Option("key", "of chords written as degrees (I V vi IV, 1 5 6- 4), such as G or 'A minor'")
METER = Option("meter", "meter of both (default %(default)s)", default="4/4")
MELODY = Option("melody", "MIDI, audio, .npy, .pt or .safetensors", kind="file", metavar="FILE")
TRACK = Option(
    "track", "of a MIDI file: the track with the melody, by number, name or instrument (default: the most melody-like)", metavar="TRACK"
)
MELODY_FROM = Option(
    "melody_from",
    "second of the melody's file at which the clip takes it up (default: 0, or its first note where that comes after the clip's end)",
    kind="number",
    metavar="SECONDS",
)
DRUMS = Option("drums", "audio of a drum part, any rate and channels", kind="file", metavar="FILE")
FIT_LOOP = Option("fit_loop", "stretch a loop of --drums to whole bars of --bpm", kind="flag")
MIX = Option("mix", "music to follow as a whole: any audio, for models with the control mix", kind="file", metavar="FILE")
DRUMLESS = Option("drumless", "the same without drums, for models with the control drumless", kind="file", metavar="FILE")
PAINT = Option("paint", "recording to go on from, or to fill in with --keep or --redo", kind="file", metavar="FILE")
AT = Option("at", "of --paint: where the recording begins in the clip; what comes before it is made", kind="number", metavar="SECONDS")
KEEP = Option("keep", "of --paint: what stays, in seconds of the clip: 0-4, 8- (to the end), 0-2,8-10; the rest is made", metavar="SECONDS")
REDO = Option("redo", "of --paint: what is made anew, as in 3-6; the rest stays", metavar="SECONDS")
DYNAMICS = Option(
    "dynamics",
    f'loudness over time, dB below the loudest moment: "0:-30, 5:-10, 8:0", a word ({", ".join(SHAPES)}), or audio to take it from',
    metavar="CURVE",
)
DURING = Option(
    "during",
    "seconds for which controls hold, as chords=0-6,melody=4- or chords=0-2+6-8; elsewhere they say nothing",
    metavar="NAME=SECONDS",
)
VARY = Option("vary", "recording to vary, a take or any other; or a take's JSON, whose settings hold too", kind="file", metavar="FILE")
VARIATION = Option(
    "variation", "of --vary: how far from it, from 0 (as it is) to 1 (independent of it) (default %(default)s)", kind="number", default=0.7
)
LOOP = Option("loop", "the clip's end runs into its beginning; the WAV says so to samplers and DAWs", kind="flag")
BARS = Option("bars", "length of the clip in bars of --bpm and --meter, in place of --seconds", kind="number", metavar="N")
WHOLE = (DURING, VARY, VARIATION, LOOP, BARS)
"""What belongs to no control, but to the clip as a whole."""
