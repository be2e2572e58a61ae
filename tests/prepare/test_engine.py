from __future__ import annotations

import json
import os
import shutil

import pytest
import torch
from recordings import content, lines, small, write_music

from jasco_pl.data.crops import CropDataset
from jasco_pl.data.shards import ShardReader
from jasco_pl.prepare import engine, jobs
from jasco_pl.prepare.captions import CaptionOptions, measured_captions
from jasco_pl.prepare.engine import Preparation
from jasco_pl.prepare.jobs import Stages
from jasco_pl.prepare.rules import Rules
from jasco_pl.system.errors import UserError, WriteError
from jasco_pl.system.locks import alone


def test_a_folder_becomes_shards(folder, prepare, tmp_path):
    out = tmp_path / "out"
    prepare(folder, out, stages="codec, chords")
    reader = ShardReader(out)
    assert all(error is None for _, error in reader.verify())
    assert len(reader.sizes) > 1
    assert {"index.json", "rejected.jsonl", "tracks.jsonl", "prepare.json", "report.json", "report.html"} < {
        path.name for path in out.iterdir()
    }
    assert not (out / ".work").exists()
    records = {record["name"]: record for record in lines(out / "tracks.jsonl")}
    assert len(records) == 7
    frames: dict[str, int] = {}
    for position in range(len(reader)):
        sample = reader.read(position)
        assert set(sample.tensors) == {"latents", "codes_mix", "chords_heard"}
        assert 70 <= sample.frames <= 150  # two seconds, give or take half
        frames[sample.id[:-4]] = frames.get(sample.id[:-4], 0) + sample.frames
    for number in range(7):
        record = next(record for name, record in records.items() if f"Song {number}" in name)
        assert record["seconds"] == pytest.approx(4 + 0.7 * number, abs=0.06)  # mp3 pads
        assert abs(frames[record["id"]] - 50 * record["seconds"]) <= 1
        assert record["loudness"] is not None
        assert sum(record["chords"].values()) == pytest.approx(record["seconds"], abs=0.03)
        assert set(record["stage_seconds"]) == {"facts", "codec", "chords"}
    assert len(CropDataset(out, 50, 0, ["latents", "chords"])[0, 0]["chords"]) == 50


def test_samples_are_the_codec_s_latents_in_order(folder, prepare, tmp_path, tiny_codec_folder):
    from jasco_pl.audio.files import read_audio
    from jasco_pl.codec import load_codec

    prepare(folder, tmp_path / "out")
    codec = load_codec(str(tiny_codec_folder))
    reader = ShardReader(tmp_path / "out")
    parts = [reader.read(position) for position in range(len(reader))]
    for name in ("Song 1.flac", "Song 4.flac"):
        path = next(folder.rglob(name))
        own = [part for part in parts if part.id.startswith(path.stem.lower().replace(" ", "-") + "-")]
        assert len(own) >= 2
        assert [part.id[-3:] for part in own] == [f"{number:03d}" for number in range(len(own))]
        latents = codec.encode(read_audio(path)[None])[0]
        together = torch.cat([part.tensors["latents"] for part in own])
        assert (together.float() - latents).abs().max() < 0.01  # half precision, and soxr in blocks


def test_another_run_does_nothing_and_a_grown_folder_adds_its_new_files(folder, prepare, tmp_path, monkeypatch):
    out = tmp_path / "out"
    held_back = folder / "album 0" / "Song 3.mp3"
    shutil.move(held_back, tmp_path / "later.mp3")
    prepare(folder, out)
    before = content(out)
    began = []
    original = jobs.TrackWorker.__call__
    monkeypatch.setattr(jobs.TrackWorker, "__call__", lambda self, job: began.append(job.name) or original(self, job))
    prepare(folder, out)
    assert not began
    assert content(out) == before
    shutil.move(tmp_path / "later.mp3", held_back)
    prepare(folder, out)
    assert began == ["album 0/Song 3.mp3"]
    after = content(out)
    assert {name for name in before if name.startswith("shard")} < set(after)
    assert len(ShardReader(out)) > len(json.loads(before["index.json"])["shards"])


def test_another_source_joins_the_set(folder, prepare, tmp_path):
    prepare(folder, tmp_path / "out")
    first = {entry["id"] for entry in ShardReader(tmp_path / "out").entries}
    write_music(tmp_path / "more" / "New.wav", 77)
    (tmp_path / "more" / "bad.wav").write_text("no music")
    prepare(tmp_path / "more", tmp_path / "out")
    both = {entry["id"] for entry in ShardReader(tmp_path / "out").entries}
    assert first < both
    assert {name.rpartition("-")[0][:3] for name in both - first} == {"new"}
    assert [one["name"] for one in lines(tmp_path / "out" / "rejected.jsonl")] == ["bad.wav"]
    assert len(lines(tmp_path / "out" / "tracks.jsonl")) == 8


def test_stages_at_once_or_one_after_the_other_give_the_same_bytes(folder, prepare, tmp_path):
    prepare(folder, tmp_path / "at once", stages="codec, chords")
    prepare(folder, tmp_path / "later")
    codec_only = set(content(tmp_path / "later"))
    prepare(folder, tmp_path / "later", stages="chords")
    assert content(tmp_path / "later") == content(tmp_path / "at once")
    assert not codec_only & {name for name in content(tmp_path / "later") if name.startswith("shard")}
    record = lines(tmp_path / "later" / "tracks.jsonl")[0]
    assert {"codec", "chords"} <= set(record["stage_seconds"])


def test_a_set_keeps_its_stages_when_it_grows(folder, prepare, tmp_path):
    prepare(folder, tmp_path / "out", stages="chords")
    write_music(folder / "new.wav", 50)
    prepare(folder, tmp_path / "out", stages="codec")
    assert all("chords_heard" in entry["crc32"] for entry in ShardReader(tmp_path / "out").entries)


def test_tracks_that_are_gone_keep_what_they_have(folder, prepare, tmp_path):
    prepare(folder, tmp_path / "out")
    count = len(ShardReader(tmp_path / "out"))
    (folder / "album 1" / "Song 4.flac").unlink()
    prepare(folder, tmp_path / "out", stages="chords")
    reader = ShardReader(tmp_path / "out")
    assert len(reader) == count
    lacking = {entry["id"][:6] for entry in reader.entries if "chords_heard" not in entry["crc32"]}
    assert lacking == {"song-4"}


@pytest.mark.parametrize("steps", [8, 13, 19])
def test_wherever_a_run_ends_the_next_one_makes_the_same_set(folder, prepare, tmp_path, monkeypatch, steps):
    """Ends again and again after so many files were put in place, with what was open left lying as a kill leaves it."""
    (folder / "bad.wav").write_text("no music")
    prepare(folder, tmp_path / "whole", stages="codec, chords")

    class Killed(BaseException):
        pass

    left = steps

    def replace(source, target, original=os.replace):
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        original(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("jasco_pl.system.files.os.replace", replace)
        for _ in range(40):
            try:
                prepare(folder, tmp_path / "killed", stages="codec, chords")
                break
            except Killed:
                left = steps
        else:
            pytest.fail("the runs make no headway")
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    assert {path.name for path in (tmp_path / "killed").iterdir()} == {path.name for path in (tmp_path / "whole").iterdir()}


def test_everything_that_is_wrong_is_named(folder, prepare, tmp_path):
    (folder / "text.wav").write_text("no music at all")
    (folder / "empty.mp3").touch()
    write_music(folder / "blip.wav", 0, 0.003)
    write_music(folder / "phone.wav", 0, 4.0, 7000)
    shutil.copy(folder / "album 0" / "Song 0.wav", folder / "again.wav")
    cut = write_music(folder / "cut.flac", 30, 6.0)
    cut.write_bytes(cut.read_bytes()[: len(cut.read_bytes()) // 2])
    prepare(folder, tmp_path / "out")
    reasons = {one["name"]: one["reason"] for one in lines(tmp_path / "out" / "rejected.jsonl")}
    assert reasons == {
        "album 0/Song 0.wav": "duplicate",
        "blip.wav": "too short",
        "cut.flac": "broken",
        "empty.mp3": "empty",
        "phone.wav": "low rate",
        "text.wav": "not audio",
    }
    assert all(one["detail"].endswith(".") for one in lines(tmp_path / "out" / "rejected.jsonl"))
    assert len(lines(tmp_path / "out" / "tracks.jsonl")) == 7


def test_what_was_refused_is_looked_at_again_only_under_other_rules(folder, prepare, tmp_path, monkeypatch):
    out = tmp_path / "out"
    prepare(folder, out, rules=Rules(min_seconds=5.0))
    assert {one["reason"] for one in lines(out / "rejected.jsonl")} == {"too short"}
    assert len(lines(out / "tracks.jsonl")) == 5
    began = []
    original = jobs.TrackWorker.__call__
    monkeypatch.setattr(jobs.TrackWorker, "__call__", lambda self, job: began.append(job.name) or original(self, job))
    prepare(folder, out, rules=Rules(min_seconds=5.0))
    assert not began
    prepare(folder, out, rules=Rules(min_seconds=1.0))
    assert len(began) == 2
    assert not lines(out / "rejected.jsonl")
    assert len(lines(out / "tracks.jsonl")) == 7


def test_a_library_that_fails_on_one_file_ends_nothing(folder, prepare, tmp_path, monkeypatch):
    original = Stages.__call__

    def fail(self, stage, audio):
        if "Song 2" in str(audio.path):
            raise ZeroDivisionError("float division by zero")
        return original(self, stage, audio)

    monkeypatch.setattr(Stages, "__call__", fail)
    prepare(folder, tmp_path / "out")
    (one,) = lines(tmp_path / "out" / "rejected.jsonl")
    assert (one["name"], one["reason"], one["detail"]) == ("album 2/Song 2.ogg", "failed", "ZeroDivisionError: float division by zero")


def test_a_full_disk_is_nobody_s_fault_but_the_disk_s(folder, prepare, tmp_path, monkeypatch):
    def full(self, stage, audio):
        raise WriteError("cannot write 'somewhere': the disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(Stages, "__call__", full)
        with pytest.raises(UserError, match="disk is full"):
            prepare(folder, tmp_path / "out")
    prepare(folder, tmp_path / "out")
    assert not lines(tmp_path / "out" / "rejected.jsonl")


def test_nothing_but_rubbish(prepare, tmp_path):
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "a.wav").write_text("x")
    with pytest.raises(UserError, match=r"none of the 1 files .*rejected\.jsonl' says why"):
        prepare(tmp_path / "music", tmp_path / "out")
    assert lines(tmp_path / "out" / "rejected.jsonl")[0]["reason"] == "not audio"
    assert not (tmp_path / "out" / "index.json").exists()


def test_what_does_not_fit_a_set_is_said_before_anything_is_done(folder, prepare, tmp_path):
    prepare(folder, tmp_path / "out")
    before = content(tmp_path / "out")
    with pytest.raises(UserError, match="segments of 2 s, not of 3 s"):
        prepare(folder, tmp_path / "out", segment_seconds=3.0)
    with pytest.raises(UserError, match="another extractor for 'codec'"):
        prepare(folder, tmp_path / "out", codec="checkpoints/codec-mini")
    with pytest.raises(UserError, match="no stage 'voice'"):
        prepare(folder, tmp_path / "out", stages="codec, voice")
    assert content(tmp_path / "out") == before


def test_sets_of_other_origin_are_left_alone(folder, prepare, tmp_path, write_tiny_shards):
    write_tiny_shards(tmp_path / "composed")
    before = content(tmp_path / "composed")
    with pytest.raises(UserError, match="did not make, and cannot add to"):
        prepare(folder, tmp_path / "composed")
    assert content(tmp_path / "composed") == before


def test_shards_of_an_interrupted_run_are_not_mixed_with_others(folder, prepare, tmp_path, monkeypatch):
    out, original = tmp_path / "out", engine.write_shard

    def one_shard(*arguments):
        original(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(engine, "write_shard", one_shard)
        with pytest.raises(KeyboardInterrupt):
            prepare(folder, out)
    assert list(out.glob("shard-*.json"))
    assert not (out / "index.json").exists()
    with pytest.raises(UserError, match="segments of 2 s, not of 3 s"):
        prepare(folder, out, segment_seconds=3.0)
    with pytest.raises(UserError, match="another extractor for 'codec'"):
        prepare(folder, out, codec="checkpoints/codec-mini")
    prepare(folder, out)
    prepare(folder, tmp_path / "whole")
    assert content(out) == content(tmp_path / "whole")


def test_two_runs_on_one_folder(folder, prepare, tmp_path, tiny_codec_folder):
    with alone(tmp_path / "out" / ".work", "-"), pytest.raises(UserError, match="another `jasco prepare`"):
        Preparation(folder, tmp_path / "out", small(tiny_codec_folder)).run()


def test_where_nothing_is_said_tempo_and_key_are_if_wanted_of_a_set_that_is_there_too(folder, prepare, tmp_path):
    (folder / "album 0" / "Song 3.txt").write_text("a song about the sea")
    out = tmp_path / "out"
    prepare(folder, out)
    before = {sample.id: sample for sample in (ShardReader(out).read(position) for position in range(len(ShardReader(out))))}
    assert {tuple(sample.captions) for sample in before.values()} == {(), ("a song about the sea",)}
    prepare(folder, out, captions=CaptionOptions(measured=True))
    reader = ShardReader(out)
    assert all(error is None for _, error in reader.verify())
    after = {sample.id: sample for sample in (reader.read(position) for position in range(len(reader)))}
    assert after.keys() == before.keys()
    for record in lines(out / "tracks.jsonl"):
        own = [sample for name, sample in after.items() if name.startswith(record["id"] + "-")]
        assert own
        for sample in own:
            assert sample.captions == record["captions"]
            assert all(torch.equal(tensor, before[sample.id].tensors[name]) for name, tensor in sample.tensors.items())
        if record["name"].endswith("Song 3.mp3"):
            assert record["captions"] == ["a song about the sea"]
        else:
            assert record["captions"] == measured_captions(record["tempo"], record["key"])
    assert any(record["captions"] for record in lines(out / "tracks.jsonl") if not record["name"].endswith("Song 3.mp3"))
    again = content(out)
    prepare(folder, out, captions=CaptionOptions(measured=True))
    assert content(out) == again
    fresh = tmp_path / "fresh"
    prepare(folder, fresh, captions=CaptionOptions(measured=True))  # at once or later: the same set
    assert {path.name for path in fresh.glob("shard-*")} == {path.name for path in out.glob("shard-*")}


ELSEWHERE = ["../../outside", "a/b", "..", ""]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_ids_of_recordings_name_no_folder_elsewhere(folder, prepare, tmp_path, name):
    out, outside = tmp_path / "out", tmp_path / "outside"
    prepare(folder, out)
    outside.mkdir()
    (outside / "mine.txt").write_text("kept")
    records = lines(out / "tracks.jsonl")
    records[0]["id"] = name
    (out / "tracks.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    for path in [*out.glob("shard-*"), *out.glob("index.*")]:
        path.unlink()  # so that it would be prepared again, in a folder of that name
    with pytest.raises(UserError, match=r"tracks.jsonl' is damaged: .* is no id of a recording"):
        prepare(folder, out)
    assert [path.name for path in outside.iterdir()] == ["mine.txt"]


DAMAGED = [
    ("tracks.jsonl", "{}"),
    ("tracks.jsonl", '{"id": 5}'),
    ("rejected.jsonl", "{}"),
    ("prepare.json", "{}"),
    ("prepare.json", '{"stages": [], "segment_seconds": 2.0, "rules": {}}'),
    ("prepare.json", '{"stages": {"nothing": "x"}, "segment_seconds": 2.0, "rules": {}}'),
]


@pytest.mark.parametrize(("file", "content"), DAMAGED)
def test_a_set_whose_notes_are_damaged_is_one_sentence(folder, prepare, tmp_path, file, content):
    out = tmp_path / "out"
    prepare(folder, out)
    (out / file).write_text(content + "\n")
    with pytest.raises(UserError):
        prepare(folder, out)
