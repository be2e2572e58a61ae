"""When notes and hits begin: librosa's onset detector at its default settings, as in the field's beat and drum F1 figures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from jasco_pl.audio.files import resample
from jasco_pl.system import librosa

SAMPLE_RATE = 22050


def onset_times(wav: Tensor, sample_rate: int) -> NDArray[np.float64]:
    """Onsets of one clip [1, S] in seconds, rising; empty when nothing begins.

    They lie on a grid of 23 ms (hop 512 at 22,050 Hz) at the peaks of the onset strength, not backtracked to where they start to rise.
    """
    samples = resample(wav, sample_rate, SAMPLE_RATE)[0].numpy()
    if not np.any(samples):
        return np.zeros(0)
    return np.asarray(librosa.onset.onset_detect(y=samples, sr=SAMPLE_RATE, units="time"), dtype=np.float64)
