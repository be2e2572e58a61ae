"""How far a clip follows what its request asked for, in figures, as lanes of a page, and as a picture."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from jasco_pl.audio.files import loudness_normalize, read_audio
from jasco_pl.evaluation.measure import CHORDS, MELODY, ONSETS, chord_lane, note_lane, onset_lane
from jasco_pl.extract import chordino
from jasco_pl.extract.heard import Heard
from jasco_pl.generation.jasco import Clip
from jasco_pl.metrics.chords import chord_iou
from jasco_pl.metrics.melody import bins_to_pitch_class, pitch_class_accuracy
from jasco_pl.metrics.onset_f1 import onset_f1
from jasco_pl.notation.melody import LOWEST_MIDI
from jasco_pl.pages.lanes import in_octaves
from jasco_pl.pages.pictures import draw_clip, figure_to_image
from jasco_pl.system.files import atomic_path

COLUMNS = [*CHORDS[:2], *MELODY, *ONSETS]
"""Of the figures: against the chords as typed, the melody as read, the onsets that are heard in the drum part."""
_DPI, _COLOURS = 80, 48  # of a picture, which so has under 80 kB and reads as well


class Asked:
    """What a clip was to follow.

    Args:
        clip: as `Jasco.generate` returns it.
    """

    def __init__(self, clip: Clip) -> None:
        self.request, self.raw = clip.request, clip.asked
        self._seconds, self._rate = clip.audio.shape[-1] / clip.sample_rate, clip.sample_rate

    @cached_property
    def onsets(self) -> NDArray[np.float64] | None:
        """Of the drum part as the clip was to follow it, repeated to its length; None without one."""
        if self.request.drums is None:
            return None
        source, length = self.request.drums, round(self._seconds * self._rate)
        loop = source if isinstance(source, torch.Tensor) else read_audio(source, self._rate)
        return Heard(torch.tile(loop, (1, -(-length // loop.shape[-1])))[:, :length], self._rate).onsets

    def figures(self, heard: Heard) -> dict[str, float]:
        """By keys of `COLUMNS`, for what was asked for; a clip that was asked for nothing may be compared too."""
        figures = {}
        if "chords" in self.raw and chordino.available():
            figures["chord_iou"] = chord_iou(heard.chords, self.raw["chords"])
            figures["chord_iou_triads"] = chord_iou(heard.chords, self.raw["chords"], "triad")
        if "melody" in self.raw:
            figures["melody_accuracy"] = pitch_class_accuracy(heard.pitch_classes, bins_to_pitch_class(self.raw["melody"]))
        if self.onsets is not None:
            figures["onset_f1"] = onset_f1(heard.onsets, self.onsets)
        return figures

    def lanes(self) -> dict[str, Any]:
        """For a page."""
        return {
            "chords": chord_lane(self.raw["chords"]) if "chords" in self.raw and chordino.available() else [],
            "melody": note_lane(self.raw["melody"], LOWEST_MIDI) if "melody" in self.raw else [],
            "onsets": [] if self.onsets is None else onset_lane(self.onsets),
        }


def heard_lanes(heard: Heard) -> dict[str, Any]:
    """What is heard in a clip, for a page."""
    chords = chord_lane(heard.chords) if chordino.available() else []
    return {"chords": chords, "pitch_classes": note_lane(heard.pitch_classes), "onsets": onset_lane(heard.onsets)}


def draw(path: str | os.PathLike[str], clip: Clip, asked: Asked, heard: Heard) -> None:
    """A picture of the clip with a lane for each thing it was asked for, as a PNG of few colours.

    The melody heard is the strongest pitch class above middle C, which `figures` counts, in the octave nearest to what was asked for.
    """
    request, melody = clip.request, asked.raw.get("melody")
    figure = draw_clip(
        None,
        wav=loudness_normalize(clip.audio, clip.sample_rate)[0],
        sample_rate=clip.sample_rate,
        title="  ·  ".join(filter(None, (request.text, request.chords))),
        asked_chords=asked.raw.get("chords"),
        heard_chords=heard.chords if "chords" in asked.raw and chordino.available() else None,
        asked_melody=melody,
        heard_melody=None if melody is None else _bins(heard.pitch_classes, melody),
        asked_onsets=asked.onsets,
        heard_onsets=None if asked.onsets is None else heard.onsets,
    )
    figure.set_dpi(_DPI)
    with atomic_path(path) as temporary:
        Image.fromarray(figure_to_image(figure)).quantize(_COLOURS, dither=Image.Dither.NONE).save(temporary, optimize=True)


def _bins(classes: NDArray[np.int64], melody: NDArray[np.generic]) -> NDArray[np.int64]:
    """Pitch classes [T] as melody bins near to a melody [T]; those of the lowest octave stay on the scale."""
    bins = melody.astype(np.int64)
    pitches = in_octaves(classes, np.where(bins >= 0, bins + LOWEST_MIDI, -1))
    return np.where(classes >= 0, pitches - LOWEST_MIDI + 12 * (pitches < LOWEST_MIDI), -1)
