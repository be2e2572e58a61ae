from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from jasco_pl.audio.files import SAMPLE_RATE, write_audio
from jasco_pl.metrics.embedders import Embedder
from jasco_pl.studies.metrics import add_noise, low_pass, sensitivity, shuffle
from jasco_pl.system.errors import UserError

CLIP = 10 * SAMPLE_RATE


class Loudness(Embedder):
    """Two dimensions: how loud the low and the high half of the spectrum are, every second."""

    name, dim, sample_rate = "loudness", 2, SAMPLE_RATE
    device = torch.device("cpu")

    def __call__(self, wav: Tensor, sample_rate: int) -> Tensor:
        power = torch.fft.rfft(self.prepare(wav, sample_rate).unflatten(-1, (-1, sample_rate))).abs().square()
        return power[..., :-1].unflatten(-1, (2, -1)).mean(dim=-1).clamp_min(1e-6).log10()


@pytest.fixture
def music(tmp_path: Path) -> list[Path]:
    draw = torch.Generator().manual_seed(0)
    paths = [tmp_path / f"{name}.mix.flac" for name in "ab"]
    for path in paths:
        write_audio(path, low_pass(0.3 * torch.randn(1, 4 * CLIP, generator=draw), draw, 3000), SAMPLE_RATE)
    return paths


def test_degradations_do_what_they_say() -> None:
    draw = torch.Generator().manual_seed(0)
    wav = torch.randn(1, CLIP, generator=draw)
    noise = add_noise(wav, draw, 20) - wav
    assert 10 * torch.log10(wav.square().mean() / noise.square().mean()).item() == pytest.approx(20, abs=0.1)
    spectrum = torch.fft.rfft(low_pass(wav, draw, 2000)[0]).abs()
    assert spectrum[: CLIP // 32].mean() > 100 * spectrum[CLIP // 8 :].mean()
    shuffled = shuffle(wav, draw, 0.5)
    assert not torch.equal(shuffled, wav)
    assert torch.equal(shuffled.sort().values, wav.sort().values)


def test_rows_compare_with_other_clips_of_the_same_pieces(music: list[Path]) -> None:
    kinds = {
        "clean": lambda wav, draw: wav,
        "noise": lambda wav, draw: add_noise(wav, draw, 20),
        "more noise": lambda wav, draw: add_noise(wav, draw, 0),
    }
    found = dict(sensitivity(music, Loudness(), kinds))
    distances = [figures["FD[loudness]"] for figures in found.values()]
    assert distances == sorted(distances)
    assert distances[0] < 0.1 * distances[1]
    assert found["clean"]["FD[loudness] generated"] == found["clean"]["FD[loudness] reference"] == 2 * 2 * 10
    assert [figures["KAD[loudness]"] for figures in found.values()] == sorted(figures["KAD[loudness]"] for figures in found.values())


def test_short_files_are_refused(tmp_path: Path) -> None:
    write_audio(tmp_path / "short.wav", torch.zeros(1, CLIP), SAMPLE_RATE)
    with pytest.raises(UserError, match="two clips"):
        list(sensitivity([tmp_path / "short.wav"], Loudness(), {}))


def test_too_few_clips_are_refused_before_the_work(music: list[Path]) -> None:
    class Wide(Loudness):
        name, dim = "wide", 50

        def __call__(self, wav: Tensor, sample_rate: int) -> Tensor:
            return super().__call__(wav, sample_rate).repeat(1, 1, 25)

    with pytest.raises(UserError, match=r"40 embeddings on either side, and FD\[wide\] needs over 50: about 3 such files"):
        next(sensitivity(music, Wide(), {"clean": lambda wav, draw: wav}))
