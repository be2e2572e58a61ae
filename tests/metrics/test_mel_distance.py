from __future__ import annotations

import math

import pytest
import torch

from jasco_pl.metrics.reconstruction import mel_distance
from jasco_pl.system.errors import UserError

NOISE = 0.1 * torch.randn(1, 64000, generator=torch.Generator().manual_seed(0))


def test_identical_is_zero_and_silence_has_no_minus_infinity() -> None:
    assert mel_distance(NOISE, NOISE) == 0.0
    assert mel_distance(torch.zeros_like(NOISE), torch.zeros_like(NOISE)) == 0.0
    assert math.isfinite(mel_distance(torch.zeros_like(NOISE), NOISE))


def test_a_factor_e_in_amplitude_is_a_distance_of_one() -> None:
    assert mel_distance(NOISE * math.e, NOISE) == pytest.approx(1.0, abs=0.02)


def test_distance_grows_with_damage_and_is_symmetric() -> None:
    damage = torch.randn(NOISE.shape, generator=torch.Generator().manual_seed(1))
    little, much = mel_distance(NOISE + 0.02 * damage, NOISE), mel_distance(NOISE + 0.2 * damage, NOISE)
    assert 0 < little < much
    assert mel_distance(NOISE, NOISE + 0.2 * damage) == pytest.approx(much)


def test_lengths_must_agree() -> None:
    with pytest.raises(UserError, match="one length"):
        mel_distance(NOISE[:, 1:], NOISE)
