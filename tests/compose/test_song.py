from __future__ import annotations

from vocabulary import ALL_CHORDS

from jasco_pl.compose.song import Chord, scale_for
from jasco_pl.notation import harmony


def test_agrees_with_the_vocabulary_in_labels_tones_and_bass() -> None:
    assert tuple(chord.label for chord in ALL_CHORDS) == harmony.LABELS[:192]
    for index, chord in enumerate(ALL_CHORDS):
        assert harmony.intervals(index) == (frozenset(chord.tones) | {chord.bass}, chord.bass)


def test_melody_scale_drops_notes_that_rub_against_altered_tones() -> None:
    # E7 in C major: G sharp sounds, so G natural must not.
    over_e7 = scale_for(0, "major", Chord(4, "7"))
    assert 8 in over_e7
    assert not {7, 9} & set(over_e7)
    assert scale_for(0, "major", Chord(0, "")) == (0, 2, 4, 5, 7, 9, 11)
    for chord in ALL_CHORDS:
        assert set(chord.tones) <= set(scale_for(3, "minor", chord))
