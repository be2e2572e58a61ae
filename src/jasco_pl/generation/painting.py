"""Long clips made window after window, each going on from the end of the one before, and recordings laid over what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import zip_longest
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
from jasco_pl.network.flow.path import Path
from jasco_pl.network.flow.solver import Field, Progress, Solution
from jasco_pl.notation.stretches import runs

OVERLAP = 0.3  # share of a window that another one, or a recording, has made before it
HELD = 0.2  # share that stays as the window before has made it; over the rest of the overlap the new one takes over
APART_DB = 3.0  # what is made may be so much louder or quieter as a whole than what is kept
PEAK_DB = -1.0  # dB over full scale, of what is made
FADE = 0.1  # seconds from the rendering to the recording itself; shorter ones are heard as onsets (docs/decisions.md)


class Window(NamedTuple):
    """Frames [first, last) that the network sees at once; those of [start, stop) that are not kept are taken from what it makes.

    The first `fade` of these were made by the window before, from which it takes over gradually.
    """

    first: int
    last: int
    start: int
    stop: int
    fade: int = 0

    def held(self) -> NDArray[np.float32]:
        """How firmly each of its frames stays what was made of it before, [last - first]: 1 up to `start`, then falling to 0."""
        weight = np.zeros(self.last - self.first, dtype=np.float32)
        before = self.start - self.first
        weight[:before] = 1
        weight[before : before + self.fade] = 1 - (np.arange(self.fade) + 0.5) / max(self.fade, 1)
        return weight


class Held(NamedTuple):
    """Frames that are to become what is known of them: latents [B, T, C], and how firmly, [B, T, 1]."""

    latents: Tensor
    weight: Tensor

    def over(self, field: Field, path: Path, begun: Tensor, start: float = 0.0) -> Field:
        """A field in which they follow the path to what they are to become, from `begun` at the time `start`; half held, half of it."""

        def held(z: Tensor, t: Tensor) -> Tensor:
            at = torch.full((len(z),), start, device=z.device)
            nothing, one = torch.zeros_like(begun), torch.ones_like(begun)
            noise = (begun - path.point(nothing, self.latents, at)) / path.point(one, nothing, at)  # whose way to them leads through there
            return torch.lerp(field(z, t), path.target(noise, self.latents, t.expand(len(z))), self.weight)

        return held

    def items(self, index: slice) -> Held:
        """Some items of the batch."""
        return Held(self.latents[index], self.weight[index])


def plan_windows(kept: NDArray[np.bool_], length: int) -> list[Window]:
    """Windows that make what is not kept, in order.

    A stretch that fits into one window with something known around it gets one, with as much known on both sides as the clip has. A longer
    one is covered by windows at equal distances; each takes its beginning, `HELD` of its length, from the one before, takes over from it
    up to `OVERLAP`, and makes all that follows, so that the share it has to make does not depend on the length of the clip.

    Args:
        kept: frames of the clip that are known from the beginning, [T].
        length: frames of a window.
    """
    frames, overlap, held = len(kept), round(OVERLAP * length), round(HELD * length)
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
        plan.append(Window(begin, begin + length, start, min(begin + length, stop)))
        plan += [Window(first, first + length, first + held, min(first + length, stop), overlap - held) for first in firsts[1:]]
    return plan


def seams_of(frames: int, length: int) -> list[int]:
    """Frames of a clip in the middle of where a window takes over from the one before it, where nothing is kept."""
    return [window.start + window.fade // 2 for window in plan_windows(np.zeros(frames, dtype=bool), length)[1:]]


class Made(NamedTuple):
    """How far clips have come.

    Attributes:
        latents: [B, T, C].
        frames: how many of them, from the beginning, stay as they are.
        evaluations: of the network until then, for the clip that took most.
        passes: of a clip through the network, its rows of guidance counted, as the mean over the clips.
    """

    latents: Tensor
    frames: int
    evaluations: int
    passes: float = 0.0


def paint(
    conditions: Conditions,
    noise: Tensor,
    length: int,
    flow: Callable[[Conditions, Tensor, Held, Progress | None], Solution],
    progress: Progress | None = None,
) -> Iterator[Made]:
    """Make what the raw condition `painting` of each item does not hold, window by window; what it holds stays as it is.

    What a window knows of a recording it is told by that control. What it knows of the window before it is held in the flow itself, which
    needs no control (docs/decisions.md).

    Args:
        conditions: of all frames.
        noise: [B, T, C].
        length: longest window in frames.
        flow: from the conditions and noise of a window, what is held in it, and whom to tell of progress, to its latents.
        progress: told the share that is done.
    """
    given = conditions.local.get(Painting.name, torch.full_like(noise, torch.nan))
    kept = ~given.isnan().any(dim=-1)
    plans = [tuple(plan_windows(row, length)) for row in kept.cpu().numpy()]
    different = list(dict.fromkeys(plans))
    total, finished, most = sum(map(len, different)), 0, 0
    latents = given.to(noise.dtype).clone()

    def advance(share: float) -> None:
        if progress is not None:
            progress((finished + share) / total)

    for plan in different:
        rows = torch.tensor([index for index, other in enumerate(plans) if other == plan], device=noise.device)
        evaluations = 0
        for window, following in zip_longest(plan, plan[1:]):
            inside, makes = slice(window.first, window.last), slice(window.start, window.stop)
            before = latents[rows, inside]
            own = ~kept[rows, inside, None] & ~before.isnan().any(dim=-1, keepdim=True)  # made by a window before this one
            held = Held(before.nan_to_num(), own * torch.from_numpy(window.held()).to(noise)[:, None])
            seen = conditions.items(rows).window(window.first, window.last)
            solution = flow(seen, noise[rows, inside], held, advance)
            made = solution.latents[:, window.start - window.first : window.stop - window.first]
            latents[rows, makes] = torch.where(kept[rows, makes, None], latents[rows, makes], made)
            evaluations += solution.evaluations
            most, finished = max(most, evaluations), finished + 1
            last = len(latents[0]) if following is None else following.start
            yield Made(latents, last if plan == different[-1] else 0, most)


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
