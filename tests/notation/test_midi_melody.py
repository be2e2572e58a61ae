"""Which part of a MIDI file is its melody."""

from __future__ import annotations

from pathlib import Path

import pytest
import smf
from midi_bands import KINDS, bands
from midi_inputs import band_outcomes, table

from jasco_pl.notation.midi import read_midi


@pytest.mark.parametrize("kind", KINDS)
def test_the_melody_of_a_band_is_found(kind: str) -> None:
    assert band_outcomes(kind) == ["read"] * 24


@pytest.mark.parametrize("kind", ["words", "karaoke"])
def test_that_words_are_sung_to_it_is_said(tmp_path: Path, kind: str) -> None:
    (tmp_path / "song.kar").write_bytes(next(content for _, content in bands(kind)))
    assert "to which the words are sung" in read_midi(tmp_path / "song.kar", 10).remarks[0]


def test_the_table_in_the_documents_is_that_of_the_inputs() -> None:
    document = Path(__file__).parents[2] / "docs" / "inputs.md"
    assert table() in document.read_text(encoding="utf-8")


def test_lyrics_win_over_a_livelier_part(tmp_path: Path) -> None:
    low = [(50 + step % 5, 960 * step, 960 * step + 900) for step in range(16)]
    high = [(76 + step % 7, 240 * step, 240 * step + 230) for step in range(64)]
    words = [(on, smf.meta(5, b"la")) for _, on, _ in low]
    file = tmp_path / "song.mid"
    file.write_bytes(smf.smf(smf.chunk(smf.notes(high, 1)), smf.chunk(smf.notes(low))))
    assert read_midi(file, 10).part.number == 1
    file.write_bytes(smf.smf(smf.chunk(smf.notes(high, 1)), smf.chunk(smf.notes(low)), smf.chunk(words)))
    assert read_midi(file, 10).part.number == 2


def test_basses_and_effects_are_taken_where_nothing_else_is(tmp_path: Path) -> None:
    (tmp_path / "bass.mid").write_bytes(smf.smf(smf.chunk([(0, b"\xc0\x21"), *smf.notes([(30, 0, 480), (33, 480, 960)])])))
    found = read_midi(tmp_path / "bass.mid", 10)
    assert [pitch for pitch, _, _ in found.notes] == [54, 57]
    assert found.remarks == ["the melody was moved up by 2 octaves, to lie in MIDI 43-95"]
