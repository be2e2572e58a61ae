"""Names in MIDI files, which say in no encoding that they are: UTF-8, or else the code page in which they look like words."""

from __future__ import annotations

import re
from collections.abc import Sequence

_KANA = re.compile(r"[\u3041-\u30ff]")
_HAN = re.compile(r"[\u4e00-\u9fff]")
_HANGUL = re.compile(r"[\uac00-\ud7a3]")
_CYRILLIC = re.compile(r"[А-Яа-яЁё]+")
_FOREIGN_RUN = re.compile(rb"[\x80-\xff]{2,}")


def decode(names: Sequence[bytes]) -> list[str]:
    """The names of one file, all in the same encoding; control characters are left out."""
    page = _encoding(b" ".join(names))
    return [re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", name.decode(page, errors="replace")).strip() for name in names]


def _encoding(content: bytes) -> str:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        return "utf-8"
    runs = sum(map(len, _FOREIGN_RUN.findall(content)))
    foreign = sum(byte >= 0x80 for byte in content)
    japanese = _decoded(content, "cp932")
    if len(_KANA.findall(japanese)) + len(_HAN.findall(japanese)) > 0 and _KANA.search(re.sub(r"[\uff61-\uff9f]", "", japanese)):
        return "cp932"
    if 2 * runs < foreign or not runs:  # accents stand alone among plain letters
        return "cp1252"
    # Words of foreign letters alone: small letters are those of Russian, pairs of bytes those of East Asia.
    for page in ("cp1251", "koi8-r"):
        words = _CYRILLIC.findall(_decoded(content, page))
        if 10 * len("".join(words)) >= 9 * foreign and all(word.islower() or word.istitle() for word in words):
            return page
    for page, letters in (("euc-kr", _HANGUL), ("gb18030", _HAN), ("big5", _HAN), ("cp932", _HAN)):
        if 2 * len(letters.findall(_decoded(content, page))) >= 0.9 * foreign:
            return page
    return "cp1252"


def _decoded(content: bytes, page: str) -> str:
    try:
        return content.decode(page)
    except UnicodeDecodeError:
        return ""
