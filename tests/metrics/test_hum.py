from __future__ import annotations

import pytest
import torch

from jasco_pl.metrics.reconstruction import click_rate, frame_rate_hum
from jasco_pl.system.errors import UserError

SR = 32000
SECONDS = 6


def music(seed: int = 0) -> torch.Tensor:
    """Decaying chords off the 50 Hz grid with noise bursts on every half second, like a piano and a snare: [1, S]."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(SR // 2) / SR
    out = []
    for _ in range(2 * SECONDS):
        chord = torch.zeros(SR // 2)
        for note in torch.randint(40, 80, (4,), generator=generator).tolist():
            hertz = 440 * 2 ** ((note - 69) / 12)
            chord += sum(0.6**k * torch.sin(2 * torch.pi * hertz * k * time) for k in range(1, 8))
        snare = torch.randn(SR // 2, generator=generator) * torch.exp(-30 * time)
        fade = (time * 200).clamp(max=1) * ((0.5 - time) * 50).clamp(max=1)
        out.append(0.08 * chord * torch.exp(-3 * time) * fade + 0.2 * snare)
    return torch.cat(out)[None] + 1e-3 * torch.randn(1, SR * SECONDS, generator=generator)


def pulses(rate: float = 50.0) -> torch.Tensor:
    """One sample of full scale `rate` times a second: [1, S]."""
    wav = torch.zeros(1, SR * SECONDS)
    wav[:, :: round(SR / rate)] = 1.0
    return wav


def test_music_and_noise_have_next_to_no_hum() -> None:
    assert abs(frame_rate_hum(music(), SR)) < 1.5
    assert abs(frame_rate_hum(torch.randn(1, SR * 10, generator=torch.Generator().manual_seed(0)), SR)) < 0.5
    assert frame_rate_hum(torch.zeros(1, SR), SR) == 0.0


def test_pulses_at_the_frame_rate_raise_hum_and_pulses_at_another_rate_do_not() -> None:
    wav = music()
    assert frame_rate_hum(wav + 0.5 * pulses(), SR) > frame_rate_hum(wav, SR) + 5
    assert frame_rate_hum(wav + 0.5 * pulses(64.0), SR) < frame_rate_hum(wav, SR) + 1
    assert frame_rate_hum(wav + 0.5 * pulses(64.0), SR, rate=64.0) > 5


def test_level_does_not_matter() -> None:
    wav = music() + 0.5 * pulses()
    assert frame_rate_hum(0.1 * wav, SR) == pytest.approx(frame_rate_hum(wav, SR), abs=0.1)


def test_frames_with_the_right_magnitudes_and_phases_that_do_not_join_are_heard_as_hum() -> None:
    """The fault this is for: every frame starts with the same phase, so that tones repeat at the frame rate instead of their own."""
    wav = music()
    window = torch.hann_window(1280).sqrt()
    frames = torch.stft(wav, 1280, 640, window=window, return_complex=True)
    humming = torch.istft(frames.abs().to(frames.dtype), 1280, 640, window=window, length=wav.shape[1])
    assert frame_rate_hum(humming, SR) > frame_rate_hum(wav, SR) + 5
    assert frame_rate_hum(0.5 * wav + 0.5 * humming, SR) > frame_rate_hum(wav, SR) + 2


def test_clicks_are_counted_and_drums_are_not() -> None:
    wav = music()
    assert click_rate(wav, SR) < 0.2
    assert click_rate(torch.zeros(1, SR), SR) == 0.0
    assert click_rate(wav + 0.5 * pulses(5.0), SR) == pytest.approx(5.0, abs=1.0)
    assert click_rate(torch.zeros(1, SR * SECONDS) + 0.5 * pulses(), SR) == pytest.approx(50.0, abs=1.0)


def test_a_cut_in_the_middle_of_a_tone_is_one_click() -> None:
    time = torch.arange(SR) / SR
    tone = 0.5 * torch.sin(2 * torch.pi * 220 * time)[None]
    assert click_rate(tone, SR) == 0.0
    assert click_rate(torch.cat([tone[:, :16040], tone[:, 16075:]], dim=1), SR) == pytest.approx(1.0, abs=0.01)


def test_short_or_stereo_audio_is_refused() -> None:
    for measure in (frame_rate_hum, click_rate):
        with pytest.raises(UserError, match="mono"):
            measure(torch.zeros(2, SR * 2), SR)
        with pytest.raises(UserError, match="mono"):
            measure(torch.zeros(1, 100), SR)
