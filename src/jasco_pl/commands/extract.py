"""What an extractor hears in one audio file, of any length.

  jasco extract chords song.flac -o song.lab             chords by Chordino, in Harte's syntax: start end label
  jasco extract melody song.mp3 -o song.mid              melody by deep salience, one note a run of frames
  jasco extract melody song.mp3 -o song.npy              the same as float32 [T, 53] at 50 Hz: MIDI 43..95, one 1 a frame or none
  jasco extract drums song.ogg -o drums.wav              the drums by Demucs, 32 kHz mono; --drumless REST.wav writes the rest
  jasco extract latents song.wav -o song.safetensors     the codec's latents [T, dim] and first-codebook codes [T]

Long files are heard in windows: memory does not grow with them. More than five minutes of samples are kept in a temporary file, in the
folder that TMPDIR names (0.5 GB an hour and rate).

The weights of deep salience are fetched from their authors' repository once, into the user's cache, unless --weights or JASCO_SALIENCE
names a file. Demucs' weights are looked for in the caches that Demucs fills and otherwise fetched once, unless --demucs-repo names a
folder that holds them (955717e8-8726e21a.th for htdemucs).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
from safetensors.torch import save_file

from jasco_pl.audio.long_audio import LongAudio
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path

_CODEC = "checkpoints/codec-mini"
_BLOCK = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Subcommands chords, melody, drums and latents."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="chords|melody|drums|latents")
    for name, text, endings in (
        ("chords", "chords by Chordino", ".lab"),
        ("melody", "melody by deep salience", ".mid or .npy"),
        ("drums", "the drums alone", ".wav, .flac, .ogg or .mp3"),
        ("latents", "latents and codes of a codec", ".safetensors"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("file", metavar="FILE", help="audio: wav, flac, ogg, mp3, opus; any rate, channels and length")
        action.add_argument("-o", "--out", required=True, metavar="OUT", help=f"file to write: {endings}")
        if name == "melody":
            action.add_argument("--weights", metavar="FILE", help="weights of deep salience, .safetensors or the authors' .h5")
        if name == "latents":
            action.add_argument("--codec", default=_CODEC, metavar="DIR", help="codec folder or Hub id (default %(default)s)")
        if name == "drums":
            action.add_argument(
                "--model",
                default="htdemucs",
                metavar="NAME",
                help="htdemucs (default), hdemucs_mmi (the paper's), another of Demucs' models, or hpss: librosa's harmonic-percussive "
                "separation, which needs no weights and takes every sharp attack for a drum",
            )
            action.add_argument("--demucs-repo", metavar="DIR", help="folder of Demucs' weights, SIGNATURE-CHECKSUM.th")
            action.add_argument("--drumless", metavar="OUT2", help="also write everything but the drums")
        if name != "chords":
            action.add_argument("--device", default="cpu", help="cpu, cuda, mps (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Always 0."""
    _check_apart(args.file, args.out, getattr(args, "drumless", None))
    {"chords": _chords, "melody": _melody, "drums": _drums, "latents": _latents}[args.action](args)
    return 0


def _ends_in(path: str, suffix: str) -> None:
    if Path(path).suffix.lower() != suffix:
        raise UserError(f"cannot write to {path!r}: the name must end in {suffix}.")


def _check_apart(file: str, out: str, rest: str | None) -> None:
    """Raise UserError where writing would replace what is heard, or what was just written."""
    for path in (out, rest):
        if path is not None and os.path.realpath(path) == os.path.realpath(file):
            raise UserError(f"cannot write to {path!r}: that is the recording itself, and another name is accepted.")
    if rest is not None and os.path.realpath(rest) == os.path.realpath(out):
        raise UserError(f"cannot write both the drums and the rest to {out!r}: -o and --drumless take a file each.")


def _chords(args: argparse.Namespace) -> None:
    from jasco_pl.extract import chordino
    from jasco_pl.notation.chord_lab import write_lab

    _ends_in(args.out, ".lab")
    with LongAudio(args.file, progress=True) as audio:
        chordino.require()
        changes = chordino.chordino_long(audio.samples(chordino.SAMPLE_RATE), progress=True)
        count = write_lab(args.out, changes, audio.seconds)
    print(f"{count} chord{'s' * (count != 1)}: {args.out}")


def _melody(args: argparse.Namespace) -> None:
    from jasco_pl.extract.salience import Salience
    from jasco_pl.notation.melody import check_suffix, write_melody

    check_suffix(args.out)
    with LongAudio(args.file, progress=True) as audio:
        bins = Salience(args.weights, args.device).of(audio, progress=True)
    write_melody(args.out, bins)
    share = float(np.mean(bins >= 0)) if len(bins) else 0.0
    print(f"a melody sounds in {100 * share:.0f} % of {len(bins)} frames: {os.fspath(args.out)}")


def _drums(args: argparse.Namespace) -> None:
    from jasco_pl.audio.files import check_suffix, write_blocks
    from jasco_pl.extract.separation import Separator

    wanted = [path for path in (args.out, args.drumless) if path is not None]
    for path in wanted:
        check_suffix(path)
    with LongAudio(args.file, progress=True) as audio:
        stems = Separator(args.model, args.demucs_repo, args.device).separate(audio, progress=True)
        for path, samples in zip(wanted, stems, strict=False):
            write_blocks(path, (window for window, _, _ in samples.windows(_BLOCK)), samples.rate)
            print(f"{'drums' if samples is stems[0] else 'the rest'}, {samples.seconds:.1f} s by {args.model}: {path}")


def _latents(args: argparse.Namespace) -> None:
    from jasco_pl.codec import load_codec
    from jasco_pl.extract.latents import encode

    _ends_in(args.out, ".safetensors")
    with LongAudio(args.file, progress=True) as audio:
        codec = load_codec(args.codec).to(args.device)
        latents, codes = encode(codec, audio.samples(codec.sample_rate), progress=True)
    with atomic_path(args.out) as temporary:
        save_file({"latents": latents, "codes": codes}, temporary)
    print(f"{len(latents)} latents of {latents.shape[1]} channels: {args.out}")
