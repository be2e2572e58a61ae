from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from jasco_pl.audio.files import write_audio
from jasco_pl.cli import main
from jasco_pl.compose import compose_set
from jasco_pl.metrics.embedders import Embedder
from jasco_pl.studies.probe import Probe, family, named, sounding
from jasco_pl.studies.probe_sections import Parts, contrast, evaluated_sections, section_table

NAMES = ("organ", "brass")


@pytest.fixture(scope="module")
def probe() -> Probe:
    draw = np.random.default_rng(0)
    has = draw.random((200, 2)) < 0.5
    features = 0.5 * draw.normal(size=(200, 12))
    features[:, :2] += 2 * has
    styles = [("pop", "rock")[k] for k in draw.integers(2, size=200)]
    return Probe(features, styles, [frozenset(np.array(NAMES)[row]) for row in has], most=0.9)


def clips(count: int, obeys: float, seed: int) -> Parts:
    """Two sections each, one of which names the organ and one the brass; what sounds is that with this probability, else any of the two."""
    draw, features, prompts, owners = np.random.default_rng(seed), [], [], []
    for clip in range(count):
        for section in range(2):
            sounds = section if draw.random() < obeys else int(draw.integers(2))
            row = 0.5 * draw.normal(size=12)
            row[sounds] += 2
            features.append(row)
            prompts.append(("soft hammond organ", "loud brass")[section])
            owners.append(f"clip-{clip}")
    return Parts("row", owners, prompts, np.stack(features))


def test_sections_that_obey_differ_and_others_do_not(probe: Probe) -> None:
    assert {one for prompt in ("soft hammond organ", "loud brass") for one in named(prompt).families} == {"organ", "brass"}
    table, (obeying, deaf) = section_table(probe, [clips(60, 1.0, 1), clips(60, 0.0, 2)])
    found, chance = obeying["instruments"], deaf["instruments"]
    assert found["difference"] > 0.85
    assert found["low"] <= found["difference"] <= found["high"]
    assert found["low"] > 0.7
    assert found["named"] - found["unnamed"] == pytest.approx(found["difference"])
    assert chance["low"] < 0 < chance["high"]
    assert (found["clips"], set(obeying["words"])) == (60, set(NAMES))
    assert len(table.splitlines()) == 4


def test_one_sound_in_all_sections_makes_no_difference_and_clips_that_ask_for_none_are_left_out() -> None:
    wanted = np.array([[True, False], [False, True], [True, True], [True, True], [False, False]])
    found = contrast(wanted, np.array([[True, True]] * 5), ["a", "a", "b", "b", "c"])
    assert found
    assert (found.named, found.unnamed, found.difference, found.low, found.high, found.clips) == (1, 1, 0, 0, 0, 1)
    assert contrast(wanted[2:], np.zeros((3, 2), dtype=bool), ["b", "b", "c"]) is None


class Level(Embedder):
    """How loud a clip is, and how often it was asked."""

    name, dim, sample_rate = "level", 1, 16000
    asked = 0

    def __call__(self, wav: torch.Tensor, sample_rate: int) -> torch.Tensor:
        type(self).asked += 1
        assert wav.shape[1] >= 3 * sample_rate
        return wav.square().mean().sqrt().expand(1, 2, 1)


def test_sections_are_cut_from_the_clips_of_plain_rows_as_they_were_told(tmp_path: Path) -> None:
    time = torch.arange(10 * 32000) / 32000
    rows = []
    for name, given in (("no control", []), ("text by section", []), ("chords", ["chords"])):
        (tmp_path / name).mkdir()
        sound = torch.where(time < 4, 0.1, 0.3) if name == "text by section" else torch.full_like(time, 0.2)
        entries = []
        for clip in ("a", "b", "c"):
            write_audio(tmp_path / name / f"{clip}.flac", sound[None], 32000)
            told = {"a": [[0, 4, "organ"], [4, 10, "brass"]], "b": [[0, 2, "organ"], [2, 10, "brass"]], "c": None}[clip]
            entries.append({"id": clip, "audio": f"{name}/{clip}.flac", **({"told": told} if name == "text by section" and told else {})})
        rows.append({"name": name, "given": given, "clips": entries})
    (tmp_path / "results.json").write_text(json.dumps({"rows": rows}))
    for asked in (4, 0):  # the second time what was heard is found
        Level.asked = 0
        none, form = evaluated_sections(tmp_path, Level(), tmp_path / "cache")
        assert Level.asked == asked
        assert (none.name, form.name) == ("no control", "text by section")
        assert none.clips == form.clips == ["a", "a"]  # of b only one section is long enough
        assert form.prompts == ["organ", "brass"]
        assert form.features[:, 0] == pytest.approx([0.1, 0.3], abs=2e-3)
        assert none.features[:, 0] == pytest.approx([0.2, 0.2], abs=2e-3)
    (tmp_path / "results.json").write_text(json.dumps({"rows": rows[::2]}))
    assert list(evaluated_sections(tmp_path, Level(), tmp_path / "cache")) == []


def test_the_command_writes_both_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Pieces whose families can be told by one number, and clips of the level that their sections name, or of one level."""
    draw, pieces = np.random.default_rng(0), tmp_path / "pieces"
    pieces.mkdir()
    has = draw.random(60) < 0.5
    for number in range(60):
        note = {"id": f"{number:02d}", "style": ("pop", "rock")[number % 2], "captions": ["pop"], "chords": [], "melody": []}
        (pieces / f"{number:02d}.json").write_text(json.dumps(note))
    features = np.where(has, 0.3, 0.1)[:, None] + 0.01 * draw.normal(size=(60, 1))
    families = [frozenset({"brass"} if loud else ()) for loud in has]
    monkeypatch.setattr("jasco_pl.studies.probe.piece_features", lambda *_: (features, families))
    monkeypatch.setattr("jasco_pl.commands.metrics.load_embedder", lambda *_: Level())
    rows = []
    time = torch.arange(8 * 16000) / 16000
    for row in ("no control", "text by section"):
        (tmp_path / row).mkdir()
        for clip in ("a", "b"):
            sound = torch.where(time < 4, 0.1, 0.3 if row == "text by section" else 0.1) * (-1) ** torch.arange(len(time))
            write_audio(tmp_path / row / f"{clip}.flac", sound[None], 16000)
            np.savez(tmp_path / row / f"{clip}.npz", musicnn=np.array([[0.2], [0.2]]))
        told = {"told": [[0, 4, "calm"], [4, 8, "loud brass"]]} if row == "text by section" else {}
        clips = [{"id": clip, "audio": f"{row}/{clip}.flac", "caption": "brass", **told} for clip in ("a", "b")]
        rows.append({"name": row, "given": [], "clips": clips})
    (tmp_path / "results.json").write_text(json.dumps({"rows": rows}))
    out = tmp_path / "probe.md"
    assert main(["metrics", "probe", str(pieces), "--clips", str(tmp_path), "-o", str(out), "--codec", "checkpoints/codec-mini"]) == 0
    assert "## What the text of a section asks for" in capsys.readouterr().out
    none, form = json.loads(out.with_suffix(".json").read_text())["sections"]
    assert (none["instruments"]["difference"], form["instruments"]["difference"]) == (0, 1)
    assert form["instruments"]["clips"] == 2


def test_what_sounds_in_a_stretch_is_what_captions_of_its_sections_name() -> None:
    note = {"instruments": ["piano", "hammond organ"]}
    assert sounding(note, 3.0, 10.0) == {family("piano"), family("hammond organ")}
    parts = [{"start": 0.0, "captions": ["piano alone", "calm"]}, {"start": 5.0, "captions": ["full band, organ", "piano with drums"]}]
    assert sounding(note | {"sections": parts}, 0.0, 5.0) == {"piano"}
    assert sounding(note | {"sections": parts}, 4.0, 10.0) == {"piano", "organ", "drums"}


def test_captions_of_composed_sections_name_what_the_piece_has(tmp_path: Path) -> None:
    compose_set(tmp_path, 0.02, 3, "test", progress=False, edition=2)
    notes = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    assert all(note["sections"] for note in notes)
    for note in notes:
        assert sounding(note, 0.0, note["duration"]) <= set(map(family, note["instruments"]))
