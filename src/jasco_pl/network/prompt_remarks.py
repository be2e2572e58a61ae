"""What a text encoder will make little of, told to whoever wrote it."""

from __future__ import annotations

import re
import unicodedata

from tokenizers import Tokenizer

_WORD = re.compile(r"[^\W\d_]+")
_UNKNOWN = {"[UNK]", "<unk>"}
_SPELT_OUT = 3  # pieces of a word that is not in the encoder's vocabulary, nor made of two that are
_SHARE = 1 / 3  # of such words in a text, from which on it is worth a note: "shoegaze" alone is not
_FOREIGN = re.compile("avec|dans|und|mit|ohne|für|eine|der|das|och|för|met|een|voor|sin|muy|com|uma|para|sem|della|degli|nel")
# In English prompts, too, by loan
_PERHAPS = re.compile("con|e|y|de|del|la|le|les|en|au|du|et|sans|senza|il|un|una|di|med|i|z")


def remarks(text: str, tokenizer: Tokenizer, most: int, english: bool) -> list[str]:
    """Notes on a text: what of it is not read, and which words say little.

    Args:
        text: of one stretch of time.
        tokenizer: of the encoder, whether it cuts or not.
        most: tokens that the encoder reads.
        english: whether the encoder has learnt English alone.
    """
    coded, found = tokenizer.encode(text), []
    around = sum(coded.special_tokens_mask)
    count = len(coded.ids) + sum(len(more.ids) - around for more in coded.overflowing)
    if count > most:
        end = max(stop for _, stop in coded.offsets[: most - 1])
        found.append(f"the text has {count} tokens, of which the encoder reads {most}: nothing behind {text[:end][-40:]!r} is heard")
    words = list(dict.fromkeys(_WORD.findall(text)))
    spelt = [word for word in words if len(tokenizer.encode(word, add_special_tokens=False).ids) >= _SPELT_OUT]
    if english and _foreign([word.lower() for word in words], spelt):
        found.append("the text does not look like English, which is all that its encoder has learnt: it will hardly be followed")
    elif spelt and len(spelt) >= _SHARE * len(words):
        found.append(f"the text encoder hardly knows {', '.join(map(repr, spelt[:8]))}: it will hardly be followed in that")
    elif _UNKNOWN & set(coded.tokens):
        found.append("the text has signs that its encoder does not know, and leaves out")
    return found


def _foreign(words: list[str], spelt: list[str]) -> bool:
    sure, perhaps = (sum(bool(kind.fullmatch(word)) for word in words) for kind in (_FOREIGN, _PERHAPS))
    other = any(not unicodedata.name(letter, "").startswith(("LATIN", "FULLWIDTH LATIN")) for word in words for letter in word)
    return other or sure > 0 or (perhaps > 0 and perhaps + len(spelt) > 1)
