"""One preparation over a folder of files as they are found: every good one is in the set in the end."""

from __future__ import annotations

import io
import os
import struct

import numpy as np
import soundfile
from recordings import lines, music, small

from jasco_pl.data.shards import ShardReader
from jasco_pl.prepare.engine import Preparation

NAMES = (
    b"plain.wav",
    b"caf\xe9.wav",  # Latin-1
    b"\xff\xfe\x80.wav",
    b"two\nlines.wav",
    b"car\rriage\ttab.wav",
    b'it\'s "quoted" `$(rm -rf x)`; & | <b>.wav',
    "\U0001f3b9 \U0001f941.wav".encode(),
    "\u65e5\u672c\u8a9e.wav".encode(),
    "e\u0301.wav".encode(),
    b"-n.wav",
    b"--help.wav",
    b"x" * 251 + b".wav",
    "\u00e9".encode() * 125 + b"x.wav",
    b" blank .wav",
    b"back\\slash.wav",
    b"UPPER.WAV",
    b"a.b.c..wav",
    b"~.wav",
    b"%s%n{0}.wav",
)


def wav(number: int, samples: np.ndarray | None = None, subtype: str = "PCM_16") -> bytes:
    out = io.BytesIO()
    soundfile.write(out, music(number, 1.5) if samples is None else samples, 32000, subtype=subtype, format="WAV")
    return out.getvalue()


def test_every_good_file_is_in_the_set(tmp_path, tiny_codec_folder):
    streamed = bytearray(wav(100))
    struct.pack_into("<I", streamed, 40, 0)
    mono = music(101, 1.5)
    contents = {name: wav(number) for number, name in enumerate(NAMES)}
    contents |= {
        b"streamed.wav": bytes(streamed),
        b"opposite.wav": wav(0, np.concatenate([mono, -mono], axis=1)),
        b"above full scale.wav": wav(0, 6 * music(102, 1.5), "FLOAT"),
    }
    bad = {b"text \xe9\n.wav": b"no music", b"clipped.wav": wav(0, np.clip(30 * music(103, 1.5), -1, 1))}
    folder = os.fsencode(tmp_path / "music")
    inner = os.path.join(folder, b"dossier \xe9t\xe9\n")
    os.makedirs(inner)
    for number, (name, content) in enumerate((contents | bad).items()):
        with open(os.path.join(inner if number % 3 == 0 else folder, name), "wb") as file:
            file.write(content)
    Preparation(tmp_path / "music", tmp_path / "out", small(tiny_codec_folder)).run()
    tracks = lines(tmp_path / "out" / "tracks.jsonl")
    assert len(tracks) == len(contents)
    assert {one["reason"] for one in lines(tmp_path / "out" / "rejected.jsonl")} == {"not audio", "clipped"}
    reader = ShardReader(tmp_path / "out")
    assert len(reader) == len(contents)
    assert all(error is None for _, error in reader.verify())
    opposite = next(track for track in tracks if track["name"].endswith("opposite.wav"))
    assert (opposite["channel"], opposite["channels"]) == (0, 2)
    assert opposite["peak"] > 0.3
    assert not any("channel" in track for track in tracks if track is not opposite)
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
