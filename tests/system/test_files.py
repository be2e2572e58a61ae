from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from jasco_pl.system import files
from jasco_pl.system.errors import UserError, WriteError
from jasco_pl.system.files import atomic_folder, atomic_path, is_bare, is_unicode, replaceable, write_json


def write(path: Path, text: str = "new") -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def fail(path: Path, error: Exception) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        raise error


def test_a_file_appears_whole_in_folders_that_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "file.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.parent == path.parent  # a rename within one file system
        assert temporary.suffix == ".txt"
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_the_mode_is_that_of_any_new_file(tmp_path):
    write(tmp_path / "ours")
    (tmp_path / "plain").write_text("")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyboardInterrupt(), UserError("bad input")])
def test_an_error_leaves_the_former_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file.txt"
    write(path, "former")
    with pytest.raises(type(error)):
        fail(path, error)
    assert path.read_text() == "former"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EACCES, "no permission"),
        (errno.EROFS, "read-only"),
        (errno.EDQUOT, "quota"),
        (errno.EIO, "Input/output error"),
    ],
)
@pytest.mark.parametrize("call", ["mkstemp", "replace"])
def test_an_error_of_the_system_is_one_sentence(tmp_path, monkeypatch, number, words, call):
    def broken(*args: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.tempfile if call == "mkstemp" else files.os, call, broken)
    with pytest.raises(UserError, match=words) as caught:
        write(tmp_path / "file.txt")
    assert str(tmp_path / "file.txt") in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_met_inside_a_library_is_told_from_a_bug(tmp_path, monkeypatch):
    """safetensors quotes the system, torch and libsndfile do not."""
    with pytest.raises(UserError, match="the disk is full"):
        fail(tmp_path / "a", RuntimeError("I/O error: No space left on device (os error 28)"))
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: SimpleNamespace(free=100))
    with pytest.raises(UserError, match="the disk is full"):
        fail(tmp_path / "a", RuntimeError("unexpected pos 704 vs 598"))
    with pytest.raises(UserError, match="bad input"):
        fail(tmp_path / "a", UserError("bad input"))
    assert list(tmp_path.iterdir()) == []


def test_a_path_below_a_file_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="a part of the path is a file"):
        write(tmp_path / "file" / "folder" / "new.txt")


def test_a_folder_at_the_path_is_one_sentence(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="a folder stands at that path"):
        write(tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_what_cannot_be_written_later_is_refused_before_and_leaves_nothing(tmp_path, monkeypatch):
    files.check_writable(tmp_path / "new" / "folder")
    files.check_writable(".")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    for place in ("file", "file/folder/clip.wav"):
        with pytest.raises(UserError, match="a part of the path is a file"):
            files.check_writable(tmp_path / place)
    monkeypatch.setattr(files.tempfile, "TemporaryFile", lambda dir: (dir / "none" / "x").touch())
    with pytest.raises(UserError, match=r"new'"):
        files.check_writable(tmp_path / "new")


def test_json_keeps_other_scripts_readable(tmp_path):
    write_json(tmp_path / "a.json", {"text": "Müller, 音楽"})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert "Müller, 音楽" in text
    assert text.endswith("}\n")
    assert json.loads(text) == {"text": "Müller, 音楽"}


def test_a_folder_takes_the_place_of_another_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "made"
    for text in ("first", "second"):
        with atomic_folder(target) as fresh:
            (fresh / "mark").write_text(text)
        assert [path.name for path in tmp_path.iterdir()] == ["made"]
        assert (target / "mark").read_text() == text

    def fail() -> None:
        with atomic_folder(target) as fresh:
            (fresh / "mark").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (target / "mark").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    with pytest.raises(WriteError, match="cannot write"), atomic_folder(target / "mark" / "x"):
        pass


def test_only_what_was_made_here_or_holds_nothing_may_be_replaced(tmp_path: Path) -> None:
    assert replaceable(tmp_path / "absent", "mark")
    assert replaceable(tmp_path, "mark")
    (tmp_path / "letter.txt").touch()
    assert not replaceable(tmp_path, "mark")
    assert not replaceable(tmp_path / "letter.txt", "mark")
    (tmp_path / "mark").touch()
    assert replaceable(tmp_path, "mark")


def test_names_of_255_bytes_can_be_written_and_longer_ones_are_one_sentence(tmp_path):
    for name in ("a" * 251 + ".wav", "é" * 125 + ".json", "b" * 255, "c." + "d" * 253):
        write(tmp_path / name, "whole")
        assert (tmp_path / name).read_text() == "whole"
    before = sorted(tmp_path.iterdir())
    for name in ("a" * 260 + ".wav", "é" * 128, "." + "e" * 255):
        with pytest.raises(WriteError, match="longer than the file system takes"):
            write(tmp_path / name)
    assert sorted(tmp_path.iterdir()) == before


def test_names_that_are_no_utf8_come_back_from_json(tmp_path):
    name = os.fsdecode(b"caf\xe9.wav")
    write_json(tmp_path / "some.json", {"name": name, "other": "café"})
    assert json.loads((tmp_path / "some.json").read_bytes()) == {"name": name, "other": "café"}
    assert is_unicode("café")
    assert not is_unicode(name)


def test_a_bare_name_is_of_one_file_of_the_folder():
    assert all(map(is_bare, ("a.safetensors", ".metadata", "a b", "...", "é")))
    assert not any(map(is_bare, ("", ".", "..", "a/b", "/a", "../a", "a\\b", "a\0b", None, 3, b"a")))
