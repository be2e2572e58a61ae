"""One sign for what keyboards, fonts and web pages write in many."""

from __future__ import annotations

import re
import unicodedata

_BEFORE = str.maketrans(  # what NFKC would take for something else, or leaves alone
    dict(zip("♭♯⌀∅Ø𝄀𝄎", "b#øøø|%", strict=True))
    | {"♮": "", "𝄫": "bb", "𝄪": "##", "𝄆": "|:", "𝄇": ":|", "𝄁": "||", "𝄂": "||", "𝄏": "%%", "‖": "||", "∥": "||"}
    | dict.fromkeys("∆△▵▲", "Δ")
    | dict.fromkeys("º˚∘", "°")
    | dict.fromkeys("×✕✖", "x")
    | dict.fromkeys("∣│┃❘❙ǀ￨¦", "|")
    | dict.fromkeys("−‐‑‒–—―﹣－", "-")
    | dict.fromkeys("→⟶➔➜➝➞➡▶▸►»›⇒⟹⇨↦⟼", " → ")
    | dict.fromkeys("•·・∙⋅●‧", " • ")
    | dict.fromkeys("⁄∕", "/")
    | dict.fromkeys("“”„‟«", '"')
    | dict.fromkeys("‘’‚‛`´", "'")
    | dict.fromkeys("，、﹐", ", ")
    | dict.fromkeys("；", "; ")
)
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]")
_LOOKALIKES = str.maketrans("АВСЕНМаесмΑΒΕΗΜ", "ABCEHMaecmABEHM")  # Cyrillic and Greek letters that a keyboard may still have been set to
_LETTERS = re.compile("[АВСЕНМаесмΑΒΕΗΜ]")


def plain(text: str) -> str:
    """The text with signs of one kind for each thing; lines stay where they are.

    Full-width and mathematical letters become common ones, musical signs their ASCII (`♯ 𝄪 𝄆 𝄎`), dashes `-`, arrows ` → `, bullets ` • `;
    what cannot be seen goes. Blanks are at most eight in a row.
    """
    text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text).translate(_BEFORE)).translate(_BEFORE)
    text = re.sub("\r\n?|[\u2028\u2029\x0b\x0c\x85]", "\n", text)
    return re.sub(" {9,}", " " * 8, re.sub(r"[^\S\n]", " ", text))


def latin(text: str) -> tuple[str, bool]:
    """Cyrillic and Greek letters that look like note names as the Latin ones, and whether there were any."""
    return text.translate(_LOOKALIKES), bool(_LETTERS.search(text))
