"""Captions: what is really in a piece, said in many ways."""

from __future__ import annotations

import itertools
import re
import string
from collections.abc import Iterable
from random import Random

from jasco_pl.compose.edition import EDITIONS
from jasco_pl.compose.song import Passage, Song
from jasco_pl.compose.tables import (
    ABSENT,
    ALONE_WORDS,
    FULL_WORDS,
    INSTRUMENTS,
    KITS,
    LEVEL_WORDS,
    METER_WORDS,
    MOTION_WORDS,
    SCENES,
    SECTION_TEMPLATES,
    TEMPI,
    TEMPLATES,
)
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


def section_captions(song: Song, passage: Passage, rng: Random) -> list[str]:
    """Three captions of one section: what plays in it, how loud, and how it goes on."""
    chosen: list[str] = []
    while len(chosen) < 3:
        words = _section_words(song, passage, rng)
        available = {name for name, word in words.items() if word}
        chosen += {_set(rng.choice([t for t in SECTION_TEMPLATES if _fields(t) <= available]), words)}.difference(chosen)
    return chosen


def wording() -> list[str]:
    """All that captions are set from, in pieces: the templates without their fields, and whatever a field may be filled with.

    No caption has a word that is in none of these.
    """
    lines = [*itertools.chain(*TEMPLATES.values()), *SECTION_TEMPLATES]
    templates = [" ".join(text for text, *_ in string.Formatter().parse(line)) for line in lines]
    styles = [style for edition in EDITIONS.values() for style in edition.styles.values()]
    tempi = {bpm for style in styles for low, high in (style.bpm, style.compound_bpm) for bpm in range(low, high + 1)}
    named = [words for style in styles for words in (style.words, style.moods)]
    named += [instrument.words for instrument in INSTRUMENTS.values()]
    tables: list[Iterable[str]] = [*KITS.values(), *METER_WORDS.values(), *TEMPI.values(), *ABSENT.values()]
    tables += [*LEVEL_WORDS.values(), *MOTION_WORDS.values(), FULL_WORDS, ALONE_WORDS, *(kind.words for kind in SCENES.values())]
    keys = [f"{key} {mode}" for names, mode in ((MAJOR_KEYS, "major"), (MINOR_KEYS, "minor")) for key in names]
    joints = [*_BEATS, "an", ",", "and"]
    return [*templates, *map(str, sorted(tempi)), *itertools.chain(*named, *tables), *keys, *joints]


def _fields(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def _words(song: Song, rng: Random) -> dict[str, str]:
    """One choice of words for everything that can be said of the piece; empty where there is nothing to say."""
    style = EDITIONS[song.edition].styles[song.style]
    names = _names(song, rng)
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
        "band": _listed(band),
        "list": ", ".join(band),
        "absent": rng.choice(absent) if absent else "",
    }


def _section_words(song: Song, passage: Passage, rng: Random) -> dict[str, str]:
    """As `_words`, of a section."""
    style = EDITIONS[song.edition].styles[song.style]
    roles = ("melody", "comp", "second", "pad", "bass", "drums")
    names = {role: name for role, name in _names(song, rng).items() if role in passage.roles}
    band = list(dict.fromkeys(names[role] for role in roles if role in names))
    rest = list(dict.fromkeys(names[role] for role in roles[1:] if role in names and names[role] != names.get("melody")))
    softest = min((level for _, level in song.dynamics), default=0.0)
    level = "quiet" if passage.level < max(-9.0, 0.6 * softest) else "loud" if softest < -6.0 < -2.5 < passage.level else ""
    motion = "rising" if passage.change > 4.0 else "falling" if passage.change < -4.0 else ""
    full = len(names) == len(song.parts) > 3
    gone = {part.role for part in song.parts} - passage.roles - ({"drums"} if passage.lead_out else set())
    absent = [words for role in ABSENT if role in gone for words in ABSENT[role]]
    return {
        "style": rng.choice(style.words),
        "mood": "" if level else rng.choice((song.mood, rng.choice(style.moods))),
        "kind": rng.choice(SCENES[passage.name].words),
        "level": rng.choice(LEVEL_WORDS[level]) if level else "",
        "motion": rng.choice(MOTION_WORDS[motion]) if motion else "",
        "full": rng.choice(FULL_WORDS) if full else "",
        "alone": rng.choice(ALONE_WORDS) if len(names) == 1 else "",
        "band": _listed(band),
        "few": _listed(band) if len(band) <= 2 and not passage.lead_out else "",
        "lead": names.get("melody", ""),
        "rest": _listed(rest),
        "absent": rng.choice(absent) if absent else "",
    }


def _names(song: Song, rng: Random) -> dict[str, str]:
    """One choice of words for each part, by role."""
    return {part.role: part.name if part.role == "drums" else rng.choice(INSTRUMENTS[part.name].words) for part in song.parts}


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1] if names else ""


def _set(template: str, words: dict[str, str]) -> str:
    text = template.format(**words)
    text = re.sub(r"\b(a) (?=[aeiou]|8|FM )", "an ", text, flags=re.IGNORECASE)
    if text.endswith("."):
        text = re.sub(r"(^|\. )([a-z])", lambda match: match[1] + match[2].upper(), text)
    return text
