from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jasco_pl.notation import harmony
from jasco_pl.notation.chord_symbol import parse_chord
from jasco_pl.system.errors import UserError

# Every vocabulary type in four families of spelling; {b} is the bass note's name.
FAMILIES = {
    "chordino": ("", "m", "6", "7", "maj7", "m7", "m6", "m7b5", "dim", "aug", "/{b}", "/{b}", "/{b}", "/{b}", "7/{b}", "m7b5/{b}"),
    "signs": ("M", "-", "6", "7", "Δ7", "-7", "-6", "ø", "°", "+", "M/{b}", "/{b}", "/{b}", "/{b}", "7/{b}", "ø/{b}"),
    "words": (
        *("major", "min", "maj6", "dom7", "Maj7", "min7", "mi6", "min7(b5)"),
        *("diminished", "augmented", "maj/{b}", "major/{b}", "/{b}", "maj/{b}", "7/{b}", "min7-5/{b}"),
    ),
    "harte": (
        *(":maj", ":min", ":maj6", ":7", ":maj7", ":min7", ":min6", ":hdim7"),
        *(":dim", ":aug", ":maj/3", ":maj/5", ":7/b7", ":maj/9", ":7/3", ":hdim7/b7"),
    ),
}
ENHARMONICS = {
    "C": ("C", "B#", "Dbb"),
    "C#": ("C#", "Db", "D♭", "C♯"),
    "D": ("D", "C##"),
    "Eb": ("Eb", "D#", "E♭"),
    "E": ("E", "Fb"),
    "F": ("F", "E#", "F"),
    "F#": ("F#", "Gb", "F♯"),
    "G": ("G", "Abb"),
    "Ab": ("Ab", "G#"),
    "A": ("A", "Bbb", "G##"),
    "Bb": ("Bb", "A#", "B♭"),
    "B": ("B", "Cb"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_all_192_chords_in_every_family_and_enharmonic(family: str) -> None:
    for root, spellings in ENHARMONICS.items():
        for number, suffix in enumerate(FAMILIES[family]):
            label = harmony.label(16 * harmony.ROOTS.index(root) + number)
            for spelling in spellings:
                symbol = spelling + suffix.format(b=label.partition("/")[2])
                read, note = parse_chord(symbol)
                assert read == label, symbol
                # C7/Bb and C/Bb are the same notes: that alone may be said otherwise without a remark
                assert note is None, symbol


@pytest.mark.parametrize(
    ("written", "label"),
    [
        *[("CM7", "Cmaj7"), ("CΔ", "Cmaj7"), ("C^7", "Cmaj7"), ("C7M", "Cmaj7"), ("C⁷", "C7"), ("CMI7", "Cm7"), ("CMA7", "Cmaj7")],
        *[("Co", "Cdim"), ("Bø7", "Bm7b5"), ("Bhdim7", "Bm7b5"), ("C-7b5", "Cm7b5"), ("Cm7-5", "Cm7b5"), ("Cm7(b5)", "Cm7b5")],
        *[("C:(1,3,5)", "C"), ("C:(1,b3,5,b7)", "Cm7"), ("C:min(b7)", "Cm7"), ("C+5", "Caug"), ("C(#5)", "Caug"), ("C7/Bb", "C/Bb")],
        *[("am7", "Am7"), ("bb", "Bb"), ("F#/C#", "F#/C#"), ("C/e", "C/E"), ("Gb/Bb", "F#/A#"), (" C ", "C"), ("C/9", "C/D")],
        *[("N", "N"), ("N.C.", "N"), ("NC", "N"), ("n.c.", "N"), ("X", "UNK"), ("UNK", "UNK")],
    ],
)
def test_other_spellings_of_what_the_vocabulary_has(written: str, label: str) -> None:
    assert parse_chord(written) == (label, None)


@pytest.mark.parametrize(
    ("written", "label"),
    [
        *[("Gsus4", "G"), ("G7sus4", "G7"), ("Csus2", "C"), ("Csus", "C"), ("C5", "C"), ("C9", "C7"), ("C13", "C7"), ("C7#9", "C7")],
        *[("C7b9", "C7"), ("Calt", "C7"), ("Cadd9", "C"), ("Cmadd9", "Cm"), ("Cm9", "Cm7"), ("C-9", "Cm7"), ("Cm11", "Cm7")],
        *[("CmM7", "Cm"), ("Cm(maj7)", "Cm"), ("C:minmaj7", "Cm"), ("C6/9", "C6"), ("Cm6/9", "Cm6"), ("Cdim7", "Cdim"), ("C°7", "Cdim")],
        *[("Cmaj9", "Cmaj7"), ("C:maj9", "Cmaj7"), ("C:sus4(b7)", "C7"), ("C7(b9,13)", "C7"), ("C+7", "Caug"), ("C7b5", "C7")],
        *[("Am/G", "Am7"), ("Am/C", "Am"), ("Fmaj7/A", "F/A"), ("C/F#", "C"), ("C6/9/E", "C/E"), ("C:min/b3", "Cm"), ("C(no3)", "C")],
    ],
)
def test_what_the_vocabulary_lacks_goes_to_the_nearest_with_a_remark(written: str, label: str) -> None:
    assert parse_chord(written) == (label, f"{written} -> {label}: nearest in the vocabulary")


@pytest.mark.parametrize(
    "written",
    [
        *("", "H", "Cfoo", "C(", "C)", "C((5))", "Cmaj77", "C/", "C/H", "C/99"),
        *("C--", "C:b", "C3", "C(add99)", "#", "|", "Cadd", "B7b", "1"),
    ],
)
def test_unknown_symbols_are_refused_with_place_and_neighbours(written: str) -> None:
    with pytest.raises(UserError, match=r"\(bar 2\) is not understood; accepted spellings near it are [A-G]") as error:
        parse_chord(written, "bar 2")
    assert repr(written) in str(error.value)


def test_neighbours_keep_the_root_and_are_accepted() -> None:
    with pytest.raises(UserError) as error:
        parse_chord("Dbmjr7")
    near = str(error.value).rstrip(".").partition("are ")[2].split(", ")
    assert "Dbmaj7" in near
    assert all(parse_chord(symbol) for symbol in near)


@given(st.one_of(st.text(max_size=20), st.from_regex(r"[A-G][b#]?[:a-zΔø°+\-b#0-9()/,]{0,12}", fullmatch=True)))
def test_arbitrary_text_is_read_into_the_vocabulary_or_refused(text: str) -> None:
    try:
        label, _ = parse_chord(text)
    except UserError:
        return
    assert label in harmony.LABELS


@given(st.sampled_from(harmony.LABELS[: harmony.N]), st.integers(1, 11))
def test_transposing_a_symbol_transposes_its_reading(label: str, steps: int) -> None:
    root, kind = divmod(harmony.index(label), 16)
    moved = harmony.label(16 * ((root + steps) % 12) + kind)
    for suffix in ("sus4", "9", "add9", "dim7", "mM7"):
        here = harmony.index(parse_chord(harmony.ROOTS[root] + suffix)[0])
        there = harmony.index(parse_chord(harmony.ROOTS[(root + steps) % 12] + suffix)[0])
        assert there == (here + 16 * steps) % harmony.N
    assert parse_chord(moved) == (moved, None)
