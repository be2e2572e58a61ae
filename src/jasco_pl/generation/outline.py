"""What a checkpoint says of requests, read from its configuration alone, so that what cannot be is refused before torch is imported."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jasco_pl.controls.during import read_during
from jasco_pl.controls.inputs import INPUTS
from jasco_pl.controls.options import DURING
from jasco_pl.network.flow.guidance import parse_guidance
from jasco_pl.system.errors import UserError
from jasco_pl.system.resources import is_hub_id, locate

DEFAULT_CHECKPOINT = "checkpoints/jasco-mini"
MAX_SECONDS = 600.0
MAX_WHOLE_SECONDS = 60.0  # in one piece, as audiocraft makes them


@dataclass(frozen=True)
class Length:
    """Of a clip, in latent frames and in seconds."""

    frames: int
    frame_rate: float

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.frames / self.frame_rate


@dataclass(frozen=True)
class Outline:
    """Of a model.

    Attributes:
        controls: its local controls, by name.
        learnt: length of the clips it was trained on, in seconds.
        frame_rate: latent frames a second.
    """

    controls: tuple[str, ...]
    learnt: float
    frame_rate: float

    @classmethod
    def of(cls, checkpoint: str | Path) -> Outline | None:
        """None where the configuration is not at hand or is none: who loads the model fetches it, or says what is wrong with it.

        Raises:
            UserError: there is no such folder, and it is no Hub id.
        """
        folder = Path(locate(checkpoint))
        try:
            told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            found = cls(tuple(map(str, told["controls"])), float(told.get("seconds", 10.0)), float(told.get("frame_rate", 50.0)))
            return found if found.learnt > 0 and found.frame_rate > 0 else None
        except OSError as error:
            if folder.is_dir() or is_hub_id(str(checkpoint)):
                return None
            raise UserError(f"no JASCO checkpoint in {str(folder)!r}: config.json cannot be read ({error.strerror}).") from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None

    def length(self, seconds: float | None) -> Length:
        """Of a clip of so many seconds, None being what the model was trained on.

        Raises:
            UserError: the model makes none that is so long.
        """
        return Length(whole_frames(self.learnt if seconds is None else seconds, self.frame_rate), self.frame_rate)

    @property
    def accepts(self) -> set[str]:
        """Options of a request that ask this model for something."""
        return {INPUTS[name].option.name for name in self.controls if name in INPUTS}

    def check(self, asked: Mapping[str, Any], guidance: str | None, length: Length) -> None:
        """Look at what a request says beside what its controls read.

        Raises:
            UserError: a control is asked for that the model lacks, the guidance names what it does not have, or what holds for a part of
                the time is not understood.
        """
        details = {option for kind in INPUTS.values() for option in kind.details}
        for name, kind in INPUTS.items():
            if asked.get(kind.option.name) is not None and kind.option.name not in self.accepts and kind.option not in details:
                raise lacking(name, self.controls)
        if guidance is not None:
            parse_guidance(guidance, self.controls)
        if asked.get(DURING.name) is not None and all(name in INPUTS for name in self.controls):
            options = list(dict.fromkeys(kind.option.name for kind in INPUTS.values()))
            read_during(asked[DURING.name], options, [name for name in options if name in self.accepts and asked[name] is not None], length)


def whole_frames(seconds: float, frame_rate: float, most: float = MAX_SECONDS) -> int:
    """Latent frames of a clip.

    Raises:
        UserError: it would last longer than `most` seconds, or not at all.
    """
    if not 0 < seconds <= most:
        raise UserError(f"a clip lasts more than 0 and up to {most:g} seconds, not {seconds:g}.")
    return max(1, round(seconds * frame_rate))


def lacking(control: str, controls: Collection[str]) -> UserError:
    """That a model which has some controls has not that one."""
    return UserError(f"this model has no control {control!r}; it has: {', '.join(controls) or 'text only'}.")
