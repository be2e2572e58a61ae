from __future__ import annotations

import pytest
import torch

from jasco_pl.extract.classical import prominent_pitch_class
from jasco_pl.metrics.following import chroma_similarity, pitch_class_accuracy
from jasco_pl.system.errors import UserError

SR = 32000
MELODY = [60, 64, 67, 71, 74, 69, 61, 66, 63, 70]  # one second each


def tones(notes: list[int], seconds: float = 1.0, sample_rate: int = SR) -> torch.Tensor:
    """Notes one after the other, with three falling harmonics and a plucked envelope: [1, S]."""
    time = torch.arange(int(seconds * sample_rate)) / sample_rate
    out = []
    for note in notes:
        hertz = 440 * 2 ** ((note - 69) / 12)
        wave = sum(0.5**k * torch.sin(2 * torch.pi * hertz * (k + 1) * time) for k in range(3))
        out.append(torch.as_tensor(wave) * torch.exp(-time) * (1 - torch.exp(-200 * time)))
    return 0.3 * torch.cat(out)[None]


@pytest.mark.parametrize("sample_rate", [SR, 44100])
def test_prominent_pitch_class_of_tones_over_a_louder_bass(sample_rate: int) -> None:
    bass = 1.5 * tones([36, 43, 41, 36, 38], 2.0, sample_rate)
    asked = torch.tensor([note % 12 for note in MELODY]).repeat_interleave(50)
    heard = prominent_pitch_class(tones(MELODY, 1.0, sample_rate) + bass, sample_rate, 500)
    assert heard.shape == (500,)
    assert pitch_class_accuracy(heard, asked) > 0.95  # the rest are frames across a change


def test_frames_stand_at_multiples_of_a_fiftieth() -> None:
    heard = prominent_pitch_class(tones([60, 66]), SR, 100)
    changes = (heard[1:] != heard[:-1]).nonzero().flatten() + 1
    assert len(changes) == 1
    assert abs(int(changes[0]) - 50) <= 1


def test_silence_and_the_time_past_the_end_have_no_pitch() -> None:
    wav = torch.cat([tones([69]), torch.zeros(1, SR)], dim=1)
    heard = prominent_pitch_class(wav, SR, 150)
    assert (heard[:48] == 9).all()
    assert (heard[55:] == -1).all()
    assert (prominent_pitch_class(torch.zeros(1, SR), SR, 50) == -1).all()


def test_similarity_of_itself_transposed_and_half() -> None:
    wav, up = tones(MELODY), tones([note + 1 for note in MELODY])
    assert chroma_similarity(wav, wav, SR) == 1.0
    assert chroma_similarity(tones([note + 12 for note in MELODY]), wav, SR) > 0.95
    assert chroma_similarity(up, wav, SR) < 0.1
    half = torch.cat([wav[:, : 5 * SR], up[:, 5 * SR :]], dim=1)
    assert chroma_similarity(half, wav, SR) == pytest.approx(0.5, abs=0.06)


def test_similarity_survives_level_and_noise() -> None:
    wav = tones(MELODY)
    noisy = 0.1 * wav + 0.003 * torch.randn(wav.shape, generator=torch.Generator().manual_seed(0))
    assert chroma_similarity(noisy, wav, SR) > 0.9


def test_bad_input_is_refused() -> None:
    with pytest.raises(UserError, match="32000"):
        prominent_pitch_class(torch.zeros(1, 11025), 11025, 50)
    with pytest.raises(UserError, match="mono"):
        prominent_pitch_class(torch.zeros(2, SR), SR, 50)
