from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jasco_pl.prepare.captions import CaptionOptions
from jasco_pl.prepare.listing import scan
from jasco_pl.prepare.source import Track, find_tracks
from jasco_pl.system.errors import UserError

GIVEN = CaptionOptions(tags="none")


def sound(path: Path, seconds: float = 0.1, **tags: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {".WAV": "WAV", ".aif": "AIFF"}.get(path.suffix, path.suffix[1:].upper())
    kind, subtype = ("OGG", "OPUS") if kind == "OPUS" else (kind, None)
    with soundfile.SoundFile(path, "w", 16000, 1, format=kind, subtype=subtype) as file:
        for name, value in tags.items():
            setattr(file, name, value)
        file.write(np.zeros(round(16000 * seconds)))
    return path


def by_name(tracks: list[Track]) -> dict[str, Track]:
    assert [track.name for track in tracks] == sorted(track.name for track in tracks)
    found = {track.name: track for track in tracks}
    assert len(found) == len(tracks)
    return found


def test_a_folder_gives_its_audio_at_any_depth_with_what_lies_beside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("b.wav", "a/deep/er/c.FLAC", "a/d.ogg", "e.mp3", "f.opus", "g.aif", "UPPER.WAV", "two words é.wav"):
        sound(tmp_path / name.replace("FLAC", "flac")).rename(tmp_path / name)
    (tmp_path / "b.txt").write_bytes("\ufeffA first caption.\r\n\r\n  Ein zweiter über Töne \r\n".encode())
    (tmp_path / "e.txt").write_bytes("fa\xe7ade".encode("latin-1"))
    (tmp_path / "a" / "d.json").write_text('{"description": "told by JSON", "genre": "folk", "chords": [["C", 0]]}')
    for name in ("cover.jpg", ".hidden.wav", ".git/x.wav", "a/._d.ogg", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"no music")
    tracks, rejected = find_tracks(tmp_path, GIVEN)
    found = by_name(tracks)
    assert set(found) == {"b.wav", "a/deep/er/c.FLAC", "a/d.ogg", "e.mp3", "f.opus", "g.aif", "UPPER.WAV", "two words é.wav"}
    assert rejected == []
    assert all(track.path == str(tmp_path / track.name) and track.start == 0 and track.stop is None for track in tracks)
    assert found["b.wav"].captions == ["A first caption.", "Ein zweiter über Töne"]
    assert found["e.mp3"].captions == ["façade"]
    assert found["a/d.ogg"].captions == ["told by JSON"]
    assert found["g.aif"].captions == []
    assert scan(tmp_path).skipped == {"hidden": 3, "not audio": 2}
    assert "3 hidden, 2 not audio" in capsys.readouterr().err


def test_links_in_circles_end_and_a_file_keeps_the_name_of_its_place(tmp_path: Path) -> None:
    sound(tmp_path / "music" / "z" / "one.wav")
    sound(tmp_path / "elsewhere" / "two.wav")
    for name, target in (
        ("a", "z"),  # sorted before what it leads to
        ("z/up", ".."),
        ("z/itself", "itself"),
        ("z/itself.wav", "itself.wav"),
        ("z/nowhere.wav", "gone.wav"),
        ("link", "../elsewhere"),
        ("linked.wav", "z/one.wav"),
    ):
        os.symlink(target, tmp_path / "music" / name)
    tracks, rejected = find_tracks(tmp_path / "music", GIVEN)
    assert set(by_name(tracks)) == {"z/one.wav", "link/two.wav", "linked.wav"}
    assert [(one.name, one.reason) for one in rejected] == [("z/itself.wav", "missing"), ("z/nowhere.wav", "missing")]


def test_what_looks_like_music_and_is_not_read_is_named(tmp_path: Path) -> None:
    sound(tmp_path / "good.wav")
    sound(tmp_path / "song.flac").rename(tmp_path / "song.bak")
    sound(tmp_path / "tune.wav").rename(tmp_path / "tune.txt")
    (tmp_path / "video.ra").write_bytes(b".ra\xfd")
    (tmp_path / "picture.webp").write_bytes(b"RIFF....WEBPVP8 ")
    os.mkfifo(tmp_path / "pipe.wav")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder.wav").mkdir()
    tracks, rejected = find_tracks(tmp_path, GIVEN)
    assert [track.name for track in tracks] == ["good.wav"]
    assert [(one.name, one.reason) for one in rejected] == [
        ("pipe.wav", "unreadable"),
        ("song.bak", "wrong ending"),
        ("tune.txt", "wrong ending"),
        ("video.ra", "not audio"),
    ]
    assert "flac" in rejected[1].detail


def test_names_that_are_no_utf8_can_be_written_down_and_opened(tmp_path: Path) -> None:
    raw = os.path.join(os.fsencode(tmp_path), b"caf\xe9.wav")
    sound(tmp_path / "x.wav").rename(os.fsdecode(raw))
    (track,), _ = find_tracks(tmp_path, GIVEN)
    assert track.name == "caf\\xe9.wav"
    assert json.loads(json.dumps(track.name).encode()) == track.name
    assert os.path.isfile(track.path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_closed_folder_is_named(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav")
    sound(tmp_path / "closed" / "b.wav")
    (tmp_path / "closed").chmod(0)
    tracks, rejected = find_tracks(tmp_path, GIVEN)
    (tmp_path / "closed").chmod(0o755)
    assert ([track.name for track in tracks], [(one.name, one.reason) for one in rejected]) == (["a.wav"], [("closed", "unreadable")])


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz"])
def test_audiocrafts_manifest_reads_the_json_beside_the_audio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    sound(tmp_path / "egs" / "audio" / "beside.wav")
    sound(tmp_path / "here" / "from_cwd.mp3")
    sound(tmp_path / "absolute.flac")
    info = {
        "key": "E minor",
        "bpm": 90,
        "genre": "Folk",
        "description": "A tune.",
        "artist": "Nobody",
        "keywords": "flute, live",
        "moods": [],
    }
    (tmp_path / "egs" / "audio" / "beside.json").write_text(json.dumps(info))
    (tmp_path / "egs" / "info.json").write_text('{"description": "Told elsewhere."}')
    (tmp_path / "absolute.json").write_text("{broken")
    base = {"duration": 0.1, "sample_rate": 16000, "amplitude": None, "weight": None, "info_path": None}
    lines = [
        {"path": "audio/beside.wav", **base},
        {"path": "here/from_cwd.mp3", **base, "info_path": "info.json"},
        {"path": str(tmp_path / "absolute.flac"), **base},
        {"path": "audio/gone.wav", **base},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines) + "{not json\n[1, 2]\n" + json.dumps(base) + "\n"
    manifest = tmp_path / "egs" / f"data.{ending}"
    manifest.write_bytes(gzip.compress(text.encode()) if ending.endswith("gz") else text.encode())
    monkeypatch.chdir(tmp_path)
    tracks, rejected = find_tracks(manifest, CaptionOptions(variants=8, merge_probability=0.5))
    found = by_name(tracks)
    assert set(found) == {"audio/beside.wav", "here/from_cwd.mp3", str(tmp_path / "absolute.flac")}
    told = found["audio/beside.wav"].captions
    assert "A tune." in told
    assert any("folk" in text or "90" in text for text in told)
    assert not any("Nobody" in text for text in told)
    assert found["here/from_cwd.mp3"].captions == ["Told elsewhere."]
    assert found[str(tmp_path / "absolute.flac")].captions == []
    assert [(one.name, one.reason) for one in rejected] == [
        ("audio/gone.wav", "missing"),
        (f"data.{ending}:5", "bad entry"),
        (f"data.{ending}:6", "bad entry"),
        (f"data.{ending}:7", "bad entry"),
    ]


@pytest.mark.parametrize(("ending", "delimiter", "encoding"), [("csv", ",", "utf-8-sig"), ("csv", ";", "utf-8"), ("tsv", "\t", "utf-16")])
def test_a_table_gives_stretches_and_several_captions(tmp_path: Path, ending: str, delimiter: str, encoding: str) -> None:
    sound(tmp_path / "a.wav")
    sound(tmp_path / "sub" / "b.wav")
    rows = [
        ("File", "Text", "Start_S", "end_s", "genre"),
        ("a.wav", '"Bass, drums; and ""more""\nin two lines"', "", "", ""),
        ("./a.wav", "a second caption", "", "", ""),
        ("sub/b.wav", "the middle", "2.5", "5", ""),
        ("sub/b.wav", "the end", "5", "", "jazz"),
        ("sub/b.wav", "the middle again", "2.5", "5.0", ""),
        ("sub/b.wav", "backwards", "5", "2", ""),
        ("sub/b.wav", "odd", "soon", "", ""),
        ("gone.wav", "nobody home", "", "", ""),
        ("", "nameless", "", "", ""),
    ]
    table = tmp_path / f"list.{ending}"
    table.write_text("\n".join(delimiter.join(row) for row in rows), encoding=encoding)
    tracks, rejected = find_tracks(table, GIVEN)
    found = by_name(tracks)
    assert {name: (track.captions, track.start, track.stop) for name, track in found.items()} == {
        "a.wav": (['Bass, drums; and "more" in two lines', "a second caption"], 0.0, None),
        "sub/b.wav[2.5-5]": (["the middle", "the middle again"], 2.5, 5.0),
        "sub/b.wav[5-]": (["the end"], 5.0, None),
    }
    bad = [(f"list.{ending}:{number}", "bad entry") for number in (11, 8, 9)]
    assert [(one.name, one.reason) for one in rejected] == [("gone.wav", "missing"), *bad]


def test_an_open_quote_costs_a_row_and_is_said(tmp_path: Path) -> None:
    for name in "abc":
        sound(tmp_path / f"{name}.wav")
    (tmp_path / "list.csv").write_text('path,caption\na.wav,fine\nb.wav,"open\nc.wav,swallowed\n')
    tracks, rejected = find_tracks(tmp_path / "list.csv", GIVEN)
    assert [track.name for track in tracks] == ["a.wav"]
    assert [one.reason for one in rejected] == ["bad entry"]


def test_musiccaps_finds_videos_whole_and_cut(tmp_path: Path) -> None:
    audio = tmp_path / "audio"
    sound(audio / "-0Gj8-vB1q4.wav", 60.0)  # a whole video
    sound(audio / "-0SdAVK79lg.wav", 10.0)  # cut to the stretch already
    sound(audio / "[-0vPFx-wRRI]-[30-40].wav", 10.0)
    sound(audio / "-0xzrMun0Rs_30000_40000.wav", 10.0)
    sound(audio / "-1LrH01Ei1w_0_10.wav", 10.0)  # another stretch of the video
    header = "ytid,start_s,end_s,audioset_positive_labels,aspect_list,caption,author_id,is_balanced_subset,is_audioset_eval\n"
    rows = "".join(
        f"{name},30,40,\"/m/0140xf,/m/02cjck\",\"['low quality', 'sustained strings']\",A song of {name}.,4,False,True\n"
        for name in ("-0Gj8-vB1q4", "-0SdAVK79lg", "-0vPFx-wRRI", "-0xzrMun0Rs", "-1LrH01Ei1w", "-absent-vid")
    )
    (tmp_path / "musiccaps-public.csv").write_text(header + rows)
    tracks, rejected = find_tracks(tmp_path / "musiccaps-public.csv", GIVEN, audio)
    assert {track.name: (Path(track.path).name, track.start, track.stop) for track in tracks} == {
        "-0Gj8-vB1q4[30-40]": ("-0Gj8-vB1q4.wav", 30.0, 40.0),
        "-0SdAVK79lg[30-40]": ("-0SdAVK79lg.wav", 0.0, None),
        "-0vPFx-wRRI[30-40]": ("[-0vPFx-wRRI]-[30-40].wav", 0.0, None),
        "-0xzrMun0Rs[30-40]": ("-0xzrMun0Rs_30000_40000.wav", 0.0, None),
    }
    assert [(one.name, one.reason) for one in rejected] == [("-1LrH01Ei1w[30-40]", "missing"), ("-absent-vid[30-40]", "missing")]
    assert tracks[0].captions == ["A song of -0Gj8-vB1q4."]
    merged, _ = find_tracks(tmp_path / "musiccaps-public.csv", CaptionOptions(merge_probability=1, drop_other=0, variants=1), audio)
    assert any("sustained strings" in text for text in merged[0].captions)


def test_tags_inside_a_file_speak_where_nothing_else_does(tmp_path: Path) -> None:
    sound(tmp_path / "a.flac", title="Night", artist="Somebody", genre="Romantic Classical")
    sound(tmp_path / "b.flac", genre="Jazz")
    (tmp_path / "b.txt").write_text("told beside")
    (tmp_path / "c.ogg").write_bytes(b"OggS, and then nothing of the kind")
    options = CaptionOptions(fields=["genre", "title"], drop_other=0, variants=1)
    found = by_name(find_tracks(tmp_path, options)[0])
    (caption,) = found["a.flac"].captions
    assert "romantic classical" in caption
    assert '"Night"' in caption
    assert "Somebody" not in caption
    assert found["b.flac"].captions == ["told beside"]
    assert found["c.ogg"].captions == []
    assert by_name(find_tracks(tmp_path, CaptionOptions(file_tags=False))[0])["a.flac"].captions == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone", None, "does not exist"),
        ("song.wav", b"RIFF", "neither a folder of audio nor a list"),
        ("empty.csv", b"\n\n", "is empty"),
        ("wrong.csv", b"title,caption\nx,y\n", "no column that names files"),
        ("wrong.jsonl", b'{"title": "x"}\n', "names no file"),
        ("cut.jsonl.gz", gzip.compress(b'{"path": "a.wav"}\n' * 100, mtime=0)[:-9], "not a whole gzip file"),
        ("binary.csv", bytes(range(256)) * 4, "no column that names files"),
    ],
)
def test_what_is_no_source_is_said_in_one_sentence(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        find_tracks(tmp_path / name, GIVEN)
    assert "\n" not in str(caught.value)


def test_a_folder_without_audio_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "readme.md").write_text("nothing here")
    with pytest.raises(UserError, match="holds no audio"):
        find_tracks(tmp_path, GIVEN)


def test_what_lies_beside_audio_may_be_anything_at_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A hundred thousand brackets, deep lists that JSON just holds, another type, a file of gigabytes: the audio is taken."""
    beside = {
        "brackets.json": b"[" * 100_000,
        "objects.json": b'{"caption":' * 100_000,
        "deep.json": b'{"caption": ' + b"[" * 900 + b"]" * 900 + b"}",
        "tags.json": json.dumps({"instrument": "[" * 100_000, "genre": [[["rock"]]], "bpm": {"a": 1}, "caption": None}).encode(),
        "bytes.json": bytes(range(256)),
        "list.json": b"[1, 2]",
        "numbers.json": b'{"caption": 5, "bpm": 1e999, "key": -1}',
        "large.json": None,
        "large2.txt": None,
        "bytes2.txt": bytes(range(256)),
    }
    for name, content in beside.items():
        sound(tmp_path / (name.partition(".")[0] + ".wav"))
        if content is None:
            with open(tmp_path / name, "wb") as file:
                file.truncate(8 << 30)  # sparse
        else:
            (tmp_path / name).write_bytes(content)
    tracks, refused = find_tracks(tmp_path, CaptionOptions())
    assert len(tracks) == len(beside)
    assert refused == []
    assert "brackets.json is not JSON" in caplog.text
    assert "large2.txt is larger than" in caplog.text
