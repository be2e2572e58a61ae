"""What is said about a track -> captions to train on: given texts, and tags put into words."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from jasco_pl.system.errors import UserError
from jasco_pl.system.seeding import stable_hash

TAGS: dict[str, tuple[str, ...]] = {
    "key": ("key", "initialkey"),
    "bpm": ("bpm", "tempo"),
    "genre": ("genre", "genres", "style"),
    "moods": ("moods", "mood"),
    "instrument": ("instrument", "instruments"),
    "keywords": ("keywords", "keyword", "tags", "aspect_list"),
    "title": ("title", "name"),
    "artist": ("artist",),
}
"""Fields that can be worded, by audiocraft's names, and the names under which they are found (`aspect_list` is MusicCaps')."""
Tags = dict[str, list[str]]
_EMPTY = {"", "none", "null", "nan", "unknown", "n/a", "other"}
_MOST = 6  # of a list's words a sentence names so many


@dataclass
class CaptionOptions:
    """Which captions a track gets. `given: false` with `tags: none` gives none: the model then learns without text."""

    given: bool = True
    """Use the captions that come with a track: its `.txt`, a caption column, a description."""
    tags: Literal["sentences", "pairs", "none"] = "sentences"
    """Word tags as sentences ("A calm folk piece with flute, 90 bpm, in E minor."), as audiocraft's pairs ("genre: folk. bpm: 90"), or not
    at all."""
    file_tags: bool = True
    """Where neither texts nor tags lie beside a file, look for genre (title, artist) inside it: ID3 and Vorbis comments."""
    fields: list[str] = field(default_factory=lambda: ["key", "bpm", "genre", "moods", "instrument", "keywords"])
    """Tags that may be named, audiocraft's six. Besides there are `title`, which tells what a piece is called, not how it sounds, and
    `artist`, which would teach the model to imitate people by name."""
    merge_probability: float = 0.25
    """How often tags join a given caption (audiocraft's merge_text_p). Where nothing is given, tags alone are always the caption."""
    drop_description: float = 0.5
    """How often the given caption gives way to the tags that joined it (drop_desc_p)."""
    drop_other: float = 0.5
    """How often each single tag is left out (drop_other_p, which audiocraft's code takes as a probability to keep; at one half that is
    the same)."""
    variants: int = 4
    """How many captions are drawn for a track that has tags; equal ones count once. Every given caption is the start of at least one."""
    measured: bool = False
    """Where a track would get none, say tempo and key as they are heard: "music at 96 bpm in D minor". Programs hear them, and are wrong at
    times: of 70 composed pieces 44 tempi were right and 16 half or double, of 66 with chords 39 keys; the stage beats hears tempi better.
    It holds for what is in the set already, too."""

    def __post_init__(self) -> None:
        """Look at what can be looked at without any data; raises UserError."""
        if unknown := [name for name in self.fields if name not in TAGS]:
            raise UserError(f"there is no tag {unknown[0]!r} to put into captions; there are {', '.join(TAGS)}")
        for name in ("merge_probability", "drop_description", "drop_other"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} is {getattr(self, name)}: a probability from 0 to 1 is accepted")
        if self.variants < 1:
            raise UserError(f"variants is {self.variants}: at least one caption is drawn (use tags: none and given: false for none)")


def read_tags(note: Mapping[str, Any]) -> Tags:
    """The tags that are understood, cleaned: words in lower case, tempo as a whole number, key as "E minor"; unknown values left out.

    Args:
        note: any JSON object, row of a table or a file's own tags; keys in any case.
    """
    values = {key.lower(): value for key, value in note.items() if isinstance(key, str)}
    found: Tags = {}
    for name, spellings in TAGS.items():
        for spelling in spellings:
            texts = [text for text in map(_CLEAN.get(name, _word), _several(values.get(spelling), name)) if text]
            if texts:
                found[name] = list(dict.fromkeys(texts))
                break
    return found


def make_captions(name: str, given: Sequence[str], tags: Tags, options: CaptionOptions) -> list[str]:
    """Captions of one track, drawn from the hash of its name: the same on every machine and beside any other tracks.

    The rules are audiocraft's (`augment_music_info_description` of its music dataset), except that they are drawn here, `variants` times
    for good, and that a draw never leaves a track without any words: dropping the text is the model's own matter.

    Args:
        name: of the track.
        given: whole captions.
        tags: from `read_tags`.
        options: what to use.

    Returns:
        Different captions, possibly none.
    """
    base = list(dict.fromkeys(text for text in map(_tidy, given) if text)) if options.given else []
    usable = {key: tags[key] for key in options.fields if tags.get(key)} if options.tags != "none" else {}
    if not usable:
        return base
    drawn = []
    for variant in range(max(options.variants, len(base))):
        rng = Random(stable_hash("caption", name, variant))
        description = base[variant % len(base)] if base else ""
        if description and rng.random() >= options.merge_probability:
            drawn.append(description)
            continue
        kept = {key: words for key, words in usable.items() if rng.random() >= options.drop_other}
        if not kept and not description:
            key = rng.choice(list(usable))
            kept = {key: usable[key]}
        worded = _pairs(kept, rng) if options.tags == "pairs" else _sentence(kept, rng)
        if worded and rng.random() < options.drop_description:
            description = ""
        drawn.append(_joined(description, worded))
    return list(dict.fromkeys(drawn))


def measured_captions(tempo: float | None, key: str | None) -> list[str]:
    """What can be said of music of which nothing is known but what was heard: tempo (beats a minute) and key ("D minor"), each alone too.

    Returns:
        None of what was not heard.
    """
    said = [words for words in (_tempo(tempo) and f"at {_tempo(tempo)} bpm", _key(key) and f"in {_key(key)}") if words]
    return [f"music {words}" for words in dict.fromkeys([" ".join(said), *said]) if words]


def _joined(description: str, worded: str) -> str:
    if not (description and worded):
        return description or worded
    return f"{description}{'' if description[-1] in '.!?' else '.'} {worded}"


def _pairs(tags: Tags, rng: Random) -> str:
    pairs = [f"{key}: {', '.join(words)}" for key, words in tags.items()]
    rng.shuffle(pairs)
    return ". ".join(pairs)


def _sentence(tags: Tags, rng: Random) -> str:
    """One sentence that names all of the tags; of long lists a few words."""

    def some(key: str) -> list[str]:
        words = tags.get(key, [])
        return sorted(rng.sample(words, min(len(words), _MOST)), key=words.index)

    moods, genres, instruments, keywords = some("moods"), some("genre"), some("instrument"), some("keywords")
    what = rng.choice(("piece", "track", "piece of music"))
    if not (moods or genres):
        what = rng.choice(("piece", "track", "piece of music")) if instruments or not keywords else ""
    head = " ".join([", ".join(moods), " and ".join(genres), what]).strip()
    head = re.sub(" +", " ", head)
    parts = [with_article(head)] if head else []
    if instruments:
        parts[-1] += f" with {_enumerate(instruments)}"
    parts += [f"{bpm} {rng.choice(('bpm', 'beats per minute'))}" for bpm in tags.get("bpm", [])]
    parts += [f"in {key}" for key in tags.get("key", [])]
    parts += keywords
    if title := tags.get("title"):
        parts.append(f'called "{title[0]}"')
    if artist := tags.get("artist"):
        parts.append(f"by {_enumerate(artist)}")
    if not any(tags.values()):
        return ""
    text = ", ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


_VOWEL = re.compile(
    r"(?!uni|eu|us|uk|ut|one\b)[aeiou]|hour|honest|8|1[18](?!\d)"  # "a unison", "an 80s tune"
    r"|(?-i:[FLMNRSX](?:[A-Z&]|\b))|(?:r&b|fm|mpb)\b",  # letters that are spelled out: "an R&B tune"
    re.IGNORECASE,
)


def with_article(words: str) -> str:
    """ "rock piece" -> "a rock piece", "upbeat tune" -> "an upbeat tune"."""
    return f"{'an' if _VOWEL.match(words) else 'a'} {words}"


def _enumerate(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _several(value: Any, name: str) -> list[Any]:
    """A tag's value as a list: JSON lists, Python lists written as text (MusicCaps), words between commas or semicolons."""
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            value = value.strip().strip("[]")
    if isinstance(value, str):
        return [value] if name in ("title", "artist") else re.split(r"[,;/|]" if name == "genre" else r"[,;|]", value)
    return list(value) if isinstance(value, list | tuple) else [value]


def _tidy(text: Any) -> str:
    """One line, single spaces, nothing that UTF-8 cannot write."""
    return " ".join(str(text).encode("utf-8", "replace").decode().split())


def _name(value: Any) -> str:
    text = _tidy(value) if isinstance(value, str) else ""
    return "" if text.lower() in _EMPTY else text


def _word(value: Any) -> str:
    text = _name(value)
    return text if text.isupper() and len(text) <= 4 else text.lower()  # EDM, R&B, UK


def _tempo(value: Any) -> str:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:bpm)?\s*", str(value), flags=re.IGNORECASE)
    bpm = float(match[1]) if match else math.nan
    return str(round(bpm)) if 20 <= bpm <= 400 else ""


def _key(value: Any) -> str:
    """ "Em", "e:min", "E Minor", "e" -> "E minor"; anything else, such as a Camelot number, -> nothing."""
    text = str(value).replace("♯", "#").replace("♭", "b")
    text = re.sub(r"[\s:_-]", "", re.sub(r"(?i)[\s-]*sharp", "#", re.sub(r"(?i)[\s-]*flat", "b", text)))
    match = re.fullmatch(r"([A-Ga-g])([#b]?)(m|M|(?i:min|minor|maj|major)|)", text)
    if match is None:
        return ""
    root, accidental, mode = match.groups()
    minor = mode == "m" or mode.lower().startswith("min") or (root.islower() and not mode)
    return f"{root.upper()}{accidental} {'minor' if minor else 'major'}"


_CLEAN = {"bpm": _tempo, "key": _key, "title": _name, "artist": _name}
