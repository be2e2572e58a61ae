"""Audio brought to a loudness while it is made: what `loudness_normalize` does to a clip that is there, as far as that can be done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from jasco_pl.audio.files import LIMIT_DB, LIMITER_REACH, limiter_gains, true_peak_db
from jasco_pl.audio.levels import sounding_loudness


def levelled(
    parts: Iterable[Tensor], sample_rate: int, target: float = -14.0, peak_db: float = -1.0, ahead: float = 0.0
) -> Iterator[Tensor]:
    """Parts of a clip by one gain, which the first part that sounds tells; the limiter takes what later ones have over the ceiling.

    How loud the rest will be nobody knows, so that the whole may be louder or softer than the target. A twentieth of a second is held back
    for the limiter and comes with the next part; how a clip is cut into parts after the first makes no difference.

    Args:
        parts: [1, S] each, S as it comes.
        sample_rate: Hz.
        target: loudness of the clip, LUFS.
        peak_db: ceiling of peaks, dB over full scale.
        ahead: by how much the whole is expected to be louder than the first part, dB.
    """
    reach, ceiling = int(LIMITER_REACH * sample_rate), 10 ** (peak_db / 20)
    gain: float | None = None
    buffer, given = np.zeros(0), 0  # samples that the limiter looks at, and how many of them were handed over
    for part in chain(parts, [None]):
        if part is not None:
            if gain is None and (loudness := sounding_loudness(part, sample_rate)) is not None:
                room = peak_db + LIMIT_DB - true_peak_db(part, sample_rate)
                gain = 10 ** (min(target - ahead - loudness, room) / 20)
            buffer = np.concatenate([buffer, part[0].cpu().double().numpy() * (gain or 1.0)])
        stop = len(buffer) if part is None else max(given, len(buffer) - reach)
        if stop > given:
            limited = buffer * limiter_gains(buffer, sample_rate, ceiling)
            yield torch.from_numpy(limited[given:stop].astype(np.float32))[None]
        kept = max(0, stop - reach)
        buffer, given = buffer[kept:], stop - kept
