"""Make music from a prompt, chords, a melody, a drum part: any of them, or none.

  jasco generate --text "calm piano ballad" --chords "C G Am F" --bpm 90 -o out/
  jasco generate --chords "Dm7 | G7 | Cmaj7 A7" --bpm 120 --melody tune.mid --seed 7 -n 4 -o out/
  jasco generate --text "house with deep bass" --drums loop.wav --solver dopri5 -o out/
  jasco generate --text "calm piano ballad" --paint intro.wav --seconds 30 -o out/
  jasco generate --text "calm piano ballad" --paint song.wav --redo 3-6 -o out/
  jasco generate --text "calm piano ballad" --seconds 60 -o - | ffplay -nodisp -autoexit -
  jasco generate --text "0-5: solo piano; 5-: full rock band with drums" -o out/
  jasco generate --text "orchestral film music" --bpm 96 --meter 3/4 --dynamics build -o out/
  jasco generate --chords "C | G | Am | F" --bpm 96 --melody tune.mid --during chords=0-6,melody=4- -o out/
  jasco generate --chords "Em | C | G | D" --bpm 96 --bars 8 --loop -o out/
  jasco generate --vary out/take.json --variation 0.6 -n 4 -o out/

Text: one for the whole clip; or one after another, each with the seconds in which it holds, ';' between them. `5-:` holds to the end; where
none holds, nothing is asked for; two must not overlap. A text is read so only where it begins with such a stretch: `Title: a song` and
`at 3:00 am: a lullaby` are ordinary ones.

Chords: bars (`C | G7 | Am F`, `|: C | G :| x3`), a plain line (one chord a bar), beats (`C 4 G 4`), times (`C@0 D@1:30`), degrees
(`I V vi IV in G`), a sheet with lyrics, or a file (.lab, .csv, .jams, .musicxml, ChordPro, iReal Pro); any usual spelling, also German and
Romance (docs/inputs.md). A line shorter than the clip repeats; `jasco read` shows how it is read. Melody: MIDI, audio, or an array of 53
bins at 50 Hz; of MIDI the track that is most like a melody, or --track NAME or NUMBER; --melody-from 32.5 takes it up there. Drums, mix,
drumless: audio that the clip follows, at any level; a short loop repeats, and --fit-loop stretches one of drums to whole bars of --bpm.
Which of these a model takes depends on the controls it was trained with (its config.json).

Tempo: --bpm 96 --meter 3/4 spaces the bars of a chord line, and a model with the control beat plays in that tempo, from a downbeat at 0.
Dynamics: points in time `0:-30, 5:-10` (second:dB below the loudest moment, straight between), a recording to take them from, or a word:
build (soft to loud), fade (loud to nearly silent), swell (up and down), break (soft in the middle), drop (soft, then at once loud), steady.

Painting: --paint lays a recording under the clip from second 0 on. Alone, all of it is kept and the clip goes on where it ends; --keep 0-4
keeps those seconds and makes the others, --redo 3-6 makes those and keeps the others; --at 4 lets it begin at second 4. What is kept stays
as loud as it was, and what is made is brought to it.

Length: up to ten minutes. What is longer than the model has learnt is made window by window, each going on from the one before.

Part of the time: --during chords=0-6,melody=4- lets a control hold for those seconds alone (chords=0-2+6-8 for several stretches, -2 and 8-
for open ends); elsewhere it says nothing, and the music is up to the model. Its timing stays: a chord line lies over the whole clip and is
cut.

Loops: with --loop the end of the clip runs into its beginning. --bars 8 makes it eight bars of --bpm and --meter, exact to the sample;
--seconds makes it as long as that. With --paint, --redo 9-10 makes a recording's tenth second run into its first.

Variations: --vary FILE begins not at noise but at a recording that is partly noised, and says nothing else about it. FILE is audio of any
kind; or the JSON beside a take, whose text, controls, length, guidance and model hold where nothing else is said. --variation 0 is the
recording itself (through the codec), 1 a clip of its own; docs/editing.md says how near what lies between is. The less it varies, the fewer
steps it takes.

Every clip is written as WAV at -14 LUFS, as far as its peaks allow, with its settings beside it as JSON; the same seed gives the same clip
in any batch. `-o song.wav` (.flac, .ogg, .mp3) names a single clip's file; `-o -` writes a clip's WAV to standard output while it is made,
five seconds at a time, for a player, all of it by the gain that brings its first part to -14 LUFS, for how loud the rest will be nobody
knows yet. Nothing is overwritten: a second take of a name is song-2.wav. Tempo, key, and the chords as markers lie in the WAV itself, where
DAWs read them, and in the title and comment of the other formats;
--midi writes them with the melody and the drum onsets as song.mid. --from song.json makes a clip again, and refuses where a part of it
(checkpoint, codec, text encoder, a file) is another one by now.
"""

from __future__ import annotations

import argparse
import re
import sys
import unicodedata
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from tqdm import tqdm

from jasco_pl import __version__
from jasco_pl.audio.suffixes import AUDIO_SUFFIXES, check_suffix
from jasco_pl.commands import piped
from jasco_pl.commands.again import arguments, read_settings, varied
from jasco_pl.controls import all_options
from jasco_pl.controls.inputs import previews
from jasco_pl.generation.outline import DEFAULT_CHECKPOINT, Outline
from jasco_pl.generation.whole import check_whole, clip_seconds
from jasco_pl.interop.systems import Compat
from jasco_pl.network.flow.config import Method, Quality, SolverConfig, Times
from jasco_pl.notation.stretches import runs
from jasco_pl.notation.timed_text import read_prompt, written
from jasco_pl.system.device import Precision
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import check_writable

if TYPE_CHECKING:  # what is wrong with a request is said before torch is imported, which takes seconds
    from jasco_pl.generation.jasco import Clip, Jasco, Request

DEFAULT_SECONDS = 10.0
MOST = 100_000
"""Clips of one command."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to make, then how."""
    what = parser.add_argument_group("what to make")
    what.add_argument(
        "--text",
        default="",
        help="description: style, instruments, mood, tempo; or, where it begins with seconds and a colon, texts over time: "
        '"0-5: calm piano; 5-: full band"',
    )
    add_control_arguments(what)
    what.add_argument("--seconds", type=float, help="length (default: what the model was trained on)")
    what.add_argument("-n", "--count", type=int, default=1, help="clips, with seeds SEED, SEED+1, ... (default %(default)s)")
    what.add_argument("--seed", type=int, default=0, help="seed of the first clip (default %(default)s)")
    what.add_argument(
        "--from",
        dest="again",
        metavar="JSON",
        help="make a clip again from the JSON beside it, if checkpoint, codec, text encoder and files are those that made it",
    )
    how = parser.add_argument_group("how")
    add_making_arguments(how)
    how.add_argument(
        "--compat",
        choices=get_args(Compat),
        help="clips of an imported checkpoint as audiocraft makes them, its defects included (docs/released-checkpoints.md)",
    )
    how.add_argument(
        "--midi", action="store_true", help="also write what was asked for (chords, melody, drum onsets) as MIDI beside each clip"
    )
    how.add_argument(
        "-o",
        "--out",
        default="out",
        metavar="DIR",
        help="folder of WAV and JSON, one clip's file, or - for WAV on standard output while it is made (default %(default)s)",
    )


def add_making_arguments(how: Any) -> None:
    """Of what and how, shared by commands that make music."""
    how.add_argument(
        "--checkpoint",
        default=DEFAULT_CHECKPOINT,
        metavar="DIR",
        help="model folder or Hub id, of Meta's releases too: facebook/jasco-chords-drums-400M (default: the shipped %(default)s)",
    )
    how.add_argument(
        "--quality",
        choices=get_args(Quality),
        help="in place of solver and steps: 8, 12 or 64 evaluations of the network on steps that were fitted to the model; "
        "12, 20 or 128 where none were; fast takes the checkpoint's student where it has one (docs/performance.md)",
    )
    add_sampling_arguments(how)
    how.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default %(default)s: the NVIDIA GPU where there is one)")
    how.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="auto",
        help="of the network's weights (default %(default)s: bf16 on a GPU and on CPUs with AMX or AVX-512 BF16, else fp32)",
    )


def add_control_arguments(parser: Any, without: Collection[str] = ()) -> None:
    """What a request may say to the controls and of the clip as a whole, shared by every command that reads requests."""
    for option in (option for name, option in all_options().items() if name not in without):
        if option.kind == "flag":
            parser.add_argument(option.flag, action="store_true", default=None, help=option.help)
            continue
        kind = float if option.kind == "number" else str
        parser.add_argument(option.flag, metavar=option.metavar, type=kind, default=option.default, help=option.help)


def add_sampling_arguments(parser: Any) -> None:
    """Guidance and solver, shared by every command that samples."""
    parser.add_argument(
        "--guidance",
        nargs="+",
        metavar="SET=WEIGHT",
        help="weights of condition sets: all, text, local, or names joined by +, as in all=1.5 text=0.5; over=text exaggerates the"
        " controls alone, from=0.05 acts from that flow time on (default: the checkpoint's own)",
    )
    default = SolverConfig()
    parser.add_argument(
        "--solver",
        choices=get_args(Method),
        default=default.method,
        help="default %(default)s: midpoint, or ddim for v-diffusion; dopri5 is the paper's",
    )
    parser.add_argument("--steps", type=int, help="of the fixed-step solvers (default: 12 evaluations on fitted times, else 10 steps)")
    parser.add_argument(
        "--times",
        choices=get_args(Times),
        default=default.times,
        help="where these steps lie: as fitted to the model, where it has such times, or uniform (default %(default)s)",
    )
    parser.add_argument("--tolerance", type=float, default=default.tolerance, help="of dopri5 (default %(default)s)")


def guidance_text(args: argparse.Namespace) -> str | None:
    """The guidance that the arguments ask for, or None for the checkpoint's own."""
    return " ".join(args.guidance) if args.guidance else None


def solver_config(args: argparse.Namespace) -> SolverConfig:
    """The solver that the arguments ask for."""
    return SolverConfig(args.solver, args.steps, args.tolerance, args.times).heeded()


def solver_for(args: argparse.Namespace, jasco: Jasco) -> SolverConfig:
    """The same, or what the quality stands for that they ask for."""
    quality: Quality | None = getattr(args, "quality", None)
    return SolverConfig.of(quality, jasco.model.config.times is not None) if quality else solver_config(args)


def request_of(args: argparse.Namespace, seed: int) -> Request:
    """The request that the arguments say, with a seed."""
    from jasco_pl.generation.jasco import Request

    return Request(args.text, seed=seed, **asked_of(args))


def asked_of(args: argparse.Namespace) -> dict[str, Any]:
    """What the arguments say to the controls, by the names of their options."""
    return {name: getattr(args, name, option.default) for name, option in all_options().items()}


def progress_bar(description: str) -> Callable[[float], None]:
    """A bar that takes shares of the whole."""
    bar: tqdm[Any] | None = None

    def progress(share: float) -> None:
        nonlocal bar
        if bar is None:  # not before: an error in the request must stand alone
            bar = tqdm(total=100, desc=description, bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}")
        bar.update(round(100 * share) - bar.n)
        if share >= 1:
            bar.close()

    return progress


def clip_settings(clip: Clip, args: argparse.Namespace, jasco: Jasco) -> dict[str, Any]:
    """Everything that is needed to make the clip again."""
    from jasco_pl.generation.parts import parts_of

    rate = jasco.codec.frame_rate
    request = {name: value if isinstance(value, str | int | float | None) else str(value) for name, value in vars(clip.request).items()}
    request["text"] = written(clip.request.text)
    return {
        "jasco_pl": __version__,
        "checkpoint": str(args.checkpoint),
        **jasco.describe(),
        "device": jasco.device.type,
        "parts": parts_of(args.checkpoint, vars(clip.request)),
        "request": request,
        "during": {name: [[a / rate, b / rate] for a, b in runs(mask)] for name, mask in clip.during.items()},
        "chords_read": [[change.label, round(change.start, 4)] for change in clip.changes],
        "guidance": guidance_text(args) or jasco.model.config.guidance,
        "solver": asdict(jasco.sampler(guidance_text(args), solver_for(args, jasco), clip.source is not None).solver),
        "evaluations": clip.evaluations,
        "sample_rate": clip.sample_rate,
        "seconds": round(clip.audio.shape[-1] / clip.sample_rate, 6),
        "notes": clip.notes,
    }


def slug(text: str) -> str:
    """A file name from a prompt: its letters and digits, of any script."""
    words = re.sub(r"[\W_]+", "-", unicodedata.normalize("NFC", text.lower())).strip("-")[:40]
    return words.encode(errors="ignore")[:120].decode(errors="ignore").strip("-") or "clip"


def clip_path(args: argparse.Namespace, seed: int) -> Path:
    """Where the clip of a seed goes, if nothing is there."""
    return Path(args.out) if names_a_file(args.out) else Path(args.out) / f"{slug(args.text)}-seed{seed}.wav"


def check_out(out: str, count: int, what: str) -> None:
    """Raise UserError where so many of what is to be made cannot be written, before they are made."""
    if not names_a_file(out):
        check_writable(out)
        return
    check_suffix(out)
    if count > 1:
        raise UserError(f"-o {out} is one file, and -n asks for {count} {what}: name a folder.")
    check_writable(Path(out).parent)


def names_a_file(out: str) -> bool:
    """Whether -o names one clip's file."""
    return Path(out).suffix.lower() in AUDIO_SUFFIXES and not Path(out).is_dir()


def defaults() -> dict[str, Any]:
    """What the arguments are where nothing is said."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return vars(parser.parse_args([]))


def run(args: argparse.Namespace) -> int:
    """Always 0."""
    made = None
    if args.again is not None:
        args, made = arguments(args, defaults())
    elif args.vary is not None:
        args = varied(args, defaults())
    if not 1 <= args.count <= MOST:
        raise UserError(f"-n must be from 1 to {MOST}, not {args.count}.")
    if args.out == piped.STDOUT:
        piped.check(args)
    else:
        check_out(args.out, args.count, "clips")
    guidance = guidance_text(args)
    if solver_config(args) != SolverConfig() and args.quality:  # a wrong number is refused here, before torch
        raise UserError("--quality stands for a solver and its steps: leave out --solver, --steps, --times and --tolerance, or --quality.")
    told = read_early(args, guidance)

    from jasco_pl.generation.jasco import Jasco  # only now: nothing of the request can be refused for how it is written
    from jasco_pl.generation.saving import save_take

    if made is not None:
        from jasco_pl.generation.parts import check_parts, parts_of

        check_parts(made.get("parts", {}), parts_of(args.checkpoint, asked_of(args)))
    jasco = Jasco.from_pretrained(args.checkpoint, args.device, args.precision, args.compat)
    requests = [request_of(args, args.seed + number) for number in range(args.count)]
    if args.out == piped.STDOUT:
        stream = jasco.stream_audio(requests[0], args.seconds, guidance, solver_for(args, jasco), progress_bar("1 clip"))
        piped.play(stream, lambda note: None if note in told else print(f"note: {note}", file=sys.stderr, flush=True))
        return 0
    for clip in jasco.stream(requests, args.seconds, guidance, solver_for(args, jasco), progress_bar(f"{args.count} clip(s)")):
        wanted = clip_path(args, clip.request.seed)
        path = save_take(clip, wanted, clip_settings(clip, args, jasco), args.midi)  # first: it may note how loud the clip could be made
        for note in clip.notes:
            if note not in told:
                tqdm.write(f"note: {note}")
                told.add(note)
        tqdm.write(f"wrote {path}" if path == wanted else f"wrote {path}, beside the takes that are there")
        if made is not None:
            tqdm.write(same_sound(made, path))
    return 0


def same_sound(made: Mapping[str, Any], path: Path) -> str:
    """Whether a clip that was made again sounds as it did, in a sentence; its settings lie beside it."""
    told = read_settings(str(path))
    if "sound" not in made:
        return "note: the clip's settings do not say how it sounded, so that nothing was compared"
    if told["sound"] == made["sound"]:
        return "the sound is the same, sample by sample"
    others = [f"{name} {made.get(name)} then, {told[name]} now" for name in ("jasco_pl", "device") if made.get(name) != told[name]]
    why = "; ".join(others) or "another batch, processor or version of PyTorch rounds otherwise"
    return f"note: the sound is not the same sample by sample ({why})"


def read_early(args: argparse.Namespace, guidance: str | None) -> set[str]:
    """Read what can be read without a network, print the chords, and return the notes, which have been printed too.

    Raises:
        UserError: something cannot be read, or the checkpoint cannot do it.
    """
    asked, told = asked_of(args), set[str]()
    check_whole(asked)
    outline = Outline.of(args.checkpoint)
    if outline is None:  # its length is not known, and whoever loads it says the rest
        previews(asked, args.seconds or DEFAULT_SECONDS, listen=False)
        return told
    seconds = clip_seconds(asked, args.seconds, outline.learnt)
    length = outline.length(seconds)
    read_prompt(args.text, length.frames, length.frame_rate)
    outline.check(asked, guidance, length)
    for name, preview in previews(asked, min(seconds, length.seconds), listen=False).items():  # frames may end after the last bar
        for line in [*(preview.lines if name == "chords" else []), *(f"note: {note}" for note in preview.notes)]:
            print(line, file=sys.stderr if args.out == piped.STDOUT else sys.stdout, flush=True)
        told.update(preview.notes)
    return told
