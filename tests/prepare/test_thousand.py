"""A folder as people have them: a thousand files of which one in twenty is odd, in ten ways."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from recordings import lines, music, write_music

from jasco_pl.data.shards import ShardReader

KINDS = ((44100, 2, "wav"), (32000, 1, "flac"), (22050, 1, "ogg"), (44100, 2, "mp3"), (48000, 2, "flac"), (16000, 1, "wav"))
EACH = 6

REFUSED = {
    "zero bytes": "empty",
    "truncated mp3": "truncated",
    "text": "not audio",
    "nan": "broken",
    "7 khz": "low rate",
    "3 ms": "too short",
}
TAKEN = ("wrong ending", "8 channels", "two hours")
"""What is in a file counts, not what it is called; channels are averaged; nothing is too long unless `rules.max_seconds` says so."""


def write_odd(folder: Path, way: str, number: int) -> None:
    """One odd file."""
    path = folder / way / f"{way} {number}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = 2000 + 20 * number
    if way == "zero bytes":
        path.touch()
    elif way == "truncated mp3":
        whole = write_music(path.with_suffix(".mp3"), seed, 3.0, 44100, 2)
        whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    elif way == "text":
        path.write_text(f"no music {number}\n" * 100)
    elif way == "nan":
        data = music(seed + 1)
        data[1000] = np.nan
        soundfile.write(path, data, 32000, subtype="FLOAT")
    elif way == "7 khz":
        write_music(path, seed + 2, 1.0, 7000)
    elif way == "3 ms":
        write_music(path, seed + 3, 0.003)
    elif way == "wrong ending":
        write_music(path.with_suffix(".flac"), seed + 4, 1.0).rename(path.with_suffix(".mp3"))
    elif way == "8 channels":
        write_music(path, seed + 5, 1.0, 32000, 8)
    elif way == "unreadable":
        write_music(path, seed + 6, 1.0).chmod(0)
    elif way == "two hours":
        with soundfile.SoundFile(path.with_suffix(".flac"), "w", 16000, 1) as file:
            for minute in range(120):
                tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(16000 * 60) / 16000)
                file.write(tone if minute == 60 else np.zeros(16000 * 60))


# A process between, whose children are these alone: the tests before may have had larger ones.
MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_good_file_is_in_the_shards_and_every_bad_one_is_named(tmp_path: Path, tiny_codec_folder: Path) -> None:
    folder, out = tmp_path / "music", tmp_path / "out"
    expected = dict(REFUSED)
    if os.geteuid() != 0:  # root reads anything
        expected["unreadable"] = "unreadable"
    ways = {**dict.fromkeys([*REFUSED, "unreadable", *TAKEN[:2]], EACH), "two hours": 1}
    odd = sum(ways.values())
    for way, count in ways.items():
        for number in range(count):
            write_odd(folder, way, number)
    for number in range(1000 - odd):
        rate, channels, ending = KINDS[number % len(KINDS)]
        write_music(folder / f"album {number % 20}" / f"song {number}.{ending}", number, 1.0, rate, channels)

    options = ["--codec", tiny_codec_folder, "--stages", "codec", "--rules.min_seconds", 0.5, "--workers", 2]
    command = [sys.executable, "-c", MEASURED, sys.executable, "-m", "jasco_pl.cli", "prepare", folder, "--out", out, *options]
    finished = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True)

    refused = lines(out / "rejected.jsonl")
    names = {f"{way}/{way} {number}": reason for way, reason in expected.items() for number in range(ways[way])}
    assert {one["name"].rpartition(".")[0]: one["reason"] for one in refused} == names
    records = {one["name"]: one for one in lines(out / "tracks.jsonl")}
    assert len(records) == 1000 - len(refused)
    assert all(f"album {number % 20}/song {number}.{KINDS[number % len(KINDS)][2]}" in records for number in range(1000 - odd))
    assert all(any(name.startswith(way) for name in records) for way in TAKEN)
    assert records["two hours/two hours 0.flac"]["seconds"] == 7200
    assert {entry["id"].rpartition("-")[0] for entry in ShardReader(out).entries} == {one["id"] for one in records.values()}
    assert f"{len(refused)} files were not taken" in finished.stderr
    assert int(finished.stdout.split()[-1]) < 2 * 1024**2  # KiB, of the largest process
