from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from jasco_pl.cli import main
from jasco_pl.controls import ADHERENCES
from jasco_pl.controls.adherence import CHORDS, MELODY, ONSETS
from jasco_pl.controls.beat import BEATS
from jasco_pl.evaluation.own_clips import measure_clip
from jasco_pl.notation import harmony
from jasco_pl.system.errors import UserError

RATE = 32000


def write(folder: Path, name: str, audio: np.ndarray, request: dict[str, Any], **said: Any) -> tuple[Path, Path]:
    """A clip as `jasco generate` leaves it."""
    folder.mkdir(exist_ok=True)
    soundfile.write(folder / f"{name}.wav", audio, RATE)
    note = {"request": {"text": "", "seed": 0, **request}, "controls": ["chords", "melody", "drums", "mix"], "during": {}, **said}
    (folder / f"{name}.json").write_text(json.dumps(note))
    return folder / f"{name}.wav", folder / f"{name}.json"


def tune(pitches: list[int]) -> np.ndarray:
    """Half a second each."""
    time = np.arange(RATE // 2) / RATE
    return 0.3 * np.concatenate([np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time) for pitch in pitches])


def clicks(times: list[float], seconds: float = 4.0) -> np.ndarray:
    out, draw = np.zeros(round(seconds * RATE)), np.random.default_rng(0)
    for time in times:
        out[round(time * RATE) :][:2000] += 0.5 * draw.standard_normal(2000) * np.exp(-np.arange(2000) / 300)
    return out


@pytest.fixture
def melody(tmp_path: Path) -> str:
    """Four seconds of a scale, one bin a frame."""
    bins = np.repeat([72, 74, 76, 77, 79, 81, 83, 84], 25) - 43
    np.save(tmp_path / "scale.npy", bins.astype(np.int8))
    return str(tmp_path / "scale.npy")


def test_a_melody_that_is_played_is_found_and_another_is_not(tmp_path, melody):
    key = MELODY.columns[0].key
    right = measure_clip(*write(tmp_path / "clips", "right", tune([72, 74, 76, 77, 79, 81, 83, 84]), {"melody": melody}))
    wrong = measure_clip(*write(tmp_path / "clips", "wrong", tune([73, 75, 78, 80, 82, 85, 87, 78]), {"melody": melody}))
    assert right.figures[key] > 0.9
    assert wrong.figures[key] < 0.1
    assert not right.notes


def test_only_the_seconds_for_which_it_was_asked_count(tmp_path, melody):
    half = tune([72, 74, 76, 77, 73, 75, 78, 80])  # right for two seconds
    clip = write(tmp_path / "clips", "half", half, {"melody": melody}, during={"melody": [[0, 2]]})
    assert measure_clip(*clip).figures[MELODY.columns[0].key] > 0.9
    clip = write(tmp_path / "clips", "half", half, {"melody": melody}, during={"melody": [[2, 4]]})
    assert measure_clip(*clip).figures[MELODY.columns[0].key] < 0.1


def test_drums_are_those_of_the_loop_repeated_and_found_beside_the_clip(tmp_path):
    soundfile.write(tmp_path / "loop.wav", clicks([0.25, 0.75], 1.0), RATE)
    played = clicks([second + part for second in range(4) for part in (0.25, 0.75)])
    clip = write(tmp_path / "clips", "drums", played, {"drums": str(tmp_path / "loop.wav")})
    assert measure_clip(*clip).figures == {ONSETS.columns[0].key: 1.0}
    (tmp_path / "loop.wav").rename(tmp_path / "clips" / "loop.wav")
    assert measure_clip(*clip).figures == {ONSETS.columns[0].key: 1.0}
    (tmp_path / "clips" / "loop.wav").unlink()
    gone = measure_clip(*clip)
    assert not gone.figures
    assert gone.notes == [f"drums cannot be read again: audio file {str(tmp_path / 'loop.wav')!r} does not exist"]


EDITED = {"edit": {"song": "song.wav", "from": 5.51, "to": 7.51, "variation": 1.0}}


def test_of_an_edited_song_the_stretch_is_measured(tmp_path, melody):
    """Two seconds of the scale from 5.51 s on, between others that are wrong."""
    right, wrong = tune([72, 74, 76, 77]), tune([73] * 12)[: round(5.51 * RATE)]
    song = np.concatenate([wrong, right, tune([80] * 10)])
    key = MELODY.columns[0].key
    clip = write(tmp_path / "clips", "edit", song, {"melody": melody}, **EDITED)
    assert measure_clip(*clip).figures[key] > 0.9
    clip = write(tmp_path / "clips", "edit", song, {"melody": melody}, during={"melody": [[0, 1]]}, **EDITED)
    assert measure_clip(*clip).figures[key] > 0.9
    clip = write(tmp_path / "clips", "edit", np.concatenate([right, wrong, tune([80] * 10)]), {"melody": melody}, **EDITED)
    assert measure_clip(*clip).figures[key] < 0.1


def test_drums_of_an_edited_song_count_from_where_the_stretch_begins(tmp_path):
    soundfile.write(tmp_path / "loop.wav", clicks([0.0, 0.4], 1.0), RATE)
    hits = [5.51 + second + part for second in range(2) for part in (0.0, 0.4)]
    around = [0.3, 1.9, 4.7, 8.2, 9.1]
    clip = write(tmp_path / "clips", "edit", clicks([*hits, *around], 10.0), {"drums": str(tmp_path / "loop.wav")}, **EDITED)
    assert measure_clip(*clip).figures == {ONSETS.columns[0].key: 1.0}


def test_the_end_of_a_song_may_be_what_was_edited(tmp_path, melody):
    song = np.concatenate([tune([73] * 8), tune([72, 74])])
    place = {"edit": {"from": 4.0, "to": 5.0}}
    assert measure_clip(*write(tmp_path / "clips", "end", song, {"melody": melody}, **place)).figures[MELODY.columns[0].key] > 0.9
    gone = write(tmp_path / "clips", "gone", song, {"melody": melody}, edit={"from": 40.0, "to": 41.0})
    with pytest.raises(UserError, match=r"ends at 5\.00 s, before 40-41 s"):
        measure_clip(*gone)


def test_chords_and_beats_of_an_edited_song_are_laid_where_they_were_asked_for(tmp_path, monkeypatch):
    seen = {}
    for adherence in (CHORDS, BEATS):
        monkeypatch.setattr(type(adherence), "missing", lambda self: None)
        monkeypatch.setattr(
            type(adherence),
            "figures",
            lambda self, clip, asked, part: seen.update({self.name: (asked, part)}) or {column.key: 1.0 for column in self.columns},
        )
    said = {"chords_read": [["C", 0.0], ["G7", 1.0]], "during": {"beat": [[0.0, 2.0]]}, "controls": ["chords", "beat"]}
    measure_clip(*write(tmp_path / "clips", "edit", tune([60] * 20), {"bpm": 120, "meter": "4/4"}, **said, **EDITED))
    asked, part = seen["chords"]
    assert (part.first, part.last) == (200, 300)  # four seconds before it are heard
    assert [harmony.LABELS[index] for index in asked[[200, 249, 250, 299]]] == ["C", "C", "G7", "G7"]
    assert set(asked[:200]) == set(asked[300:]) == {harmony.NULL}
    beats, part = seen["beat"]
    assert part.times(beats[:, 0]).tolist() == pytest.approx([4.0, 4.5, 5.0, 5.5], abs=0.02)
    assert len(beats) == len(part.times(beats[:, 0]))


def test_chords_are_those_that_were_read(tmp_path, monkeypatch):
    heard = []
    monkeypatch.setattr(type(CHORDS), "missing", lambda self: None)
    monkeypatch.setattr(
        type(CHORDS), "figures", lambda self, clip, asked, part: heard.append(asked) or {"chord_iou": 0.5, "chord_iou_triads": 1.0}
    )
    clip = write(tmp_path / "clips", "chords", tune([60] * 8), {"chords": "gone.lab"}, chords_read=[["C", 0.0], ["G7", 2.0]])
    assert measure_clip(*clip).figures == {"chord_iou": 0.5, "chord_iou_triads": 1.0}
    (asked,) = heard
    assert len(asked) == 200
    assert len(set(asked[:100].tolist())) == len(set(asked[100:].tolist())) == 1
    assert asked[0] != asked[100]


def test_a_folder_becomes_tables(tmp_path, melody, capsys):
    folder, out = tmp_path / "clips", tmp_path / "out"
    write(folder, "one", tune([72, 74, 76, 77, 79, 81, 83, 84]), {"melody": melody})
    write(folder, "two", tune([60] * 8), {})
    (folder / "other.json").write_text("{}")  # no clip beside it
    assert main(["evaluate", "--clips", str(folder), "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "±" not in printed  # of a single clip
    assert "2 clips of clips against their requests" in printed
    assert "two.wav: nothing was asked for that can be measured" in printed
    results = json.loads((out / "results.json").read_text())
    assert results["means"]["melody_accuracy"] == results["clips"]["one.wav"]["figures"]["melody_accuracy"] > 0.9
    assert (out / "clips.csv").read_text().splitlines()[0] == "clip,melody_accuracy"
    assert {path.name for path in out.iterdir()} == {"report.md", "clips.csv", "results.json"}


def test_every_adherence_has_a_heading():
    assert all(adherence.columns for adherence in ADHERENCES)


BAD = [
    ({"request": None}, "is not the JSON of a clip"),
    ({"controls": "chords"}, "is not the JSON of a clip"),
    ({"chords_read": [["Hxyz", 0.0]]}, "there is no chord 'Hxyz'"),
    ({"chords_read": [["C", -1.0]]}, "-1 is no second of a clip"),
    ({"during": {"chords": [[0, 1e300]]}}, "is no second of a clip"),
    ({"chords_read": [["C"]]}, "is not the JSON of a clip"),
    ({"during": {"chords": [0, 2]}}, "is not the JSON of a clip"),
    ({"during": {"chords": [[0]]}}, "is not the JSON of a clip"),
    ({"edit": 5}, "is not the JSON of a clip"),
    ({"edit": {"from": "4", "to": 6}}, "it does not say which stretch was made anew"),
    ({"edit": {"from": 6, "to": 4}}, "6-4 s is no stretch of a song"),
    ({"edit": {"from": 0, "to": 10**400}}, "is not the JSON of a clip"),
]


@pytest.mark.parametrize(("said", "message"), BAD)
def test_a_json_of_another_kind_is_one_sentence_and_leaves_nothing(tmp_path, capsys, said, message):
    _, note = write(tmp_path / "clips", "one", tune([60] * 8), {})
    note.write_text(json.dumps(json.loads(note.read_text()) | said))
    assert main(["evaluate", "--clips", str(tmp_path / "clips"), "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("jasco evaluate: ")
    assert message in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "request_",
    [
        {"melody": 5},
        {"melody": [1]},
        {"melody": "x.mid"},
        {"dynamics": {}},
        {"bpm": "fast"},
        {"drums": 7},
        {"drums": "x\0"},
        {"drums": "n" * 5000},
    ],
)
def test_what_somebody_wrote_into_a_request_is_a_note(tmp_path, request_):
    controls = ["melody", "dynamics", "beat", "nonsense"]
    clip = write(tmp_path / "clips", "one", tune([60] * 8), request_, controls=controls)
    assert not measure_clip(*clip).figures


def test_no_folder_and_no_clips(tmp_path, capsys):
    assert main(["evaluate", "--clips", str(tmp_path / "nowhere")]) == 2
    assert "is no folder of clips" in capsys.readouterr().err
    assert main(["evaluate", "--clips", str(tmp_path)]) == 2
    assert "holds no clip with a JSON" in capsys.readouterr().err
    assert main(["evaluate", "--clips", str(tmp_path), "--rows", "all"]) == 2
    assert "leave --shards, --rows" in capsys.readouterr().err
