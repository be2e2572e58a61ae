from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from jasco_pl.audio.files import limit_peaks, measure_loudness, true_peak_db
from jasco_pl.audio.streamed_level import levelled

RATE = 32000


def music(seconds: float, level: float = 0.05) -> Tensor:
    wav = level * torch.randn(1, round(seconds * RATE), generator=torch.Generator().manual_seed(0))
    wav[:, ::4000] *= 5  # peaks that a limiter has to round off
    return wav


def together(parts: list[Tensor], **how: float) -> Tensor:
    return torch.cat(list(levelled(parts, RATE, **how)), dim=1)


def test_the_first_part_sets_the_level_of_all() -> None:
    wav = torch.cat([music(3), 0.5 * music(3)], dim=1)
    out = together([wav[:, : 3 * RATE], wav[:, 3 * RATE :]])
    assert out.shape == wav.shape
    assert measure_loudness(out[:, : 3 * RATE], RATE) == pytest.approx(-14, abs=0.5)
    assert measure_loudness(out[:, 3 * RATE :], RATE) == pytest.approx(-20, abs=0.7)
    assert true_peak_db(out, RATE) < -0.8


@pytest.mark.parametrize("cuts", [[], [50], [4000, 4001, 20000], list(range(1600, 96000, 1600))])
def test_how_the_rest_is_cut_makes_no_difference(cuts: list[int]) -> None:
    wav = music(5)
    first, rest = wav[:, : 2 * RATE], wav[:, 2 * RATE :]
    parts = [first, *(rest[:, a:b] for a, b in zip([0, *cuts], [*cuts, rest.shape[1]], strict=True))]
    torch.testing.assert_close(together(parts), together([first, rest]), atol=1e-5, rtol=0)


def test_its_limiter_is_that_of_a_whole_clip() -> None:
    wav = music(4, level=0.02)
    out = together([wav[:, :RATE], wav[:, RATE:]])
    loud = wav * float(np.median((out / wav)[0, 100:3900]))
    torch.testing.assert_close(out, limit_peaks(loud, RATE), atol=0.02, rtol=0)


def test_silence_waits_for_sound_and_stays_silent() -> None:
    out = together([torch.zeros(1, RATE), torch.zeros(1, 100), music(2)])
    assert not out[:, :RATE].any()
    assert measure_loudness(out[:, RATE + 100 :], RATE) == pytest.approx(-14, abs=0.5)
    assert not together([torch.zeros(1, RATE)]).any()


def test_what_will_be_louder_begins_softer() -> None:
    wav = music(2)
    assert measure_loudness(together([wav], ahead=9.0), RATE) == pytest.approx(-23, abs=0.5)
