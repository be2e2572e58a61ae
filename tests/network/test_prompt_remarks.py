from __future__ import annotations

import pytest

from jasco_pl.network.text import TextEncoder
from jasco_pl.notation.timed_text import throughout


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mellow pop ballad with piano and strings",
        "A lo-fi hip hop beat with vinyl crackle, Rhodes and upright bass",
        "slow jazz with upright bass and brushed drums, 92 bpm",
        "synthwave with arpeggiated synths",
        "bossa nova, nylon guitar, café atmosphere",
        "Andante con moto for string quartet",
        "norteño accordion with bajo sexto",
        "orchestral film music in the style of Hans Zimmer",
        "An up-tempo guitar rock piece, accompaniment only, in A minor with a driving feeling.",
    ],
)
def test_english_is_read_without_a_word(offline_encoder: TextEncoder, text: str) -> None:
    assert offline_encoder.remarks(throughout(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "ruhige Klavierballade mit Streichern",
        "schnelles Schlagzeug und Gitarre",
        "musique calme au piano avec batterie",
        "balada de piano tranquila con cuerdas",
        "ballata lenta con pianoforte e archi",
        "música calma com piano e violino",
        "rustige pianomuziek met strijkers",
        "спокойная музыка для фортепиано",
        "静かなピアノの曲",
        "موسيقى هادئة",
    ],
)
def test_other_languages_are_said_to_be_some(offline_encoder: TextEncoder, text: str) -> None:
    (note,) = offline_encoder.remarks(throughout(text))
    assert "does not look like English" in note


def test_words_that_are_spelt_out_are_named(offline_encoder: TextEncoder) -> None:
    assert "hardly knows 'asdfghj'" in offline_encoder.remarks(throughout("asdfghj drums"))[0]
    assert "signs" in offline_encoder.remarks(throughout("calm piano 🎹"))[0]


def test_what_lies_behind_the_last_token_is_named(offline_encoder: TextEncoder) -> None:
    (note,) = offline_encoder.remarks(throughout("calm piano " * 70 + "and a trumpet at the end"))
    assert "148 tokens, of which the encoder reads 128" in note
    assert "piano' is heard" in note or "calm' is heard" in note
    assert offline_encoder.remarks(throughout("calm piano " * 60)) == []
