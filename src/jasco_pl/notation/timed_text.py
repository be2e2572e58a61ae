"""Texts that hold for stretches of a clip: "0-5: calm piano; 5-: full band", and which of them a frame may see."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from jasco_pl.notation.harmony import first_frame
from jasco_pl.system.errors import UserError

Prompt = str | Sequence[tuple[float, float | None, str]]
"""A text; or texts with the seconds in which they hold, None for until the end: as one string, or (start, end, text) each."""
ALWAYS = 2**31 - 1
"""End of a stretch that lasts as long as any clip."""


class Span(NamedTuple):
    """A text that holds in frames [first, last)."""

    first: int
    last: int
    text: str


def throughout(text: str) -> list[Span]:
    """The spans of an ordinary text."""
    return [Span(0, ALWAYS, text)]


def covering(sections: Sequence[tuple[int, Sequence[str]]]) -> list[tuple[int, Sequence[str]]]:
    """First frames and captions of sections, without gaps: nothing is said of what comes before the first, nor of one without captions."""
    whole = [(first, captions or [""]) for first, captions in sections]
    return whole if not whole or whole[0][0] == 0 else [(0, [""]), *whole]


def spans_of(sections: Sequence[tuple[int, str]], start: int, length: int) -> list[Span]:
    """The texts of a stretch of frames, in frames of the stretch.

    Args:
        sections: first frames, from 0 on and rising, and texts; each lasts until the next begins, the last to the end.
        start, length: of the stretch.
    """
    lasts = [*(first for first, _ in sections[1:]), ALWAYS]
    spans = [Span(max(first - start, 0), min(last - start, length), text) for (first, text), last in zip(sections, lasts, strict=True)]
    return [span for span in spans if span.first < span.last]


class Passage(NamedTuple):
    """A text that holds from second `start` to `end`; None is the end of the clip."""

    start: float
    end: float | None
    text: str

    def __str__(self) -> str:
        return f"{self.start:g}-{'' if self.end is None else f'{self.end:g}'}: {self.text}"


_SECONDS = r"(\d+(?:\.\d+)?|\.\d+)\s*s?"
_STRETCH = re.compile(rf"\s*(?:{_SECONDS})?\s*[-–]\s*(?:{_SECONDS})?\s*:(.*)", re.DOTALL)


def is_timed(text: Prompt) -> bool:
    """Whether it says when it holds: a list does, and a string that begins with a stretch of seconds and a colon, as `0-5:` or `5-:`."""
    return not isinstance(text, str) or _stretch(text) is not None


def passages(text: Prompt) -> list[Passage] | None:
    """The parts of a timed text in their order; None for an ordinary one.

    Raises:
        UserError: a part does not begin with its stretch, or a stretch is none, or two overlap.
    """
    if not is_timed(text):
        return None
    found = sorted(_spelled(text) if isinstance(text, str) else map(_listed, text), key=lambda one: one.start)
    for one in found:
        if one.end is not None and one.end <= one.start:
            raise UserError(f"the text for {one.start:g}-{one.end:g} s holds for no time: a stretch ends after it begins.")
    for before, after in pairwise(found):
        if before.end is None or before.end > after.start:
            raise UserError(f"the texts {str(before)!r} and {str(after)!r} both hold at {after.start:g} s: stretches must not overlap.")
    return found


def _stretch(part: str) -> re.Match[str] | None:
    match = _STRETCH.match(part)
    return match if match and (match[1] or match[2]) else None


def _spelled(text: str) -> list[Passage]:
    found = []
    for part in filter(str.strip, text.split(";")):
        match = _stretch(part)
        if match is None:
            raise UserError(
                f"the part {part.strip()!r} of a text over time does not say when it holds: each part begins with seconds, as in "
                "'0-5: calm piano; 5-: full band', and ';' stands between parts alone."
            )
        start, end, words = match.groups()
        found.append(Passage(float(start or 0), None if end is None else float(end), " ".join(words.split())))
    return found


def _listed(part: Sequence[object]) -> Passage:
    try:
        start, end, text = part
        if isinstance(text, str) and ";" not in text:
            start, end = float(start), None if end is None else float(end)  # type: ignore[arg-type]
            if 0 <= start < math.inf and (end is None or math.isfinite(end)):
                return Passage(start, end, " ".join(text.split()))
    except (TypeError, ValueError):
        pass
    raise UserError(f"a text over time is a list of (start, end, text without ';') in seconds, end None for the clip's end, not {part!r}.")


def read_prompt(text: Prompt, frames: int, frame_rate: float) -> tuple[list[Span], list[str]]:
    """What each frame of a clip of `frames` is told, and a note on how that was read, if the text is timed.

    Where no text holds, none is seen.

    Raises:
        UserError: as `passages`, or a text holds after the end of the clip alone, or for less than a frame.
    """
    found, seconds = passages(text), frames / frame_rate
    if found is None:
        return throughout(str(text)), []
    spans: list[Span] = []
    for one in found:
        first = first_frame(one.start, frame_rate)
        last = frames if one.end is None else min(first_frame(one.end, frame_rate), frames)
        if first >= last:
            raise UserError(
                f"the text {str(one)!r} holds for none of the clip's {seconds:g} seconds; one for the whole clip must not begin with a "
                "stretch such as '0-5:'."
            )
        spans += [Span(_end(spans), first, "")] * (first > _end(spans))
        spans.append(Span(first, last, one.text))
    spans += [Span(_end(spans), frames, "")] * (_end(spans) < frames)
    told = [f"{first / frame_rate:g}-{last / frame_rate:g} s {repr(words) if words else 'none'}" for first, last, words in spans]
    return spans, [f"text over time: {', '.join(told)}"]


def read_passages(text: Prompt, seconds: float) -> list[Passage]:
    """The parts of a timed text within a clip of that length, each with its end; none of an ordinary one."""
    return [one._replace(end=min(seconds if one.end is None else one.end, seconds)) for one in passages(text) or ()]


def _end(spans: Sequence[Span]) -> int:
    return spans[-1].last if spans else 0


def written(text: Prompt) -> str:
    """A text as it may be typed."""
    return text if isinstance(text, str) else "; ".join(map(str, passages(text) or []))
