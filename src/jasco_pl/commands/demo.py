"""Make the requests of a file (three prepared ones by default), each beside the same prompt and seed without any control.

  jasco demo
  jasco demo --requests mine.yaml --seeds 8 -o out/mine

A file of requests is YAML: `title`, `about`, and under `requests` by name `text`, `seed` and what `jasco generate` takes for the controls
(`chords`, `bpm`, `melody`, `drums`, ...); paths are relative to the file. A clip with `bars` or `vary` is as
long as they say, and so is the one without controls. docs/examples/requests.yaml is one.

Every clip is written with its settings as JSON, and a picture of what was asked for against what is heard; index.html plays all of them,
README.md has figures, pictures and the command for each. With --seeds, figures are taken of as many clips a request, of which the first is
kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jasco_pl.commands.generate import add_sampling_arguments, clip_settings, guidance_text, progress_bar, solver_config
from jasco_pl.controls import ADHERENCES
from jasco_pl.controls.adherence import CHORDS
from jasco_pl.evaluation.page import write_page
from jasco_pl.extract import chordino
from jasco_pl.extract.heard import Heard
from jasco_pl.generation.asked import Asked
from jasco_pl.generation.batches import part_of
from jasco_pl.generation.jasco import DEFAULT_CHECKPOINT, Clip, Jasco, Request
from jasco_pl.generation.saving import save_clip
from jasco_pl.generation.whole import clip_seconds
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.notation.timed_text import read_passages, written
from jasco_pl.studies.demo import COLUMNS, PREPARED, Shown, means, read_requests, two_decimals, write_readme
from jasco_pl.system.errors import UserError

FORMATS = {"wav": None, "flac": None, "ogg": 0.85}  # with the compression: ogg at 50 kbit/s, small enough for a repository


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Requests, checkpoint, sampling, output."""
    parser.add_argument("--requests", metavar="FILE", help="YAML file of requests (default: three prepared ones)")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="clips a request that figures are taken of (default %(default)s)")
    parser.add_argument("--checkpoint", default=DEFAULT_CHECKPOINT, metavar="DIR", help="model folder (default: the shipped %(default)s)")
    add_sampling_arguments(parser)
    parser.add_argument("--format", choices=FORMATS, default="wav", help="of the sound (default %(default)s)")
    parser.add_argument("-o", "--out", default="out/demo", metavar="DIR", help="folder for sound, pictures and pages (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Always 0."""
    if args.seeds < 1:
        raise UserError(f"--seeds must be at least 1, not {args.seeds}.")
    file = read_requests(args.requests or PREPARED)
    out, requests = Path(args.out), file.requests
    jasco = Jasco.from_pretrained(args.checkpoint, precision="fp32")  # figures and sound are the same on every CPU
    shown = [
        Shown(name, request, f"{name}.{args.format}", f"{name}-without.{args.format}", f"{name}.png") for name, request in requests.items()
    ]
    made: list[list[dict[str, Any]]] = [[], []]  # for the page: with controls, and without
    for number in range(args.seeds):
        for one, (clip, without) in zip(shown, _generate(jasco, list(requests.values()), number, args), strict=True):
            asked, heard, bare_heard = Asked(clip), Heard(clip.audio, clip.sample_rate), Heard(without.audio, clip.sample_rate)
            figures, others = asked.figures(heard), asked.figures(bare_heard)
            one.add(figures, others)
            if number:
                continue
            if "chords" in clip.asked and chordino.available():
                one.chords = _line(clip.asked["chords"]), _line(heard.chords)
            save_clip(
                clip,
                out / one.audio,
                {**clip_settings(clip, args, jasco), "heard": figures, "heard_without_control": others},
                FORMATS[args.format],
            )
            save_clip(without, out / one.without, {**clip_settings(without, args, jasco), "heard": others}, FORMATS[args.format])
            asked.draw(out / one.picture, clip, heard)
            made[0].append(_clip(one, one.audio, clip, asked.lanes(), asked.heard_lanes(heard), figures))
            made[1].append(_clip(one, one.without, clip, {}, asked.heard_lanes(bare_heard), others))
    _print(shown, args.seeds)
    settings = {"checkpoint": args.checkpoint, "guidance": guidance_text(args) or jasco.model.config.guidance}
    page = write_page(out, _results(file.title, made, settings))
    sampling = _sampling(args)
    command = [
        "jasco demo",
        *([f"--requests {args.requests}"] if args.requests else []),
        f"--seeds {args.seeds}",
        f"--format {args.format}",
    ]
    readme = write_readme(
        out, shown, title=file.title, about=file.about, made_by=" ".join([*command, *sampling, f"-o {args.out}"]), sampling=sampling
    )
    print(f"\nwrote {len(shown)} clips, as many without controls, and pictures to {out}/; {page} plays them over what was asked for")
    print(f"{readme} has the figures, and a command for each")
    if not chordino.available():
        print("the chord recogniser is not installed: chords were not compared")
    return 0


def _generate(jasco: Jasco, requests: Sequence[Request], number: int, args: argparse.Namespace) -> list[tuple[Clip, Clip]]:
    """Each with and without controls, the same prompt, noise and length; those of one length in one batch."""
    given = [Request(**{**vars(request), "seed": request.seed + number}) for request in requests]
    bare = [Request(request.text, seed=request.seed) for request in given]
    which = f", {number + 1} of {args.seeds} seeds" if args.seeds > 1 else ""
    bar = progress_bar(f"making {len(given)} clips, and {len(given)} without controls{which}")
    lengths = [clip_seconds(vars(request), None, jasco.model.config.seconds, jasco.codec.sample_rate) for request in given]
    places = {seconds: [place for place, own in enumerate(lengths) if own == seconds] for seconds in dict.fromkeys(lengths)}
    read = {  # all of them before any is made
        seconds: [jasco.read(side[place], jasco.frames(seconds)) for side in (given, bare) for place in own]
        for seconds, own in places.items()
    }
    made = dict[int, tuple[Clip, Clip]]()
    for seconds, own in places.items():
        share = part_of(bar, len(made) / len(given), len(own) / len(given))
        clips = list(jasco.make(read[seconds], seconds, guidance=guidance_text(args), solver=solver_config(args), progress=share))
        made |= zip(own, zip(clips[: len(own)], clips[len(own) :], strict=True), strict=True)
    return [made[place] for place in range(len(given))]


def _sampling(args: argparse.Namespace) -> list[str]:
    """The options that differ from `jasco generate`'s own."""
    default, solver = SolverConfig(), solver_config(args)
    words = ["--checkpoint", args.checkpoint] if args.checkpoint != DEFAULT_CHECKPOINT else []
    words += ["--guidance", *args.guidance] if args.guidance else []
    for option, value, usual in (
        ("--solver", solver.method, default.method),
        ("--steps", solver.steps, default.steps),
        ("--times", solver.times, default.times),
        ("--tolerance", solver.tolerance, default.tolerance),
    ):
        words += [option, str(value)] if value != usual else []
    return words


def _print(shown: Sequence[Shown], seeds: int) -> None:
    width = max(16, *(len(one.name) for one in shown))
    room = max([20, *(len(column.title) for column in COLUMNS if any(column.key in one.figures for one in shown))])
    mean = "mean of all seeds" if seeds > 1 else "asked and heard"
    print(f"\n{'clip':{width}} {'':{room}} {mean:>17} {'without control':>16}")
    for one in shown:
        for column in COLUMNS:
            if column.key in one.figures:
                kept, bare = (two_decimals(mean) for mean in means(one.figures[column.key]))
                print(f"{one.name:{width}} {column.title:{room}} {kept:>17} {bare:>16}")
        if one.chords is not None:
            print("{:{}} asked  {}\n{:{}} heard  {}".format("", width, one.chords[0], "", width, one.chords[1]))


def _clip(one: Shown, audio: str, clip: Clip, asked: dict[str, Any], heard: dict[str, Any], figures: dict[str, float]) -> dict[str, Any]:
    """A clip, for the page; with nothing asked for it is set against what the other of its name was asked for."""
    return {
        "id": one.name,
        "caption": " · ".join(filter(None, (written(one.request.text), one.request.chords))),
        "audio": audio,
        "seconds": clip.audio.shape[-1] / clip.sample_rate,
        "asked": asked,
        "told": read_passages(clip.request.text, clip.audio.shape[-1] / clip.sample_rate),
        "heard": heard,
        "figures": figures,
    }


def _results(title: str, made: list[list[dict[str, Any]]], settings: dict[str, Any]) -> dict[str, Any]:
    """Both rows and their means as `write_page` takes them."""
    columns = [column for column in COLUMNS if any(column.key in clip["figures"] for clip in made[0])]
    rows = []
    for name, clips in zip(("with controls", "the same prompts and seeds without"), made, strict=True):
        known = {column.key: [clip["figures"][column.key] for clip in clips if column.key in clip["figures"]] for column in columns}
        figures = {key: {"mean": float(np.mean(values)) if values else None, "count": len(values)} for key, values in known.items()}
        given = [adherence.name for adherence in ADHERENCES if any(clip["asked"].get(adherence.name) for clip in clips)]
        rows.append({"name": name, "given": given, "figures": figures, "clips": clips})
    shown = [
        {"key": column.key, "title": column.title, "digits": 2, "higher_is_better": column.higher_is_better, "per": "clip"}
        for column in columns
    ]
    return {"title": title, "settings": settings, "columns": shown, "rows": rows}


def _line(frames: np.ndarray) -> str:
    return "  ".join(f"{label or '(free)'}@{start:.1f}" for label, start in CHORDS.lane.written(frames))
