"""Pieces composed and encoded at once are those that were composed and encoded one after the other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jasco_pl.cli import main
from jasco_pl.compose.pieces import PlannedSet, Which
from jasco_pl.compose.soundfonts import find_soundfont
from jasco_pl.data.shards import ShardReader
from jasco_pl.prepare import composed, together
from jasco_pl.prepare.composed import build_shards
from jasco_pl.prepare.together import compose_shards

SECONDS, RATE = 0.6, 32000


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Pieces of noise in no time, that are told as they are written; nothing listens to them."""
    written: list[str] = []

    def write(job: tuple[str, Which]) -> Which:
        folder, which = Path(job[0]), job[1]
        folder.mkdir(parents=True, exist_ok=True)
        draw = np.random.default_rng(which.index + 1000 * which.band)
        for stem in ("mix", "drums", "drumless"):
            soundfile.write(folder / f"{which.id}.{stem}.flac", 0.1 * draw.standard_normal(round(SECONDS * RATE)), RATE, subtype="PCM_16")
        note = {"id": which.id, "split": which.split, "chords": [["A", 0.0]], "melody": [[69, 0.1, 0.5]], "captions": [which.id]}
        (folder / f"{which.id}.json").write_text(json.dumps(note | {"beats": [[0.0, 1]], "arrangement": which.arrangement}))
        written.append(which.id)
        return which

    monkeypatch.setattr(together, "write_piece", write)
    monkeypatch.setattr(together, "start_worker", lambda fonts: None)
    for module in (together, composed):
        monkeypatch.setattr(module, "usable_stages", lambda: ["codec", "chords", "melody"])
    return written


def planned(folder: Path, pieces: int, bands: int = 1) -> PlannedSet:
    """So many pieces, without a look at how long they would be."""

    class Counted(PlannedSet):
        def pieces(self) -> object:  # type: ignore[override]
            for index in range(pieces):
                for band in range(bands):
                    yield Which(1, "train", index, band, band=band + 1 if bands > 1 else 0)

    return Counted(folder, ["font"], 1.0, Which(1, "train", 0), bands)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


HOURS = SECONDS / 3600


@pytest.mark.parametrize("bands", [1, 3])
def test_the_same_files_as_one_after_the_other(quick: list[str], tmp_path: Path, tiny_codec_folder: Path, bands: int) -> None:
    codec = str(tiny_codec_folder)
    index = compose_shards(planned(tmp_path / "pieces", 5, bands), tmp_path / "shards", codec, first_hours=HOURS, pieces_per_shard=2)
    assert len(quick) == len(set(quick)) == 5 * bands
    assert [entry["id"] for shard in index["shards"] for entry in shard["samples"]] == sorted(quick)
    build_shards(tmp_path / "pieces", tmp_path / "apart", codec, pieces_per_shard=2)
    assert content(tmp_path / "shards") == content(tmp_path / "apart")


def test_the_index_grows_from_the_first_hours_on(
    quick: list[str], tmp_path: Path, tiny_codec_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[int] = []
    original = together.write_index

    def watch(folder: Path, codec: dict[str, object], names: list[str]) -> object:
        result = original(folder, codec, names)
        listed.append(len(ShardReader(folder)))
        return result

    monkeypatch.setattr(together, "write_index", watch)
    shards = tmp_path / "shards"
    compose_shards(planned(tmp_path / "pieces", 20), shards, str(tiny_codec_folder), first_hours=3.5 * HOURS, pieces_per_shard=1)
    assert listed == [4, 6, 9, 14]  # half as many again each time; all in the end
    assert len(ShardReader(shards)) == 20

    listed.clear()  # a set that is to be larger does not become smaller on the way
    compose_shards(planned(tmp_path / "pieces", 40), shards, str(tiny_codec_folder), first_hours=3.5 * HOURS, pieces_per_shard=1)
    assert listed == [30]
    assert (len(ShardReader(shards)), len(quick)) == (40, 40)


def test_a_shard_counts_when_all_before_it_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[list[str]] = []
    monkeypatch.setattr(together, "write_index", lambda folder, codec, names: listed.append(names))
    index = together._Index(tmp_path, {"frame_rate": 50.0}, first_hours=0.0, names=["a", "b", "c", "d"])
    for name in ("c", "b", "d", "a"):
        index.add(name, [{"frames": 50}])
    assert listed == [["a", "b", "c", "d"]]


def test_what_is_there_is_kept_after_an_interruption(
    quick: list[str], tmp_path: Path, tiny_codec_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec, whole = str(tiny_codec_folder), planned(tmp_path / "pieces", 5)
    write = together.write_piece

    def fail(job: tuple[str, Which]) -> Which:
        if job[1].index == 3:
            raise KeyboardInterrupt
        return write(job)

    monkeypatch.setattr(together, "write_piece", fail)
    with pytest.raises(KeyboardInterrupt):
        compose_shards(whole, tmp_path / "shards", codec, first_hours=HOURS, pieces_per_shard=2)
    assert len(ShardReader(tmp_path / "shards")) == 2  # a training may have begun
    monkeypatch.setattr(together, "write_piece", write)
    before = (tmp_path / "shards" / "shard-00000.safetensors").stat().st_ino
    compose_shards(whole, tmp_path / "shards", codec, first_hours=HOURS, pieces_per_shard=2)
    assert len(quick) == 5
    assert (tmp_path / "shards" / "shard-00000.safetensors").stat().st_ino == before


@pytest.mark.slow
def test_killed_and_gone_on_with_the_set_is_the_same(tmp_path: Path, tiny_codec_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real pieces, two processes, `kill -9` as soon as the first shard is listed."""
    which = ["compose", "--hours", "0.03", "--seed", "5", "--split", "train", "--soundfont", str(find_soundfont())]
    codec = ["--codec", str(tiny_codec_folder)]
    assert main([*which, "--out", str(tmp_path / "apart")]) == 0
    assert main(["shards", "build", "--pieces", str(tmp_path / "apart"), "--out", str(tmp_path / "apart-shards"), *codec]) == 0

    shards = tmp_path / "shards"
    command = [*which, "--out", str(tmp_path / "pieces"), "--shards", str(shards), *codec, "--workers", "2", "--first", "0"]
    process = subprocess.Popen([sys.executable, "-m", "jasco_pl", *command], env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 600
    while not list((tmp_path / "pieces").glob("*.json")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (shards / "index.json").exists()
    assert main(command) == 0
    for folder in ("", "-shards"):
        ours = tmp_path / ("shards" if folder else "pieces")
        assert content(ours) == content(tmp_path / f"apart{folder}")


def test_bad_settings_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["compose", "--out", str(tmp_path / "pieces"), "--shards", str(tmp_path / "shards")]
    for options, message in (
        (["--first", "-1"], "--first -1 hours: 0 or more is accepted"),
        (["--workers", "0"], "workers and pieces a shard must be at least 1, not 0 and 24"),
        (["--codec", str(tmp_path)], "codec"),
    ):
        assert main([*command, *options]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "shards").exists()
