from __future__ import annotations

import pytest

from jasco_pl.prepare.captions import CaptionOptions, make_captions, measured_captions, read_tags, with_article
from jasco_pl.system.errors import UserError

NOTE = {
    "BPM": "120.4",
    "key": "Em",
    "genre": "Rock",
    "moods": ["Upbeat"],
    "instrument": "Distorted Guitar, Drums",
    "keywords": "live, EDM",
    "title": "Night Ride",
    "artist": "Somebody",
    "sample_rate": 44100,
}
TAGS = read_tags(NOTE)
GIVEN = ["A fast song", "Loud guitars!"]


def drawn(given: list[str], **options: object) -> list[list[str]]:
    return [make_captions(f"{number}.wav", given, TAGS, CaptionOptions(**options)) for number in range(200)]  # type: ignore[arg-type]


def test_tags_are_cleaned() -> None:
    assert TAGS == {
        "key": ["E minor"],
        "bpm": ["120"],
        "genre": ["rock"],
        "moods": ["upbeat"],
        "instrument": ["distorted guitar", "drums"],
        "keywords": ["live", "EDM"],
        "title": ["Night Ride"],
        "artist": ["Somebody"],
    }
    assert read_tags({"aspect_list": "['pop', \"80's\", 'pop']", "genre": "Pop/Rock; Other", "bpm": 0, "moods": None, "key": []}) == {
        "genre": ["pop", "rock"],
        "keywords": ["pop", "80's"],
    }
    assert read_tags({"keywords": "[" * 5000, "tempo": "fast", "artist": {"id": 3}, 5: 6}) == {}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("Em", "E minor"),
        ("e", "E minor"),
        ("Bb", "Bb major"),
        ("bbm", "Bb minor"),
        ("F# maj", "F# major"),
        ("C♯ minor", "C# minor"),
        ("A flat major", "Ab major"),
        ("c-sharp minor", "C# minor"),
        ("C:min", "C minor"),
        ("B minor", "B minor"),
        ("5A", None),
        ("H moll", None),
        ("Bad", None),
        (7, None),
    ],
)
def test_keys_are_read_in_usual_spellings(written: object, key: str | None) -> None:
    assert read_tags({"key": written}).get("key") == ([key] if key else None)


def test_given_captions_are_taken_as_they_are_where_nothing_joins_them() -> None:
    messy = [" One\n line ", "", "One line", "half \ud800 a letter"]
    assert make_captions("a.wav", messy, {}, CaptionOptions()) == ["One line", "half ? a letter"]
    assert make_captions("a.wav", messy, TAGS, CaptionOptions(tags="none")) == ["One line", "half ? a letter"]
    assert make_captions("a.wav", GIVEN, TAGS, CaptionOptions(tags="none", given=False)) == []
    assert make_captions("a.wav", GIVEN, TAGS, CaptionOptions(merge_probability=0)) == GIVEN


def test_a_sentence_names_every_tag_it_has() -> None:
    for (caption,) in drawn([], drop_other=0, variants=1):
        assert caption.startswith("An upbeat rock ")
        assert caption.endswith(".")
        for words in (" with distorted guitar and drums", "120 b", "in E minor", "live", "EDM"):
            assert words in caption
        assert "Night Ride" not in caption
        assert "Somebody" not in caption
    (caption,) = make_captions("a.wav", [], TAGS, CaptionOptions(fields=["title", "artist"], drop_other=0, variants=1))
    assert 'called "Night Ride", by Somebody.' in caption
    assert make_captions("a.wav", [], {"keywords": ["live", "noisy"]}, CaptionOptions(drop_other=0)) == ["Live, noisy."]


def test_pairs_are_audiocrafts_in_every_order() -> None:
    options = CaptionOptions(
        tags="pairs", fields=["genre", "instrument"], merge_probability=1, drop_description=0, drop_other=0, variants=30
    )
    assert set(make_captions("a.wav", GIVEN, TAGS, options)) == {
        f"{start} {pairs}"
        for start in ("A fast song.", "Loud guitars!")
        for pairs in (
            "genre: rock. instrument: distorted guitar, drums",
            "instrument: distorted guitar, drums. genre: rock",
        )
    }


def test_the_draws_keep_their_probabilities() -> None:
    """Of 200 tracks with one given caption, each drawn ten times."""
    options = {"tags": "pairs", "fields": ["genre", "bpm"], "variants": 1}
    merged = [text for (text,) in drawn(["Given."], merge_probability=0.3, drop_description=0.4, drop_other=0.0, **options)]
    assert sum("genre" in text for text in merged) / 200 == pytest.approx(0.3, abs=0.1)
    joined = [text for (text,) in drawn(["Given."], merge_probability=1, drop_description=0.4, drop_other=0.0, **options)]
    assert sum("Given" not in text for text in joined) / 200 == pytest.approx(0.4, abs=0.1)
    thinned = [text for (text,) in drawn(["Given."], merge_probability=1, drop_description=0, drop_other=0.8, **options)]
    assert sum("genre" in text for text in thinned) / 200 == pytest.approx(0.2, abs=0.1)


def test_no_draw_leaves_a_track_without_words() -> None:
    for options in ({"drop_other": 1.0}, {"drop_other": 1.0, "drop_description": 1.0, "merge_probability": 1.0}):
        assert all(all(texts) and texts for texts in drawn([], **options))
        assert all(texts == ["Given."] for texts in drawn(["Given."], **options))


def test_every_given_caption_starts_at_least_one() -> None:
    many = [f"caption {number}" for number in range(9)]
    options = CaptionOptions(variants=2, merge_probability=1, drop_description=0)
    texts = make_captions("a.wav", many, TAGS, options)
    assert all(any(text.startswith(one) for text in texts) for one in many)


def test_captions_depend_on_the_name_alone() -> None:
    here = [make_captions(name, GIVEN, TAGS, CaptionOptions(merge_probability=0.8)) for name in ("a.wav", "b.wav")]
    assert here[0] != here[1]
    assert here[0] == [  # as first drawn: a set that grows must not change the captions it has
        "A fast song",
        "Loud guitars! An upbeat track, 120 beats per minute, live, EDM.",
        "An upbeat track with distorted guitar and drums, in E minor, live, EDM.",
        "Loud guitars!",
    ]


def test_articles_follow_the_sound() -> None:
    words = ("rock", "upbeat", "80s", "unison", "R&B", "EDM", "ukulele", "UK garage", "hour", "European", "Fun", "used", "ambient", "18th")
    assert [with_article(word).split()[0] for word in words] == [
        "a",
        "an",
        "an",
        "a",
        "an",
        "an",
        "a",
        "a",
        "an",
        "a",
        "a",
        "a",
        "an",
        "an",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [({"fields": ["genre", "colour"]}, "no tag 'colour'"), ({"drop_other": 1.2}, "drop_other is 1.2"), ({"variants": 0}, "variants is 0")],
)
def test_options_that_cannot_be_are_refused(options: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        CaptionOptions(**options)


def test_what_is_heard_is_said_as_far_as_it_is_heard() -> None:
    assert measured_captions(96.4, "D minor") == ["music at 96 bpm in D minor", "music at 96 bpm", "music in D minor"]
    assert measured_captions(None, "C major") == ["music in C major"]
    assert measured_captions(120.0, None) == ["music at 120 bpm"]
    assert measured_captions(None, None) == []
    assert measured_captions(3.0, "") == []
