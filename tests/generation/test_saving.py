from __future__ import annotations

import errno
import json
import multiprocessing
import os
import struct
from dataclasses import replace
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
import torch

from jasco_pl.audio.files import read_audio, write_audio
from jasco_pl.audio.wav_tags import chunks
from jasco_pl.commands.generate import slug
from jasco_pl.generation.jasco import Clip, Request
from jasco_pl.generation.saving import save_take
from jasco_pl.generation.sheet import sheet_of
from jasco_pl.notation.chord_text import ChordChange
from jasco_pl.notation.melody import melody_frames
from jasco_pl.notation.midi import read_midi
from jasco_pl.notation.midi_writer import write_midi
from jasco_pl.system.errors import UserError

RATE = 32000


def clip(number: int) -> Clip:
    """A tone of its own for every number."""
    time = torch.arange(RATE) / RATE
    return Clip(0.3 * torch.sin(2 * torch.pi * (200 + 40 * number) * time)[None], RATE, torch.zeros(0), Request(seed=number), {})


def pitch(path: Path) -> int:
    """The number of the tone in a file."""
    return round((int(torch.fft.rfft(read_audio(path, RATE)[0]).abs().argmax()) - 200) / 40)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    wanted = tmp_path / "out" / "song.wav"
    names = [save_take(clip(number), wanted, {"number": number}).name for number in range(3)]
    assert names == ["song.wav", "song-2.wav", "song-3.wav"]
    for number, name in enumerate(names):
        path = wanted.with_name(name)
        assert pitch(path) == number
        assert json.loads(path.with_suffix(".json").read_text())["number"] == number
    (tmp_path / "out" / "song.wav").unlink()
    (tmp_path / "out" / "song-2.json").unlink()
    assert save_take(clip(3), wanted, {}).name == "song-4.wav"  # of both something is left
    assert save_take(clip(4), wanted.with_suffix(".flac"), {}).name == "song-5.flac"
    assert not [path for path in wanted.parent.iterdir() if path.name.startswith(".")]


def test_a_clip_whose_peaks_keep_it_quiet_says_so(tmp_path: Path) -> None:
    loud, quiet = clip(0), clip(1)
    quiet.audio = 0.01 * quiet.audio
    quiet.audio[0, :: RATE // 4] = 0.9
    for made in (loud, quiet):
        path = save_take(made, tmp_path / "song.wav", {"notes": []})
        told = json.loads(path.with_suffix(".json").read_text())
        assert told["notes"] == made.notes
    assert loud.notes == []
    assert quiet.notes == [f"{told['loudness_lufs']:.1f} LUFS: louder, its peaks would clip"]
    assert told["loudness_lufs"] < -15


def test_a_full_disk_is_said_of_the_take_and_not_of_what_would_have_become_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "")

    monkeypatch.setattr("jasco_pl.audio.files.soundfile.SoundFile", full)
    monkeypatch.setattr("jasco_pl.audio.files.soundfile.write", full)
    with pytest.raises(UserError, match=r"cannot write '.*out/song\.wav': the disk is full"):
        save_take(clip(0), tmp_path / "out" / "song.wav", {})
    assert list((tmp_path / "out").iterdir()) == []


def test_file_systems_without_links_lose_nothing_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: object, target: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", link)
    assert [save_take(clip(number), tmp_path / "song.wav", {}).name for number in range(2)] == ["song.wav", "song-2.wav"]
    assert [pitch(tmp_path / name) for name in ("song.wav", "song-2.wav")] == [0, 1]


def write_takes(folder: Path, first: int) -> None:
    torch.set_num_threads(1)
    for number in range(first, first + 5):
        save_take(clip(number), folder / "clip-seed0.wav", {"number": number})


def test_four_processes_that_write_into_one_folder_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=write_takes, args=(tmp_path, 5 * worker)) for worker in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    sounds = sorted(tmp_path.glob("*.wav"))
    assert len(sounds) == 20
    told = {path.name: json.loads(path.with_suffix(".json").read_text())["number"] for path in sounds}
    assert sorted(told.values()) == list(range(20))
    assert {path.name: pitch(path) for path in sounds} == told  # each with the settings of its own
    assert len(list(tmp_path.iterdir())) == 40


def test_what_cannot_be_written_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*song"):
        save_take(clip(0), tmp_path / "file" / "song.wav", {})
    with pytest.raises(UserError, match="the name is longer than the file system takes"):
        save_take(clip(0), tmp_path / ("x" * 300 + ".wav"), {})
    spoilt = clip(0)
    spoilt.audio[0, 5] = torch.nan
    with pytest.raises(UserError, match="NaN or infinity"):
        save_take(spoilt, tmp_path / "song.wav", {})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_was_asked_for_lies_in_the_wav_and_in_midi(tmp_path: Path) -> None:
    noise = torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    write_audio(tmp_path / "loop.wav", 0.2 * noise * torch.exp(-30 * (torch.arange(RATE) / RATE % 0.25)), RATE)
    request = Request("slow waltz", chords="G D Em C", bpm=90, meter="3/4", drums=str(tmp_path / "loop.wav"), seed=5)
    made = clip(0)
    made.request, made.asked = request, {"melody": np.repeat(np.array([17, -1, 19], dtype=np.int8), [20, 10, 20])}
    made.changes = [ChordChange("G", 0.0), ChordChange("D", 0.25), ChordChange("Em", 0.5), ChordChange("C", 0.75)]
    made.during = {"chords": np.arange(50) >= 25}
    path = save_take(made, tmp_path / "waltz.wav", {}, midi=True)
    assert sorted(file.name for file in tmp_path.glob("waltz*")) == ["waltz.json", "waltz.mid", "waltz.wav"]
    with soundfile.SoundFile(path) as file:
        assert file.title == "slow waltz"
        assert file.comment == "chords: Em@0.5 C@0.75; bpm: 90, 3/4; seed: 5"
    found = chunks(path.read_bytes())
    assert struct.unpack("<IHHfIHHf", found[b"acid"])[5:] == (4, 3, 90.0)
    assert struct.unpack("<I", found[b"cue "][:4]) == (2,)
    melody = read_midi(tmp_path / "waltz.mid", 1.0)
    assert melody.part.name == "melody"
    assert melody_frames(melody.notes, 50, 50).tolist() == made.asked["melody"].tolist()
    assert [part.name for part in melody.parts] == ["chords", "melody", "drums"]
    assert [round(on, 2) for _, on, _ in melody.parts[0].notes[::4]] == [0.5, 0.75]
    assert [on for _, on, _ in melody.parts[2].notes][-3:] == pytest.approx([0.25, 0.5, 0.75], abs=0.05)
    assert save_take(made, tmp_path / "waltz.wav", {}).name == "waltz-2.wav"


@pytest.mark.parametrize(("meter", "quarters", "beats"), [("6/8", 120.0, 2), ("4/4", 80.0, 1), ("12/8", 120.0, 2)])
def test_the_tempo_is_told_in_quarters_as_in_midi(tmp_path: Path, meter: str, quarters: float, beats: int) -> None:
    made = clip(0)
    made.request, made.changes = Request(chords="C", bpm=80, meter=meter), [ChordChange("C", 0.0)]
    path = save_take(made, tmp_path / "song.wav", {}, midi=True)
    found = struct.unpack("<IHHfIHHf", chunks(path.read_bytes())[b"acid"])
    assert (found[4], found[7]) == (beats, quarters)
    tempi = [message.tempo for message in mido.MidiFile(tmp_path / "song.mid").tracks[0] if message.type == "set_tempo"]
    assert tempi == [round(60e6 / quarters)]


def test_every_note_that_begins_in_midi_ends(tmp_path: Path) -> None:
    """Whole bars end within a frame, and rounding leaves slivers of chords."""
    made = clip(0)
    made.request = Request(chords="C G", bpm=61, during={"chords": "0-1"})
    made.changes = [ChordChange("C", 0.0), ChordChange("G", 0.5), ChordChange("C", 0.9999999999999999)]
    sheet = replace(sheet_of(made), melody=[(60, 0.2, 0.2001), (62, 0.3, 0.5)])
    assert [label for label, *_ in sheet.chords] == ["C", "G"]
    write_midi(tmp_path / "a.mid", sheet)
    for track in mido.MidiFile(tmp_path / "a.mid").tracks:
        sounding: list[int] = []
        for message in track:
            if message.type == "note_on":
                sounding.append(message.note)
            elif message.type == "note_off":
                sounding.remove(message.note)
        assert not sounding


def test_drums_are_those_of_the_stretched_loop() -> None:
    """A bar at 120 bpm, fitted to 100: its hits lie half a beat of 0.6 s apart and begin anew every 2.4 s."""
    loop = torch.zeros(1, 2 * RATE)
    for hit in range(8):
        loop[0, hit * 8000 : hit * 8000 + 1600] = torch.rand(1600, generator=torch.Generator().manual_seed(hit)) - 0.5
    made = replace(clip(3), audio=torch.zeros(1, 5 * RATE), request=Request(drums=loop, bpm=100, fit_loop=True))
    for given in (loop, loop.repeat(1, 4)):  # one that is longer than the clip, too
        again = replace(made, request=Request(drums=given, bpm=100, fit_loop=True))
        times = np.array(sheet_of(again).drums)
        for beat in np.arange(1, 16) * 0.3:
            assert np.abs(times - beat).min() < 0.06
        assert len(times) < 20


def test_the_key_is_that_asked_for_or_a_guess_in_words(tmp_path: Path) -> None:
    made = clip(0)
    made.changes = [ChordChange(label, place / 4) for place, label in enumerate(("C", "G", "Am", "F"))]
    for key, root, said in ((None, 48, "C major (by the chords)"), ("A minor", 57, "A minor")):
        made.request = Request(chords="C G Am F", bpm=120, key=key)
        path = save_take(made, tmp_path / "song.wav", {})
        assert f"; key: {said}; " in chunks(path.read_bytes())[b"INFO"].decode()
        flags, written = struct.unpack("<IH", chunks(path.read_bytes())[b"acid"][:6])
        assert (flags, written) == (4 if key is None else 6, root)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Slow jazz, upright bass!", "slow-jazz-upright-bass"),
        ("静かなピアノ", "静かなピアノ"),
        ("Тихий джаз", "тихий-джаз"),
        ("Café crème", "café-crème"),
        ("a_b/../c\\d", "a-b-c-d"),
        ("🎹🎶", "clip"),
        ("", "clip"),
        ("静" * 100, "静" * 40),
        ("x" * 100, "x" * 40),
    ],
)
def test_names_are_made_of_letters_of_any_script(text: str, name: str) -> None:
    assert slug(text) == name
    assert len(slug(text).encode()) <= 120


@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".mp3"])
@pytest.mark.parametrize("text", ["Ein Stück für Gitarre, 静か", "many words " * 2000, ""])
def test_other_formats_say_what_was_asked_for_too(tmp_path: Path, suffix: str, text: str) -> None:
    asked = replace(clip(3), request=Request(text, bpm=96, key="A minor", seed=3))
    path = save_take(asked, tmp_path / f"song{suffix}", {})
    with soundfile.SoundFile(path) as file:
        assert file.title == (text if suffix != ".mp3" or text.isascii() else "")
        assert file.comment == "key: A minor; bpm: 96, 4/4; seed: 3"
        if suffix != ".mp3":  # libsndfile writes it there, and does not read it back
            assert file.software.startswith("JASCO-PL ")
    assert pitch(path) == 3


def test_a_hit_at_the_beginning_of_a_loop_is_in_the_midi() -> None:
    """Bursts of noise at 0, 0.5, ...: beat 1 is among them, as figures do not count it; not where drums are asked for from 1 s on."""
    time = torch.arange(2 * RATE) / RATE
    loop = (0.5 * torch.randn(len(time), generator=torch.Generator().manual_seed(0)) * torch.exp(-60 * (time % 0.5)))[None]
    made = replace(clip(3), audio=torch.zeros(1, 2 * RATE), request=Request(drums=loop))
    assert sheet_of(made).drums == pytest.approx([0, 0.5, 1.0, 1.5], abs=0.03)
    made.during["drums"] = np.arange(100) >= 50
    assert sheet_of(made).drums == pytest.approx([1.0, 1.5], abs=0.03)
