"""What a prompt names: a style, instruments.

Prompts of the composed set's wording and others with the same words; the longest words count, so that "jazz guitar" names no jazz.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from jasco_pl.compose.instruments import INSTRUMENTS, KITS
from jasco_pl.compose.styles import STYLES

DRUMS = "drums"
FAMILIES = (
    *("piano", "mallets and bells", "organ", "guitar", "bass", "solo strings", "ensemble", "brass"),
    *("reed", "pipe", "synth lead", "synth pad", "effects", "world"),
)
"""General MIDI's families of eight programs each."""
_STYLE, _FAMILY, _NOT = "style", "family", r"(?:no|without)\s+(?:\w+ or )?"


@dataclass(frozen=True)
class Named:
    """What a prompt names; `style` is None where it names none or several."""

    style: str | None
    families: frozenset[str]


def family(instrument: str) -> str:
    """The family of an instrument as it stands in a piece's description; `DRUMS` for the words of a kit."""
    return FAMILIES[INSTRUMENTS[instrument].program // 8] if instrument in INSTRUMENTS else DRUMS


def named(prompt: str) -> Named:
    """The style and the families of instruments that a prompt names; what it says is absent ("no drums") is not named."""
    pattern, meaning = _vocabulary()
    found = {meaning[match[2].lower()] for match in pattern.finditer(prompt) if not match[1]}
    styles = {value for kind, value in found if kind == _STYLE}
    return Named(styles.pop() if len(styles) == 1 else None, frozenset(value for kind, value in found if kind == _FAMILY))


@cache
def _vocabulary() -> tuple[re.Pattern[str], dict[str, tuple[str, str]]]:
    meaning = {word.lower(): (_STYLE, name) for name, style in STYLES.items() for word in style.words}
    for words in KITS.values():
        meaning |= {word.lower(): (_FAMILY, DRUMS) for word in words}
    for name, instrument in INSTRUMENTS.items():
        meaning |= {word.lower(): (_FAMILY, family(name)) for word in instrument.words}
    longest = sorted(meaning, key=len, reverse=True)
    return re.compile(rf"(?<![\w-])({_NOT})?({'|'.join(map(re.escape, longest))})(?![\w-])", re.IGNORECASE), meaning
