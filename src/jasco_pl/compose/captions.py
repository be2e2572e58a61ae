"""Captions: what is really in a piece, said in many ways."""

from __future__ import annotations

import itertools
import re
import string
from collections.abc import Iterable
from random import Random

from jasco_pl.compose.song import Song
from jasco_pl.compose.tables import ABSENT, INSTRUMENTS, KITS, METER_WORDS, STYLES, TEMPI, TEMPLATES
from jasco_pl.notation.harmony import MAJOR_KEYS, MINOR_KEYS

_BEATS = ("bpm", "bpm", "BPM", "beats per minute")  # one is drawn: the first twice as often


def tempo_words(bpm: int) -> tuple[str, ...]:
    """Everyday words for a tempo in beats per minute."""
    return TEMPI[max(lowest for lowest in TEMPI if lowest <= bpm)]


def captions(song: Song, rng: Random) -> list[str]:
    """Five or six captions of one piece, from keyword lists to sentences; each names only what sounds."""
    templates = TEMPLATES[song.layout.removesuffix(" only") if song.layout.endswith("only") else "full"]
    available = {name for name, word in _words(song, rng).items() if word}
    usable = [template for template in templates if _fields(template) <= available]
    chosen = rng.sample(usable, min(len(usable), rng.choice((5, 6))))
    return [_set(template, _words(song, rng)) for template in chosen]


def wording() -> list[str]:
    """All that captions are set from, in pieces: the templates without their fields, and whatever a field may be filled with.

    No caption has a word that is in none of these.
    """
    templates = [" ".join(text for text, *_ in string.Formatter().parse(line)) for lines in TEMPLATES.values() for line in lines]
    styles = STYLES.values()
    tempi = {bpm for style in styles for low, high in (style.bpm, style.compound_bpm) for bpm in range(low, high + 1)}
    named = [words for style in styles for words in (style.words, style.moods)]
    named += [instrument.words for instrument in INSTRUMENTS.values()]
    tables: list[Iterable[str]] = [*KITS.values(), *METER_WORDS.values(), *TEMPI.values(), *ABSENT.values()]
    keys = [f"{key} {mode}" for names, mode in ((MAJOR_KEYS, "major"), (MINOR_KEYS, "minor")) for key in names]
    joints = [*_BEATS, "an", ",", "and"]
    return [*templates, *map(str, sorted(tempi)), *itertools.chain(*named, *tables), *keys, *joints]


def _fields(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def _words(song: Song, rng: Random) -> dict[str, str]:
    """One choice of words for everything that can be said of the piece; empty where there is nothing to say."""
    style = STYLES[song.style]
    names = {part.role: part.name if part.role == "drums" else rng.choice(INSTRUMENTS[part.name].words) for part in song.parts}
    band = list(dict.fromkeys(names[role] for role in ("comp", "second", "pad", "bass", "drums") if role in names))
    absent = [words for role, choices in ABSENT.items() if role not in names for words in choices]
    mood = song.mood if rng.random() < 0.6 else rng.choice(style.moods)
    return {
        "style": rng.choice(style.words),
        "mood": mood,
        "pace": rng.choice([word for word in tempo_words(song.bpm) if word != mood]),
        "bpm": f"{song.bpm} {rng.choice(_BEATS)}",
        "key": song.key,
        "meter": rng.choice(METER_WORDS[song.meter]),
        "lead": names.get("melody", ""),
        "comp": names.get("comp", ""),
        "bass": names.get("bass", ""),
        "drums": names.get("drums", ""),
        "band": band[0] if len(band) == 1 else ", ".join(band[:-1]) + " and " + band[-1] if band else "",
        "list": ", ".join(band),
        "absent": rng.choice(absent) if absent else "",
    }


def _set(template: str, words: dict[str, str]) -> str:
    text = template.format(**words)
    text = re.sub(r"\b(a) (?=[aeiou]|8|FM )", "an ", text, flags=re.IGNORECASE)
    if text.endswith("."):
        text = re.sub(r"(^|\. )([a-z])", lambda match: match[1] + match[2].upper(), text)
    return text
