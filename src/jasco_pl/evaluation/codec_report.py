"""The acceptance test of a codec: what of chords, onsets and spectrum survives a round trip, on files that it has not seen.

Mel distance alone misleads (a codec with a good one lost every chord to a hum at its frame rate), so the figures belong together.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from jasco_pl.audio.files import read_audio
from jasco_pl.codec.base import Codec
from jasco_pl.extract.heard import Heard
from jasco_pl.metrics.following import chord_iou, onset_f1
from jasco_pl.metrics.reconstruction import click_rate, frame_rate_hum, mel_distance
from jasco_pl.metrics.report import Column, Figure, Row, markdown_table
from jasco_pl.system.errors import UserError

COLUMNS = (
    Column("chord_iou_exact", "chord IoU", 3, True),
    Column("chord_iou_triad", "triads", 3, True),
    Column("onset_f1", "onset F1", 3, True),
    Column("mel_distance", "mel distance", 3, False),
    Column("hum_excess_db", "hum excess dB", 2, False),
    Column("click_excess", "clicks/s over original", 2, False),
    Column("decode_speed", "decoding x real time", 1, True),
)


def compare(original: Tensor, reconstruction: Tensor, codec: Codec) -> dict[str, float]:
    """Figures of one reconstruction [1, S] against the original [1, S]; by keys of `COLUMNS`."""
    rate = codec.sample_rate
    heard, again = Heard(original, rate), Heard(reconstruction, rate)
    return {
        "chord_iou_exact": chord_iou(again.chords, heard.chords, "exact"),
        "chord_iou_triad": chord_iou(again.chords, heard.chords, "triad"),
        "onset_f1": onset_f1(again.onsets, heard.onsets),
        "mel_distance": mel_distance(reconstruction, original, rate),
        "hum_excess_db": frame_rate_hum(reconstruction, rate, codec.frame_rate) - frame_rate_hum(original, rate, codec.frame_rate),
        "click_excess": click_rate(reconstruction, rate) - click_rate(original, rate),
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
        rows.append({"file": path.name, **compare(original, reconstruction, codec), "decode_speed": speed})
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


def markdown(report: dict[str, Any], name: str) -> str:
    """The report as a Markdown table of one row."""
    figures = {
        key: Figure(**figure) if figure else Figure.absent("no clip for which this is defined") for key, figure in report["figures"].items()
    }
    return markdown_table([Row(name, figures)], COLUMNS, first="codec")
