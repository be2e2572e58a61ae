"""Texts that hold for stretches of a clip: which states of the text encoder a frame may see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

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
