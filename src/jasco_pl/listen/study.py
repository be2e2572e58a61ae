"""What a listening test is: its questions, its clips, and the key that says which stimulus is whose."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jasco_pl.errors import UserError
from jasco_pl.files import write_json

REFERENCE, ANCHOR = "reference", "anchor"
FINISHED = 0.95  # share of a recording from which on it counts as heard to the end: players are coarse about the last moments
_EXCELLENCE = ("bad", "poor", "fair", "good", "excellent")  # ITU-R BS.1534, the five ranges of its scale
_MATCH = ("not at all", "a little", "partly", "mostly", "fully")


@dataclass(frozen=True)
class Question:
    """One scale from 0 to 100, with the names of its five ranges.

    `by_definition`: the reference recording is the top of this scale, so that a rater who listens rates it so. A recording need not
    match its own caption, so this does not hold for the text.
    """

    key: str
    title: str
    ask: str
    labels: tuple[str, ...]
    by_definition: bool = True
    beside: bool = False  # the reference recording is played beside


QUESTIONS = {
    question.key: question
    for question in (
        Question("quality", "Quality", "how good does it sound, as a piece of music and as a recording?", _EXCELLENCE),
        Question("text", "Match with the description", "how well does the music fit the description?", _MATCH, by_definition=False),
        Question("melody", "Match with the melody", "how well does it follow the melody of the reference recording?", _MATCH, beside=True),
        Question("rhythm", "Match with the rhythm", "how well does it follow the rhythm of the reference recording?", _MATCH, beside=True),
    )
}


@dataclass(frozen=True)
class Stimulus:
    """One recording of the test: whose it is, what it was made from, its loudness in LUFS (None: too short or silent)."""

    system: str
    source: str
    loudness: float | None


@dataclass(frozen=True)
class Clip:
    """One piece in all its versions; the name is the stem of the files."""

    name: str
    caption: str | None
    seconds: float
    stimuli: dict[str, Stimulus]


@dataclass(frozen=True)
class Key:
    """What the raters must not see. Written beside the page, never into its folder."""

    version: str
    seed: int
    questions: tuple[str, ...]
    systems: tuple[str, ...]
    clips: dict[str, Clip]

    def save(self, path: str | Path) -> None:
        """Write it as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> Key:
        """Read what `save` wrote.

        Raises:
            UserError: no such file, or no key of a listening test.
        """
        try:
            data: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
            clips = {
                number: Clip(**{**clip, "stimuli": {name: Stimulus(**stimulus) for name, stimulus in clip["stimuli"].items()}})
                for number, clip in data["clips"].items()
            }
            key = cls(data["version"], data["seed"], tuple(data["questions"]), tuple(data["systems"]), clips)
        except OSError as error:
            raise UserError(f"the key {str(path)!r} cannot be read: {error.strerror}.") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError(
                f"{str(path)!r} is no key of a listening test; wanted is the key.json that `jasco listen build` wrote."
            ) from None
        unknown = set(key.questions) - set(QUESTIONS)
        if unknown:
            raise UserError(
                f"the key {str(path)!r} asks unknown questions ({', '.join(sorted(unknown))}); known are {', '.join(QUESTIONS)}."
            )
        return key
