"""What a line of a chord sheet is: chords, words, a label, a directive, a tablature."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from jasco_pl.notation.chords.numerals import Key, parse_key
from jasco_pl.notation.chords.spelling import LANGUAGES, languages

_NAMES = (
    r"intro(?:ducci[oó]n|duction)?|verse?|vers|strophe|couplet|verso|estrofa|estrofe|strofa|pre-?\s?chorus|post-?chorus|chorus|refrain|refr[aã]o|coro"
    r"|estribillo|ritornello|bridge|br[uü]cke|middle\s?(?:8|eight)|solo|interlude|instrumental|outro|ending|coda|tag|hook|break(?:down)?"
    r"|turnaround|vamp|riff|part|section|teil|parte|partie|puente|ponte|final|head|theme|tema"
)
_TIMES = r"[(\[]?\s*(?:[x*]\s?(?P<{0}1>\d{{1,6}})|(?P<{0}2>\d{{1,6}})\s?[x*])\s*[)\]]?"
_KNOWN = re.compile(
    rf"\s*[(*=_~<-]{{0,3}}\s*(?P<name>(?:{_NAMES})(?:\s?#?\d{{1,2}}|\s[A-Z](?=\s*[:.)]))?|(?:part|section|teil|parte|partie|theme|tema)\s[A-Z])\s*(?:{_TIMES.format('t')})?\s*[)*=_~>-]{{0,3}}\s*[:.)]?"
    r"(?P<rest>(?:\s.*)?)",
    re.IGNORECASE,
)
_BRACKETED = re.compile(
    rf"\s*[\[<]\s*(?P<name>[^\[\]<>]*?)\s*(?:{_TIMES.format('i')})?\s*[\]>]\s*(?:{_TIMES.format('t')})?\s*:?(?P<rest>.*)"
)
_COLON = re.compile(r"\s*(?P<name>[^\W\d][^:=|\[\]{}()]{0,40}?)\s*[:=](?P<rest>(?:\s.*)?)")
_NUMBERED = re.compile(r"\s*\d{1,3}(?:[.):]\s+|\s*(?=\|))(?P<rest>\S.*)")
_TABLATURE = re.compile(r"\s*[A-Ga-g]?[#b]?\s*\|[-0-9hpbrsxX/\\~^()|\s.=*]*")
_BRACKET = re.compile(r"\[([^\[\]]*)\]")
_NEUTRAL = re.compile(r"[|:%/\-.()\[\]{}_~,;*\"']+|[x*]\d+|\d+x|->|=>|>")
_WORD_SPLIT = re.compile(r"[\s|,;()\[\]{}>→•\"']+")
_KEY_NAME = (
    r"(?P<key>[^\W\d_]+[#b]*(?:[\s-](?:flat|sharp))?(?:[\s-](?:major|minor|maj|min|dur|moll|mayor|menor|majeur|mineur|maggiore|minore))?)"
)
_KEYS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?P<rest>.*?)[\s,;(\[-]{{1,9}}(?:in\s+(?:the\s+key\s+of\s+)?|key(?:\s+of)?\s*[:=]?\s*){_KEY_NAME}[\s)\].]*",
        rf"(?P<rest>.*?)\s*[(\[]\s*{_KEY_NAME}\s*[)\]]\s*",
        rf"\s*[(\[]?\s*(?:in\s+(?:the\s+key\s+of\s+)?|key(?:\s+of)?\s*[:=]?\s*){_KEY_NAME}\s*[)\]]?\s*[:,;-]?\s+(?P<rest>\S.*)",
        rf"\s*{_KEY_NAME}\s*:\s+(?P<rest>\S.*)",
    )
)
_BPM_BEHIND = re.compile(r"(?P<rest>.*?)[\s,;(\[@]{1,9}(?P<bpm>\d{2,3}(?:\.\d{1,3})?)\s?bpm[\s)\].]*", re.IGNORECASE)


ALL = frozenset(LANGUAGES)


class Label(NamedTuple):
    """The name of a section, how often it is played, what stands behind it in the line, and where that begins."""

    name: str
    times: int
    rest: str
    column: int


def share(line: str, among: frozenset[str] = ALL) -> tuple[int, int]:
    """How many words of a line are chords, in the language of `among` in which most are, and how many words there are."""
    words = _words(line)
    counts = _counts(words)
    return max((count for name, count in counts.items() if name in among), default=0), len(words)


def language_of(lines: Sequence[str]) -> frozenset[str]:
    """In which language the chords of a sheet are: that of most of the words in those lines that are nothing but chords.

    Words with large letters count before others, so that `la la la` is sung.
    """
    found: dict[str, list[int]] = {}
    for line in lines:
        words = _words(line)
        large = sum(word[:1].isupper() for word in words)
        for name, count in _counts(words).items():
            if count == len(words):
                totals = found.setdefault(name, [0, 0])
                totals[0] += large
                totals[1] += count
    best = max((name for name in LANGUAGES if name in found), key=lambda name: found[name], default="English")
    return frozenset({"English", "German"} if best in ("English", "German") else {best})


def _words(line: str) -> list[str]:
    return [word for word in _WORD_SPLIT.split(line) if word and not _NEUTRAL.fullmatch(word) and not word.isdigit()]


def _counts(words: Sequence[str]) -> dict[str, int]:
    """Of words, how many are chords in each language."""
    counts: dict[str, int] = {}
    for word in words:
        for name in languages(word.rstrip(".,:;!")) or _glued(word):
            counts[name] = counts.get(name, 0) + 1
    return counts


def _glued(word: str) -> frozenset[str]:
    """Languages of a word that is several chords without spaces, or one with a repetition."""
    parts = [part for part in re.split(r"[-/–~_+]|[*x]\d+$", word) if part]
    if len(parts) < 1 or len(word) > 200:
        return frozenset()
    return frozenset.intersection(*(languages(part) for part in parts))


def holds_chords(line: str, among: frozenset[str]) -> bool:
    """Whether a line of several is chords: most of its words are, or half of them where the others begin like chords."""
    chords, words = share(line, among)
    if not words:
        return bool(re.search(r"[|%\d]", line))
    if chords * 2 != words:
        return chords * 2 > words or (chords > 0 and "|" in line)
    others = [word for word in _WORD_SPLIT.split(line) if word and not languages(word) and not _NEUTRAL.fullmatch(word)]
    return all(re.match(r"[A-H]", word) for word in others)


def degrees_only(line: str) -> bool:
    """Whether a line holds numerals or numbers and no named chords."""
    words = [word for word in _WORD_SPLIT.split(line) if word and not _NEUTRAL.fullmatch(word)]
    found = [languages(word) or _glued(word) for word in words]
    return any(found) and all({"Roman", "Nashville"} & one for one in found if one)


def label_of(line: str, several: bool) -> Label | None:
    """The label that a line begins with.

    Args:
        line: in plain signs.
        several: whether there are other lines; a letter alone in brackets is then a section, as in `[A]`.
    """
    found = _BRACKETED.fullmatch(line)
    if found is not None and found["name"] and not _is_chords(found["name"]):
        times = next((found[name] for name in ("i1", "i2", "t1", "t2") if found[name]), "1")
        return Label(found["name"], int(times), found["rest"], found.start("rest"))
    if found is not None and re.fullmatch("[A-H]", found["name"]) and ((several and not found["rest"].strip()) or "|" in found["rest"]):
        return Label(found["name"], int(found["t1"] or found["t2"] or 1), found["rest"], found.start("rest"))
    found = _KNOWN.fullmatch(line)
    if found is not None and (not found["rest"].strip() or line[found.end("name") :].lstrip()[:1] in ":.)" or share(found["rest"])[0]):
        rest, begins = found["rest"], found.start("rest")
        return Label(found["name"].strip(), int(found["t1"] or found["t2"] or 1), re.sub(r"^\s*-\s", "", rest), begins)
    found = _COLON.fullmatch(line)
    if found is not None:
        name, rest = found["name"].strip(), found["rest"]
        letter = re.fullmatch("[A-H]", name) is not None and bool(rest.strip())
        if (not languages(name) or letter) and (not rest.strip() or share(rest)[0] or _NEUTRAL.search(rest)):
            return Label(name, 1, rest, found.start("rest"))
    found = _NUMBERED.fullmatch(line)
    if found is not None and share(found["rest"])[0] and not degrees_only(found["rest"]):
        return Label("", 1, found["rest"], found.start("rest"))
    return None


def labels_within(line: str) -> list[int]:
    """Where labels in brackets begin in a line, as in `[Intro] Am F [Verse] C G`."""
    return [
        found.start() for found in _BRACKET.finditer(line) if re.match(_NAMES, found[1].strip(), re.IGNORECASE) and not _is_chords(found[1])
    ]


def _is_chords(text: str) -> bool:
    """Whether what stands in brackets is chords, bars or a number of times, and no name."""
    words = [word for word in _WORD_SPLIT.split(text) if word]
    return all(languages(word) or _glued(word) or _NEUTRAL.fullmatch(word) or word.isdigit() for word in words)


def is_tablature(line: str) -> bool:
    """A string of a guitar with frets on it."""
    return "--" in line and _TABLATURE.fullmatch(line) is not None and share(line)[0] <= 1


def over_words(line: str) -> str | None:
    """Of a line with words that has its chords in brackets between them, the chords and bar lines; None for another line."""
    brackets = _BRACKET.findall(line)
    if not brackets or not all(bracket.startswith("*") or languages(bracket.strip()) for bracket in brackets):
        return None
    chords, words = share(_BRACKET.sub(" ", line))
    sung = re.search(r"\][^\W\d]", line) is not None or not all(bracket for bracket in brackets)
    if not words or (chords * 2 >= words and not sung):
        return None
    return " ".join(
        part[1:-1] if part.startswith("[") else part for part in re.findall(r"\[[^\[\]]*\]|\|", line) if not part.startswith("[*")
    )


def key_of(line: str) -> tuple[Key, str, int] | None:
    """The key that a line names behind its chords, or before degrees; what is left of the line, and where that begins."""
    for pattern in _KEYS:
        found = pattern.fullmatch(line)
        behind = found is not None and pattern is _KEYS[0] and share(found["rest"])[0] > 0
        if found is not None and (behind or degrees_only(found["rest"])):
            key = parse_key(found["key"])
            if key is not None:
                return key, found["rest"], found.start("rest")
    return None


def tempo_of(line: str) -> tuple[float, str] | None:
    """The tempo behind a line, as in `C G Am F 96 bpm`, and what is left of the line."""
    found = _BPM_BEHIND.fullmatch(line)
    return None if found is None else (float(found["bpm"]), found["rest"])
