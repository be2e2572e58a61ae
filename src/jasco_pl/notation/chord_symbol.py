"""One chord symbol in any usual spelling -> a label of the vocabulary.

A symbol is read for its notes (root, third, fifth, seventh, added notes, bass), never looked up as a word, so that lead-sheet
spellings (`CM7`, `C-7`, `Bø`, `C7#9`, `F#/C#`), Harte's syntax (`C:min7/b3`, `C:(1,3,5)`; Harte et al. 2005) and mixtures of them all
arrive at the same place. Notes that make one of the 192 chords exactly are that chord; others go to the nearest, with a remark.
"""

from __future__ import annotations

import difflib
import functools
import re
import unicodedata
from dataclasses import dataclass, field

from jasco_pl.notation import harmony
from jasco_pl.system.errors import UserError

_LETTERS = dict(zip("CDEFGAB", (0, 2, 4, 5, 7, 9, 11), strict=True))
_DEGREES = {1: 0, 2: 2, 3: 4, 4: 5, 5: 7, 6: 9, 7: 11, 8: 0, 9: 2, 10: 4, 11: 5, 12: 7, 13: 9}
_SIGNS = str.maketrans(
    {"♭": "b", "♯": "#", "𝄫": "bb", "𝄪": "##", "∆": "Δ", "△": "Δ", "^": "Δ", "Ø": "ø", "°": "o"} | dict.fromkeys("−–—‐‑", "-")
)
_NO_CHORD = {"n", "nc", "n.c.", "n.c"}
_UNKNOWN = {"x", "unk"}
_ROOT = re.compile(r"([A-Ga-g])(##?|bb?|)(:?)")
_BASS = re.compile(r"/(?:([A-Ga-g])(##?|bb?|)|([b#]{0,2})(\d{1,2}))$")
_STACK = r"(?:69|6|7|9|11|13)"
# In order of trial: longer words before the letters they begin with. M and m differ, words do not care about case.
_TOKEN = re.compile(
    rf"""(?P<major>(?:(?i:major|maj|ma(?!dd))|M(?![iI])|Δ)(?P<major_number>{_STACK}?))
    | (?P<minor>(?i:minor|min|mi)|m)
    | (?P<half>(?i:half-?dim|hdim)|ø|h)7?
    | (?P<omit>(?i:omit|no)|\*)[b#]{{0,2}}(?P<omit_degree>\d{{1,2}})
    | (?P<dim>(?i:diminished|dim)|o)(?P<dim_number>{_STACK}?)
    | (?P<aug>(?i:augmented|aug)|\+(?!5|9|11))
    | (?P<sus>(?i:sus(?P<sus_number>24|42|2sus4|4sus2|2|4|)))
    | (?P<add>(?i:add)(?P<add_sign>[b#]{{0,2}})(?P<add_degree>\d{{1,2}}))
    | (?P<alt>(?i:alt))
    | (?P<dominant>(?i:dom))
    | (?P<altered>(?P<sign>b{{1,2}}|\#{{1,2}}|[+-])(?P<degree>1[0-3]|[2-9]))
    | (?P<dash>-)
    | (?P<number>13|11|69|[1-9])
    | (?P<open>\()
    | (?P<close>\))
    | (?P<comma>,)""",
    re.VERBOSE,
)
_SUFFIXES = (*harmony.TYPES[:10], "sus4", "sus2", "9", "add9", "dim7", "mM7", "5", ":maj", ":min", ":min7", ":maj7")


@dataclass
class _Notes:
    """What a symbol says, in semitones above the root."""

    harte: bool
    third: int | None = 4
    fifth: int | None = 7
    seventh: int | None = None
    root: int | None = 0
    extra: set[int] = field(default_factory=set)

    def stack(self, number: int, seventh: int) -> None:
        """6, 69, 7, 9, 11 or 13 as in a lead sheet: what lies below is meant too."""
        if number >= 7 and number != 69:
            self.seventh = seventh
        self.extra |= {6: {9}, 69: {9, 2}, 9: {2}, 11: {2, 5}, 13: {2, 9}}.get(number, set())

    def degree(self, number: int, shift: int) -> None:
        """One degree by itself, as in `(b9)` or Harte's lists."""
        semitone = (_DEGREES[number] + shift) % 12
        if number == 3:
            self.third = semitone
        elif number == 5 and self.fifth in (None, 7):
            self.fifth = semitone
        elif number == 7:
            self.seventh = semitone
        else:
            self.extra.add(semitone)

    def omit(self, number: int) -> None:
        names = {1: "root", 3: "third", 5: "fifth", 7: "seventh"}
        if number in names:
            setattr(self, names[number], None)
        else:
            self.extra.discard(_DEGREES.get(number, -1))

    def weights(self) -> dict[int, float]:
        """Semitones that sound, and how much each counts: added notes half."""
        core = {note for note in (self.root, self.third, self.fifth, self.seventh) if note is not None}
        return dict.fromkeys(self.extra, 0.5) | dict.fromkeys(core, 1.0)


def parse_chord(symbol: str, where: str = "") -> tuple[str, str | None]:
    """Read one chord symbol.

    Args:
        symbol: as written, e.g. `Bb`, `C:min7/b3`, `F♯ø`, `Gsus4`, `N.C.`.
        where: its place, for the error message, e.g. `bar 2, chord 1`.

    Returns:
        The vocabulary's label, and a remark when the vocabulary lacks the chord (`Gsus4 -> G: nearest in the vocabulary`), else None.
        `N`, `NC`, `N.C.` are no chord; Harte's `X` is UNK.

    Raises:
        UserError: the symbol is not understood; names it, its place and accepted spellings that look like it.
    """
    written = symbol.strip()
    text = unicodedata.normalize("NFKC", written.translate(_SIGNS)).translate(_SIGNS)
    if text.lower() in _NO_CHORD:
        return "N", None
    if text.lower() in _UNKNOWN:
        return "UNK", None
    head = _ROOT.match(text)
    if head is None:
        raise _not_understood(written, where)
    root = _pitch_class(head[1], head[2])
    harte = bool(head[3])
    quality = text[head.end() :]
    if not harte:
        quality = re.sub(r"6/9(?!\d)", "69", quality)  # the one chord whose name holds a slash
    bass = root
    slash = _BASS.search(quality)
    if slash is not None:
        quality = quality[: slash.start()]
        if slash[1]:
            bass = _pitch_class(slash[1], slash[2])
        elif int(slash[4]) in _DEGREES:
            bass = (root + _DEGREES[int(slash[4])] + _shift(slash[3])) % 12
        else:
            raise _not_understood(written, where)
    notes = _read_quality(quality, harte)
    if notes is None:
        raise _not_understood(written, where)
    weights = {bass: 0.5} | {(root + step) % 12: weight for step, weight in notes.weights().items()}
    number, exact = _nearest(root, tuple(weights.get(note, 0.0) for note in range(12)), bass)
    label = harmony.label(number)
    return label, None if exact else f"{written} -> {label}: nearest in the vocabulary"


def _read_quality(quality: str, harte: bool) -> _Notes | None:
    """The notes that a quality spells, None when it is not understood."""
    notes = _Notes(harte)
    if harte and quality.startswith("("):  # Harte's bare list names every note
        notes.third = notes.fifth = None
    position, inside = 0, False
    while position < len(quality):
        token = _TOKEN.match(quality, position)
        if token is None or not _apply(token, notes, inside, position == 0):
            return None
        if token["number"] and not inside and quality[:position][-1:].isdigit():  # Cmaj77
            return None
        if token.lastgroup in ("open", "close"):
            if inside == (token.lastgroup == "open"):
                return None
            inside = not inside
        position = token.end()
    return None if inside else notes


def _apply(token: re.Match[str], notes: _Notes, inside: bool, first: bool) -> bool:
    """Let one token change the notes; False when it makes no sense."""
    if token["major"]:
        if token["major_number"]:
            notes.stack(int(token["major_number"]), 11)
        elif token["major"] == "Δ" or notes.seventh == 10:  # CΔ and C7M are major sevenths
            notes.seventh = 11
    elif token["minor"]:
        notes.third = 3
    elif token["half"]:
        notes.third, notes.fifth, notes.seventh = 3, 6, 10
    elif token["omit"]:
        notes.omit(int(token["omit_degree"]))
    elif token["dim"]:
        notes.third, notes.fifth = 3, 6
        if token["dim_number"]:
            notes.stack(int(token["dim_number"]), 9)
    elif token["aug"]:
        notes.fifth = 8
    elif token["sus"]:
        notes.third = None
        notes.extra |= {2} if token["sus_number"] == "2" else {2, 5} if len(token["sus_number"]) > 1 else {5}
    elif token["add"]:
        if int(token["add_degree"]) not in _DEGREES:
            return False
        notes.degree(int(token["add_degree"]), _shift(token["add_sign"]))
    elif token["alt"]:
        notes.seventh, notes.fifth = 10, None
        notes.extra |= {1, 3}
    elif token["altered"] and first and token["sign"] == "-" and token["degree"] != "5":  # C-7 is Cm7, but C-5 and C7-5 have a flat fifth
        notes.third = 3
        notes.stack(int(token["degree"]), 10)
    elif token["altered"]:
        notes.degree(int(token["degree"]), _shift(token["sign"]))
    elif token["dash"]:
        notes.third = 3
        return first
    elif token["number"]:
        return _apply_number(int(token["number"]), notes, inside)
    return True


def _apply_number(number: int, notes: _Notes, inside: bool) -> bool:
    if inside and number in _DEGREES:
        notes.degree(number, -1 if number == 7 and not notes.harte else 0)
    elif number in (6, 69, 7, 9, 11, 13):
        notes.stack(number, 9 if (notes.third, notes.fifth) == (3, 6) and notes.seventh is None else 10)
    elif number == 5:
        notes.third = None
    elif number == 4:
        notes.third = None
        notes.extra.add(5)
    elif number == 2:
        notes.extra.add(2)
    elif number == 1:
        notes.third = notes.fifth = None
    else:
        return False
    return True


@functools.cache
def _nearest(root: int, weights: tuple[float, ...], bass: int) -> tuple[int, bool]:
    """The vocabulary's index with most in common, and whether it is the chord itself.

    Weight of the shared pitch classes over the weight of all that sound in either, then half a point for the same root and 0.3 for
    the same bass: Gsus4 is G rather than C/G, Am/G is Am7, C13 is C7. Of equals the simpler type (first in the vocabulary) is taken.
    """
    sounding = {note for note, weight in enumerate(weights) if weight}

    def score(number: int) -> float:
        classes, low = harmony.intervals(number)
        shared = sum(weights[note] for note in classes)
        every = sum(weights) + len(classes - sounding)
        return round(shared / every + 0.5 * (number // 16 == root) + 0.3 * (low == bass), 6)

    best = max(range(harmony.N), key=score)
    return best, best // 16 == root and harmony.intervals(best) == (sounding, bass)


def _pitch_class(letter: str, accidentals: str) -> int:
    return (_LETTERS[letter.upper()] + _shift(accidentals)) % 12


def _shift(signs: str) -> int:
    return sum(-1 if sign in "b-" else 1 for sign in signs)


def _not_understood(written: str, where: str) -> UserError:
    head = _ROOT.match(written)
    shown = written if len(written) <= 40 else written[:37] + "..."
    near: list[str] = []
    if head is not None:
        root = written[: head.end(2)]
        near = [root + suffix for suffix in difflib.get_close_matches(written[head.end(2) :], _SUFFIXES, 3, 0.3)]
        near = near or [root, root + "m", root + "7"]
    near = near or difflib.get_close_matches(written, harmony.LABELS, 3, 0.6) or ["C", "F#m7", "Bb/D", "G:maj", "N"]
    place = f" ({where})" if where else ""
    return UserError(f"chord {shown!r}{place} is not understood; accepted spellings near it are {', '.join(near)}.")
