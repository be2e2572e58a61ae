"""A waveform as the page draws it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST = 600


def peaks(levels: NDArray[Any]) -> list[int]:
    """Highest of stretches of magnitudes [S], at least one: up to 600, from 0 to 100 of the highest of all."""
    edges = np.linspace(0, len(levels), min(_MOST, len(levels)), endpoint=False).astype(int)
    found = np.maximum.reduceat(levels, edges)
    return np.round(100 * found / max(float(found.max()), 1e-9)).astype(int).tolist()
