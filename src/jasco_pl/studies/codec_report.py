"""The acceptance test of a codec: what of chords, onsets and spectrum survives a round trip, on files that it has not seen.

Mel distance alone misleads (a codec with a good one lost every chord to a hum at its frame rate), so the figures belong together.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from jasco_pl.audio.files import AUDIO_SUFFIXES, read_audio
from jasco_pl.codec import load_codec
from jasco_pl.codec.base import Codec
from jasco_pl.extract.heard import Heard
from jasco_pl.metrics import Column, Figure, Row, markdown_table, onset_f1
from jasco_pl.metrics.chords import chord_iou
from jasco_pl.metrics.reconstruction import mel_distance
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import write_json

COLUMNS = (
    Column("chord_iou_exact", "chord IoU", 3, True),
    Column("chord_iou_triad", "triads", 3, True),
    Column("onset_f1", "onset F1", 3, True),
    Column("mel_distance", "mel distance", 3, False),
    Column("hum_excess_db", "hum excess dB", 2, False),
    Column("click_excess", "clicks/s over original", 2, False),
    Column("decode_speed", "decoding x real time", 1, True),
)


def compare(original: Tensor, reconstruction: Tensor, heard: Heard, codec: Codec) -> dict[str, float]:
    """Figures of one reconstruction [1, S]; `heard` is what was heard in the original [1, S]."""
    again = Heard(reconstruction, codec.sample_rate, codec.frame_rate)
    return {
        "chord_iou_exact": chord_iou(again.chords, heard.chords, "exact"),
        "chord_iou_triad": chord_iou(again.chords, heard.chords, "triad"),
        "onset_f1": onset_f1(again.onsets, heard.onsets),
        "mel_distance": mel_distance(reconstruction, original, codec.sample_rate),
        "hum_excess_db": again.hum - heard.hum,
        "click_excess": again.clicks - heard.clicks,
    }


@torch.inference_mode()
def codec_report(codec: Codec, files: Sequence[Path], seconds: float = 10.0, limit: int | None = None) -> dict[str, Any]:
    """Reconstruct the first seconds of each file and compare.

    Args:
        codec: in evaluation mode.
        files: audio files.
        seconds: how much of each; what lasts less than a second is left out.
        limit: use so many files, spread evenly over the list; None uses all.

    Returns:
        `clips`, `seconds`, `threads`, `figures` (key -> mean, low, high of the 95 % bootstrap interval, clips; None where defined
        for no clip) and `per_clip`. The decoding speed is seconds of audio by seconds of wall time, one clip at a time.

    Raises:
        UserError: a file cannot be read, none lasts a second, or Chordino is missing.
    """
    if limit is not None and limit < len(files):
        files = [files[index * len(files) // limit] for index in range(limit)]
    rows: list[dict[str, Any]] = []
    for path in tqdm(files, desc="codec report", unit="clip"):
        original = read_audio(path, codec.sample_rate, max_seconds=seconds)
        original = original[:, : original.shape[1] // codec.hop * codec.hop]
        if original.shape[1] < codec.sample_rate:
            continue
        latents = codec.encode(original[None])
        start = time.perf_counter()
        reconstruction = codec.decode(latents)[0]
        speed = original.shape[1] / codec.sample_rate / (time.perf_counter() - start)
        survived = compare(original, reconstruction, Heard(original, codec.sample_rate, codec.frame_rate), codec)
        rows.append({"file": path.name, **survived, "decode_speed": speed})
    if not rows:
        raise UserError("no audio file of at least a second was found for the codec report.")
    figures = {column.key: Figure.of([row[column.key] for row in rows]) for column in COLUMNS}
    return {
        "clips": len(rows),
        "seconds": seconds,
        "threads": torch.get_num_threads(),
        "figures": {key: None if figure.missing else asdict(figure) for key, figure in figures.items()},
        "per_clip": [{key: None if value != value else value for key, value in row.items()} for row in rows],
    }


def audio_files(folder: str | Path) -> list[Path]:
    """Audio under a folder, sorted; where composed pieces are among it, their mixes alone.

    Raises:
        UserError: there is none.
    """
    found = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    mixes = [path for path in found if path.name.endswith(".mix.flac")]
    if not found:
        raise UserError(f"{str(folder)!r} is no folder that holds audio ({', '.join(AUDIO_SUFFIXES)}).")
    return mixes or found


def markdown(report: dict[str, Any], name: str) -> str:
    """The report as a Markdown table of one row."""
    figures = {
        key: Figure(**figure) if figure else Figure.absent("no clip for which this is defined") for key, figure in report["figures"].items()
    }
    return markdown_table([Row(name, figures)], COLUMNS, first="codec")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `jasco codec report`."""
    parser.add_argument(
        "--codec", default="checkpoints/codec-mini", help="folder of the codec, or a Hub id of EnCodec (default: %(default)s)"
    )
    parser.add_argument("--audio", required=True, help="folder of audio; of composed pieces the mixes are used")
    parser.add_argument("--limit", type=int, default=None, help="number of files, spread evenly (default: all)")
    parser.add_argument("--seconds", type=float, default=10.0, help="how much of each file, from its start (default: %(default)s)")
    parser.add_argument("--json", default=None, help="also write the figures there, clip by clip")


def run(arguments: argparse.Namespace) -> int:
    """`jasco codec report`: print the table, write the JSON. Always 0."""
    if arguments.limit is not None and arguments.limit < 1:
        raise UserError(f"--limit {arguments.limit} leaves no file: it must be at least 1.")
    codec = load_codec(arguments.codec).eval()
    report = codec_report(codec, audio_files(arguments.audio), arguments.seconds, arguments.limit)
    report["codec"] = str(arguments.codec)
    report["parameters"] = sum(parameter.numel() for parameter in codec.parameters())
    folder = Path(arguments.codec)
    if folder.is_dir():
        report["mib"] = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
    print(markdown(report, folder.name))
    size = f", {report['mib']:.2f} MiB on disk" if "mib" in report else ""
    print(f"{report['clips']} clips of {report['seconds']:g} s, {report['threads']} threads; ± is half of the 95 % bootstrap interval")
    print(f"{report['parameters'] / 1e6:.2f}M parameters{size}")
    if arguments.json:
        write_json(arguments.json, report)
    return 0
