from __future__ import annotations

import numpy as np
import pytest
import torch

from jasco_pl.controls import ADHERENCES, CONTROLS
from jasco_pl.controls.adherence import CHORDS, MELODY, ONSETS, Adherence, main_figure
from jasco_pl.extract import chordino
from jasco_pl.extract.heard import Heard
from jasco_pl.notation import harmony
from jasco_pl.notation.melody import LOWEST_MIDI
from jasco_pl.pages.lanes import Side

RATE, FRAMES = 32000, 100
CHORD_FRAMES = harmony.changes_to_frames([("C", 0.0), ("Am", 1.0)], FRAMES)
BINS = np.repeat([24, -1, 28], [40, 20, 40])  # MIDI 67 and 71: G and B
TIMES = np.array([0.25, 0.75, 1.25])


def clip(chords: Side = CHORD_FRAMES, bins: Side = BINS, times: Side = TIMES) -> Heard:
    """Two seconds in which this is heard."""
    heard = Heard(torch.zeros(1, 2 * RATE), RATE)
    heard.__dict__.update(chords=chords, pitch_classes=np.where(bins >= 0, (bins + LOWEST_MIDI) % 12, -1), onsets=times)
    return heard


def test_controls_that_ask_for_the_same_share_one_adherence() -> None:
    assert len({adherence.name for adherence in ADHERENCES}) == len(ADHERENCES)
    for name, adherence in (("chords", CHORDS), ("melody", MELODY), ("drums", ONSETS), ("drums_bandpass", ONSETS), ("mix", ONSETS)):
        assert CONTROLS[name].adherence is adherence
        assert adherence in ADHERENCES
    keys = [column.key for adherence in ADHERENCES for column in (*adherence.columns, *adherence.further)]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("adherence", "asked", "worse"),
    [
        (CHORDS, CHORD_FRAMES, clip(chords=CHORD_FRAMES[::-1])),
        (MELODY, BINS, clip(bins=BINS[::-1])),
        (ONSETS, TIMES, clip(times=TIMES + 0.1)),
    ],
)
def test_what_is_heard_as_asked_is_perfect(adherence: Adherence, asked: Side, worse: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chordino, "available", lambda: True)
    right = clip()
    right.melody = BINS.astype(np.int8)
    figures = adherence.figures(right, asked, right.whole)
    assert list(figures) == [column.key for column in (*adherence.columns, *adherence.further)]
    assert set(figures.values()) == {1.0}
    assert main_figure(adherence, worse, asked) < 0.5
    assert np.isnan(main_figure(adherence, worse, None))


def test_the_melody_stands_where_it_was_asked_for_unless_salience_heard_it() -> None:
    heard = clip(bins=BINS - 12 * (BINS >= 0))
    assert MELODY.heard(heard) is None  # pitch classes alone have no octave
    found = MELODY.heard(heard, BINS)
    assert found is not None
    assert found.tolist() == BINS.tolist()
    assert MELODY.written(heard)["pitch_classes"] == []
    assert MELODY.written(heard, BINS) == {"melody": [], "pitch_classes": [[7, 0.0, 0.8], [11, 1.2, 2.0]]}
    heard.melody = np.full(FRAMES, 3, dtype=np.int8)
    assert MELODY.heard(heard, BINS) is heard.melody
    assert MELODY.written(heard, BINS)["melody"] == [[46, 0.0, 2.0]]
    assert MELODY.asked({"melody": np.full(FRAMES, -1)}, None) is None
    assert MELODY.target({"melody": np.where(np.arange(FRAMES) < 9, 5, -1)}, heard) is None  # too little to follow


def test_without_the_recogniser_chords_are_asked_for_but_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chordino, "available", lambda: False)
    assert "Chordino" in (CHORDS.missing() or "")
    assert CHORDS.asked({"chords": CHORD_FRAMES}, None) is CHORD_FRAMES
    assert CHORDS.heard(clip()) is None
    assert CHORDS.target({"chords": CHORD_FRAMES}, clip()) is None
    assert np.isnan(main_figure(CHORDS, clip(), CHORD_FRAMES))


def test_a_drum_solo_has_no_chords_to_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chordino, "available", lambda: True)
    assert CHORDS.target({}, clip(chords=np.full(FRAMES, harmony.N))) is None
    assert ONSETS.asked({}, None) is None
