"""Degrees of a key as chords: Roman numerals (`I V vi IV`, `V7/ii`) and Nashville numbers (`1 5 6- 4`)."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from jasco_pl.notation import harmony
from jasco_pl.notation.chord_symbol import read_symbol
from jasco_pl.notation.chords.names import MAJOR_WORDS, MINOR_WORDS, as_english, as_german, as_romance
from jasco_pl.system.errors import UserError

_ROMANS = ("I", "II", "III", "IV", "V", "VI", "VII")
_MAJOR_SCALE, _MINOR_SCALE = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
_TRIADS = ("", "m", "m", "", "", "m", "dim")  # of a major key
_DEGREE = r"[b#]?[1-7]"
_ROMAN = re.compile(r"([b#]{0,2})(VII|VI|IV|V|III|II|I|vii|vi|iv|v|iii|ii|i)(?![IVivx])([^/]*)(?:/(.+))?")
_NASHVILLE = re.compile(rf"([b#]?)([1-7])((?:-(?![1-68])|m|[a-zA-ZΔø°+^(]|7|9(?![0-9]))[^/]*|)(?:/({_DEGREE}))?")
_FIGURES = {"64": ("", 5), "65": ("7", 3), "43": ("7", 5), "42": ("7", 7)}  # what the chord is, and which of its notes is the bass
_KEY = re.compile(rf"([^\s-]+?)[\s-]*({'|'.join((*MAJOR_WORDS, *MINOR_WORDS))}|m)?", re.IGNORECASE)


@dataclass(frozen=True)
class Key:
    """A tonic as pitch class, whether the key is minor, and how it was written."""

    tonic: int
    minor: bool
    written: str

    def note(self, signs: str, number: int, natural: bool = True) -> int:
        """Pitch class of a degree: of the natural minor scale in a minor key, of the major scale where it has a sign or not `natural`."""
        scale = _MINOR_SCALE if self.minor and natural and not signs else _MAJOR_SCALE
        return (self.tonic + scale[number - 1] + signs.count("#") - signs.count("b")) % 12


def parse_key(text: str) -> Key | None:
    """`G`, `Am`, `F# minor`, `Es-Dur`, `la menor`; None for something else."""
    written = text.strip()
    found = _KEY.fullmatch(re.sub(r"[\s-]+(sharp|flat)\b", lambda word: "#" if word[1].lower() == "sharp" else "b", written, flags=re.I))
    if found is None:
        return None
    names = (read(found[1]) for read in (as_english, as_german, as_romance))
    note = next((name for name in names if name is not None and re.fullmatch(r"[A-Ga-g][b#]{0,2}", name)), None)
    sounding = None if note is None else read_symbol(note)
    if sounding is None:
        return None
    word = found[2] or ""
    return Key(sounding.root, word == "m" or word.lower() in MINOR_WORDS, written)


def named_key(text: str) -> Key:
    """The same for what must be a key.

    Raises:
        UserError: it is none, or one small letter, which is major to some and minor to others.
    """
    key = parse_key(text)
    if key is None:
        raise UserError(f"the key {text.strip()[:40]!r} is not understood; write for example G, Am, `F# minor` or `Eb major`.")
    if re.fullmatch(r"[a-h]", key.written):
        large = key.written.upper()
        raise UserError(
            f"the key {key.written!r} can be read in two ways: {large} major (write {large}) or {large} minor (write {large}m)."
        )
    return key


@functools.lru_cache(maxsize=4096)
def is_roman(symbol: str) -> bool:
    """Whether a symbol is a degree in Roman numerals whose kind can be read."""
    found = _ROMAN.fullmatch(symbol)
    if found is None or (found[3] not in _FIGURES and _kind(found[2], found[3]) is None):
        return False
    return found[4] is None or re.fullmatch(_DEGREE, found[4]) is not None or is_roman(found[4])


@functools.lru_cache(maxsize=4096)
def is_nashville(symbol: str) -> bool:
    """Whether a symbol is a degree in Arabic numbers whose kind can be read."""
    found = _NASHVILLE.fullmatch(symbol)
    return found is not None and read_symbol("C" + found[3]) is not None


def says_no_kind(symbol: str) -> bool:
    """Whether a number or a large numeral leaves it to the key whether its chord is minor."""
    return re.fullmatch(rf"(?:{_DEGREE}|[b#]?(?:VII|VI|IV|V|III|II|I))(?:/{_DEGREE})?", symbol) is not None


def depends_on_key(symbol: str) -> bool:
    """Of a symbol that says no kind: whether the major key's own chord is not major."""
    number = re.sub(r"/.*", "", symbol)
    return number in ("2", "3", "6", "7", "II", "III", "VI", "VII")


def _kind(numeral: str, quality: str) -> str | None:
    """What stands behind a numeral as it would stand behind a note's name, None when it cannot be read."""
    if numeral.islower() and not re.match(r"dim|o|°|ø|h|sus|aug|\+", quality):
        quality = "m" + re.sub(r"^(?:m(?!aj)|-)", "", quality)  # iim7 says minor twice
    return quality if read_symbol("C" + quality) is not None else None


def from_roman(symbol: str, key: Key) -> str:
    """A degree in Roman numerals as a chord symbol: `V7` in A minor is `E7`.

    Large numerals are major and small ones minor. III, VI and VII of a minor key are those of its natural scale; small vi and vii there
    stand on the raised ones. Behind a slash stands the degree that V or vii belongs to (`V7/ii`), and behind other numerals the bass.

    Raises:
        UserError: two readings.
    """
    found = _ROMAN.fullmatch(symbol)
    if found is None:
        raise ValueError(f"{symbol!r} is no Roman numeral")
    signs, numeral, quality, behind = found.groups()
    number = _ROMANS.index(numeral.upper()) + 1
    if behind is not None and number in (5, 7) and is_roman(behind):
        of = _ROMAN.fullmatch(behind)
        assert of is not None
        return from_roman(f"{signs}{numeral}{quality}", Key(_root(of[1], of[2], key), False, behind))
    root = _root(signs, numeral, key)
    minor = "m" if numeral.islower() else ""
    third, fifth, seventh = (root + (3 if minor else 4)) % 12, (root + 7) % 12, (root + 10) % 12
    if quality == "6":
        name = harmony.ROOTS[root] + minor
        raise UserError(
            f"{symbol!r} can be read in two ways: with a sixth ({name}6) or in first inversion ({name}/{harmony.ROOTS[third]})."
        )
    if quality in _FIGURES:
        kind, degree = _FIGURES[quality]
        return f"{harmony.ROOTS[root]}{minor}{kind}/{harmony.ROOTS[{3: third, 5: fifth, 7: seventh}[degree]]}"
    chord = f"{harmony.ROOTS[root]}{_kind(numeral, quality) or ''}"
    if behind is None:
        return chord
    low = _ROMAN.fullmatch(behind)
    return f"{chord}/{harmony.ROOTS[_root(low[1], low[2], key) if low else key.note(behind[:-1], int(behind[-1]))]}"


def _root(signs: str, numeral: str, key: Key) -> int:
    number = _ROMANS.index(numeral.upper()) + 1
    return key.note(signs, number, natural=number < 6 or numeral.isupper())


def from_nashville(symbol: str, key: Key, diatonic: bool) -> str:
    """A number as a chord symbol: `6-` in C is `Am`, `4/5` is `F/G`.

    Args:
        symbol: as written.
        key: whose degrees are counted, of a minor key those of the natural scale.
        diatonic: a number that says no kind is the key's own triad, for lines in which none does; otherwise it is major.
    """
    found = _NASHVILLE.fullmatch(symbol)
    if found is None:
        raise ValueError(f"{symbol!r} is no Nashville number")
    signs, number, quality, bass = found[1], int(found[2]), found[3], found[4]
    if diatonic and not signs and not quality:
        quality = _TRIADS[(number - 1 + (5 if key.minor else 0)) % 7]
    low = "" if bass is None else "/" + harmony.ROOTS[key.note(bass[:-1], int(bass[-1]))]
    return f"{harmony.ROOTS[key.note(signs, number)]}{quality}{low}"
