from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from matplotlib.image import imread
from torch import Tensor

from jasco_pl.audio.files import audio_files
from jasco_pl.codec import BandCodec, BandCodecConfig
from jasco_pl.commands.codec import add_arguments, run
from jasco_pl.evaluation.codec_report import codec_report, markdown
from jasco_pl.extract import chordino
from jasco_pl.system.errors import UserError

RATE = 32000
needs_chordino = pytest.mark.skipif(not chordino.available(), reason="Chordino is not installed")


def progression(seconds: float, transpose: int = 0) -> Tensor:
    """C and F major in turn, struck every half second, [S]."""
    time = torch.arange(round(seconds * RATE)) / RATE
    wav = torch.zeros_like(time)
    for root, late in ((0, False), (5, True)):
        for note in (48, 60, 64, 67):
            tone = sum(torch.sin(2 * torch.pi * k * 440 * 2 ** ((note + root + transpose - 69) / 12) * time) / k for k in range(1, 5))
            wav += 0.05 * tone * ((time % 4 >= 2) == late)
    return wav * torch.exp(-4 * (time % 0.5))


class Transposing(BandCodec):
    """Answers with other music than it was given."""

    def decode(self, latents: Tensor) -> Tensor:
        return progression(latents.shape[1] / 50, transpose=1)[None, None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", progression(6).numpy(), RATE)
    soundfile.write(tmp_path / "short.wav", progression(0.5).numpy(), RATE)
    return tmp_path


@needs_chordino
def test_the_report_hears_whether_chords_survive(folder: Path) -> None:
    good, bad = (codec_report(kind(BandCodecConfig(iterations=8)).eval(), audio_files(folder)) for kind in (BandCodec, Transposing))
    assert good["clips"] == 1  # the short file is left out
    assert good["figures"]["chord_iou_triad"]["mean"] > 0.7 > 0.3 > bad["figures"]["chord_iou_triad"]["mean"]
    assert bad["figures"]["onset_f1"]["mean"] > 0.7  # the rhythm is right, so onsets alone do not notice
    assert abs(good["figures"]["hum_excess_db"]["mean"]) < 3
    assert good["figures"]["decode_speed"]["mean"] > 0


@needs_chordino
def test_the_command_writes_the_figures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    BandCodec(BandCodecConfig(codebook_size=4, codebooks=1, iterations=2)).save_pretrained(folder / "codec")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments = [
        "report",
        "--codec",
        str(folder / "codec"),
        "--audio",
        str(folder),
        "--seconds",
        "3",
        "--json",
        str(folder / "report.json"),
    ]
    assert run(parser.parse_args(arguments)) == 0
    (report,) = json.loads((folder / "report.json").read_text())
    assert report["per_clip"][0]["file"] == "a.wav"
    assert 0 < report["mib"] < 1
    assert markdown({"codec": report}) in capsys.readouterr().out
    with pytest.raises(UserError, match="--limit is 0"):
        run(parser.parse_args([*arguments, "--limit", "0"]))


@needs_chordino
def test_codecs_are_compared_and_drawn(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "audio").mkdir()
    for name in "abcd":
        soundfile.write(folder / "audio" / f"{name}.wav", progression(3).numpy(), RATE)
    for iterations in (1, 8):
        BandCodec(BandCodecConfig(codebook_size=4, codebooks=1, iterations=iterations)).save_pretrained(folder / f"rounds-{iterations}")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    codecs = [str(folder / "rounds-1"), str(folder / "rounds-8")]
    shared = ["report", "--audio", str(folder / "audio"), "--seconds", "2", "--limit", "2", "--image", str(folder / "spectra.png")]
    assert run(parser.parse_args([*shared, "--codec", *codecs])) == 0
    table = capsys.readouterr().out
    assert table.index("rounds-1") < table.index("rounds-8")
    picture = imread(folder / "spectra.png")
    strips = (np.diff((picture[:, picture.shape[1] // 2, :3].sum(axis=-1) < 2.9).astype(int)) == 1).sum()
    assert strips >= 6  # two files, each with what both codecs make of it
    with pytest.raises(UserError, match="two folders of one name"):
        run(parser.parse_args([*shared, "--codec", codecs[0], codecs[0]]))
    with pytest.raises(UserError, match="too short to be drawn"):
        run(parser.parse_args([*shared, "--codec", codecs[0], "--seconds", "5"]))


def test_a_folder_of_short_files_is_an_error(folder: Path) -> None:
    with pytest.raises(UserError, match="a second"):
        codec_report(BandCodec(BandCodecConfig()), [folder / "short.wav"])
