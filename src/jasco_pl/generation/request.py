"""What a clip shall be, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Integral, Real
from types import SimpleNamespace
from typing import Any

import numpy as np
from torch import Tensor

from jasco_pl.controls import CONTROLS, Adherence, all_options
from jasco_pl.extract.heard import Part
from jasco_pl.notation.chord_text import ChordChange
from jasco_pl.notation.timed_text import Prompt
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import is_unicode


class Request(SimpleNamespace):
    """What one clip shall be. Everything may be left out.

    `Request("slow jazz", chords="Dm7 | G7", bpm=80, drums="loop.wav", seed=3)`: each argument is an attribute too; what was left out has
    its default.

    Args:
        text: description of style, instruments, mood, tempo; or several with the seconds in which they hold, as in
            "0-5: calm piano; 5-: full band" or [(0, 5, "calm piano"), (5, None, "full band")].
        seed: of this clip's noise; the same request and seed give the same clip in any batch.
        asked: what the controls shall follow, by the names of their options: those of `jasco generate` and of `all_options()`. A control's
            `read` says what it takes besides what can be written on a command line, as arrays and waveforms. None is not asked for.
            `during` says for which seconds they hold: `chords=0-6,melody=4-`, or {"chords": [(0, 6)]}; elsewhere they say nothing.
            `vary` is a recording, a file or [1, S] at the codec's rate, from which the clip lies as far away as `variation` says (0 to 1).

    Raises:
        UserError: no control has an option of such a name; what has to be a number is none.
    """

    text: Prompt
    seed: int

    def __init__(self, text: Prompt = "", *, seed: int = 0, **asked: Any) -> None:
        options = all_options()
        if unknown := [name for name in asked if name not in options]:
            raise UserError(f"a request has nothing called {unknown[0]!r}; it may have: {', '.join(['text', *options, 'seed'])}.")
        if isinstance(text, str) and not is_unicode(text):  # what a shell hands over may be bytes of any kind
            raise UserError(f"the text {text!r} is not UTF-8: write it in that encoding.")
        for name, value in asked.items():
            if options[name].kind == "number" and not (value is None or (isinstance(value, Real) and not isinstance(value, bool))):
                raise UserError(f"{name} is {value!r}, where a number is accepted.")
        if not isinstance(seed, Integral) or isinstance(seed, bool):
            raise UserError(f"seed is {seed!r}, where a whole number is accepted.")
        super().__init__(text=text, **{name: asked.get(name, option.default) for name, option in options.items()}, seed=seed)


@dataclass
class Clip:
    """One generated clip.

    Attributes:
        audio: [1, S] at `sample_rate`, as the codec gave it (not loudness-normalised); kept stretches are the recording itself.
        asked: raw conditions by name, [T] or [T, C] each; only those that were given, null outside of `during`.
        during: frames in which a condition holds by its control's name, [T] each; those that are not here hold throughout.
        changes: the chords as they were read.
        notes: what was done to the request on the way (spellings mapped, loops repeated).
        evaluations: times the network was evaluated.
        recording: what was read to lay over the clip (`paint`), [1, S].
        source: normalised latents that it is a variation of (`vary`), [T, C].
    """

    audio: Tensor
    sample_rate: int
    latents: Tensor
    request: Request
    asked: dict[str, np.ndarray]
    changes: list[ChordChange] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    evaluations: int = 0
    recording: Tensor | None = None
    source: Tensor | None = None
    during: dict[str, np.ndarray] = field(default_factory=dict)

    def part(self, adherence: Adherence) -> Part | None:
        """The frames in which the clip was to follow what an adherence measures, by all controls that ask for it; None is all of them."""
        masks = [mask for name, mask in self.during.items() if CONTROLS[name].adherence is adherence]
        return Part.of(np.logical_and.reduce(masks)) if masks else None
