"""Three prepared requests with the shipped checkpoint: chords alone, chords with a melody (MIDI), chords with drums (a loop).

Every clip is written as WAV with a picture of what was asked for against what is heard, and compared with a clip of the same prompt and
seed without any control; a page plays all of them.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jasco_pl.audio import loudness_normalize, read_audio
from jasco_pl.commands.generate import add_sampling_arguments, clip_settings, guidance_text, progress_bar, save_clip, solver_config
from jasco_pl.controls import harmony
from jasco_pl.controls.melody import LOWEST_MIDI
from jasco_pl.evaluation.measure import chord_lane, note_lane, onset_lane
from jasco_pl.extract import chordino
from jasco_pl.generate import DEFAULT_CHECKPOINT, Clip, Jasco, Request
from jasco_pl.heard import Heard
from jasco_pl.metrics.chord_iou import chord_iou
from jasco_pl.metrics.melody import bins_to_pitch_class, pitch_class_accuracy
from jasco_pl.metrics.onset_f1 import onset_f1
from jasco_pl.pages.evaluation import write_page
from jasco_pl.pictures import draw_clip

ASSETS = Path(__file__).resolve().parents[1] / "assets"
MELODY, DRUMS = ASSETS / "melody.mid", ASSETS / "drum_loop.flac"
REQUESTS = {
    "1-chords": Request("mellow pop ballad with piano, bass and strings, slow", "C | G | Am | F", bpm=96, seed=1),
    "2-chords-melody": Request("bright folk tune with flute and acoustic guitar", "C | G | C | G", bpm=100, melody=MELODY, seed=2),
    "3-chords-drums": Request("energetic rock with distorted guitar and drums", "Em | C | G | D", bpm=100, drums=DRUMS, seed=3),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Checkpoint, sampling, output."""
    parser.add_argument("--checkpoint", default=DEFAULT_CHECKPOINT, metavar="DIR", help="model folder (default: the shipped %(default)s)")
    add_sampling_arguments(parser)
    parser.add_argument("-o", "--out", default="out/demo", metavar="DIR", help="folder for WAVs and pictures (default %(default)s)")


def compare(heard: Heard, asked: dict[str, np.ndarray], drums: Heard | None) -> dict[str, float]:
    """Scores of a clip against the raw conditions and the drum part it was to follow."""
    scores = {}
    if chordino.available() and "chords" in asked:
        scores["chord IoU (triads)"] = chord_iou(heard.chords, asked["chords"], "triad")
    if "melody" in asked:
        scores["melody accuracy"] = pitch_class_accuracy(heard.pitch_classes, bins_to_pitch_class(asked["melody"]))
    if drums is not None:
        scores["onset F1"] = onset_f1(heard.onsets, drums.onsets)
    return scores


def run(args: argparse.Namespace) -> int:
    """Always 0."""
    out, solver, guidance = Path(args.out), solver_config(args), guidance_text(args)
    jasco = Jasco.from_pretrained(args.checkpoint)
    requests = list(REQUESTS.values())
    bare = [replace(request, chords=None, melody=None, drums=None) for request in requests]
    # one batch: with and without controls, the same prompt and noise
    clips = jasco.generate(
        [*requests, *bare], guidance=guidance, solver=solver, progress=progress_bar("making 3 clips, and 3 without controls")
    )
    print(f"\n{'clip':16} {'':20} {'asked and heard':>16} {'without control':>16}")
    made: list[list[dict[str, Any]]] = [[], []]  # for the page: with controls, and without
    for name, clip, without in zip(REQUESTS, clips, clips[len(requests) :], strict=False):
        path = out / f"{name}.wav"
        drums = Heard(_played(clip), clip.sample_rate) if clip.request.drums is not None else None
        heard, bare_heard = Heard(clip.audio, clip.sample_rate), Heard(without.audio, clip.sample_rate)
        chords = heard.chords if chordino.available() else None
        scores = compare(heard, clip.asked, drums)
        others = compare(bare_heard, clip.asked, drums)
        save_clip(clip, path, {**clip_settings(clip, args, jasco), "heard": scores, "heard_without_control": others})
        save_clip(without, out / f"{name}-without.wav", {**clip_settings(without, args, jasco), "heard": others})
        asked = _asked(clip.asked, drums)
        made[0].append(_clip(name, f"{name}.wav", clip, asked, heard, scores))
        made[1].append(_clip(name, f"{name}-without.wav", clip, {}, bare_heard, others))
        draw_clip(
            path.with_suffix(".png"),
            wav=loudness_normalize(clip.audio, clip.sample_rate)[0],
            sample_rate=clip.sample_rate,
            title=f"{clip.request.text}  ·  {clip.request.chords}",
            asked_chords=clip.asked["chords"],
            heard_chords=chords,
            asked_melody=clip.asked.get("melody"),
            asked_onsets=None if drums is None else drums.onsets,
            heard_onsets=heard.onsets,
        )
        for metric, score in scores.items():
            print(f"{name:16} {metric:20} {score:16.2f} {others[metric]:16.2f}")
        if chords is not None:
            print(f"{'':16} asked  {_line(clip.asked['chords'])}\n{'':16} heard  {_line(chords)}")
    page = write_page(out, _results(made, {"checkpoint": args.checkpoint, "guidance": guidance or jasco.model.config.guidance}))
    print(f"\nwrote three WAVs, three without controls and three pictures to {out}/; {page} plays them over what was asked for")
    if not chordino.available():
        print("the chord recogniser is not installed: chords were not compared")
    return 0


def _asked(asked: dict[str, np.ndarray], drums: Heard | None) -> dict[str, Any]:
    """What was asked for, for the page."""
    return {
        "chords": chord_lane(asked["chords"]),
        "melody": note_lane(asked["melody"], LOWEST_MIDI) if "melody" in asked else [],
        "onsets": [] if drums is None else onset_lane(drums.onsets),
    }


def _clip(name: str, audio: str, clip: Clip, asked: dict[str, Any], heard: Heard, scores: dict[str, float]) -> dict[str, Any]:
    """A clip, for the page; with nothing asked for it is set against what the other of its name was asked for."""
    chords = chord_lane(heard.chords) if chordino.available() else []
    return {
        "id": name,
        "caption": f"{REQUESTS[name].text} · {REQUESTS[name].chords}",
        "audio": audio,
        "seconds": clip.audio.shape[-1] / clip.sample_rate,
        "asked": asked if chords else {**asked, "chords": []},
        "heard": {"chords": chords, "pitch_classes": note_lane(heard.pitch_classes), "onsets": onset_lane(heard.onsets)},
        "figures": scores,
    }


def _results(made: list[list[dict[str, Any]]], settings: dict[str, Any]) -> dict[str, Any]:
    """Both rows and their means as `write_page` takes them."""
    metrics = list(dict.fromkeys(metric for clip in made[0] for metric in clip["figures"]))
    rows = []
    for name, clips in zip(("with controls", "the same prompts and seeds without"), made, strict=True):
        known = {metric: [clip["figures"][metric] for clip in clips if metric in clip["figures"]] for metric in metrics}
        figures = {metric: {"mean": float(np.mean(values)), "count": len(values)} for metric, values in known.items()}
        rows.append({"name": name, "given": list(clips[0]["asked"]), "figures": figures, "clips": clips})
    columns = [{"key": metric, "title": metric, "digits": 2, "higher_is_better": True, "per": "clip"} for metric in metrics]
    return {"title": "Three clips of the demo", "settings": settings, "columns": columns, "rows": rows}


def _played(clip: Clip) -> Tensor:
    """The drum part as the clip was to follow it: repeated to its length."""
    loop = read_audio(clip.request.drums, clip.sample_rate)  # type: ignore[arg-type]
    return torch.tile(loop, (1, -(-clip.audio.shape[-1] // loop.shape[-1])))[:, : clip.audio.shape[-1]]


def _line(frames: np.ndarray) -> str:
    return "  ".join(f"{label}@{start:.1f}" for label, start in harmony.frames_to_changes(frames))
