"""Painting: clips made window after window, each going on from the end of the one before, and recordings laid over what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from jasco_pl.audio.files import limit_peaks
from jasco_pl.audio.levels import sounding_loudness
from jasco_pl.controls.conditions import Conditions
from jasco_pl.controls.painting import Painting
from jasco_pl.network.flow.solver import Progress, Solution
from jasco_pl.notation.stretches import runs

OVERLAP = 0.3  # share of a window that is known from the one before: 70 % are masked, well inside what training masks
APART_DB = 3.0  # what is made may be so much louder or quieter as a whole than what is kept
PEAK_DB = -1.0  # dB over full scale, of what is made
FADE = 0.1  # seconds from the rendering to the recording itself; shorter ones are heard as onsets (docs/decisions.md)


class Window(NamedTuple):
    """Frames [first, last) that the network sees at once; those of [start, stop) that are not kept are taken from what it makes."""

    first: int
    last: int
    start: int
    stop: int


def plan_windows(kept: NDArray[np.bool_], length: int) -> list[Window]:
    """Windows that make what is not kept, in order.

    A stretch that fits into one window with something known around it gets one, with as much known on both sides as the clip has. A longer
    one is covered by windows at equal distances; each takes its beginning, `OVERLAP` of its length, from the one before, and makes all that
    follows, so that the share it has to make does not depend on the length of the clip.

    Args:
        kept: frames of the clip that are known from the beginning, [T].
        length: frames of a window.
    """
    frames, overlap = len(kept), round(OVERLAP * length)
    if frames <= length:
        return [Window(0, frames, 0, frames)]
    plan = []
    for start, stop in runs(~kept):
        around = min(start, overlap) + min(frames - stop, overlap)
        if stop - start + around <= length:
            first = min(max(start - (length - (stop - start)) // 2, 0), frames - length)
            plan.append(Window(first, first + length, start, stop))
            continue
        begin, end = max(start - overlap, 0), min(stop + overlap, frames) - length
        steps = -(-(end - begin) // (length - overlap))
        firsts = [begin, *(begin + round(step * (end - begin) / steps) for step in range(1, steps + 1))]
        plan += [Window(first, first + length, start if first == begin else first + overlap, min(first + length, stop)) for first in firsts]
    return plan


def paint(
    conditions: Conditions,
    noise: Tensor,
    length: int,
    flow: Callable[[Conditions, Tensor, Progress | None], Solution],
    progress: Progress | None = None,
) -> Solution:
    """Make what the raw condition `painting` of each item does not hold; what it holds stays as it is.

    Args:
        conditions: of all frames.
        noise: [B, T, C].
        length: longest window in frames.
        flow: from the conditions and noise of a window, and whom to tell of progress, to its latents.
        progress: told the share that is done.
    """
    given = conditions.local[Painting.name]
    kept = ~given.isnan().any(dim=-1)
    plans = [tuple(plan_windows(row, length)) for row in kept.cpu().numpy()]
    total, finished, most = sum(len(plan) for plan in set(plans)), 0, 0
    latents = given.to(noise.dtype).clone()

    def advance(share: float) -> None:
        if progress is not None:
            progress((finished + share) / total)

    for plan in dict.fromkeys(plans):
        rows = torch.tensor([index for index, other in enumerate(plans) if other == plan], device=noise.device)
        evaluations = 0
        for window in plan:
            inside, makes = slice(window.first, window.last), slice(window.start, window.stop)
            known = latents[rows]
            known[:, makes] = given[rows, makes].to(noise.dtype)  # what an earlier window made there is made anew
            own = conditions.items(rows)
            seen = replace(own, local=own.local | {Painting.name: known}).window(window.first, window.last)
            solution = flow(seen, noise[rows, inside], advance)
            made = known.clone()
            made[:, inside] = solution.latents
            part = latents[rows]
            part[:, makes] = torch.where(kept[rows, makes, None], part[:, makes], made[:, makes])
            latents[rows] = part
            evaluations += solution.evaluations
            finished += 1
        most = max(most, evaluations)
    return Solution(latents, most)


def splice(made: Tensor, recording: Tensor, kept: NDArray[np.bool_], hop: int, sample_rate: int) -> Tensor:
    """Lay a recording over what was made from it, where it is kept; the fades lie inside the kept stretches.

    The recording stays at its level. What was made is brought to it: by the gain at which the rendering of what is kept is as loud as the
    recording there, so that the music may still grow or fade as it does, by `APART_DB` at most; peaks beyond `PEAK_DB` are rounded off.

    Args:
        made: the clip as the codec renders it, [1, T * hop].
        recording: [1, S], any length.
        kept: [T].
        hop: samples a frame.
        sample_rate: Hz.
    """
    share = np.zeros(len(kept) * hop, dtype=np.float32)
    for first, last in ((start * hop, stop * hop) for start, stop in runs(kept)):
        place = (np.arange(last - first) + 0.5) / (FADE * sample_rate)
        rising = np.ones_like(place) if first == 0 else place
        falling = np.ones_like(place) if last == len(share) else place[::-1]
        share[first:last] = np.minimum(np.minimum(rising, falling), 1.0)
    weight = torch.from_numpy(share)
    recording = functional.pad(recording, (0, max(0, len(share) - recording.shape[-1])))[:, : len(share)]
    inside = torch.from_numpy(np.repeat(kept, hop))
    there, here = (sounding_loudness(sound[:, inside].cpu(), sample_rate) for sound in (recording, made))
    if there is not None and here is not None:
        new = sounding_loudness(made[:, ~inside].cpu(), sample_rate)
        apart = 0.0 if new is None else new - here
        gain = there - here + min(max(apart, -APART_DB), APART_DB) - apart
        made = limit_peaks(made * 10 ** (gain / 20), sample_rate, PEAK_DB)
    return torch.lerp(made, recording.to(made), weight.to(made))
