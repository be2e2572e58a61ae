"""What is written in any way is read back as it was meant; anything else is read into the vocabulary or refused in a sentence."""

from __future__ import annotations

import itertools
import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jasco_pl.notation import harmony
from jasco_pl.notation.chord_lab import harte, write_lab
from jasco_pl.notation.chord_text import read_chords
from jasco_pl.system.errors import UserError

settings.register_profile("busy machines", deadline=None)
settings.load_profile("busy machines")
LABELS = st.lists(st.sampled_from(harmony.LABELS[: harmony.N]), min_size=2, max_size=9)
PLAIN = st.lists(st.sampled_from([label for label in harmony.LABELS[: harmony.N] if "/" not in label]), min_size=2, max_size=9)
TRIADS = [label for label in harmony.LABELS[: harmony.N] if label in harmony.ROOTS or label.rstrip("m") in harmony.ROOTS]
SEPARATORS = (" ", "  ", " | ", "|", ", ", "; ", " - ", " – ", " -> ", " → ", "→", "->", " / ", " • ", "\n", "\t", " > ", "、", "｜", " ~ ")
GERMAN = ("C", "Cis", "D", "Es", "E", "F", "Fis", "G", "As", "A", "B", "H")
ROMANCE = ("Do", "Do#", "Re", "Mib", "Mi", "Fa", "Fa#", "Sol", "Lab", "La", "Sib", "Si")


def read(text: str | Path, duration: float, bpm: float | None = 120.0, **options: str) -> list[tuple[str, float]]:
    return [(change.label, round(change.start, 5)) for change in read_chords(text, bpm, duration=duration, **options).changes]  # type: ignore[arg-type]


def bars(labels: list[str], seconds: float = 2.0) -> list[tuple[str, float]]:
    return [(label, round(seconds * place, 5)) for place, label in enumerate(labels)]


@given(LABELS, st.sampled_from(SEPARATORS))
def test_every_separator_is_a_chord_a_bar(labels: list[str], separator: str) -> None:
    assert read(separator.join(labels), 2 * len(labels)) == bars(labels)


@given(PLAIN, st.sampled_from(["-", "–", "→", ">", ","]))
def test_symbols_without_spaces(labels: list[str], joint: str) -> None:
    assert read(joint.join(labels), 2 * len(labels)) == bars(labels)


@given(
    LABELS, st.integers(2, 5), st.sampled_from(["|: {} :| x{}", "({}) x{}", "({})*{}", "{1}x ({0})", "[{}] x{}", "{} x{}", "|: {} :|{}x"])
)
def test_repeats(labels: list[str], times: int, form: str) -> None:
    inside = " | ".join(labels) if form.startswith("|") else " ".join(labels)
    assert read(form.format(inside, times), 2 * len(labels) * times) == bars(labels * times)


@given(st.lists(st.tuples(st.sampled_from(harmony.LABELS[: harmony.N]), st.integers(1, 4)), min_size=1, max_size=6))
def test_a_chord_by_itself_is_repeated(pairs: list[tuple[str, int]]) -> None:
    text = " ".join(f"{label}*{times}" for label, times in pairs)
    written_out = [label for label, times in pairs for _ in range(times)]
    assert read(text, 2 * len(written_out)) == bars(written_out)


@given(st.lists(st.tuples(st.sampled_from(harmony.LABELS[: harmony.N]), st.integers(1, 8)), min_size=1, max_size=6))
def test_beats_by_numbers_and_by_slashes(pairs: list[tuple[str, int]]) -> None:
    pairs = [(label, beats if beats != 7 else 8) for label, beats in pairs]  # C 7 is a seventh to some
    starts = [0, *itertools.accumulate(beats for _, beats in pairs)]
    expected = [(label, start / 2) for (label, _), start in zip(pairs, starts, strict=False)]
    assert read(" ".join(f"{label} {beats}" for label, beats in pairs), starts[-1] / 2) == expected
    strokes = starts[-1] % 4 and (starts[-1] - len(pairs)) % 4 == 0 and all(beats > 1 for _, beats in pairs)
    if any(beats > 2 for _, beats in pairs) and not strokes:  # otherwise slashes separate
        assert read(" ".join(" ".join([label, *"/" * (beats - 1)]) for label, beats in pairs), starts[-1] / 2) == expected


@given(st.lists(st.lists(st.sampled_from(harmony.LABELS[: harmony.N]), min_size=1, max_size=4), min_size=1, max_size=5))
def test_bars_share_their_time(cells: list[list[str]]) -> None:
    expected = []
    for number, cell in enumerate(cells):
        expected += [(label, round(2 * float(number + Fraction(place, len(cell))), 5)) for place, label in enumerate(cell)]
    lines = "\n".join(f"| {' '.join(cell)} |" for cell in cells)
    for text in (f"| {' | '.join(map(' '.join, cells))} |", f"|| {' | '.join(map(', '.join, cells))} ||", lines):
        assert read(text, 2 * len(cells)) == expected


@given(LABELS, st.lists(st.integers(1, 300), min_size=9, max_size=9))
def test_times_in_every_form(labels: list[str], gaps: list[int]) -> None:
    starts = [0, *itertools.accumulate(gaps[: len(labels) - 1])]
    expected = [(label, float(start)) for label, start in zip(labels, starts, strict=True)]
    clock = [f"{start // 60}:{start % 60:02d}" for start in starts]
    pairs = list(zip(labels, starts, clock, strict=True))
    for text in (
        " ".join(f"{label}@{start}" for label, start, _ in pairs),
        ", ".join(f"{label}@{at}" for label, _, at in pairs),
        ", ".join(f"('{label}', {start}.0)" for label, start, _ in pairs),
        json.dumps([[label, start] for label, start, _ in pairs]),
        " ".join(f"{at} {label}" for label, _, at in pairs),
        "\n".join(f"[{at}] {label}" for label, _, at in pairs),
    ):
        assert read(text, starts[-1] + 1) == expected


@given(st.lists(st.tuples(st.integers(0, 11), st.sampled_from(["", "m", "7", "m7", "maj7", "dim", "m7b5"])), min_size=2, max_size=8))
def test_names_in_other_languages(chords: list[tuple[int, str]]) -> None:
    expected = bars([harmony.ROOTS[root] + kind for root, kind in chords])
    german = "H C " + " ".join(GERMAN[root] + kind for root, kind in chords)
    assert [(label, start - 4) for label, start in read(german, 2 * len(chords) + 4)[2:]] == expected
    romance = "Sol La " + " ".join(ROMANCE[root] + kind for root, kind in chords)
    assert [(label, start - 4) for label, start in read(romance, 2 * len(chords) + 4)[2:]] == expected


@given(st.lists(st.sampled_from([1, 2, 3, 4, 5, 6]), min_size=2, max_size=8), st.integers(0, 11))
def test_degrees_of_every_major_key(degrees: list[int], tonic: int) -> None:
    steps, kinds = (0, 2, 4, 5, 7, 9), ("", "m", "m", "", "", "m")
    expected = bars([harmony.ROOTS[(tonic + steps[degree - 1]) % 12] + kinds[degree - 1] for degree in degrees])
    romans = " ".join(("I", "ii", "iii", "IV", "V", "vi")[degree - 1] for degree in degrees)
    numbers = " ".join(f"{degree}{'-' if kinds[degree - 1] else ''}" for degree in [*degrees, 6])
    key = harmony.MAJOR_KEYS[tonic]
    duration = 2 * len(degrees)
    assert read(romans, duration, key=key) == expected
    assert read(f"{romans} in {key}", duration) == expected
    assert read(f"{key}: {romans}", duration) == expected
    assert read(numbers, duration, key=key) == expected


@given(LABELS)
def test_sheets(labels: list[str]) -> None:
    words = "some words that nobody sings"
    expected = bars(labels)
    over = "\n".join(f"  {label}\n{words}" for label in labels)
    chordpro = "{title: x}\n" + "\n".join(f"[{label}]Hello you" for label in labels)
    sections = "[Intro]\n" + "\n[Verse 2]\n".join(labels)
    for text in (over, chordpro, sections, " ".join(f"[{label}]" for label in labels), f"Verse: {' '.join(labels)}"):
        assert read(text, 2 * len(labels)) == expected


@given(st.lists(st.tuples(st.sampled_from(harmony.LABELS), st.integers(1, 40)), min_size=1, max_size=8))
def test_files_that_are_written_are_read(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, int]]) -> None:
    pairs = [pair for number, pair in enumerate(pairs) if not number or pair[0] != pairs[number - 1][0]]  # write_lab joins equal ones
    starts = [0.0, *(total / 4 for total in itertools.accumulate(length for _, length in pairs))]
    changes = [(label, start) for (label, _), start in zip(pairs, starts, strict=False)]
    folder = tmp_path_factory.mktemp("files")
    write_lab(folder / "song.lab", changes, starts[-1])
    segments = list(zip((harte(label) for label, _ in pairs), starts, starts[1:], strict=False))
    (folder / "song.csv").write_text("".join(f'{start},"{label}"\n' for label, start, _ in segments), encoding="utf-16")
    (folder / "ends.csv").write_text("".join(f"{start};{end};{label}\n" for label, start, end in segments).replace(".", ","))
    data = [{"time": start, "duration": end - start, "value": label, "confidence": None} for label, start, end in segments]
    (folder / "song.jams").write_text(json.dumps({"annotations": [{"namespace": "chord", "data": data}]}))
    (folder / "song.json").write_text(json.dumps({"chords": changes, "notes": []}))
    for name in ("song.lab", "song.csv", "ends.csv", "song.jams", "song.json"):
        assert read(folder / name, starts[-1]) == changes, name


CHORDISH = st.text(alphabet="CGAmbHisDo#7:/|%-,()[]{}@0.5x24 \nIVvi→.*", max_size=60)


@given(
    st.one_of(st.text(max_size=60), CHORDISH),
    st.sampled_from([None, 20, 93.7, 400]),
    st.sampled_from(["4/4", "6/8", "3/4"]),
    st.sampled_from([None, "G", "A minor"]),
)
@settings(max_examples=400)
def test_whatever_is_written_gives_rising_changes_or_one_sentence(text: str, bpm: float | None, meter: str, key: str | None) -> None:
    try:
        changes = read_chords(text, bpm, meter, key=key).changes
    except UserError as error:
        if "\n" in str(error):
            raise
        return
    starts = [change.start for change in changes]
    assert starts[0] == 0
    assert all(left < right for left, right in itertools.pairwise(starts))
    assert starts[-1] < 10
    assert {change.label for change in changes} <= set(harmony.LABELS)
