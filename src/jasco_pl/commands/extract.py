"""What an extractor hears in one audio file.

  jasco extract chords song.flac -o song.lab             chords by Chordino, in Harte's syntax: start end label
  jasco extract melody song.mp3 -o song.mid              melody by deep salience, one note a run of frames
  jasco extract melody song.mp3 -o song.npy              the same as float32 [T, 53] at 50 Hz: MIDI 43..95, one 1 a frame or none
  jasco extract latents song.wav -o song.safetensors     the codec's latents [T, dim] and first-codebook codes [T]

The weights of deep salience are fetched from their authors' repository once, into the user's cache, unless --weights or JASCO_SALIENCE
names a file.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from jasco_pl.audio import read_audio
from jasco_pl.errors import UserError
from jasco_pl.files import atomic_path

_CODEC = "checkpoints/codec-mini"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Subcommands chords, melody and latents."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="chords|melody|latents")
    for name, text, endings in (
        ("chords", "chords by Chordino", ".lab"),
        ("melody", "melody by deep salience", ".mid or .npy"),
        ("latents", "latents and codes of a codec", ".safetensors"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("file", metavar="FILE", help="audio: wav, flac, ogg, mp3, opus; any rate and channels")
        action.add_argument("-o", "--out", required=True, metavar="OUT", help=f"file to write: {endings}")
        if name == "melody":
            action.add_argument("--weights", metavar="FILE", help="weights of deep salience, .safetensors or the authors' .h5")
        if name == "latents":
            action.add_argument("--codec", default=_CODEC, metavar="DIR", help="codec folder or Hub id (default %(default)s)")
        if name != "chords":
            action.add_argument("--device", default="cpu", help="cpu, cuda, mps (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Always 0."""
    {"chords": _chords, "melody": _melody, "latents": _latents}[args.action](args)
    return 0


def _ends_in(path: str, suffix: str) -> None:
    if Path(path).suffix.lower() != suffix:
        raise UserError(f"cannot write to {path!r}: the name must end in {suffix}.")


def _chords(args: argparse.Namespace) -> None:
    from jasco_pl.controls.chord_lab import write_lab
    from jasco_pl.extract.chordino import SAMPLE_RATE, chordino

    _ends_in(args.out, ".lab")
    wav = read_audio(args.file, SAMPLE_RATE)
    changes = chordino(wav, SAMPLE_RATE)
    write_lab(args.out, changes, wav.shape[1] / SAMPLE_RATE)
    print(f"{len(changes)} chords: {args.out}")


def _melody(args: argparse.Namespace) -> None:
    from jasco_pl.controls.melody_file import check_suffix, write_melody
    from jasco_pl.extract.hcqt import SAMPLE_RATE
    from jasco_pl.extract.salience import Salience

    check_suffix(args.out)
    wav = read_audio(args.file, SAMPLE_RATE)
    bins = Salience(args.weights, args.device)(wav, SAMPLE_RATE, progress=True)
    write_melody(args.out, bins)
    share = float(np.mean(bins >= 0)) if len(bins) else 0.0
    print(f"a melody sounds in {100 * share:.0f} % of {len(bins)} frames: {os.fspath(args.out)}")


def _latents(args: argparse.Namespace) -> None:
    from jasco_pl.codec import load_codec

    _ends_in(args.out, ".safetensors")
    codec = load_codec(args.codec).to(args.device)
    wav = read_audio(args.file, codec.sample_rate)
    with torch.inference_mode():
        latents = codec.encode(wav[None].to(args.device))
        codes = codec.codes(latents)
    with atomic_path(args.out) as temporary:
        save_file({"latents": latents[0].cpu().contiguous(), "codes": codes[0].short().cpu().contiguous()}, temporary)
    print(f"{latents.shape[1]} latents of {latents.shape[2]} channels: {args.out}")
