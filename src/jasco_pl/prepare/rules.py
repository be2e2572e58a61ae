"""Which recordings are not taken, and why: every rule is an option, every refusal has a reason and a sentence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jasco_pl.long_audio import LongAudio, Samples

FULL_SCALE = 0.999
RUN = 3  # samples in a row: music touches full scale for one or two, clipping flattens more
_BLOCK = 1 << 20


@dataclass
class Rules:
    """What is not taken; null switches a rule off."""

    min_seconds: float | None = 5.0
    """Shorter recordings."""
    max_seconds: float | None = None
    """Longer ones."""
    min_rate: int | None = 16000
    """A lower sampling rate, in Hz: nothing above half of it is there to be learned."""
    min_peak_db: float | None = -50.0
    """A lower highest peak, dB over full scale: near-silence."""
    max_clipped: float | None = 0.01
    """A larger share of samples in runs of three or more at full scale."""
    max_missing: float | None = 0.02
    """A larger share of the length that the file's header claims, and that does not decode: truncated files."""


@dataclass(frozen=True)
class Levels:
    """How loud a recording gets."""

    peak: float
    clipped: float

    @property
    def peak_db(self) -> float:
        """dB over full scale, -inf for silence."""
        return float(20 * np.log10(self.peak)) if self.peak > 0 else -np.inf


def levels(samples: Samples) -> Levels:
    """Peak and share of clipped samples, block by block; a run that crosses the edge of a block counts in its parts."""
    peak, clipped = 0.0, 0
    for start in range(0, len(samples), _BLOCK):
        block = np.abs(samples[start : start + _BLOCK])
        peak = max(peak, float(block.max(initial=0.0)))
        clipped += clipped_samples(block)
    return Levels(peak, clipped / max(1, len(samples)))


def clipped_samples(magnitudes: NDArray[np.float32]) -> int:
    """How many samples lie in runs of at least three at full scale."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], magnitudes >= FULL_SCALE, [False]]).astype(np.int8)))
    lengths = edges[1::2] - edges[::2]
    return int(lengths[lengths >= RUN].sum())


def refuse_length(audio: LongAudio, rules: Rules) -> tuple[str, str] | None:
    """(reason, sentence) where the length or the rate is not to be had, None otherwise."""
    seconds = audio.seconds
    if rules.min_rate is not None and audio.source_rate < rules.min_rate:
        return "low rate", f"it has {audio.source_rate} samples a second; at least {rules.min_rate} are wanted (rules.min_rate)."
    if rules.max_missing is not None and seconds < (1 - rules.max_missing) * audio.claimed_seconds:
        return (
            "truncated",
            f"{seconds:.1f} of the {audio.claimed_seconds:.1f} seconds that it claims can be decoded (rules.max_missing).",
        )
    if rules.min_seconds is not None and seconds < rules.min_seconds:
        return "too short", f"it lasts {seconds:.3g} s; at least {rules.min_seconds:g} are wanted (rules.min_seconds)."
    if rules.max_seconds is not None and seconds > rules.max_seconds:
        return "too long", f"it lasts {seconds:.0f} s; at most {rules.max_seconds:g} are wanted (rules.max_seconds)."
    return None


def refuse_levels(found: Levels, rules: Rules) -> tuple[str, str] | None:
    """(reason, sentence) where there is next to nothing to hear or much is clipped, None otherwise."""
    if rules.min_peak_db is not None and found.peak_db < rules.min_peak_db:
        return "silent", f"its highest peak is {found.peak_db:.1f} dB; at least {rules.min_peak_db:g} are wanted (rules.min_peak_db)."
    if rules.max_clipped is not None and found.clipped > rules.max_clipped:
        return "clipped", f"{found.clipped:.1%} of its samples are clipped; at most {rules.max_clipped:.1%} are wanted (rules.max_clipped)."
    return None
