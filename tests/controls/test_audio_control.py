from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from jasco_pl.codec import BandCodec
from jasco_pl.controls.audio import AudioControl, Drums, blur
from jasco_pl.controls.base import FrameGrid


def over_time(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)[None, :, None]


def test_blur_means_windows_and_reflects_at_the_end() -> None:
    blurred = blur(over_time(0, 1, 2, 3, 4, 5, 6, 7), 3).flatten().tolist()
    assert blurred == pytest.approx([1, 1, 1, 4, 4, 4, 19 / 3, 19 / 3])  # the last window is 6, 7, 6
    assert blur(over_time(0, 1, 2, 3, 4, 5, 6), 3).flatten().tolist() == pytest.approx([1, 1, 1, 4, 4, 4, 5])  # 6, 5, 4
    assert blur(over_time(0, 1, 2, 3, 4, 5), 3).flatten().tolist() == pytest.approx([1, 1, 1, 4, 4, 4])
    assert blur(over_time(0, 1, 2, 3, 4, 5, 6), 5).flatten().tolist() == pytest.approx([2] * 5 + [4.6, 4.6])  # 5, 6, 5, 4, 3
    assert blur(over_time(3, 1, 2), 1).flatten().tolist() == [3, 1, 2]


def test_blur_of_clips_shorter_than_their_filling() -> None:
    assert blur(over_time(4), 3).flatten().tolist() == [4]
    assert blur(over_time(4, 1), 3).flatten().tolist() == [3, 3]  # 4, 1, 4


def test_blur_keeps_items_and_channels_apart() -> None:
    vectors = torch.randn(2, 7, 3)
    blurred = blur(vectors, 3)
    for item in range(2):
        for channel in range(3):
            one = blur(vectors[item : item + 1, :, channel : channel + 1], 3)
            torch.testing.assert_close(blurred[item : item + 1, :, channel : channel + 1], one)


def drums() -> Drums:
    control = Drums(codebook_size=10, codebook_dim=6)
    control.codebook.copy_(torch.randn(10, 6))
    return control


def test_drums_are_the_papers() -> None:
    control = drums()
    assert (control.name, control.field, control.channels, control.window, control.null) == ("drums", "codes_drums", 2, 3, -1)
    assert control.projection.weight.shape == (2, 6)
    assert "codebook" in control.state_dict()
    assert [name for name, _ in control.named_parameters()] == ["projection.weight", "projection.bias"]  # the codebook is not trained


def test_codes_become_blurred_projected_vectors() -> None:
    control = drums()
    out = control(torch.tensor([[1, 2, 3, 4, 4, 4]]))
    book = control.codebook
    expected = torch.stack([(book[1] + book[2] + book[3]) / 3] * 3 + [book[4]] * 3)[None]
    torch.testing.assert_close(out, control.projection(expected))


def test_no_drums_is_the_bias() -> None:
    control = drums()
    out = control(control.null_frames(2, 7))
    assert out.shape == (2, 7, 2)
    torch.testing.assert_close(out, control.projection.bias.expand(2, 7, 2))


def test_single_frames_may_be_none() -> None:
    control = drums()
    out = control(torch.tensor([[-1, 2, -1, -1, -1, -1]]))
    torch.testing.assert_close(out[0, :3], control.projection(control.codebook[2] / 3).expand(3, 2))
    torch.testing.assert_close(out[0, 3:], control.projection.bias.expand(3, 2))


def test_drop_is_for_single_samples() -> None:
    raw = torch.tensor([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    assert drums().drop(raw, torch.tensor([True, False, True])).tolist() == [[1, 2, 3], [-1, -1, -1], [7, 8, 9]]
    assert raw[1].tolist() == [4, 5, 6]


def test_bottleneck_and_window_are_choices() -> None:
    class FullMix(AudioControl):
        name, field = "mix", "codes_mix"

    control = FullMix(codebook_size=4, codebook_dim=6, dim=1, window=5)
    control.codebook.copy_(torch.randn(4, 6))
    out = control(torch.tensor([[0, 1, 2, 3, 0, 1, 1, 1, 1, 1]]))
    assert out.shape == (1, 10, 1)
    assert out[0, :5].unique().numel() == 1
    assert out[0, 5] != out[0, 4]


def loop(decibels: float) -> torch.Tensor:
    """Two seconds of decaying noise at 120 bpm."""
    time = torch.arange(64000) / 32000
    noise = torch.randn(64000, generator=torch.Generator().manual_seed(1)) * torch.exp(-30 * (time % 0.5))
    return 0.1 * 10 ** (decibels / 20) * noise[None]


def test_a_loop_asks_for_the_same_at_any_level(tiny_codec_folder: Path) -> None:
    codec = BandCodec.from_pretrained(tiny_codec_folder)
    grid = FrameGrid(200, codec, lambda latents: latents, 500)
    loud, *others = [drums().read({"drums": loop(decibels)}, grid) for decibels in (0, -10, -20, -30)]
    assert len(set(loud.raw.tolist())) > 3
    for other in others:
        assert (other.raw == loud.raw).mean() > 0.99
    assert any("raised by 36 dB to the -24.5 LUFS" in note for note in others[-1].notes), others[-1].notes
    as_it_is = drums().read({"drums": loop(-30)}, replace(grid, levels=False))  # as audiocraft has it
    assert (as_it_is.raw != loud.raw).mean() > 0.1


def test_silence_is_said_to_be_silent(tiny_codec_folder: Path) -> None:
    grid = FrameGrid(50, BandCodec.from_pretrained(tiny_codec_folder), lambda latents: latents, 500)
    reading = drums().read({"drums": torch.zeros(1, 40000)}, grid)
    assert reading.notes == ["drums: silent: nothing in it is louder than -70 LUFS"]
