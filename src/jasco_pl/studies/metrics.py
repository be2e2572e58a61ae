"""What the metrics themselves are worth: what a perfect generator would get, and what a distance by some embedding notices.

Ceiling: a rendered piece follows its chords, melody and drums exactly, by construction. What its figures against its own annotations lack
of 1 is the extractors' and the metrics' doing, and no generator that is measured by them can be expected to get more.

Sensitivity: a distance that is to judge generated music must be small between clean halves of the same pieces and grow with every kind of
damage.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from jasco_pl.audio.files import SAMPLE_RATE, read_audio
from jasco_pl.codec import load_codec
from jasco_pl.compose.pieces import read_stretch
from jasco_pl.controls.adherence import CHORDS, MELODY
from jasco_pl.controls.beat import BEATS
from jasco_pl.extract.classical import onset_times
from jasco_pl.extract.heard import Heard
from jasco_pl.extract.salience import Salience
from jasco_pl.metrics.beats import key_score
from jasco_pl.metrics.distances import FrechetDistance, KernelDistance
from jasco_pl.metrics.embedders import Embedder
from jasco_pl.metrics.following import VOCABULARIES, melody_accuracy, melody_similarity, onset_f1
from jasco_pl.metrics.report import Column, Figure, Row, markdown_table
from jasco_pl.notation import harmony
from jasco_pl.notation.melody import has_melody
from jasco_pl.system.errors import UserError
from jasco_pl.system.seeding import stable_hash

SAME_HIT = 0.03  # seconds: hits of several drums at once are one onset

SALIENCE = {
    "melody_accuracy_salience": "melody accuracy by salience",
    "melody_accuracy_octave": "the same, octave included",
    "melody_similarity": "melody similarity by salience",
}
MEASURES = {
    "chord_iou": "chord IoU",
    "chord_iou_triads": "chord IoU, triads",
    **{f"chord_{name}": f"chords, mir_eval {name}" for name in VOCABULARIES},
    "onset_f1_stem": "onset F1, drum stem",
    "onset_f1_mix": "onset F1, whole mix",
    "melody_accuracy": "melody accuracy by chroma",
    **SALIENCE,
    **{column.key: column.title for column in (*BEATS.columns, *BEATS.further) if column.higher_is_better is not None},
    "key": "key",
}
_CEILING = Column("ceiling", "a perfect generator", 3, True)


def drum_onsets(hits: Sequence[Sequence[float]], start: float = 0.0, stop: float = np.inf) -> NDArray[np.float64]:
    """Onset times of [drum, seconds, velocity] hits between start and stop, counted from start; hits less than 30 ms after one join it."""
    times = sorted(float(time) for _, time, *_ in hits if start <= float(time) < stop)
    kept: list[float] = []
    for time in times:
        if not kept or time - kept[-1] >= SAME_HIT:
            kept.append(time)
    return np.array(kept) - start


def measure_piece(path: Path, seconds: float = 10.0, salience: Salience | None = None) -> dict[str, float]:
    """Figures of a stretch of one piece (its JSON) against what was composed; NaN where there is nothing to follow.

    The stretch is placed by the hash of the piece's id. Without `salience` the figures that need it are left out.

    Raises:
        UserError: the piece or a stem cannot be read, or the piece is shorter than the stretch.
    """
    stretch = read_stretch(path, seconds, SAMPLE_RATE, harmony.FRAME_RATE, "ceiling")
    hits, heard = drum_onsets(stretch.note["drums"], stretch.start, stretch.start + seconds), Heard(stretch.mix, SAMPLE_RATE)
    figures = dict.fromkeys(MEASURES if salience is not None else MEASURES.keys() - SALIENCE.keys(), np.nan)
    figures["onset_f1_stem"] = onset_f1(onset_times(stretch.stem("drums"), SAMPLE_RATE, start=False), hits)
    figures["onset_f1_mix"] = onset_f1(heard.onsets, hits)
    beats = BEATS.asked({BEATS.name: stretch.beats}, None)
    if beats is not None and not BEATS.missing():
        figures |= BEATS.figures(heard, beats, heard.whole)
    figures["key"] = key_score(heard.key, stretch.note.get("key", ""))
    if harmony.has_chords(stretch.chords):
        figures |= CHORDS.figures(heard, stretch.chords, heard.whole)
    if has_melody(stretch.melody):
        if salience is not None:
            heard.melody = salience(stretch.mix, SAMPLE_RATE, len(stretch.melody))
            figures["melody_accuracy_octave"] = melody_accuracy(heard.melody, stretch.melody, octave=True)
            figures["melody_similarity"] = melody_similarity(heard.melody, stretch.melody)
        figures |= MELODY.figures(heard, stretch.melody, heard.whole)
    return figures


def ceiling_table(figures: Sequence[Mapping[str, float]], missing: str | None = None) -> tuple[str, dict[str, Any]]:
    """Markdown and JSON: a row a measure, with the mean over the pieces (`measure_piece`) that have something to follow.

    `missing` says why salience has none.
    """
    rows, plain = [], []
    for key, title in MEASURES.items():
        absent = missing is not None and key in SALIENCE
        figure = Figure.absent(missing or "") if absent else Figure.of([piece[key] for piece in figures])
        rows.append(Row(title, {_CEILING.key: figure}))
        interval = {} if math.isnan(figure.low) else {"low": figure.low, "high": figure.high}
        found = {"missing": figure.missing} if figure.missing is not None else {"mean": figure.mean, **interval, "clips": figure.clips}
        plain.append({"name": title, "figures": {_CEILING.key: found}})
    columns = [{"key": _CEILING.key, "title": _CEILING.title, "higher_is_better": _CEILING.higher_is_better}]
    return markdown_table(rows, [_CEILING], first="metric"), {"columns": columns, "rows": plain}


SECONDS = 10
CLIPS_OF_PIECE = 4  # every other one is reference
Degradation = Callable[[Tensor, torch.Generator], Tensor]


def add_noise(wav: Tensor, draw: torch.Generator, ratio: float) -> Tensor:
    """White noise `ratio` decibels under the clip's power."""
    return wav + torch.randn(wav.shape, generator=draw) * wav.square().mean().sqrt() * 10 ** (-ratio / 20)


def low_pass(wav: Tensor, draw: torch.Generator, hertz: float) -> Tensor:
    """Nothing above `hertz` (Butterworth, order 8)."""
    sections = scipy.signal.butter(8, hertz, fs=SAMPLE_RATE, output="sos")
    return torch.from_numpy(scipy.signal.sosfilt(sections, wav.double().numpy())).float()


def shuffle(wav: Tensor, draw: torch.Generator, seconds: float) -> Tensor:
    """Pieces of `seconds` in random order: the sound stays, the rhythm goes."""
    parts = wav.split(round(seconds * SAMPLE_RATE), dim=-1)
    return torch.cat([parts[index] for index in torch.randperm(len(parts), generator=draw)], dim=-1)


def through_codec(folder: str) -> Degradation:
    """Encoded and decoded."""
    codec = load_codec(folder)

    @torch.inference_mode()
    def reconstruct(wav: Tensor, draw: torch.Generator) -> Tensor:
        return codec.decode(codec.encode(wav[None]))[0]

    return reconstruct


def degradations(codec: str) -> dict[str, Degradation]:
    """Name -> what is done to a clip [1, S] at 32 kHz; each kind from weak to strong."""
    return {
        "clean": lambda wav, draw: wav,
        **{f"noise {ratio} dB": partial(add_noise, ratio=ratio) for ratio in (20, 10)},
        **{f"low-pass {hertz} Hz": partial(low_pass, hertz=hertz) for hertz in (4000, 1000)},
        **{f"shuffled {part} s": partial(shuffle, seconds=part) for part in (0.5, 0.1)},
        "codec": through_codec(codec),
    }


def sensitivity(paths: Sequence[Path], embedder: Embedder, kinds: dict[str, Degradation]) -> Iterator[tuple[str, dict[str, float]]]:
    """Figures of every degradation against clean clips of the same pieces, as soon as they are known.

    Args:
        paths: pieces of 40 seconds or more, or whatever of them lasts ten.
        embedder: what hears them.
        kinds: see `degradations`.

    Yields:
        A kind's name, and its Frechet distance, KAD and numbers of embeddings by name.

    Raises:
        UserError: no piece holds two clips, or all together hold too few for the embedding's dimension.
    """
    reference, tested = [], []
    for path in paths:
        clips = read_audio(path, SAMPLE_RATE).split(SECONDS * SAMPLE_RATE, dim=-1)[:CLIPS_OF_PIECE]
        whole = [clip for clip in clips if clip.shape[-1] == SECONDS * SAMPLE_RATE]
        pairs = len(whole) // 2
        reference += whole[: 2 * pairs : 2]
        tested += [(f"{path.stem}-{number}", clip) for number, clip in enumerate(whole[1 : 2 * pairs : 2])]
    if not tested:
        raise UserError(f"none of {len(paths)} files holds two clips of {SECONDS} s to compare.")
    windows = embedder(reference[0], SAMPLE_RATE).shape[1]
    if windows * len(tested) <= embedder.dim:  # known before an hour of work
        given = windows * len(tested)
        raise UserError(
            f"{len(paths)} files give {given} embeddings on either side, and FD[{embedder.name}] needs over {embedder.dim}: "
            f"about {len(paths) * embedder.dim // given + 1} such files would do."
        )
    frechet = FrechetDistance(embedder.name, embedder.dim)
    kernel = KernelDistance(embedder.name, embedder.dim)
    clean = [embedder(clip, SAMPLE_RATE) for clip in tqdm(reference, desc="reference", unit="clip", leave=False)]
    for name, degrade in kinds.items():
        for metric in (frechet, kernel):
            metric.reset()
            for embeddings in clean:
                metric.update(embeddings, reference=True)
        for key, clip in tqdm(tested, desc=name, unit="clip", leave=False):
            draw = torch.Generator().manual_seed(stable_hash("sensitivity", key))
            embeddings = embedder(degrade(clip, draw), SAMPLE_RATE)
            frechet.update(embeddings)
            kernel.update(embeddings)
        yield name, {key: float(value) for metric in (frechet, kernel) for key, value in metric.compute().items()}
