"""What a clip was to follow, beside what is heard in it: figures, lanes for a page, a picture."""

from __future__ import annotations

import math
import os
from typing import Any

from PIL import Image

from jasco_pl.audio.files import loudness_normalize
from jasco_pl.controls import ADHERENCES
from jasco_pl.extract.heard import Heard
from jasco_pl.generation.jasco import Clip
from jasco_pl.generation.sheet import drum_part
from jasco_pl.notation.timed_text import written
from jasco_pl.pages.pictures import draw_clip, figure_to_image
from jasco_pl.pages.texts import texts_lane
from jasco_pl.system.files import atomic_path

_DPI, _COLOURS = 80, 48  # of a picture, which so has under 80 kB and reads as well


class Asked:
    """What a clip was to follow.

    Args:
        clip: as `Jasco.generate` returns it.
    """

    def __init__(self, clip: Clip) -> None:
        self._parts = {adherence: clip.part(adherence) for adherence in ADHERENCES}
        given = drum_part(clip)
        found = {adherence: adherence.asked(clip.asked, given) for adherence in ADHERENCES}
        self.sides = {adherence: side for adherence, side in found.items() if side is not None}
        self._compared = {adherence: side for adherence, side in self.sides.items() if adherence.missing() is None}

    def figures(self, heard: Heard) -> dict[str, float]:
        """By keys of the adherences' columns, for what was asked for and while it was, as far as they are defined.

        A clip asked for nothing may be compared too.
        """
        figures: dict[str, float] = {}
        for adherence, side in self._compared.items():
            found = adherence.figures(heard, side, self._parts[adherence] or heard.whole)
            figures |= {column.key: found[column.key] for column in adherence.columns if not math.isnan(found[column.key])}
        return figures

    def lanes(self) -> dict[str, Any]:
        """For a page."""
        return {adherence.name: adherence.lane.written(side) for adherence, side in self._compared.items()}

    def heard_lanes(self, heard: Heard) -> dict[str, Any]:
        """What is heard in a clip that may be set against it, for a page."""
        return {name: side for adherence, asked in self._compared.items() for name, side in adherence.written(heard, asked).items()}

    def draw(self, path: str | os.PathLike[str], clip: Clip, heard: Heard) -> None:
        """A picture of the clip with a lane for each thing it was asked for, as a PNG of few colours."""
        figure = draw_clip(
            None,
            wav=loudness_normalize(clip.audio, clip.sample_rate)[0],
            sample_rate=clip.sample_rate,
            title="  ·  ".join(filter(None, (written(clip.request.text), clip.request.chords))),
            lanes=[
                *texts_lane(clip.request.text, clip.audio.shape[-1] / clip.sample_rate),
                *((adherence.lane, side, adherence.heard(heard, side)) for adherence, side in self.sides.items()),
            ],
        )
        figure.set_dpi(_DPI)
        with atomic_path(path) as temporary:
            Image.fromarray(figure_to_image(figure)).quantize(_COLOURS, dither=Image.Dither.NONE).save(temporary, optimize=True)
