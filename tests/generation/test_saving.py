from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest
import torch

from jasco_pl.audio.files import read_audio
from jasco_pl.commands.generate import slug
from jasco_pl.generation.jasco import Clip, Request
from jasco_pl.generation.saving import save_take
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
