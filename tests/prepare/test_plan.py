from __future__ import annotations

import os
import shutil

import pytest
from recordings import write_music

from jasco_pl.prepare.captions import CaptionOptions
from jasco_pl.prepare.plan import group, plain, scan
from jasco_pl.prepare.source import Track, find_tracks


@pytest.fixture
def tracks(folder):
    return find_tracks(folder, CaptionOptions())[0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("album/01 - Ça va?.flac", "01-a-va"),
        ("a.b.wav", "a-b"),
        ("song.wav[30-40]", "song-30-40"),
        ("???.mp3", "track"),
        ("x" * 300 + ".ogg", "x" * 40),
    ],
)
def test_names_become_plain(name, expected):
    assert plain(name) == expected


def test_ids_follow_the_content_not_the_place(tracks, folder, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    first, refused = scan(tracks, work, {})
    assert not refused
    assert [one.hash for one in first] == sorted(one.hash for one in first)
    shutil.move(folder, tmp_path / "elsewhere")
    (tmp_path / "other").mkdir()
    again, _ = scan(find_tracks(tmp_path / "elsewhere", CaptionOptions())[0], tmp_path / "other", {})
    assert [one.id for one in again] == [one.id for one in first]


def test_the_same_bytes_are_taken_once_under_the_first_name(tracks, folder, tmp_path):
    shutil.copy(folder / "album 0" / "Song 0.wav", folder / "album 0" / "A copy.wav")
    planned, refused = scan(find_tracks(folder, CaptionOptions())[0], tmp_path, {})
    assert len(planned) == len(tracks)
    assert [(one.name, one.reason) for one in refused] == [("album 0/Song 0.wav", "duplicate")]
    assert "A copy.wav" in refused[0].detail


def test_a_renamed_recording_keeps_its_id(tracks, folder, tmp_path):
    planned, _ = scan(tracks, tmp_path, {})
    ids = {one.hash: one.id for one in planned}
    os.rename(folder / "album 1" / "Song 1.flac", folder / "album 1" / "Better name.flac")
    again, _ = scan(find_tracks(folder, CaptionOptions())[0], tmp_path, ids)
    assert {one.id for one in again} == set(ids.values())


def test_stretches_of_one_file_are_tracks_of_their_own(tmp_path):
    path = str(write_music(tmp_path / "long.wav", 0, 9.0))
    planned, refused = scan([Track(path, f"long.wav[{start}-{start + 3}]", [], start, start + 3.0) for start in (0, 3, 7)], tmp_path, {})
    assert not refused
    assert len({one.id for one in planned}) == 3
    assert sorted(one.seconds for one in planned) == pytest.approx([2.0, 3.0, 3.0])


def test_files_are_read_once(tracks, tmp_path, monkeypatch):
    first, _ = scan(tracks, tmp_path, {})
    monkeypatch.setattr("jasco_pl.prepare.plan.hashlib.blake2b", _only_short_inputs())
    assert scan(tracks, tmp_path, {})[0] == first


def _only_short_inputs():
    import hashlib

    original = hashlib.blake2b

    def limited(data=b"", **options):
        assert data, "a file is being read again"
        return original(data, **options)

    return limited


def test_empty_and_unreadable_files(tmp_path):
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "nothing.wav").touch()
    write_music(tmp_path / "music" / "gone.wav", 0, 1.0)
    found = find_tracks(tmp_path / "music", CaptionOptions())[0]
    (tmp_path / "music" / "gone.wav").unlink()  # between looking and reading
    planned, refused = scan(found, tmp_path, {})
    assert not planned
    assert {(one.name, one.reason) for one in refused} == {("nothing.wav", "empty"), ("gone.wav", "unreadable")}


def test_a_division_is_kept_and_only_what_is_new_is_divided(tracks, tmp_path):
    planned, _ = scan(tracks, tmp_path, {})
    groups = group(planned, 0.2, tmp_path)
    assert len(groups) > 2
    assert [name for ids in groups for name in ids] == [one.id for one in planned]
    for left_out in planned:  # done or refused meanwhile: the others stay where they are
        rest = [one for one in planned if one is not left_out]
        assert group(rest, 0.2, tmp_path) == [kept for ids in groups if (kept := [name for name in ids if name != left_out.id])]
        group(planned, 0.2, tmp_path)
        (tmp_path / "plan.json").unlink()
        group(planned, 0.2, tmp_path)
