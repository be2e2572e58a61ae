"""Parts of the page's server that need no model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jasco_pl.app import jobs
from jasco_pl.app.access import host_name
from jasco_pl.app.asking import guidance_of
from jasco_pl.app.chord_line import live, transposed
from jasco_pl.app.drums import render
from jasco_pl.app.hearing import in_words
from jasco_pl.app.jobs import Job
from jasco_pl.app.limits import Limits
from jasco_pl.app.schema import ChordLine, Make, Pattern, Transposition
from jasco_pl.app.store import Store, new_id, new_token
from jasco_pl.app.uploads import shown
from jasco_pl.cli import main
from jasco_pl.network.flow.guidance import parse_guidance
from jasco_pl.system.errors import UserError
from jasco_pl.system.locks import alone

RATE = 32000


def test_a_pattern_sounds_where_its_hits_are_and_repeats_without_a_seam() -> None:
    sound = render(Pattern(voices={"kick": "x...x...", "hat": "..x."}), 120, RATE)
    assert len(sound) == RATE  # 8 steps of 1/8 s
    level = np.sqrt((sound.reshape(8, -1) ** 2).mean(axis=1))
    assert level[[0, 4]].min() > 3 * level[[3, 7]].max()
    assert level[[2, 6]].min() > level[[3, 7]].max()
    ringing = render(Pattern(voices={"open hat": ".......x"}), 120, RATE)
    assert np.abs(ringing[:1000]).max() > 0.05  # it rings on at the beginning
    loud, plain = (np.abs(render(Pattern(voices={"snare": f"{hit}..."}), 120, RATE)).max() for hit in "Xx")
    assert loud > 1.2 * plain
    swung = render(Pattern(voices={"hat": ".x"}, swing=0.5), 120, RATE)
    assert np.flatnonzero(np.abs(swung) > 0.05)[0] == pytest.approx(1.5 * RATE / 8, abs=50)


@pytest.mark.parametrize(
    ("line", "semitones", "moved"),
    [
        ("C | G7 | Am F", 2, "D | A7 | Bm G"),
        ("|: Dm7  |  G7/B :| x3", -1, "|: C#m7  |  F#7/Bb :| x3"),
        ("F#m7b5 Bb/D N.C.", 1, "Gm7b5 B/Eb N.C."),
        ("H7 Fis e", 1, "C7 G Fm"),
        ("Lam Sol7 Do Fa", 3, "Cm Bb7 Eb Ab"),
        ("C G\nAm F", 5, "F C\nDm Bb"),
        ("C@0 G@1:30", -3, "A@0 E@1:30"),
        ("C/E @ 0, N@1  Am7@2.5s", 2, "D/F# @ 0, N@1  Bm7@2.5s"),
        ("H7 at 0:00 a at 0:02 a at 0:04", 1, "C7 at 0:00 Bbm at 0:02 Bbm at 0:04"),
        ("0:00 C 0:02 Bb/D", 1, "0:00 C# 0:02 B/Eb"),
        ("[('C', 0.0), (\"Em7b5\", 2.0)]", 2, "[('D', 0.0), (\"F#m7b5\", 2.0)]"),
        ("0 2 C:maj\n3 4 A:min\n4 5 silence", 2, "0 2 D:maj\n3 4 B:min\n4 5 silence"),
    ],
)
def test_a_line_is_moved_where_it_stands(line: str, semitones: int, moved: str) -> None:
    assert transposed(Transposition(text=line, semitones=semitones))["text"] == moved


def test_degrees_are_moved_by_their_key() -> None:
    assert transposed(Transposition(text="I V vi IV", semitones=3, key="G")) == {"text": "I V vi IV", "key": "Bb"}
    assert transposed(Transposition(text="i iv V", semitones=-1, key="A minor"))["key"] == "G# minor"


def test_what_is_wrong_in_a_line_is_shown_at_its_place() -> None:
    told = live(ChordLine(text="C G | Am F\nDm7 | Gxx7"))["error"]
    assert (told["start"], told["end"]) == (17, 21)
    told = live(ChordLine(text="Dm7 | G7 | Cmaj77 A7"))["error"]
    assert "Dm7 | G7 | Cmaj77 A7"[told["start"] : told["end"]] == "Cmaj77"
    assert "Cmaj7" in told["near"]
    assert live(ChordLine(text=" "))["lane"] is None
    assert live(ChordLine(text="C | G", seconds=4))["lane"]["asked"] == [["C", 0.0, 2.0], ["G", 2.0, 4.0]]


def test_weights_of_their_own_stand_beside_the_common_one() -> None:
    controls = ["chords", "melody", "drums", "painting"]
    assert guidance_of(Make(chords={"text": "C"}), controls, "all=2.5") is None
    assert guidance_of(Make(guidance=3), controls, "all=2.5") == "all=3"
    assert guidance_of(Make(guidance=3), controls, "all=2.5 text=1 over=text from=0.05") == "all=3 over=text from=0.05"
    assert guidance_of(Make(text="a", text_guidance=0.5), controls, "all=2.5 from=0.05") == "all=2.5 text=0.5 from=0.05"
    own = "all=2.5 over=text from=0.05"
    assert guidance_of(Make(text="a", text_guidance=0.5), controls, own) == "all=2.5 text=0.5 over=text from=0.05"
    assert guidance_of(Make(text="a", chords={"text": "C", "guidance": 1}), controls, own) == "all=2.5 chords=1 over=text from=0.05"
    both = guidance_of(Make(text="a", text_guidance=0.5, chords={"text": "C", "guidance": 1}), controls, own)
    assert both == "all=2.5 text+chords=1 text=-2 from=0.05"
    timed = [*controls, "beat"]  # a tempo asks for something where the model has beats; what is kept of a recording nowhere
    assert guidance_of(Make(text="a", text_guidance=0.5, bpm=96), timed, own) == "all=2.5 text=-1 from=0.05"
    assert guidance_of(Make(text="a", text_guidance=0.5, bpm=96), controls, own) == "all=2.5 text=0.5 over=text from=0.05"
    kept = Make(text="a", text_guidance=0.5, paint={"upload": "0" * 16})
    assert guidance_of(kept, controls, own) == "all=2.5 text=0.5 over=text from=0.05"
    # the same as over the text, and half of what the text says over nothing besides
    weights = {term.conditions: term.weight for term in parse_guidance(both, controls).terms}
    over = {term.conditions: term.weight for term in parse_guidance("all=2.5 chords=1 over=text", controls).terms}
    said = frozenset({"text"})
    assert weights == {**over, said: over[said] + 0.5, frozenset(): -0.5}
    asked = Make(text="a", text_guidance=0.5, chords={"text": "C", "guidance": 1}, drums={"upload": "0" * 16, "guidance": -0.5})
    assert guidance_of(asked, controls, "all=2.5 text=0.5") == "all=2.5 text=1 chords=1 drums=-0.5"


def test_how_far_it_follows_is_said_in_words() -> None:
    labels = {"kind": "labels", "asked": [], "heard": [["C", 0, 4, 1], ["G", 4, 5, 2], ["D", 5, 8, 3], ["C", 8, 10, 0]]}
    assert in_words(labels) == "50 % of the time as asked, 62 % with its triad"
    notes = {"kind": "notes", "asked": [[60, 0, 2]], "heard": [[60, 0, 1.5, 1], [62, 1.5, 2, 3]], "octaves": True}
    assert in_words(notes) == "75 % of its time the note that was asked for"
    assert in_words({"kind": "events", "asked": [[0, 1], [1, 3]], "heard": [[0, 1], [2, 3]]}) == (
        "1 of 2 hits as asked, and 1 more that were not asked for"
    )


def test_what_a_killed_server_left_is_whole_or_cleared_away(tmp_path: Path) -> None:
    store = Store(tmp_path, Limits())
    visitor = store.visitor(new_token())
    for state in ("running", "waiting", "done"):
        identity = new_id()
        Job(visitor.job_folder(identity), identity, {"text": state}, [1], state=state).save()  # type: ignore[arg-type]
        (visitor.job_folder(identity) / ".take-0.x.part.wav").write_bytes(b"half")
    half = visitor.upload_folder(new_id())
    half.mkdir(parents=True)
    (half / "upload.wav").write_bytes(b"half")
    assert store.recover() == 2
    states = {job.settings["text"]: job.state for job in visitor.jobs()}
    assert states == {"running": "interrupted", "waiting": "interrupted", "done": "done"}
    assert [path for path in tmp_path.rglob("*") if ".part" in path.name or path.name == "upload.wav"] == []


def test_a_folder_has_one_server(tmp_path: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with alone(tmp_path / "served", "another"):
        assert main(["serve", "--port", "0", "--checkpoint", str(tiny_checkpoint), "--folder", str(tmp_path / "served")]) == 2
    assert "another server works in" in capsys.readouterr().err


def test_an_end_that_cannot_be_written_down_is_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk must not end the thread that makes music for everybody."""
    job = Job(tmp_path, new_id(), {}, [1])

    def full(*_: object) -> None:
        raise UserError("the disk is full")

    monkeypatch.setattr(jobs, "write_json", full)
    job.begin()
    job.end("failed", "why")
    assert (job.state, job.error) == ("failed", "why")
    with pytest.raises(UserError):
        job.save()


def test_what_is_on_the_disk_of_the_server_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "there.conf").write_text("C G")
    answers = []
    for name in ("there", "here"):
        told = live(ChordLine(text=f"{tmp_path}/{name}.conf"))
        answers.append(told["error"]["message"].replace(name, "NAME"))
    assert answers[0] == answers[1]
    assert "name of a file" in live(ChordLine(text="song.lab"))["error"]["message"]


def test_names_are_shown_and_nothing_else() -> None:
    assert shown("../../etc/passwd") == "passwd"
    assert shown("C:\\x\\tune.mid") == "tune.mid"
    assert shown("a\x00b\n.wav") == "ab.wav"
    assert shown("../") == shown("\udce9") == "upload"
    assert len(shown("x" * 1000)) == 100


def test_a_host_is_its_name_without_the_port() -> None:
    assert [host_name(host) for host in ("LOCALHOST:80", "127.0.0.1", "[::1]:9")] == ["localhost", "127.0.0.1", "[::1]"]


def test_the_child_that_decodes_has_limits(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"RIFF" + bytes(100))
    command = [sys.executable, "-m", "jasco_pl.app.decode", str(source), str(tmp_path), "<b>x</b>.wav", "10", "20", str(1 << 31)]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert "'<b>x</b>.wav' is not an audio file" in told["error"]
    assert str(tmp_path) not in told["error"]


def test_a_part_that_is_given_twice_or_not_at_all_is_refused() -> None:
    for wrong in (
        {"melody": {}},
        {"paint": {"upload": "0" * 16, "take": {"job": "0" * 16, "take": 0}}},
        {"drums": {"pattern": {"voices": {"gong": "x"}}}},
    ):
        with pytest.raises(ValueError, match=r"one of them|no drum"):
            Make(**wrong)
    with pytest.raises(UserError, match="cannot be moved"):
        transposed(Transposition(text="0 2 C minor\n2 4 G", semitones=1))
