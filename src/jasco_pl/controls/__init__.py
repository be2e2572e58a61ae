"""Local controls: what the music must follow frame by frame. A new control is one file here and one line in `_CLASSES`.

Their classes are imported when they are first asked for: a command line needs their options alone, and no torch (`inputs`).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from jasco_pl.controls.inputs import INPUTS, Input
from jasco_pl.controls.options import WHOLE, Option

if TYPE_CHECKING:
    from jasco_pl.controls.adherence import Adherence
    from jasco_pl.controls.audio import AudioControl, BandpassedDrums, Drumless, Drums, Mix
    from jasco_pl.controls.base import Control
    from jasco_pl.controls.beat import Beat
    from jasco_pl.controls.chords import Chords
    from jasco_pl.controls.dynamics import Dynamics
    from jasco_pl.controls.melody import Melody
    from jasco_pl.controls.painting import Painting

_CLASSES = {
    "chords": "chords.Chords",
    "melody": "melody.Melody",
    "drums": "audio.Drums",
    "drums_bandpass": "audio.BandpassedDrums",
    "mix": "audio.Mix",
    "drumless": "audio.Drumless",
    "painting": "painting.Painting",
    "beat": "beat.Beat",
    "dynamics": "dynamics.Dynamics",
}
_OTHERS = {"Adherence": "adherence", "AudioControl": "audio", "Control": "base"}

CONTROLS: dict[str, type[Control]]
"""Every control by its name."""
ADHERENCES: tuple[Adherence, ...]
"""What can be measured and shown: each adherence once, in the order of the controls."""


def __getattr__(name: str) -> Any:
    modules = {path.partition(".")[2]: path.partition(".")[0] for path in _CLASSES.values()} | _OTHERS
    if name in modules:
        found: Any = getattr(importlib.import_module(f"jasco_pl.controls.{modules[name]}"), name)
    elif name == "CONTROLS":
        found = {control: __getattr__(path.partition(".")[2]) for control, path in _CLASSES.items()}
    elif name == "ADHERENCES":
        found = tuple(dict.fromkeys(control.adherence for control in _controls().values() if control.adherence))
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, found)


def _controls() -> dict[str, type[Control]]:
    return globals().get("CONTROLS") or __getattr__("CONTROLS")


def all_options() -> dict[str, Option]:
    """What a request may say besides its text and seed, by name and in order; what several controls follow stands once.

    At the end what belongs to the clip as a whole. Where no control has been imported yet, none is, but for one that has no `Input`.
    """
    known: Mapping[str, type[Control] | type[Input]] = globals().get("CONTROLS") or {
        name: INPUTS[name] if name in INPUTS else _controls()[name] for name in _CLASSES
    }
    return {option.name: option for options in (*(control.options() for control in known.values()), WHOLE) for option in options}


def stored_fields(names: Iterable[str]) -> list[str]:
    """Fields of a stored sample that a model with these controls trains on, besides the latents; the model refuses unknown names."""
    controls = _controls()
    return list(dict.fromkeys(controls[name].field for name in names if name in controls and controls[name].field != "latents"))


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
    "Input",
    "Melody",
    "Mix",
    "Option",
    "Painting",
    "all_options",
    "stored_fields",
]
