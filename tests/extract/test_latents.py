from __future__ import annotations

from pathlib import Path

import pytest
import torch

from jasco_pl.audio.long_audio import InMemory
from jasco_pl.codec import BandCodec
from jasco_pl.extract.latents import encode


@pytest.fixture(scope="module")
def codec(tiny_codec_folder: Path) -> BandCodec:
    return BandCodec.from_pretrained(tiny_codec_folder)


@pytest.mark.parametrize("window_seconds", [0.02, 0.1, 0.33, 1.0, 60.0])
@pytest.mark.parametrize("length", [1, 640, 64_000, 70_001])
def test_windows_of_the_band_codec_are_its_whole(codec: BandCodec, window_seconds: float, length: int) -> None:
    wav = torch.randn(1, length, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.5, 0.01, length)
    latents, codes = encode(codec, InMemory(wav, 32000), window_seconds)
    whole = codec.encode(wav[None])[0]
    assert latents.shape == whole.shape == (-(-length // 640), 128)
    torch.testing.assert_close(latents, whole, atol=1e-5, rtol=0)
    assert codes.dtype == torch.int16
    assert torch.equal(codes.long(), codec.codes(whole[None])[0])


def test_less_context_would_not_do(codec: BandCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    wav = torch.randn(1, 64_000, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(codec, "context", codec.context - 1)
    assert (encode(codec, InMemory(wav, 32000), 0.5)[0] - codec.encode(wav[None])[0]).abs().max() > 1e-3


def test_nothing_has_no_latents_and_another_rate_is_refused(codec: BandCodec) -> None:
    latents, codes = encode(codec, InMemory(torch.zeros(1, 0), 32000))
    assert (latents.shape, codes.shape) == ((0, 128), (0,))
    with pytest.raises(ValueError, match="32000 samples a second, not 44100"):
        encode(codec, InMemory(torch.zeros(1, 10), 44100))
