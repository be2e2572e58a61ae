"""In which language the symbols of a line are written, and what they are in English."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence

from jasco_pl.notation.chord_symbol import parse_chord, read_symbol
from jasco_pl.notation.chords.names import as_english, as_german, as_romance
from jasco_pl.notation.chords.numerals import Key, depends_on_key, from_nashville, from_roman, is_nashville, is_roman, says_no_kind
from jasco_pl.notation.chords.score import Symbol
from jasco_pl.notation.plain import latin
from jasco_pl.system.errors import UserError

_NAMES: dict[str, Callable[[str], str | None]] = {"English": as_english, "German": as_german, "Romance": as_romance}
_NUMERALS: dict[str, Callable[[str], bool]] = {"Roman": is_roman, "Nashville": is_nashville}
_LONGEST = 60  # characters of a symbol; longer ones are none
LANGUAGES = (*_NAMES, *_NUMERALS)
_SMALL = re.compile(r"[a-h](?:is|es|s)?[b#]{0,2}(?:6|7|9|11|13|69|\(.*)?(?:/.*)?")  # a small note that says neither major nor minor


@functools.lru_cache(maxsize=1 << 16)
def languages(symbol: str) -> frozenset[str]:
    """Those in which a symbol can be read; none where it is no chord."""
    if len(symbol) > _LONGEST:
        return frozenset()
    text = latin(symbol)[0]
    names = {name for name, read in _NAMES.items() if read(text) is not None}
    return frozenset(names | {name for name, reads in _NUMERALS.items() if reads(text)})


class Spelling:
    """How the symbols of one line are read.

    Args:
        symbols: all of them, in order.
        key: for degrees.

    Attributes:
        notes: remarks for the user.

    Raises:
        UserError: a symbol that cannot be read, or can be read in two ways; degrees without a key.
    """

    def __init__(self, symbols: Sequence[Symbol], key: Key | None) -> None:
        self.notes: list[str] = []
        first: dict[str, Symbol] = {}
        for symbol in symbols:
            first.setdefault(symbol.text, symbol)
        self._distinct = list(first.values())
        self._key = key
        counts = {name: sum(name in languages(text) for text in first) for name in LANGUAGES}
        self.language = max(counts, key=lambda name: counts[name])  # of equals the first
        self._read = {symbol.text: self._english(symbol) for symbol in self._chosen()}
        if any(latin(text)[1] for text in first):
            self.notes.append("letters of another alphabet that look like note names are read as these")

    @property
    def needs_key(self) -> bool:
        """Whether symbols are degrees."""
        return self.language in _NUMERALS

    def read(self, symbol: Symbol) -> tuple[str, str | None]:
        """The vocabulary's label, and a remark where the reading is not what is written; raises as above."""
        english = self._read[symbol.text]
        label, remark = parse_chord(english, symbol.where)
        if remark is not None and english != symbol.text:
            remark = remark.replace(english, f"{symbol.text} ({english})", 1)
        return label, remark

    def _chosen(self) -> list[Symbol]:
        """The symbols, once what concerns all of them has been looked at."""
        if self.language in _NUMERALS:
            self._look_at_degrees()
        elif self.language == "German":
            self._look_at_german()
        elif self.language == "English":
            self._look_at_small_letters()
            self._look_at_numbers()
        return self._distinct

    def _english(self, symbol: Symbol) -> str:
        text = latin(symbol.text)[0]
        if self.language in _NUMERALS:
            if read_symbol(text) is not None and read_symbol(text).root < 0:  # type: ignore[union-attr]
                return text
            if self.language not in languages(symbol.text) or self._key is None:
                what = "Roman numerals, as in I V vi IV" if self.language == "Roman" else "numbers, as in 1 5 6- 4"
                raise UserError(f"chord {symbol.text[:40]!r} ({symbol.where}) is not understood; the chords around it are {what}.")
            try:
                if self.language == "Roman":
                    return from_roman(text, self._key)
                return from_nashville(text, self._key, self._diatonic)
            except UserError as error:
                raise UserError(f"chord {str(error)[:-1]}; {symbol.where}.") from None
        read = _NAMES[self.language](text)
        if read is None:
            parse_chord(text if self.language == "English" else symbol.text, symbol.where)  # says what is wrong
            return text
        if self.language == "German" and self._small_is_minor and _SMALL.fullmatch(text):
            return re.sub(r"^([a-g][b#]{0,2})", r"\1m", read)
        return read

    def _look_at_degrees(self) -> None:
        if self._key is None:
            what = "Roman numerals" if self.language == "Roman" else "numbers"
            symbol = self._distinct[0]
            raise UserError(
                f"chord {symbol.text[:40]!r} ({symbol.where}) is a degree: {what} need a key, as in --key G or `G: {symbol.text[:40]} ...`."
            )
        degrees = [symbol for symbol in self._distinct if self.language in languages(symbol.text)]
        silent = all(says_no_kind(symbol.text) for symbol in degrees)
        moving = [symbol for symbol in degrees if says_no_kind(symbol.text) and depends_on_key(symbol.text)]
        self._diatonic = silent and (bool(moving) or self._key.minor)
        if self.language == "Roman" and silent and moving and not self._key.minor:
            symbol = moving[0]
            root = from_roman(symbol.text, self._key)
            kind = "dim" if symbol.text.startswith("VII") else "m"
            raise UserError(
                f"chord {symbol.text!r} ({symbol.where}) can be read in two ways: {root}, or {root}{kind} as the key has it; small "
                "numerals say minor (I V vi IV), and where all are meant as they stand, `VIM` says major."
            )
        if self._diatonic and self.language == "Nashville":
            shown = ", ".join(f"{symbol.text} is {from_nashville(symbol.text, self._key, True)}" for symbol in (moving or degrees)[:3])
            self.notes.append(f"numbers alone are the chords of {self._key.written}: {shown}; 6- or 6M says which is meant")

    def _look_at_german(self) -> None:
        texts = [symbol.text for symbol in self._distinct]
        roots = [part for text in texts for part in re.split("/", text)]
        has_h = any(root[:1] in "Hh" for root in roots)
        german = has_h or any(re.search("(?:dur|moll)$", text, re.IGNORECASE) for text in texts)
        bare_b = [symbol for symbol in self._distinct if any(re.match(r"B(?![b#]|es|is)", part) for part in symbol.text.split("/"))]
        if bare_b and not german and any("German" in languages(text) and "English" not in languages(text) for text in texts):
            symbol = bare_b[0]
            raise UserError(
                f"chord {symbol.text!r} ({symbol.where}) can be read in two ways: B flat, as in German, where the other names are, or B "
                "natural; write Bb or H."
            )
        self._small_is_minor = any(text[:1].isupper() for text in texts)
        small = [symbol for symbol in self._distinct if _SMALL.fullmatch(symbol.text)]
        if not self._small_is_minor and len(small) == len(texts):
            raise UserError(
                f"chord {small[0].text!r} ({small[0].where}) can be read in two ways: major, or minor, as small letters are in German; "
                f"write {small[0].text.capitalize()} or {small[0].text}m."
            )
        said = ["H is B"] if has_h else []
        said += ["B is Bb"] if bare_b else []
        if self._small_is_minor and small:
            said.append("small letters are minor")
        self.notes.append("read with German names" + (f": {', '.join(said)}" if said else ""))

    def _look_at_numbers(self) -> None:
        if len(self._distinct) > 1 and all(re.fullmatch(r"[A-G][b#]?m?[24]", symbol.text) for symbol in self._distinct):
            symbol = self._distinct[0]
            name, number = symbol.text[:-1], symbol.text[-1]
            raise UserError(
                f"chord {symbol.text!r} ({symbol.where}) can be read in two ways, as all around it: {name}sus{number}, or {name} for "
                f"{number} beats (write {name} {number})."
            )

    def _look_at_small_letters(self) -> None:
        small = [symbol for symbol in self._distinct if _SMALL.fullmatch(symbol.text) and read_symbol(symbol.text) is not None]
        lazy = any(re.match(r"[a-g][b#]{0,2}m", symbol.text) for symbol in self._distinct)  # am says minor, so that c does not
        if small and not lazy and any(symbol.text[:1] in "ABCDEFG" for symbol in self._distinct):
            symbol = small[0]
            root = re.match(r"[a-g][b#]{0,2}", symbol.text)
            assert root is not None
            large = symbol.text[0].upper() + symbol.text[1:]
            minor = large[: root.end()] + "m" + large[root.end() :]
            raise UserError(
                f"chord {symbol.text!r} ({symbol.where}) can be read in two ways beside large letters: {large}, or {minor}; write the one "
                "that is meant."
            )
