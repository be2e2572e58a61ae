from __future__ import annotations

import librosa
import numpy as np
import pytest
from recordings import music

from jasco_pl.prepare import chroma
from jasco_pl.prepare.chroma import constant_q_chroma


@pytest.mark.parametrize("cents", [-31.0, 0.0, 18.0])
def test_it_is_librosa_s(cents: float) -> None:
    samples = music(3, 12.0, 11025)[:, 0].astype(np.float32)
    time = np.arange(0, len(samples) - 1, 2 ** (cents / 1200))
    samples = np.interp(time, np.arange(len(samples)), samples).astype(np.float32)
    theirs = librosa.feature.chroma_cqt(y=samples, sr=11025, hop_length=2048, n_octaves=6)
    ours = constant_q_chroma(samples)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 0.1  # the tuning is a little coarser
    assert np.corrcoef(ours.mean(axis=1), theirs.mean(axis=1))[0, 1] > 0.999


@pytest.mark.parametrize("length", [1, 700, 11025, 11026, 50001])
def test_any_length(length: int) -> None:
    found = constant_q_chroma(music(0, 5.0, 11025)[:length, 0].astype(np.float32))
    assert found.shape == (12, 1 + length // 2048)
    assert np.isfinite(found).all()
    assert found.max() <= 1


def test_silence_has_no_chroma() -> None:
    assert not constant_q_chroma(np.zeros(11025, dtype=np.float32)).any()


def test_the_filters_are_made_once_a_tuning(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = music(1, 2.0, 11025)[:, 0].astype(np.float32)
    constant_q_chroma(samples)
    monkeypatch.setattr(chroma, "wavelet", None)
    constant_q_chroma(samples)
