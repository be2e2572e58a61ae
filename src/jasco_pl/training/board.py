"""A clip and its reference in TensorBoard: a tag of its own for every kind, of which it shows only the first that it meets under a tag."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from jasco_pl.audio.files import loudness_normalize
from jasco_pl.evaluation.references import Reference
from jasco_pl.extract import chordino
from jasco_pl.extract.heard import Heard
from jasco_pl.pages.pictures import draw_clip, draw_lane, figure_to_image

NAMES = ("reference", "clip")


def show_clip(writer: Any, name: str, reference: Reference, clip: Heard, melody: np.ndarray | None, step: int) -> None:
    """Sound, spectra, chords, melody and onsets; the reference's sound again at every step, so that both stand side by side.

    Args:
        writer: TensorBoard's.
        name: what the tags begin with.
        reference: whose conditions were given.
        clip: what was made of them.
        melody: what deep salience heard in it, bins [T].
        step: of the training.
    """
    rate, seconds = clip.sample_rate, clip.audio.shape[-1] / clip.sample_rate
    sounds: dict[str, Tensor] = {"clip": clip.audio, "reference": reference.audio}
    levelled = {side: loudness_normalize(wav, rate)[0] for side, wav in sounds.items()}
    for side, wav in levelled.items():
        writer.add_audio(f"{name}/{side}_audio", wav, step, sample_rate=rate)
    title = reference.caption or reference.id
    spectra = [
        figure_to_image(draw_clip(None, wav=wav, sample_rate=rate, title=f"{side}: {title}" if side == "clip" else side))
        for side, wav in levelled.items()
    ]
    writer.add_image(f"{name}/spectrogram", np.concatenate(spectra), step, dataformats="HWC")

    def show(kind: str, figure: Figure) -> None:
        writer.add_image(f"{name}/{kind}", figure_to_image(figure), step, dataformats="HWC")

    if chordino.available():
        show("chords", draw_lane("chords", reference.heard.chords, clip.chords, seconds=seconds, title=title, names=NAMES))
    if reference.melody is not None:
        show("melody", draw_lane("melody", reference.melody, melody, seconds=seconds, title=title))
    show("onsets", draw_lane("onsets", reference.heard.onsets, clip.onsets, seconds=seconds, title=title, names=NAMES))
