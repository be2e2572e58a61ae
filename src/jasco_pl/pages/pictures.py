"""One picture of a clip: waveform, spectrum, and what was asked for over what was heard, on one time axis.

Figures are made without pyplot, so nothing is kept between calls and threads do not share state.
"""

from __future__ import annotations

import itertools
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from matplotlib.transforms import blended_transform_factory
from numpy.typing import NDArray
from torch import Tensor

from jasco_pl.pages.lanes import BLUE, FAINT, INK, LEFT, RIGHT_END, SOFT, WIDTH, Lane, Side
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path


@dataclass(frozen=True)
class _Strip:
    """One strip of the picture: its name, its height in inches, what draws it and returns its score, and what its signs mean.

    `ruled` strips have a line at every tick of the axis of time.
    """

    name: str
    height: float
    draw: Callable[[Axes], str]
    signs: str = ""
    ruled: bool = False


def draw_clip(
    path: str | os.PathLike[str] | None,
    *,
    wav: Tensor,
    sample_rate: int,
    title: str,
    lanes: Sequence[tuple[Lane, Side | None, Side | None]] = (),
    parts: Mapping[str, Tensor] | None = None,
    names: tuple[str, str] = ("asked", "heard"),
) -> Figure:
    """Draw a clip and, when a path is given, save it as PNG.

    Args:
        path: where to save, or None.
        wav: audio [1, S] in [-1, 1].
        sample_rate: in Hz.
        title: shown over the picture, wrapped to two lines.
        lanes: each with what was asked for and what is heard; with both sides given it shows where they differ and how far they agree, with
            neither it is left out.
        parts: name -> audio [1, S] that is drawn as a waveform under the clip's own: a stem, say.
        names: what the two sides of a lane are called.

    Raises:
        UserError: the audio is not [1, S], or the file cannot be written.
    """
    if wav.ndim != 2 or wav.shape[0] != 1 or wav.shape[1] < 2:
        raise UserError(f"audio of shape {tuple(wav.shape)} cannot be drawn: one mono clip [1, S] is needed.")
    samples = wav.detach().float().cpu()
    seconds = samples.shape[1] / sample_rate
    strips = [
        _Strip("sound", 0.75, lambda axes: _draw_waveform(axes, samples[0].numpy(), seconds)),
        _Strip("spectrum", 1.75, lambda axes: _draw_spectrum(axes, samples, sample_rate, seconds)),
    ]
    for name, part in (parts or {}).items():
        strips.append(_Strip(name, 0.5, partial(_draw_waveform, samples=part[0].detach().float().cpu().numpy(), seconds=seconds)))
    strips += [_strip(lane, asked, heard, names) for lane, asked, heard in lanes if asked is not None or heard is not None]
    figure = _compose(strips, title, seconds)
    if path is not None:
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="png", dpi=110)
    return figure


def draw_spectra(path: str | os.PathLike[str], spectra: Sequence[tuple[str, Tensor]], sample_rate: int, title: str) -> None:
    """Draw spectra of recordings one below the other on one time axis, and save them as PNG.

    Args:
        path: where to save.
        spectra: names and audio, [1, S] each in [-1, 1], of one length.
        sample_rate: in Hz.
        title: shown over the picture.

    Raises:
        UserError: the picture cannot be written.
    """
    seconds = spectra[0][1].shape[1] / sample_rate
    strips = [_Strip(name, 1.7, partial(_draw_spectrum, wav=wav, sample_rate=sample_rate, seconds=seconds)) for name, wav in spectra]
    with atomic_path(path) as temporary:
        _compose(strips, title, seconds).savefig(temporary, format="png", dpi=75)  # there are many of them


def draw_lane(
    lane: Lane, asked: Side | None, heard: Side | None, *, seconds: float, title: str, names: tuple[str, str] = ("asked", "heard")
) -> Figure:
    """One of the lanes of `draw_clip` alone."""
    return _compose([_strip(lane, asked, heard, names)], title, seconds)


def _strip(lane: Lane, asked: Side | None, heard: Side | None, names: tuple[str, str]) -> _Strip:
    both = asked is not None and heard is not None
    draw = partial(lane.draw, asked=asked, heard=heard, names=names)
    return _Strip(lane.name, lane.heights[both], draw, lane.signs * both, ruled=True)


def figure_to_image(figure: Figure) -> NDArray[np.uint8]:
    """The figure's pixels [H, W, 3], as TensorBoard's `add_image(..., dataformats="HWC")` takes them."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _compose(strips: list[_Strip], title: str, seconds: float) -> Figure:
    """Stack the strips on one time axis, names on the left and scores on the right."""
    lines = textwrap.wrap(title, 105, max_lines=2, placeholder=" …") or [""]
    top, bottom, gap = 0.2 + 0.24 * len(lines), 0.52 if any(strip.signs for strip in strips) else 0.32, 0.14
    height = top + bottom + sum(strip.height for strip in strips) + gap * (len(strips) - 1)
    figure = Figure(figsize=(WIDTH, height), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(
        LEFT, 1 - 0.13 / height, "\n".join(lines), va="top", fontsize=12, color=INK, weight="bold", parse_math=False, linespacing=1.3
    )
    edge = height - top
    for number, strip in enumerate(strips):
        axes = figure.add_axes((LEFT, (edge - strip.height) / height, RIGHT_END - LEFT, strip.height / height))
        edge -= strip.height + gap
        last = number == len(strips) - 1
        axes.set_xlim(0, seconds)
        score = strip.draw(axes)
        axes.xaxis.set_major_locator(MultipleLocator(_tick_step(seconds)))
        axes.tick_params(axis="x", labelbottom=last, length=3 if last else 0, color=SOFT, labelcolor=INK, labelsize=9)
        axes.tick_params(axis="y", length=0, labelsize=8, labelcolor=SOFT, pad=4)
        for side in axes.spines.values():
            side.set_color(FAINT)
        if strip.ruled:
            axes.grid(axis="x", color=FAINT, linewidth=0.6)
            axes.set_axisbelow(True)
        beside = blended_transform_factory(figure.transFigure, axes.transAxes)
        axes.text(0.012, 0.5, strip.name, transform=beside, rotation=90, va="center", ha="center", fontsize=10, color=INK)
        axes.text(RIGHT_END + 0.008, 0.5, score, transform=beside, va="center", ha="left", fontsize=9, color=INK, linespacing=1.35)
    figure.text(RIGHT_END + 0.014, (bottom - 0.165) / height, "seconds", va="center", fontsize=9, color=INK)
    figure.text(LEFT, 0.1 / height, "      ".join(strip.signs for strip in strips if strip.signs), va="center", fontsize=8, color=SOFT)
    return figure


def _tick_step(seconds: float) -> float:
    return next((step for step in (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0) if seconds / step <= 14), 120.0)


def _draw_waveform(axes: Axes, samples: NDArray[np.float32], seconds: float) -> str:
    columns = min(1600, len(samples))
    edges = np.linspace(0, len(samples), columns, endpoint=False).astype(int)
    time = (np.arange(columns) + 0.5) * seconds / columns
    axes.fill_between(time, np.minimum.reduceat(samples, edges), np.maximum.reduceat(samples, edges), color=BLUE, linewidth=0)
    peak = float(np.abs(samples).max())
    axes.set_ylim(-max(1.05 * peak, 0.05), max(1.05 * peak, 0.05))
    axes.set_yticks([0], ["0"])
    axes.axhline(0, color=SOFT, linewidth=0.4)
    level = f"{20 * np.log10(peak):.1f} dB".replace("-", "−") if peak > 0 else "silent"
    return f"peak\n{level}"


def _draw_spectrum(axes: Axes, wav: Tensor, sample_rate: int, seconds: float) -> str:
    """Level over log-frequency, six octaves or more legible at once, 70 dB deep."""
    n_fft = 4096
    hop = max(1, wav.shape[1] // 900)
    spectrum = torch.stft(wav, n_fft, hop, window=torch.hann_window(n_fft), center=True, pad_mode="constant", return_complex=True)[0]
    level = 20 * torch.log10(spectrum.abs() + 1e-6).numpy()
    highest = min(15000.0, 0.47 * sample_rate)
    edges = np.geomspace(50.0, highest, 181) * n_fft / sample_rate
    rows = []
    for low, high in itertools.pairwise(edges):
        first, last = int(np.ceil(low)), int(np.floor(high))
        if last >= first:
            rows.append(level[first : last + 1].max(axis=0))
        else:  # narrower than a bin: between the two bins around it
            share = (low + high) / 2 - np.floor(low)
            rows.append((1 - share) * level[int(low)] + share * level[int(low) + 1])
    image = np.stack(rows)
    top = image.max()
    axes.imshow(
        image, origin="lower", aspect="auto", extent=(0, seconds, 0, 1), cmap="magma", vmin=top - 70, vmax=top, interpolation="bilinear"
    )
    marks = [hertz for hertz in (100, 300, 1000, 3000, 10000) if hertz < highest]
    place = [np.log(hertz / 50.0) / np.log(highest / 50.0) for hertz in marks]
    axes.set_yticks(place, [f"{hertz} Hz" if hertz < 1000 else f"{hertz // 1000} kHz" for hertz in marks])
    return ""
