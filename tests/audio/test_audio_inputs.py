from __future__ import annotations

import builtins
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audio_inputs import BEFORE, CASES, Case, av_file, outcome, table

from jasco_pl.audio.decoding import AudioFile
from jasco_pl.audio.long_audio import LongAudio
from jasco_pl.system.errors import UserError

DOCUMENT = Path(__file__).parents[2] / "docs" / "inputs.md"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}-{case.name[:40]!r}")
def test_a_recording_as_it_is_found(case: Case, tmp_path: Path) -> None:
    if case.kind == "through FFmpeg" or case.name == b"m4a.wav":
        pytest.importorskip("av")
    assert outcome(case, tmp_path) == ""


def test_the_document_has_the_table() -> None:
    assert {case.name for case in CASES} >= set(BEFORE)
    assert table(dict.fromkeys((case.name for case in CASES), "")) in DOCUMENT.read_text(encoding="utf-8")


def test_sound_that_nobody_decodes_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "nothing.wav"
    form = struct.pack("<HHIIHH", 1, 0, 44100, 0, 0, 0)  # no channels, no bits
    path.write_bytes(b"RIFF\x34\0\0\0WAVEfmt \x10\0\0\0" + form + b"data\x10\0\0\0" + bytes(16))
    with pytest.raises(UserError, match=r"nothing\.wav' is not an audio file that can be read .*\.$"):
        AudioFile(path)


def test_a_stretch_of_a_foreign_file(tmp_path: Path) -> None:
    pytest.importorskip("av")
    av_file("alac", "ipod")(bytes(tmp_path / "x.m4a"))
    with LongAudio(tmp_path / "x.m4a") as whole, LongAudio(tmp_path / "x.m4a", start=0.5, stop=1.25) as part:
        assert whole.seconds == pytest.approx(1.5)
        assert (part.seconds, part.claimed_seconds) == (0.75, pytest.approx(0.75))
        np.testing.assert_array_equal(part.samples(44100)[:], whole.samples(44100)[22050:55125])


def test_without_the_decoder_the_refusal_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    av_file("aac", "ipod")(bytes(tmp_path / "x.m4a"))
    monkeypatch.delitem(sys.modules, "av")
    real = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(UserError, match=r"`pip install 'jasco-pl\[media\]'`"):
        AudioFile(tmp_path / "x.m4a")
