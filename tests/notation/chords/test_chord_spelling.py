"""Names of notes in other languages, degrees, and the notes that say how they were read."""

from __future__ import annotations

import pytest

from jasco_pl.notation.chord_text import read_chords
from jasco_pl.notation.chords.names import as_german, as_romance, words_as_quality
from jasco_pl.notation.chords.numerals import from_nashville, from_roman, is_nashville, is_roman, parse_key
from jasco_pl.notation.plain import plain
from jasco_pl.system.errors import UserError


@pytest.mark.parametrize(
    ("written", "english"),
    [
        *[("H", "B"), ("B", "Bb"), ("Bb", "Bb"), ("Bes", "Bb"), ("Fis", "F#"), ("Es", "Eb"), ("As", "Ab"), ("Des", "Db"), ("Ases", "Abb")],
        *[("Hm7b5", "Bm7b5"), ("Cism7/Gis", "C#m7/G#"), ("G/H", "G/B"), ("Asus4", "Asus4"), ("Esus4", "Esus4"), ("Esm", "Ebm")],
        *[("C-Dur", "C"), ("Fis-Moll", "F#m"), ("a-Moll", "am"), ("Lam", None), ("Hq", None)],
    ],
)
def test_german_names(written: str, english: str | None) -> None:
    assert as_german(written) == english


@pytest.mark.parametrize(
    ("written", "english"),
    [
        *[("Do", "C"), ("Ré", "D"), ("Mib", "Eb"), ("Fa#m7", "F#m7"), ("Sol/Si", "G/B"), ("La-", "A-"), ("Si7", "B7"), ("Dom", "Cm")],
        *[("do", "C"), ("SOL", "G"), ("Do7+", "Cmaj7"), ("Sol/3", "G/3"), ("C", None), ("Solq", None)],
    ],
)
def test_romance_names(written: str, english: str | None) -> None:
    assert as_romance(written) == english


@pytest.mark.parametrize(
    ("words", "quality"),
    [
        *[(["major"], ""), (["minor"], "m"), (["sharp", "minor", "7"], "#m7"), (["major", "seventh"], "maj7"), (["maj", "7"], "maj7")],
        *[(["flat", "dominant", "7th"], "b7"), (["dim"], "dim"), (["hello"], None), (["of"], None)],
    ],
)
def test_words(words: list[str], quality: str | None) -> None:
    assert words_as_quality(words) == quality


@pytest.mark.parametrize(
    ("degree", "major", "minor"),
    [
        *[("I", "C", "A"), ("i", "Cm", "Am"), ("V7", "G7", "E7"), ("ii", "Dm", "Bm"), ("VI", "A", "F"), ("bVI", "Ab", "F")],
        *[("III", "E", "C"), ("vii°", "B°", "Ab°"), ("viiø7", "Bø7", "Abø7"), ("IVmaj7", "Fmaj7", "Dmaj7"), ("V/V", "D", "B")],
        *[("V7/ii", "A7", "F#7"), ("V65", "G7/B", "E7/Ab"), ("I64", "C/G", "A/E"), ("IV/V", "F/G", "D/E"), ("I/3", "C/E", "A/C")],
        ("IIm7", "Dm7", "Bm7"),
    ],
)
def test_roman_numerals(degree: str, major: str, minor: str) -> None:
    keys = parse_key("C"), parse_key("A minor")
    assert is_roman(degree)
    assert [from_roman(degree, key) for key in keys if key] == [major, minor]


@pytest.mark.parametrize("word", ["Ivy", "VIII", "Iffy", "ivory", "", "V/x", "Vq"])
def test_other_words_are_no_numerals(word: str) -> None:
    assert not is_roman(word)


@pytest.mark.parametrize(
    ("number", "strict", "diatonic"),
    [
        *[("1", "C", "C"), ("6", "A", "Am"), ("6-", "A-", "A-"), ("2m7", "Dm7", "Dm7"), ("57", "G7", "G7"), ("4/5", "F/G", "F/G")],
        ("b7", "Bb", "Bb"),
    ],
)
def test_nashville_numbers(number: str, strict: str, diatonic: str) -> None:
    key = parse_key("C")
    assert key is not None
    assert is_nashville(number)
    assert (from_nashville(number, key, False), from_nashville(number, key, True)) == (strict, diatonic)
    assert not any(map(is_nashville, ("8", "64", "1-5", "11", "0")))


@pytest.mark.parametrize(
    ("written", "tonic", "minor"),
    [
        *[("G", 7, False), ("Gm", 7, True), ("F# minor", 6, True), ("Es-Dur", 3, False), ("a-Moll", 9, True), ("la menor", 9, True)],
        *[("E flat major", 3, False), ("H-Moll", 11, True), ("Sol", 7, False), ("Lam", 9, True), ("B", 11, False)],
    ],
)
def test_keys(written: str, tonic: int, minor: bool) -> None:
    key = parse_key(written)
    assert key is not None
    assert (key.tonic, key.minor) == (tonic, minor)
    assert parse_key("Q") is parse_key("") is parse_key("major") is None


@pytest.mark.parametrize(
    ("text", "options", "notes"),
    [
        ("H7 Em", {}, ["read with German names: H is B"]),
        ("C a F h7", {}, ["read with German names: H is B, small letters are minor"]),
        ("1 5 6 4", {"key": "G"}, ["numbers alone are the chords of G: 6 is Em; 6- or 6M says which is meant"]),
        ("C G", {"key": "G"}, ["the key G is not needed: the chords have names"]),
        ("С Е", {}, ["letters of another alphabet that look like note names are read as these"]),
        ("Solsus4 Do", {}, ["Solsus4 (Gsus4) -> G: nearest in the vocabulary"]),
        ("Am/F C", {}, ["Am/F -> Fmaj7: the same notes"]),
        ("C G in G", {}, []),
        ("{capo: 2}\n[C]Oh [G]you", {}, ["capo 2 is not played: the chords are taken as they are written"]),
    ],
)
def test_notes_say_how_it_was_read(text: str, options: dict[str, str], notes: list[str]) -> None:
    said = read_chords(text, **options).notes  # type: ignore[arg-type]
    assert [note for note in said if not note.startswith("taken for words")] == notes


@pytest.mark.parametrize(
    ("text", "key", "both"),
    [
        ("C G a F", None, ("A,", "Am;")),
        ("Es B As", None, ("B flat", "B natural")),
        ("fis h e", None, ("major", "minor")),
        ("Do", None, ("D diminished", "C of do-re-mi")),
        ("Ebb5", None, ("Eb(b5)", "D5")),
        ("I V VI IV", "C", ("A,", "Am as the key has it")),
        ("V6 I", "C", ("with a sixth (G6)", "first inversion (G/B)")),
        ("I V", "a", ("A major", "A minor")),
    ],
)
def test_both_readings_are_said(text: str, key: str | None, both: tuple[str, str]) -> None:
    with pytest.raises(UserError, match="two ways") as error:
        read_chords(text, key=key)
    assert all(words in str(error.value) for words in both)


def test_small_letters_alone_say_nothing() -> None:
    assert [change.label for change in read_chords("e a d").changes] == ["E", "A", "D"]
    assert [change.label for change in read_chords("am F c G").changes] == ["Am", "F", "C", "G"]


def test_signs_of_many_kinds_are_one() -> None:
    assert plain("Ｃ＃ｍ｜B♭ → C⁷\u200b 𝄆 D – E\r\nF\u2028G           A") == "C#m|Bb   →   C7 |: D - E\nF\nG        A"
