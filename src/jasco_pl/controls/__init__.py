"""Local controls: what the music must follow frame by frame. A new control is one file here and one line in `CONTROLS`."""

from collections.abc import Iterable

from jasco_pl.controls.adherence import Adherence
from jasco_pl.controls.audio import AudioControl, BandpassedDrums, Drumless, Drums, Mix
from jasco_pl.controls.base import Control, Option
from jasco_pl.controls.beat import Beat
from jasco_pl.controls.chords import Chords
from jasco_pl.controls.during import DURING
from jasco_pl.controls.dynamics import Dynamics
from jasco_pl.controls.melody import Melody
from jasco_pl.controls.painting import Painting

CONTROLS: dict[str, type[Control]] = {
    control.name: control for control in (Chords, Melody, Drums, BandpassedDrums, Mix, Drumless, Painting, Beat, Dynamics)
}

ADHERENCES: tuple[Adherence, ...] = tuple(dict.fromkeys(control.adherence for control in CONTROLS.values() if control.adherence))
"""What can be measured and shown: each adherence once, in the order of the controls."""


def all_options() -> dict[str, Option]:
    """What a request may say besides its text and seed, by name and in order; what several controls follow stands once.

    At the end, for which seconds they hold.
    """
    return {option.name: option for options in (*(control.options() for control in CONTROLS.values()), (DURING,)) for option in options}


def stored_fields(names: Iterable[str]) -> list[str]:
    """Fields of a stored sample that a model with these controls trains on, besides the latents; the model refuses unknown names."""
    return list(dict.fromkeys(CONTROLS[name].field for name in names if name in CONTROLS and CONTROLS[name].field != "latents"))


__all__ = [
    "ADHERENCES",
    "CONTROLS",
    "Adherence",
    "AudioControl",
    "BandpassedDrums",
    "Beat",
    "Chords",
    "Control",
    "Drumless",
    "Drums",
    "Dynamics",
    "Melody",
    "Mix",
    "Option",
    "Painting",
    "all_options",
    "stored_fields",
]
