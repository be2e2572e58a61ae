"""Names of notes in English, German and Romance languages, in front of a chord's quality and behind its slash; and words for qualities."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable

from jasco_pl.notation.chord_symbol import read_symbol

_GERMAN = re.compile(r"([A-Ha-h])(isis|is|eses|es|ses|s|)", re.IGNORECASE)
_ROMANCE = re.compile(r"(do|ut|re|mi|fa|sol|la|si)([#b]{0,2})", re.IGNORECASE)
_SYLLABLES = {"do": "C", "ut": "C", "re": "D", "mi": "E", "fa": "F", "sol": "G", "la": "A", "si": "B"}
_BASS_NUMBER = re.compile(r"[b#]?\d{1,2}[+-]?")
_WORDS = {
    **dict.fromkeys(("major", "majeur", "mayor", "maggiore", "maior", "dur", "dominant"), ""),
    **dict.fromkeys(("minor", "moll", "mineur", "menor", "minore"), "m"),
    **dict.fromkeys(("diminished", "diminué", "diminuito", "disminuido", "diminuto", "vermindert"), "dim"),
    **dict.fromkeys(("augmented", "augmenté", "aumentato", "aumentado", "übermäßig"), "aug"),
    **dict.fromkeys(("suspended", "sospeso"), "sus"),
    **dict.fromkeys(("sharp", "diesis", "dièse", "sostenido", "sustenido"), "#"),
    **dict.fromkeys(("flat", "bemol", "bémol", "bemolle"), "b"),
    **dict.fromkeys(("half-diminished", "halfdiminished"), "ø"),
    **dict.fromkeys(("second", "2nd"), "2"),
    **dict.fromkeys(("fourth", "4th"), "4"),
    **dict.fromkeys(("sixth", "6th"), "6"),
    **dict.fromkeys(("seventh", "7th", "septième", "settima", "séptima"), "7"),
    **dict.fromkeys(("ninth", "9th"), "9"),
    **dict.fromkeys(("eleventh", "11th"), "11"),
    **dict.fromkeys(("thirteenth", "13th"), "13"),
}
_SHORT = re.compile(r"(?i:maj|min|dim|aug|sus|add)\d{0,2}|[mM]\d{0,2}|\d{1,2}|#")
MAJOR_WORDS = ("maj", "major", "dur", "majeur", "mayor", "maggiore", "maior")
MINOR_WORDS = ("minor", "min", "moll", "mineur", "menor", "minore")


def words_as_quality(words: list[str]) -> str | None:
    """What words behind a note's name say: `[sharp, minor, 7]` is `#m7`, `[major, seventh]` is `maj7`; None for other words."""
    said = ""
    for place, word in enumerate(words):
        small = word.lower().rstrip(",.")
        added = _WORDS.get(small, word if _SHORT.fullmatch(word) else None)
        if added is None:
            return None
        if added.isdigit() and place and words[place - 1].lower() in MAJOR_WORDS[1:]:
            added = f"maj{added}"
        said += added
    return said


def named_by_words(text: str) -> str:
    """`C sharp minor` as `C#m`; the same text where the words behind the first say no kind of chord."""
    name, *words = text.split()[:6] or [""]
    quality = words_as_quality(words)
    return text if quality is None else name + quality


def as_english(symbol: str) -> str | None:
    """The symbol itself where it can be read as it stands."""
    return symbol if read_symbol(symbol) is not None else None


@functools.lru_cache(maxsize=4096)
def as_german(symbol: str) -> str | None:
    """H is B, B is B flat, Fis is F sharp, Es is E flat; `C-Dur`, `a-Moll`. A small letter stays small: it may say minor."""
    symbol = re.sub(r"[- ]?dur$", "", symbol, flags=re.IGNORECASE)
    symbol = re.sub(r"[- ]?moll$", "m", symbol, flags=re.IGNORECASE)
    return _respelled(symbol, _german_roots)


@functools.lru_cache(maxsize=4096)
def as_romance(symbol: str) -> str | None:
    """Do is C, Sib is B flat, Lam is A minor, Sol7 is G7; 7+ is the major seventh there."""
    decomposed = unicodedata.normalize("NFD", symbol)
    bare = "".join(sign for sign in decomposed if not unicodedata.combining(sign))
    return _respelled(re.sub(r"7\+(?!\d)", "maj7", bare), _romance_roots)


def _respelled(symbol: str, roots: Callable[[str], list[tuple[str, str]]]) -> str | None:
    """Cut the root off in every way, and the same behind a slash that no number stands behind; the first that can be read."""
    chord, slash, bass = symbol.rpartition("/")
    if not slash or _BASS_NUMBER.fullmatch(bass):
        chord, slash, bass = symbol, "", ""
    low = next((root for root, rest in roots(bass) if not rest), None) if slash else ""
    if low is None:
        return None
    written = (f"{root}{quality}{slash}{low}" for root, quality in roots(chord))
    return next((candidate for candidate in written if read_symbol(candidate) is not None), None)


def _german_roots(text: str) -> list[tuple[str, str]]:
    """English roots that a text may begin with, the longest first, and what is left of it."""
    found = _GERMAN.match(text)
    if found is None:
        return []
    letter, options = found[1], []
    for ending in dict.fromkeys((found[2].lower(), found[2].lower()[:2], "")):
        if ending and ending.startswith("s") != (letter in "AaEe") and ending[:2] != "is":
            continue  # As and Es, but Des and Ges
        rest = text[1 + len(ending) :]
        signs = "#" * ending.count("is") or "b" * ending.count("s")
        if letter in "Hh":
            options.append((("b" if letter == "h" else "B") + signs, rest))
        elif letter in "Bb" and not signs and not rest.startswith(("b", "#")):
            options.append((letter + "b", rest))
        else:
            options.append((letter + signs, rest))
    return options


def _romance_roots(text: str) -> list[tuple[str, str]]:
    found = _ROMANCE.match(text)
    return [] if found is None else [(_SYLLABLES[found[1].lower()] + found[2], text[found.end() :])]
