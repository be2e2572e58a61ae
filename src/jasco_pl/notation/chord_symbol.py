"""One chord symbol in any usual spelling -> a label of the vocabulary.

A symbol is read for its notes (root, third, fifth, seventh, added notes, bass), never looked up as a word, so that lead-sheet
spellings (`CM7`, `C-7`, `Bø`, `C7#9`, `F#/C#`), Harte's syntax (`C:min7/b3`, `C:(1,3,5)`; Harte et al. 2005) and mixtures of them all
arrive at the same place. Notes that make one of the 192 chords exactly are that chord; others go to the nearest, with a remark. What can be
read in two ways (`Do`, `Ebb5`) is refused with both.
"""

from __future__ import annotations

import difflib
import functools
import re
from dataclasses import dataclass, field

from jasco_pl.notation import harmony
from jasco_pl.notation.nearest import NO_CHORD, UNKNOWN, Sounding, nearest
from jasco_pl.notation.plain import plain
from jasco_pl.system.errors import UserError

_LETTERS = dict(zip("CDEFGAB", (0, 2, 4, 5, 7, 9, 11), strict=True))
_DEGREES = {1: 0, 2: 2, 3: 4, 4: 5, 5: 7, 6: 9, 7: 11, 8: 0, 9: 2, 10: 4, 11: 5, 12: 7, 13: 9}
_SIGNS = str.maketrans({"^": "Δ", "°": "o"})
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
# European names: C4/7 and C7/4 are suspended sevenths, C7/9 and C7/#11 add what stands behind the slash; C7/3, C7/b7 and C/9 name a bass.
_STACKED = re.compile(r"(?<=[0-9])/(?=(?:2|4|6|9|11|13)(?![0-9])|[b#](?:5|9|11|13)(?![0-9]))")
_ADDED = re.compile(r"(?<=[2469])/(?=7(?![0-9]))")
_TRAILING_SIGN = re.compile(r"(?<![0-9b#+-])(5|9|11|13)([+-])(?![0-9])")  # C5+, C7/9-
_DOUBLE = re.compile(r"([A-Ga-g])(bb|##)(5|9|11|13)(?![0-9])(.*)", re.DOTALL)
_DO = re.compile(r"[Dd]o(.*)", re.DOTALL)
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
    suspended: bool = False

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

    def sounding(self, root: int, bass: int) -> Sounding:
        """The same at a place: added notes count half, and so does a bass that is none of the chord's notes."""
        core = {note for note in (self.root, self.third, self.fifth, self.seventh) if note is not None}
        if self.suspended and self.third is None:  # the fourth stands for the third
            core |= self.extra & {5}
        steps = dict.fromkeys(self.extra, 0.5) | dict.fromkeys(core, 1.0)
        weights = {bass: 0.5} | {(root + step) % 12: weight for step, weight in steps.items()}
        tells = (None if note is None else (root + note) % 12 for note in (self.third, self.seventh))
        return Sounding(root, bass, tuple(weights.get(note, 0.0) for note in range(12)), *tells)


def parse_chord(symbol: str, where: str = "") -> tuple[str, str | None]:
    """Read one chord symbol.

    Args:
        symbol: as written, e.g. `Bb`, `C:min7/b3`, `F♯ø`, `Gsus4`, `N.C.`.
        where: its place, for the error message, e.g. `bar 2, chord 1`.

    Returns:
        The vocabulary's label, and a remark when the vocabulary lacks the chord (`Gsus4 -> G: nearest in the vocabulary`), else None.
        `N`, `NC`, `N.C.` are no chord; Harte's `X` is UNK.

    Raises:
        UserError: the symbol is not understood, or can be read in two ways; names it, its place, and accepted spellings or both readings.
    """
    written = symbol.strip()
    if (readings := two_readings(written)) is not None:
        place = f" ({where})" if where else ""
        raise UserError(f"chord {written!r}{place} can be read in two ways: {readings}.")
    read = read_symbol(written)
    if read is None:
        raise _not_understood(written, where)
    label, same_notes, same_root = nearest(read)
    if same_notes:
        return label, None if same_root else f"{written} -> {label}: the same notes"
    return label, f"{written} -> {label}: nearest in the vocabulary"


@functools.lru_cache(maxsize=4096)
def read_symbol(symbol: str) -> Sounding | None:
    """What a symbol says, None when it is not understood."""
    text = plain(symbol.strip()).translate(_SIGNS)
    if text.lower() in _NO_CHORD:
        return NO_CHORD
    if text.lower() in _UNKNOWN:
        return UNKNOWN
    head = _ROOT.match(text)
    if head is None:
        return None
    root = _pitch_class(head[1], head[2])
    harte = bool(head[3])
    quality = text[head.end() :]
    if not harte:
        quality = re.sub(r"^-(?=(?:major|minor)$)", "", quality, flags=re.IGNORECASE)  # C-major is no minor chord
        quality = re.sub(r"6/9(?!\d)", "69", quality)  # the one chord whose name holds a slash
        quality = _TRAILING_SIGN.sub(lambda found: ("#" if found[2] == "+" else "b") + found[1], quality)
        quality = _ADDED.sub(",", _STACKED.sub(",", quality))
    bass = root
    slash = _BASS.search(quality)
    if slash is not None:
        quality = quality[: slash.start()]
        if slash[1]:
            bass = _pitch_class(slash[1], slash[2])
        elif int(slash[4]) in _DEGREES:
            bass = (root + _DEGREES[int(slash[4])] + _shift(slash[3])) % 12
        else:
            return None
    notes = _read_quality(quality, harte)
    return None if notes is None else notes.sounding(root, bass)


def two_readings(symbol: str) -> str | None:
    """Both readings of a symbol that has two, else None."""
    found = _DOUBLE.match(symbol)
    if found is not None:
        letter, signs, number, rest = found.groups()
        altered = f"{letter}{signs[0]}({signs[0]}{number})"
        return f"{altered}{rest}, or {letter} {'double flat' if signs == 'bb' else 'double sharp'} with {number}, which is " + (
            f"{harmony.ROOTS[_pitch_class(letter, signs)]}{number}{rest}"
        )
    found = _DO.match(symbol)
    if found is not None and read_symbol(symbol) is not None:
        return f"D diminished (write D° or Ddim), or the C of do-re-mi (write C{found[1]})"
    return None


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
        if token["omit"].startswith("*") and not inside:  # Harte's; behind a chord it is a number of times
            return False
        notes.omit(int(token["omit_degree"]))
    elif token["dim"]:
        notes.third, notes.fifth = 3, 6
        if token["dim_number"]:
            notes.stack(int(token["dim_number"]), 9)
    elif token["aug"]:
        notes.fifth = 8
    elif token["sus"]:
        notes.third, notes.suspended = None, True
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
        seventh = 9 if (notes.third, notes.fifth) == (3, 6) else 10
        notes.stack(number, seventh if notes.seventh is None or number == 7 else notes.seventh)
    elif number == 5:
        notes.third = None
    elif number == 4:
        notes.third, notes.suspended = None, True
        notes.extra.add(5)
    elif number == 2:
        notes.extra.add(2)
    elif number == 1:
        notes.third = notes.fifth = None
    else:
        return False
    return True


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
