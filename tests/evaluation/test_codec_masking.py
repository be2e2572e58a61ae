from __future__ import annotations

from pathlib import Path

import pytest
import torch

from jasco_pl.audio.files import write_audio
from jasco_pl.cli import main
from jasco_pl.codec import BandCodec
from jasco_pl.evaluation.codec_report import masking_distances


@torch.no_grad()
def test_masking_latents_differs_from_masking_the_waveform_at_the_edges_alone(tiny_codec_folder: Path) -> None:
    codec = BandCodec.from_pretrained(tiny_codec_folder)
    wav = 0.3 * torch.randn(1, 64000, generator=torch.Generator().manual_seed(0))
    off, scale = masking_distances(wav, codec, 30, 70)
    assert off.shape == scale.shape == (100,)
    near = [*range(27, 33), *range(67, 73)]  # a window of 4096 samples reaches three frames of 640 far
    assert off[near].min() > 0.001
    assert off[30] > 0.3 * scale[30]
    far = torch.ones(100, dtype=torch.bool)
    far[near] = False
    assert off[far].max() < 1e-4
    assert scale.min() > 1.0
    assert torch.equal(wav, 0.3 * torch.randn(1, 64000, generator=torch.Generator().manual_seed(0)))  # untouched


def test_the_command_prints_a_row_a_place(tiny_codec_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_audio(tmp_path / "noise.wav", 0.3 * torch.randn(1, 64000), 32000)
    assert main(["codec", "masking", "--codec", str(tiny_codec_folder), "--audio", str(tmp_path), "--masks", "4"]) == 0
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()[2:]]
    rows = {name: float(mean) for name, mean, _ in lines}
    assert len(rows) == 3 + 2 * 5
    assert rows["masked, further than 5 frames from an edge"] == 0
    assert rows["masked, frame 1 from an edge"] > 0.3
    write_audio(tmp_path / "noise.wav", torch.zeros(1, 3200), 32000)
    assert main(["codec", "masking", "--codec", str(tiny_codec_folder), "--audio", str(tmp_path)]) == 2
    assert "too short" in capsys.readouterr().err
