"""Local controls: what the music must follow frame by frame. A new control is one file here and one line in `CONTROLS`."""

from jasco_pl.controls.audio import AudioControl, Drums
from jasco_pl.controls.base import Control
from jasco_pl.controls.chords import Chords
from jasco_pl.controls.melody import Melody

CONTROLS: dict[str, type[Control]] = {control.name: control for control in (Chords, Melody, Drums)}

__all__ = ["CONTROLS", "AudioControl", "Chords", "Control", "Drums", "Melody"]
