"""The acceptance test of a codec: what of chords, onsets and spectrum survives a round trip, on files that it has not seen.

Mel distance alone misleads (a codec with a good one lost every chord to a hum at its frame rate), so the figures belong together.

And how far masking latents is from encoding a masked waveform (paper, section 3.1: in- and outpainting). Training masks pre-extracted
latents: kept frames are those of the whole recording, masked ones the codec's silence. The paper silences the waveform and encodes that.
The two differ where the encoder's reach crosses an edge of the mask.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from jasco_pl.audio.files import read_audio
from jasco_pl.codec.base import Codec
from jasco_pl.controls.painting import masked_segments
from jasco_pl.extract.heard import Heard
from jasco_pl.metrics.following import chord_iou, onset_f1
from jasco_pl.metrics.reconstruction import click_rate, frame_rate_hum, mel_distance, pitch_distance
from jasco_pl.metrics.report import Column, Figure, Row, aligned_table, markdown_table
from jasco_pl.pages.pictures import draw_spectra
from jasco_pl.system.errors import UserError
from jasco_pl.system.seeding import stable_hash

COLUMNS = (
    Column("chord_iou_exact", "chord IoU", 3, True),
    Column("chord_iou_triad", "triads", 3, True),
    Column("onset_f1", "onset F1", 3, True),
    Column("mel_distance", "mel distance", 3, False),
    Column("pitch_distance", "pitch distance", 3, False),
    Column("hum_excess_db", "hum excess dB", 2, False),
    Column("click_excess", "clicks/s over original", 2, False),
    Column("decode_speed", "decoding x real time", 1, True),
)
REACH = 5  # frames on either side of a mask's edge that are listed one by one


def compare(original: Tensor, reconstruction: Tensor, codec: Codec) -> dict[str, float]:
    """Figures of one reconstruction [1, S] against the original [1, S]; by keys of `COLUMNS`."""
    rate = codec.sample_rate
    heard, again = Heard(original, rate), Heard(reconstruction, rate)
    return {
        "chord_iou_exact": chord_iou(again.chords, heard.chords, "exact"),
        "chord_iou_triad": chord_iou(again.chords, heard.chords, "triad"),
        "onset_f1": onset_f1(again.onsets, heard.onsets),
        "mel_distance": mel_distance(reconstruction, original, rate),
        "pitch_distance": pitch_distance(reconstruction, original, rate),
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
        `clips`, `seconds`, `threads`, `figures` (key -> mean, low, high of the 95 % bootstrap interval, None of one clip, clips; None
        where defined for no clip) and `per_clip`. The decoding speed is seconds of audio by seconds of wall time, one clip at a time.

    Raises:
        UserError: a file cannot be read, none lasts a second, or Chordino is missing.
    """
    rows: list[dict[str, Any]] = []
    for path in tqdm(spread_over(files, limit), desc="codec report", unit="clip"):
        original = _beginning(path, codec, seconds)
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
        "figures": {key: None if figure.missing else _plain(asdict(figure)) for key, figure in figures.items()},
        "per_clip": [_plain(row) for row in rows],
    }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """With null where JSON has no NaN."""
    return {key: None if value != value else value for key, value in values.items()}


def _figure(told: Mapping[str, Any] | None) -> Figure:
    """As `codec_report` wrote it."""
    if told is None:
        return Figure.absent("no clip for which this is defined")
    return Figure(**{**told, **{end: math.nan for end in ("low", "high") if told[end] is None}})


def spread_over(files: Sequence[Path], limit: int | None) -> Sequence[Path]:
    """So many of the files, at equal distances; None is all."""
    return files if limit is None or limit >= len(files) else [files[index * len(files) // limit] for index in range(limit)]


def _beginning(path: Path, codec: Codec, seconds: float) -> Tensor:
    """The first seconds of a file, in whole frames, [1, S]."""
    wav = read_audio(path, codec.sample_rate, max_seconds=seconds)
    return wav[:, : wav.shape[1] // codec.hop * codec.hop]


@torch.inference_mode()
def draw_round_trips(path: str | os.PathLike[str], codecs: Mapping[str, Codec], files: Sequence[Path], seconds: float) -> None:
    """Draw the spectra of files and, below each, of what every codec makes of it.

    Args:
        path: where the PNG goes.
        codecs: by name, in evaluation mode, of one sample rate.
        files: audio files of which the first seconds are drawn.
        seconds: how much.

    Raises:
        UserError: a file cannot be read or lasts less than that, or the picture cannot be written.
    """
    spectra = []
    for file in files:
        for name, codec in codecs.items():
            original = _beginning(file, codec, seconds)
            if original.shape[1] < int(seconds * codec.frame_rate) * codec.hop:
                raise UserError(f"{str(file)!r} is too short to be drawn: {seconds:g} seconds are wanted.")
            if name == next(iter(codecs)):
                spectra.append((file.stem[-24:], original))
            spectra.append((name, codec.decode(codec.encode(original[None]))[0]))
    draw_spectra(
        path, spectra, next(iter(codecs.values())).sample_rate, "Round trips: the recording, and below it what each codec makes of it"
    )


def markdown(reports: Mapping[str, dict[str, Any]]) -> str:
    """Reports by the codec's name as a Markdown table."""
    rows = [Row(name, {key: _figure(told) for key, told in report["figures"].items()}) for name, report in reports.items()]
    return markdown_table(rows, COLUMNS, first="codec")


def masking_distances(wav: Tensor, codec: Codec, first: int, last: int) -> tuple[Tensor, Tensor]:
    """Distance a frame between latents masked in [first, last) and the latents of the waveform masked there.

    Args:
        wav: [1, S].
        codec: encodes it.
        first, last: masked frames.

    Returns:
        Root mean square over channels in units of the latents' standard deviation, [T]; and the same between the whole recording and
        silence, [T], as a scale for it.
    """
    masked = codec.padded(wav).clone()
    masked[:, first * codec.hop : last * codec.hop] = 0
    whole, paper = codec.encode(wav[None])[0], codec.encode(masked[None])[0]
    ours = whole.clone()
    ours[first:last] = codec.silence
    off, scale = (((a - b) / codec.latent_std).square().mean(dim=-1).sqrt() for a, b in ((ours, paper), (whole, codec.silence)))
    return off, scale


@torch.inference_mode()
def masking_report(codec: Codec, files: Sequence[Path], masks: int) -> str:
    """A Markdown table of distances by place.

    Args:
        codec: in evaluation mode.
        files: audio files, of which ten seconds are read.
        masks: a file.

    Raises:
        UserError: a file cannot be read or is too short.
    """
    places: dict[str, list[Tensor]] = {}
    for path in tqdm(files, desc="masking", unit="file"):
        wav = read_audio(path, codec.sample_rate, max_seconds=10.0)
        frames = codec.padded(wav).shape[-1] // codec.hop
        if frames < 4 * REACH:
            raise UserError(f"{str(path)!r} is too short: at least {4 * REACH / codec.frame_rate:g} seconds are wanted.")
        keys = torch.tensor([stable_hash("masking", path.name, number) for number in range(masks)])
        for first, last in torch.stack(masked_segments(keys, torch.tensor(frames)), dim=1).tolist():
            off, scale = masking_distances(wav, codec, first, last)
            places.setdefault("whole recording against silence (scale)", []).append(scale)
            kept = torch.cat([off[: max(first - REACH, 0)], off[last + REACH :]])
            places.setdefault(f"kept, further than {REACH} frames from an edge", []).append(kept)
            places.setdefault(f"masked, further than {REACH} frames from an edge", []).append(off[first + REACH : last - REACH])
            for step in range(1, REACH + 1):
                near = [off[first - step : first - step + 1] if first >= step else off[:0], off[last + step - 1 : last + step]]
                places.setdefault(f"kept, frame {step} from an edge", []).append(torch.cat(near))
                inner = [off[first + step - 1 : first + step], off[last - step : last - step + 1] if last < frames else off[:0]]
                places.setdefault(f"masked, frame {step} from an edge", []).append(torch.cat(inner))
    table = [["where", "mean", "95th percentile"]]
    for name, parts in places.items():
        values = torch.cat(parts)
        table.append([name, f"{values.mean():.3f}", f"{values.quantile(0.95):.3f}"])
    return aligned_table(table)
