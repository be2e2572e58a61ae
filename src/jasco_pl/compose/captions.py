"""Captions: what is really in a piece, said in many ways."""

from __future__ import annotations

import re
import string
from random import Random

from jasco_pl.compose.instruments import INSTRUMENTS
from jasco_pl.compose.song import Song
from jasco_pl.compose.styles import STYLES

# A template serves only pieces for which every word it asks for exists; one that ends in a full stop is set as sentences.
_FULL = (
    "{mood} {style} with {comp}",
    "{pace} {style} in {key}",
    "{style}, {pace}, {key}, {meter}",
    "{pace} {mood} {style}",
    "{mood} instrumental music: {band}",
    "a {mood} {style} track at {bpm} featuring {band}.",
    "this is a {mood} {style} piece in the key of {key}, {pace} at {bpm}. You hear {band}.",
    "{style}, {mood}, {list}, {bpm}",
    "a {pace} {style} piece in {meter} played by {band}.",
    "{style} that sounds {mood}, {bpm}",
    "{mood} {style} with {lead} on the melody",
    "{lead} melody, {mood} {style}, {bpm}",
    "the melody is carried by {lead} over {band} in this {pace} {style} piece.",
    "{style} with {lead} and {comp}, {key}",
    "a {mood} tune for {lead}, accompanied by {band}. The tempo is {pace}.",
    "{style}, {list}, {lead} lead, {mood}, {bpm}",
    "{style} in {key} at {bpm}. The tune lies with {lead}, and {band} accompany it. The feeling is {mood}.",
    "an instrumental in {meter}: {lead} in front, {comp} behind",
    "{mood} {style} with {drums} and {bass}",
    "{style} at {bpm}: {drums}, {bass} and {comp}",
    "{bpm} {style} groove, {comp}, {drums}",
    "{mood} {style}, {absent}",
    "{style} with {band}, {absent}, {bpm}",
    "a {pace} {style} piece, {absent}, in {key} with a {mood} feeling.",
)
_SOLO = {
    "drums": (
        "{drums} only, {style} groove, {bpm}",
        "drum loop, {style}, {pace}",
        "a solo drum track in {meter} at {bpm}: {style} beat played on {drums}.",
        "unaccompanied {drums}, no melody, no chords",
        "{mood} {style} drum beat",
        "just drums: a {pace} {style} rhythm without any other instrument.",
    ),
    "melody": (
        "solo {lead}",
        "unaccompanied {lead} melody, {mood}, {key}",
        "a {pace} {style} tune in {key} for {lead} alone.",
        "solo melody on {lead}, no accompaniment, no drums, {bpm}",
        "a single {mood} line on {lead}, in {meter}, with nothing else.",
        "{pace} {lead} solo, {style}",
    ),
    "chords": (
        "{comp} playing chords, {mood}",
        "{list}, {style} chords, no drums, no melody, {bpm}",
        "{pace} {style} chord progression in {key} on {band}.",
        "just {band}: accompaniment chords without melody or drums",
        "{mood} {comp} chords, {meter}, {key}",
        "a quiet {mood} {style} accompaniment with nothing but {band}.",
    ),
}
_METERS = {"4/4": ("4/4", "common time", "4/4 time"), "3/4": ("3/4", "3/4 time", "triple time"), "6/8": ("6/8", "6/8 time")}


def tempo_words(bpm: int) -> tuple[str, ...]:
    """Everyday words for a tempo in beats per minute."""
    if bpm < 76:
        return ("slow", "slow-tempo", "very slow")
    if bpm < 98:
        return ("relaxed", "moderately slow", "unhurried")
    if bpm < 122:
        return ("mid-tempo", "medium-tempo", "moderate")
    if bpm < 144:
        return ("fast", "lively", "up-tempo")
    return ("very fast", "fast", "rapid")


def captions(song: Song, rng: Random) -> list[str]:
    """Five or six captions of one piece, from keyword lists to sentences; each names only what sounds."""
    templates = _SOLO[song.layout.removesuffix(" only")] if song.layout.endswith("only") else _FULL
    available = {name for name, word in _words(song, rng).items() if word}
    usable = [template for template in templates if _fields(template) <= available]
    chosen = rng.sample(usable, min(len(usable), rng.choice((5, 6))))
    return [_set(template, _words(song, rng)) for template in chosen]


def _fields(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def _words(song: Song, rng: Random) -> dict[str, str]:
    """One choice of words for everything that can be said of the piece; empty where there is nothing to say."""
    style = STYLES[song.style]
    names = {part.role: part.name if part.role == "drums" else rng.choice(INSTRUMENTS[part.name].words) for part in song.parts}
    band = list(dict.fromkeys(names[role] for role in ("comp", "second", "pad", "bass", "drums") if role in names))
    absent = [] if "drums" in names else ["no drums", "without drums", "drumless"]
    absent += [] if "melody" in names else ["no lead melody", "backing track", "accompaniment only"]
    mood = song.mood if rng.random() < 0.6 else rng.choice(style.moods)
    return {
        "style": rng.choice(style.words),
        "mood": mood,
        "pace": rng.choice([word for word in tempo_words(song.bpm) if word != mood]),
        "bpm": f"{song.bpm} {rng.choice(('bpm', 'bpm', 'BPM', 'beats per minute'))}",
        "key": song.key,
        "meter": rng.choice(_METERS[song.meter]),
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
