from __future__ import annotations

from pathlib import Path

import mir_eval.chord
import pytest

from jasco_pl.notation import harmony
from jasco_pl.notation.chord_lab import harte, write_lab
from jasco_pl.notation.chord_symbol import parse_chord
from jasco_pl.notation.chord_text import read_chords


@pytest.mark.parametrize("label", harmony.LABELS)
def test_every_label_means_the_same_in_hartes_syntax(label: str) -> None:
    written = harte(label)
    mir_eval.chord.validate_chord_label(written)
    assert parse_chord(written)[0] == label
    if label in ("N", "UNK"):
        return
    root, tones, bass = mir_eval.chord.encode(written, reduce_extended_chords=False)
    notes, lowest = harmony.intervals(harmony.index(label))
    assert {(root + step) % 12 for step in range(12) if tones[step]} | {(root + bass) % 12} == notes
    assert (root + bass) % 12 == lowest


def test_a_written_file_reads_back(tmp_path: Path) -> None:
    write_lab(tmp_path / "song.lab", [("C", 0.5), ("C", 1.0), ("Am7", 2.0), ("G", 2.0), ("UNK", 3.5), ("F", 12.0)], 10.0)
    lines = [line.split() for line in (tmp_path / "song.lab").read_text().splitlines()]
    assert [(float(start), float(end), label) for start, end, label in lines] == [
        (0.0, 0.5, "N"),
        (0.5, 2.0, "C:maj"),
        (2.0, 3.5, "G:maj"),
        (3.5, 10.0, "X"),
    ]
    read = read_chords(tmp_path / "song.lab", duration=10.0).changes
    assert [(change.label, change.start) for change in read] == [("N", 0.0), ("C", 0.5), ("G", 2.0), ("UNK", 3.5)]


def test_no_chords_are_one_line_of_none(tmp_path: Path) -> None:
    write_lab(tmp_path / "silence.lab", [], 2.5)
    assert (tmp_path / "silence.lab").read_text() == "0.000000 2.500000 N\n"
