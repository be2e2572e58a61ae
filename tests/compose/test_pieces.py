from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import soundfile

from jasco_pl.commands.compose import add_arguments, run
from jasco_pl.compose import pieces
from jasco_pl.compose.pieces import compose_set
from jasco_pl.data.split import is_recorded, side
from jasco_pl.notation import harmony
from jasco_pl.system.errors import UserError

HOURS = 0.02  # two pieces


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, small_font: Path) -> Path:
    folder = tmp_path_factory.mktemp("pieces")
    compose_set(folder, HOURS, 9, "test", small_font, progress=False)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_every_piece_has_three_stems_and_a_description(made: Path) -> None:
    descriptions = sorted(made.glob("*.json"))
    assert len(descriptions) >= 2
    assert len(list(made.iterdir())) == 4 * len(descriptions)
    total = 0.0
    for path in descriptions:
        piece = json.loads(path.read_text())
        total += piece["duration"]
        assert piece["id"] == path.stem
        assert piece["split"] == "test"
        assert all(harmony.index(label) < 193 for label, _ in piece["chords"])
        assert len(piece["captions"]) >= 5
        for stem in ("mix", "drums", "drumless"):
            info = soundfile.info(made / f"{path.stem}.{stem}.flac")
            assert (info.samplerate, info.channels, info.subtype) == (32000, 1, "PCM_16")
            assert abs(info.duration - piece["duration"]) < 1e-3
    assert HOURS * 3600 <= total < HOURS * 3600 + 60


def test_two_workers_make_the_same_bits(made: Path, tmp_path: Path, small_font: Path) -> None:
    compose_set(tmp_path / "again", HOURS, 9, "test", small_font, workers=2, progress=False)
    assert contents(tmp_path / "again") == contents(made)


def test_a_second_run_makes_only_what_is_missing(made: Path, tmp_path: Path, small_font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for name, data in contents(made).items():
        (folder / name).write_bytes(data)
    gone = sorted(folder.glob("*.json"))[1]
    gone.unlink()
    written = []
    real = pieces.write_piece
    monkeypatch.setattr(pieces, "write_piece", lambda job: written.append(job[1].index) or real(job))
    compose_set(folder, HOURS, 9, "test", small_font, progress=False)
    assert written == [1]
    assert contents(folder) == contents(made)


def test_another_band_plays_the_same_chords_melody_and_drums(made: Path, tmp_path: Path, small_font: Path) -> None:
    compose_set(tmp_path, HOURS, 9, "test", small_font, progress=False, arrangement=1)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in made.iterdir()}
    for path in tmp_path.glob("*.json"):
        other, piece = json.loads(path.read_text()), json.loads((made / path.name).read_text())
        assert (other["arrangement"], piece["arrangement"]) == (1, 0)
        same = ("id", "duration", "bpm", "chords", "melody", "drums", "beats")
        assert {key: other[key] for key in same} == {key: piece[key] for key in same}
        assert path.with_suffix(".mix.flac").read_bytes() != (made / path.with_suffix(".mix.flac").name).read_bytes()


def test_a_folder_holds_one_arrangement(made: Path, small_font: Path) -> None:
    before = contents(made)
    with pytest.raises(UserError, match="holds arrangement 0 of these pieces"):
        compose_set(made, HOURS, 9, "test", small_font, progress=False, arrangement=2)
    assert contents(made) == before


def test_several_bands_play_each_piece_under_names_of_their_own(tmp_path: Path, small_font: Path) -> None:
    paths = compose_set(tmp_path, 0.03, 9, "test", small_font, progress=False, edition=2, bands=2)
    assert [path.stem for path in paths] == ["test-9-band1-000000", "test-9-band2-000000", "test-9-band1-000001", "test-9-band2-000001"]
    for one, other in zip(paths[::2], paths[1::2], strict=True):
        first, second = json.loads(one.read_text()), json.loads(other.read_text())
        assert [(note["arrangement"], note["band"]) for note in (first, second)] == [(0, 1), (1, 2)]
        same = ("duration", "bpm", "chords", "melody", "drums", "beats", "dynamics")
        assert {key: first[key] for key in same} == {key: second[key] for key in same}
        assert [section["start"] for section in first["sections"]] == [section["start"] for section in second["sections"]]
        # Wherever a set is divided, both go to the same side.
        assert side(first["id"], 0.3, 0.3, 1) == side(second["id"], 0.3, 0.3, 1)
        assert not is_recorded(first["id"])
    assert {name for section in first["sections"] for name in section["instruments"]} == set(first["instruments"])
    before = contents(tmp_path)
    more = compose_set(tmp_path, 0.04, 9, "test", small_font, progress=False, edition=2, bands=2)
    assert more[: len(paths)] == paths
    assert {name: data for name, data in contents(tmp_path).items() if name in before} == before
    with pytest.raises(UserError, match="by several bands: those by one band want a folder"):
        compose_set(tmp_path, 0.03, 9, "test", small_font, progress=False, edition=2)


def test_each_piece_gets_one_of_several_fonts_by_its_hash(tmp_path: Path, small_font: Path) -> None:
    second = tmp_path / "second.sf2"
    second.write_bytes(small_font.read_bytes())
    fonts = [small_font, second]
    paths = compose_set(tmp_path / "set", 0.05, 9, "test", fonts, progress=False, edition=2)
    drawn = [json.loads(path.read_text())["soundfont"] for path in paths]
    assert set(drawn) == {small_font.name, second.name}
    compose_set(tmp_path / "again", 0.05, 9, "test", fonts, workers=2, progress=False, edition=2)
    assert contents(tmp_path / "again") == contents(tmp_path / "set")
    with pytest.raises(UserError, match="with other SoundFonts: test-9-"):
        compose_set(tmp_path / "set", 0.05, 9, "test", fonts[::-1], progress=False, edition=2)
    with pytest.raises(UserError, match="edition 1 have one SoundFont"):
        compose_set(tmp_path / "set", 0.05, 9, "test", fonts, progress=False)


def test_a_folder_holds_one_edition(made: Path, small_font: Path) -> None:
    before = contents(made)
    with pytest.raises(UserError, match="holds edition 1 of these pieces: edition 2 wants a folder of its own"):
        compose_set(made, HOURS, 9, "test", small_font, progress=False, edition=2)
    assert contents(made) == before
    assert "sections" not in json.loads(next(made.glob("*.json")).read_text())


def test_an_interrupted_piece_has_no_description(tmp_path: Path, small_font: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pieces, "write_json", fail)
    with pytest.raises(KeyboardInterrupt):
        compose_set(tmp_path, 0.001, 9, "test", small_font, progress=False)
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "dev"}, "dev"),
        ({"hours": 0}, "hours"),
        ({"hours": float("nan")}, "hours"),
        ({"workers": 0}, "workers"),
        ({"arrangement": -1}, "arrangement"),
        ({"edition": 3}, "unknown edition 3: one of 1, 2"),
        ({"bands": 0}, "0 bands a piece"),
        ({"bands": 2, "arrangement": 1}, "2 bands a piece and arrangement 1"),
    ],
)
def test_bad_settings_are_one_sentence(tmp_path: Path, small_font: Path, change: dict[str, object], message: str) -> None:
    settings = {"out": tmp_path, "hours": 0.01, "seed": 1, "split": "train", "soundfont": small_font, "progress": False} | change
    with pytest.raises(UserError, match=message):
        compose_set(**settings)  # type: ignore[arg-type]


def test_a_file_where_the_folder_should_be_is_explained(tmp_path: Path, small_font: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="out"):
        compose_set(tmp_path / "out" / "set", 0.001, 1, "train", small_font, progress=False)


def test_command_line(tmp_path: Path, small_font: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args(
        ["--out", str(tmp_path), "--hours", "0.001", "--seed", "2", "--split", "valid", "--soundfont", str(small_font)]
    )
    assert run(args) == 0
    assert [path.name for path in tmp_path.glob("*.json")] == ["valid-2-000000.json"]
    assert "1 piece" in capsys.readouterr().err
