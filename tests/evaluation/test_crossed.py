from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jasco_pl.cli import main
from jasco_pl.compose import compose_set
from jasco_pl.controls.adherence import ONSETS
from jasco_pl.evaluation import clips
from jasco_pl.evaluation.engine import evaluate
from jasco_pl.evaluation.measure import SHIFTS, Crossed, asked_lanes, cross_of, measure, transposed
from jasco_pl.evaluation.references import ComposedPieces, Reference
from jasco_pl.evaluation.settings import Settings
from jasco_pl.evaluation.table import read_row
from jasco_pl.extract import chordino
from jasco_pl.extract.heard import Heard, Part
from jasco_pl.notation import harmony
from jasco_pl.system.errors import UserError

RATE, FRAMES = 32000, 100
needs_chordino = pytest.mark.skipif(not chordino.available(), reason="Chordino is not installed")


@pytest.fixture(autouse=True)
def _fresh_model() -> Iterator[None]:
    clips.load_jasco.cache_clear()
    yield
    clips.load_jasco.cache_clear()


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Composed pieces, three of which at least can be crossed."""
    folder = tmp_path_factory.mktemp("several")
    compose_set(folder, 0.04, 9, "test", progress=False)
    return folder


def piece(name: str, chord: int, pitch: int, onsets: list[float], drums: bool = True) -> Reference:
    """Two seconds of silence of which everything is known: one chord, one note, and drums."""
    conditions = {"chords": np.full(FRAMES, chord, dtype=np.int16), "melody": np.full(FRAMES, pitch, dtype=np.int8)}
    codes = np.full(FRAMES, chord)
    lacking = () if drums else (ONSETS.name,)
    reference = Reference(name, f"caption of {name}", torch.zeros(1, 2 * RATE), RATE, conditions, lambda control: codes, lacking, 0.0)
    reference.heard.__dict__.update(chords=conditions["chords"], onsets=np.array(onsets))
    return reference


def heard(chord: int, pitch_class: int, onsets: list[float]) -> Heard:
    clip = Heard(torch.zeros(1, 2 * RATE), RATE)
    clip.__dict__.update(chords=np.full(FRAMES, chord, dtype=np.int16), pitch_classes=np.full(FRAMES, pitch_class), onsets=np.array(onsets))
    return clip


def test_melodies_keep_their_range_and_pitch_classes() -> None:
    bins = np.arange(-1, 53)
    for semitones in SHIFTS:
        moved = transposed(bins, semitones)
        assert moved[0] == -1
        assert moved[1:].min() >= 0
        assert moved[1:].max() <= 52
        assert np.array_equal(moved[1:] % 12, (bins[1:] + semitones) % 12)
        assert (moved[1:] == bins[1:] + semitones).sum() == 53 - abs(semitones)  # the others came back by an octave
    assert {shift % 12 for shift in SHIFTS} == set(range(1, 12))


def test_chords_are_transposed_with_their_quality() -> None:
    labels = ["Am7", "Bb/D", "F#m7b5/E", "N"]
    moved = harmony.transposed([harmony.index(label) for label in labels], 3)
    assert [harmony.label(int(chord)) for chord in moved] == ["Cm7", "C#/E#", "Am7b5/G", "N"]
    assert np.array_equal(harmony.transposed(moved, -3), [harmony.index(label) for label in labels])


@pytest.mark.parametrize("available", [True, False])
def test_each_figure_is_against_the_piece_of_its_control(available: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chordino, "available", lambda: available)
    c_major, g_minor = (harmony.index(label) for label in ("C", "Gm"))
    own = piece("a", c_major, 5, [0.1, 0.6, 1.1])
    drums = piece("b", g_minor, 20, [0.3, 0.8])
    melody = piece("c", g_minor, 10, [1.5])  # bin 10 is F
    three = Crossed(own, drums, melody, 2)
    assert three.asked.caption == "caption of a"
    assert np.array_equal(three.asked.conditions["chords"], own.conditions["chords"])
    assert set(three.asked.conditions["melody"].tolist()) == {12}
    assert three.asked.codes(None)[0] == g_minor  # type: ignore[arg-type]
    lanes = asked_lanes(three.asked, ("chords", "drums", "melody"))
    assert {name: lane for name, lane in lanes.items() if lane} == {
        "chords": [["C", 0.0]],
        "melody": [[55, 0.0, 2.0]],
        "onsets": [0.3, 0.8],
    }

    follows = heard(c_major, 7, [0.3, 0.8])
    found = measure(follows, three.asked)
    if available:
        assert found["chord_iou"] == found["chord_iou_triads"] == 1
    assert found["onset_f1"] == found["melody_accuracy"] == 1
    strayed = three.not_asked(follows)
    assert strayed["onset_f1_not_asked"] == strayed["melody_accuracy_not_asked"] == 0
    misled = heard(harmony.index("Am"), 5, [0.1, 0.6, 1.1])  # the chords of c, transposed; its melody as it was; the drums of a
    found, strayed = measure(misled, three.asked), three.not_asked(misled)
    assert found["onset_f1"] == found["melody_accuracy"] == 0
    assert strayed["onset_f1_not_asked"] == strayed["melody_accuracy_not_asked"] == 1
    if available:
        assert found["chord_iou"] == 0
        assert strayed["chord_iou_not_asked"] == 1
    else:
        assert np.isnan(strayed["chord_iou_not_asked"])


def test_what_a_piece_lacks_is_not_counted() -> None:
    silent = piece("c", harmony.N, -1, [])
    three = Crossed(piece("a", 0, 5, [0.1]), piece("b", 0, 5, [0.3], drums=False), silent, 2)
    found = three.not_asked(heard(0, 0, [0.1])) | measure(heard(0, 0, [0.1]), three.asked)
    assert all(np.isnan(found[key]) for key in ("chord_iou_not_asked", "onset_f1_not_asked", "melody_accuracy_not_asked"))
    assert np.isnan(found["onset_f1"])
    assert np.isnan(found["melody_accuracy"])


def test_partners_are_others_that_have_something_to_follow(several: Path) -> None:
    source = ComposedPieces(several)
    notes = {name: json.loads((several / f"{name}.json").read_text()) for name in source.ids}
    for name in source.ids:
        cross = cross_of(source, name, 1.0)
        assert len({name, cross.drums, cross.melody}) == 3
        assert notes[cross.drums]["has"]["drums"]
        assert notes[cross.melody]["has"]["melody"]
        assert cross_of(ComposedPieces(several), name, 1.0) == cross


@needs_chordino
def test_clips_are_made_from_three_pieces_and_again_when_one_changes(several: Path, tiny_settings: Settings, tmp_path: Path) -> None:
    source, out = ComposedPieces(several), tmp_path / "out"
    results = evaluate(source, [tiny_settings], out, rows=["none", "crossed"], limit=2)
    none, crossed = results.rows
    assert "chord_iou_not_asked" not in none.figures
    assert {"chord_iou", "onset_f1", "melody_accuracy", "onset_f1_not_asked"} <= crossed.figures.keys()
    assert not {"chroma_similarity", "beat_f1", "dynamics_error", "frechet_musicnn", "kl_musicnn", "clap"} & crossed.figures.keys()
    name = results.names[0]
    record = json.loads(crossed.task.path(name).read_text())
    cross = cross_of(source, name, 1.0)
    assert record["crossed"] == {
        "drums": cross.drums,
        "melody": cross.melody,
        "semitones": cross.semitones,
        "digests": [source.digest(cross.drums), source.digest(cross.melody)],
    }
    drums = source.reference(cross.drums, 2.0, clips.load_jasco(tiny_settings.checkpoint, "cpu").codec)
    assert record["asked"]["onsets"] == [] if drums.lacking else [round(float(time), 3) for time in drums.heard.onsets]
    assert not list(crossed.task.clips.glob("crossed-other-audio"))

    assert crossed.task.state(name) == "done"
    for partner in (cross.drums, cross.melody):

        class Changed(ComposedPieces):
            changed = partner

            def digest(self, name: str) -> str:
                return "of other music" if name == self.changed else super().digest(name)

        assert replace(crossed.task, source=Changed(several)).state(name) == "made"
        assert replace(none.task, source=Changed(several)).state(name) == "done"
    assert read_row(crossed.task, None).figures == crossed.figures


@needs_chordino
def test_the_row_by_name_with_a_page(several: Path, tiny_settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "--pieces", str(several), "--checkpoint", tiny_settings.checkpoint, "--limit", "2", "--seconds", "2"]
    command += ["--workers", "1", "--solver", "euler", "--steps", "1", "--rows", "crossed", "all", "--salience", "none"]
    assert main([*command, "-o", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    table = text.split("## Follows what it was not asked for")[1].split("\n\n")[1]
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == ["crossed"]  # no row of dashes
    assert "takes chords and caption from the piece, drums from a second" in text
    page = (tmp_path / "index.html").read_text()
    found = re.search(r'<script[^>]*id="data"[^>]*>(.*?)</script>', page)
    assert found
    rows = {row["name"]: row for row in json.loads(found[1])["rows"]}
    source = ComposedPieces(several)
    for clip in rows["crossed"]["clips"]:
        cross = cross_of(source, clip["id"], 1.0)
        assert clip["from"] == f"drums of {cross.drums}, melody of {cross.melody} {cross.semitones:+d} semitones"
        assert set(clip["lanes"]) == set(clip["given"])  # nothing is set against the piece that it was not asked for
    for clip in rows["all controls"]["clips"]:
        assert clip["from"] is None


@needs_chordino
def test_two_pieces_cannot_be_crossed(several: Path, tiny_settings: Settings, tmp_path: Path) -> None:
    two = tmp_path / "two"
    two.mkdir()
    for name in ComposedPieces(several).ids[:2]:
        for file in several.glob(f"{name}.*"):
            (two / file.name).write_bytes(file.read_bytes())
    with pytest.raises(UserError, match=r"no row is left: The row crossed was left out: .* holds none with"):
        evaluate(ComposedPieces(two), [tiny_settings], tmp_path / "out", rows=["crossed"])


def test_of_a_part_the_key_is_that_of_the_part() -> None:
    """Else what painting keeps would be right by itself."""
    time = torch.arange(4 * RATE) / RATE

    def scale(tonic: int) -> torch.Tensor:
        notes = [tonic + step for step in (0, 4, 7, 12, 5, 9, 12, 7, 11, 14, 7, 0)]
        hertz = torch.tensor([440 * 2 ** ((60 + note - 69) / 12) for note in notes])[(time * 6).long() % len(notes)]
        return 0.2 * torch.sin(2 * torch.pi * hertz * time)[None]

    around = scale(0)[:, : 3 * RATE]
    own = Reference("a", "", torch.cat([around, scale(0), around], dim=1), RATE, {}, lambda control: np.zeros(1), (), 0.0)
    clip = Heard(torch.cat([around, scale(6), around], dim=1), RATE)
    whole, inside = measure(clip, own)["key"], measure(clip, own, Part(150, 350))["key"]
    assert inside < 0.5 < whole
    assert measure(Heard(own.audio, RATE), own, Part(150, 350))["key"] == 1
