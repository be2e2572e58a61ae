"""Texts that say something else than the controls beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jasco_pl.notation.timed_text import Prompt, written

_TEMPO = re.compile(r"(\d{2,3}(?:\.\d+)?)\s*(?:bpm\b|beats (?:a|per) minute)", re.IGNORECASE)
_NO_DRUMS = re.compile(r"\b(?:no|without(?: any)?|minus)\s+(?:drums?|percussion|beats?)\b|\bdrum-?less\b", re.IGNORECASE)
_SAME = 0.02  # relative difference of tempi that are one


def contradictions(text: Prompt, asked: Mapping[str, Any]) -> list[str]:
    """Notes on a text that names another tempo than `bpm`, or no drums where some are given.

    Args:
        text: of the request.
        asked: values of its options by name.
    """
    words, bpm = written(text), asked.get("bpm")
    notes = []
    for tempo in dict.fromkeys(float(found) for found in _TEMPO.findall(words)):
        if bpm is not None and not any(abs(tempo * octave / bpm - 1) <= _SAME for octave in (0.5, 1, 2)):
            notes.append(f"the text says {tempo:g} bpm and --bpm {bpm:g}: the controls go by the latter")
    if asked.get("drums") is not None and (said := _NO_DRUMS.search(words)):
        notes.append(f"the text says {said[0]!r}, and drums are given to follow: they mostly win")
    return notes
