"""One picture of a clip: waveform, spectrum, and what was asked for over what was heard, on one time axis.

Colours are Okabe and Ito's, which stay apart for colour-blind eyes, and no meaning rests on colour alone: disagreement is also hatched,
crossed or set apart. Figures are made without pyplot, so nothing is kept between calls and threads do not share state.
"""

from __future__ import annotations

import itertools
import os
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import mir_eval
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MultipleLocator
from matplotlib.transforms import blended_transform_factory
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from jasco_pl.metrics.chords import chord_matches
from jasco_pl.metrics.melody import LOWEST_MIDI, bins_to_pitch_class, melody_accuracy
from jasco_pl.metrics.onset_f1 import WINDOW, onset_f1
from jasco_pl.notation import harmony
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path

FRAME_RATE = harmony.FRAME_RATE
INK, SOFT, FAINT = "#222222", "#777777", "#dddddd"
BLUE, RED, GREEN, SKY, GREY = "#0072b2", "#d55e00", "#009e73", "#a9d4f0", "#9a9a9a"
WIDTH = 12.0  # inches
LEFT, RIGHT = 0.085, 0.905  # share of the width between which the lanes lie
_KEYS = {
    "chords": "chords: hatched = other chord, dotted = same triad",
    "melody": "melody: pale = asked, blue = heard and right, orange = wrong, grey = not asked for",
    "onsets": "onsets: × = no partner within 50 ms",
}


@dataclass(frozen=True)
class _Lane:
    """One strip of the picture: its name, its height in inches, what draws it and returns its score, and what its signs mean."""

    name: str
    height: float
    draw: Callable[[Axes], str]
    key: str = ""


def draw_clip(
    path: str | os.PathLike[str] | None,
    *,
    wav: Tensor,
    sample_rate: int,
    title: str,
    asked_chords: ArrayLike | None = None,
    heard_chords: ArrayLike | None = None,
    asked_melody: ArrayLike | None = None,
    heard_melody: ArrayLike | None = None,
    asked_onsets: ArrayLike | None = None,
    heard_onsets: ArrayLike | None = None,
    parts: Mapping[str, Tensor] | None = None,
    names: tuple[str, str] = ("asked", "heard"),
) -> Figure:
    """Draw a clip and, when a path is given, save it as PNG.

    A lane appears for what is given; with both sides given it shows where they differ and how far they agree.

    Args:
        path: where to save, or None.
        wav: audio [1, S] in [-1, 1].
        sample_rate: in Hz.
        title: shown over the picture, wrapped to two lines.
        asked_chords, heard_chords: vocabulary indices [T] at 50 Hz; NULL where nothing was asked for.
        asked_melody, heard_melody: melody bins [T] at 50 Hz (0 = MIDI 43), -1 for none.
        asked_onsets, heard_onsets: times in seconds.
        parts: name -> audio [1, S] that is drawn as a waveform under the clip's own: a stem, say.
        names: what the two rows of chords and of onsets are called.

    Raises:
        UserError: the audio is not [1, S], or the file cannot be written.
    """
    if wav.ndim != 2 or wav.shape[0] != 1 or wav.shape[1] < 2:
        raise UserError(f"audio of shape {tuple(wav.shape)} cannot be drawn: one mono clip [1, S] is needed.")
    samples = wav.detach().float().cpu()
    seconds = samples.shape[1] / sample_rate
    lanes = [
        _Lane("sound", 0.75, lambda axes: _draw_waveform(axes, samples[0].numpy(), seconds)),
        _Lane("spectrum", 1.75, lambda axes: _draw_spectrum(axes, samples, sample_rate, seconds)),
    ]
    for name, part in (parts or {}).items():
        lanes.append(_Lane(name, 0.5, partial(_draw_waveform, samples=part[0].detach().float().cpu().numpy(), seconds=seconds)))
    for name, asked, heard, heights, draw in (
        ("chords", asked_chords, heard_chords, (0.42, 0.84), partial(_draw_chords, names=names)),
        ("melody", asked_melody, heard_melody, (2.1, 2.1), _draw_melody),
        ("onsets", asked_onsets, heard_onsets, (0.4, 0.7), partial(_draw_onsets, names=names)),
    ):
        sides = (asked is not None) + (heard is not None)
        if sides:
            lanes.append(_Lane(name, heights[sides - 1], partial(draw, asked=asked, heard=heard), _KEYS[name] * (sides == 2)))
    figure = _compose(lanes, title, seconds)
    if path is not None:
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="png", dpi=110)
    return figure


def draw_lane(
    kind: str, asked: ArrayLike | None, heard: ArrayLike | None, *, seconds: float, title: str, names: tuple[str, str] = ("asked", "heard")
) -> Figure:
    """One of the lanes of `draw_clip` alone: "chords", "melody" or "onsets"; `asked` and `heard` as there."""
    lanes: dict[str, tuple[float, Callable[..., str]]] = {
        "chords": (0.84, partial(_draw_chords, names=names)),
        "melody": (2.1, _draw_melody),
        "onsets": (0.7, partial(_draw_onsets, names=names)),
    }
    height, draw = lanes[kind]
    key = _KEYS[kind] if asked is not None and heard is not None else ""
    return _compose([_Lane(kind, height, partial(draw, asked=asked, heard=heard), key)], title, seconds)


def figure_to_image(figure: Figure) -> NDArray[np.uint8]:
    """The figure's pixels [H, W, 3], as TensorBoard's `add_image(..., dataformats="HWC")` takes them."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _compose(lanes: list[_Lane], title: str, seconds: float) -> Figure:
    """Stack the lanes on one time axis, names on the left and scores on the right."""
    lines = textwrap.wrap(title, 105, max_lines=2, placeholder=" …") or [""]
    top, bottom, gap = 0.2 + 0.24 * len(lines), 0.52 if any(lane.key for lane in lanes) else 0.32, 0.14
    height = top + bottom + sum(lane.height for lane in lanes) + gap * (len(lanes) - 1)
    figure = Figure(figsize=(WIDTH, height), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(
        LEFT, 1 - 0.13 / height, "\n".join(lines), va="top", fontsize=12, color=INK, weight="bold", parse_math=False, linespacing=1.3
    )
    edge = height - top
    for number, lane in enumerate(lanes):
        axes = figure.add_axes((LEFT, (edge - lane.height) / height, RIGHT - LEFT, lane.height / height))
        edge -= lane.height + gap
        last = number == len(lanes) - 1
        axes.set_xlim(0, seconds)
        score = lane.draw(axes)
        axes.xaxis.set_major_locator(MultipleLocator(_tick_step(seconds)))
        axes.tick_params(axis="x", labelbottom=last, length=3 if last else 0, color=SOFT, labelcolor=INK, labelsize=9)
        axes.tick_params(axis="y", length=0, labelsize=8, labelcolor=SOFT, pad=4)
        for side in axes.spines.values():
            side.set_color(FAINT)
        if lane.name in ("chords", "melody", "onsets"):
            axes.grid(axis="x", color=FAINT, linewidth=0.6)
            axes.set_axisbelow(True)
        beside = blended_transform_factory(figure.transFigure, axes.transAxes)
        axes.text(0.012, 0.5, lane.name, transform=beside, rotation=90, va="center", ha="center", fontsize=10, color=INK)
        axes.text(RIGHT + 0.008, 0.5, score, transform=beside, va="center", ha="left", fontsize=9, color=INK, linespacing=1.35)
    figure.text(RIGHT + 0.014, (bottom - 0.165) / height, "seconds", va="center", fontsize=9, color=INK)
    figure.text(LEFT, 0.1 / height, "      ".join(lane.key for lane in lanes if lane.key), va="center", fontsize=8, color=SOFT)
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


def _draw_chords(axes: Axes, asked: ArrayLike | None, heard: ArrayLike | None, names: tuple[str, str]) -> str:
    rows = [(name, np.asarray(frames)) for name, frames in zip(names, (asked, heard), strict=True) if frames is not None]
    axes.set_ylim(0, len(rows))
    axes.set_yticks([len(rows) - 0.5 - number for number in range(len(rows))], [name for name, _ in rows])
    for number, (_, frames) in enumerate(rows):
        _draw_chord_row(axes, frames, len(rows) - 1 - number)
    if asked is None or heard is None or min(len(frames) for _, frames in rows) == 0:
        return ""
    exact, triad = _agreement(np.asarray(asked), np.asarray(heard))
    count = len(exact)
    given = np.asarray(asked)[:count] != harmony.NULL
    state = np.where(~given | exact, 0, np.where(triad, 1, 2))
    for kind, start, end in _runs(state):
        if kind:
            _draw_difference(axes, start / FRAME_RATE, end / FRAME_RATE, same_triad=kind == 1)
    if not given.any():
        return ""
    return f"{100 * exact[given].mean():.0f} % exact\n{100 * triad[given].mean():.0f} % triads"


def _agreement(asked: NDArray[np.int64], heard: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    count = min(len(asked), len(heard))
    return chord_matches(heard[:count], asked[:count]), chord_matches(heard[:count], asked[:count], "triad")


def _draw_difference(axes: Axes, start: float, end: float, same_triad: bool) -> None:
    """Mark a stretch of the heard row: dotted where only bass, sixth or seventh differ, hatched with a red edge where the chord does."""
    width = end - start
    if same_triad:
        axes.add_patch(Rectangle((start, 0.06), width, 0.13, facecolor="none", edgecolor=SOFT, hatch="....", linewidth=0, zorder=3))
        return
    axes.add_patch(Rectangle((start, 0.06), width, 0.88, facecolor="none", edgecolor=RED, hatch="////", linewidth=0, alpha=0.55, zorder=3))
    axes.add_patch(Rectangle((start, 0.06), width, 0.88, facecolor="none", edgecolor=RED, linewidth=1.6, zorder=4))


def _draw_chord_row(axes: Axes, frames: NDArray[np.int64], bottom: float) -> None:
    inches_a_second = WIDTH * (RIGHT - LEFT) / axes.get_xlim()[1]
    for chord, start, end in _runs(frames):
        if chord == harmony.NULL:
            continue
        begin, length = start / FRAME_RATE, (end - start) / FRAME_RATE
        axes.add_patch(Rectangle((begin, bottom + 0.06), length, 0.88, facecolor=_chord_colour(chord), edgecolor="white", linewidth=0.8))
        text = _pretty(harmony.label(chord))
        inches = length * inches_a_second
        size = next((size for size in (10, 8.5, 7, 6) if inches > 0.0093 * size * len(text) + 0.05), None)
        if size is not None:
            outline = {"facecolor": _chord_colour(chord), "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
            place = (begin + length / 2, bottom + 0.5)
            axes.text(*place, text, ha="center", va="center", fontsize=size, color=INK, zorder=5, bbox=outline, clip_on=True)


def _pretty(label: str) -> str:
    """A label as musicians write it: F♯m7♭5."""
    return {"N": "–", "UNK": "?"}.get(label, label.replace("#", "♯").replace("b", "♭"))


def _chord_colour(chord: int) -> tuple[float, float, float]:
    """Hue by root around the circle of fifths, so near keys look near; minor and diminished chords darker; no chord is grey."""
    if chord >= harmony.N:
        return to_rgb("#eeeeee")
    root, minor = chord // 16, harmony.triad(chord) % 4 in (1, 2)
    hue = 2 * np.pi * (root * 7 % 12) / 12 + 0.5
    return _oklch(0.78 if minor else 0.87, 0.09, hue)


def _oklch(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    """Oklch (Ottosson 2020) to sRGB: hues of the same lightness, so that black text reads on all of them."""
    a, b = chroma * np.cos(hue), chroma * np.sin(hue)
    lms = np.array([[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]])
    cone = (lms @ np.array([lightness, a, b])) ** 3
    to_linear = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip(to_linear @ cone, 0, 1)
    red, green, blue = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055).tolist()
    return red, green, blue


def _draw_melody(axes: Axes, asked: ArrayLike | None, heard: ArrayLike | None) -> str:
    wanted, found = (None if bins is None else np.asarray(bins) for bins in (asked, heard))
    sounding = np.concatenate([bins[bins >= 0] for bins in (wanted, found) if bins is not None])
    # A few stray frames of the extractor must not press the tune flat; they are drawn at the rim.
    low, high = np.percentile(sounding, [1, 99]) + LOWEST_MIDI if sounding.size else (60, 72)
    if wanted is not None and (wanted >= 0).any():
        low, high = min(low, wanted[wanted >= 0].min() + LOWEST_MIDI), max(high, wanted.max() + LOWEST_MIDI)
    low, high = int(low) - 2, int(high) + 2
    axes.set_ylim(low - 0.5, high + 0.5)
    for midi in range(low, high + 1):
        if midi % 12 in (1, 3, 6, 8, 10):
            axes.axhspan(midi - 0.5, midi + 0.5, color="#f3f3f3", linewidth=0, zorder=0)
    named = [midi for midi in range(low, high + 1) if midi % 12 == 0 or (midi % 12 == 7 and high - low < 30)]
    axes.set_yticks(named, [f"{harmony.ROOTS[midi % 12]}{midi // 12 - 1}" for midi in named])
    if wanted is not None:
        for pitch, start, end in _runs(wanted):
            if pitch >= 0:
                _draw_note(axes, pitch + LOWEST_MIDI, start, end, 0.9, SKY if found is not None else BLUE, zorder=2)
    if found is None:
        return ""
    count = len(found) if wanted is None else min(len(found), len(wanted))
    asked_class = np.full(count, -2) if wanted is None else bins_to_pitch_class(wanted[:count])
    agrees = bins_to_pitch_class(found[:count]) == asked_class
    for (pitch, right, free), start, end in _runs(np.stack([found[:count], agrees, asked_class == -1], axis=1)):
        if pitch >= 0:
            colour = BLUE if right or wanted is None else GREY if free else RED
            _draw_note(axes, int(np.clip(pitch + LOWEST_MIDI, low, high)), start, end, 0.4, colour, zorder=3)
    share = np.nan if wanted is None else melody_accuracy(found[:count], wanted[:count])
    return "" if np.isnan(share) else f"{100 * share:.0f} % pitch\nclass agrees"


def _draw_note(axes: Axes, midi: int, start: int, end: int, height: float, colour: str, zorder: int) -> None:
    place = (start / FRAME_RATE, midi - height / 2)
    axes.add_patch(Rectangle(place, (end - start) / FRAME_RATE, height, facecolor=colour, linewidth=0, zorder=zorder))


def _draw_onsets(axes: Axes, asked: ArrayLike | None, heard: ArrayLike | None, names: tuple[str, str]) -> str:
    wanted, found = (None if times is None else np.sort(np.asarray(times, dtype=np.float64)) for times in (asked, heard))
    axes.set_ylim(-1 if found is not None else 0, 1 if wanted is not None else 0)
    axes.axhline(0, color=SOFT, linewidth=0.6)
    sides = [(0.5, names[0], wanted), (-0.5, names[1], found)]
    axes.set_yticks([place for place, _, times in sides if times is not None], [name for _, name, times in sides if times is not None])
    pairs = [] if wanted is None or found is None else mir_eval.util.match_events(wanted, found, WINDOW)
    matched = {1: {pair[0] for pair in pairs}, -1: {pair[1] for pair in pairs}}
    for side, times in ((1, wanted), (-1, found)):
        if times is None:
            continue
        good = np.array([number in matched[side] for number in range(len(times))], dtype=bool)
        if wanted is None or found is None:
            axes.vlines(times, 0, 0.8 * side, color=BLUE, linewidth=1.2)
            continue
        axes.vlines(times[good], 0, 0.85 * side, color=GREEN, linewidth=1.4)
        axes.vlines(times[~good], 0, 0.55 * side, color=RED, linewidth=1.2)
        axes.plot(times[~good], np.full((~good).sum(), 0.7 * side), "x", color=RED, markersize=4, markeredgewidth=1.3)
    share = np.nan if wanted is None or found is None else onset_f1(found, wanted)
    return "" if np.isnan(share) else f"F1 {share:.2f}\n(50 ms)"


def _runs(values: NDArray) -> Iterator[tuple]:
    """(value, first frame, frame after the last) of each run of equal rows."""
    if not len(values):
        return
    flat = values.reshape(len(values), -1)
    changes = np.flatnonzero((flat[1:] != flat[:-1]).any(axis=1)) + 1
    for start, end in itertools.pairwise([0, *changes.tolist(), len(values)]):
        value = values[start]
        yield (int(value) if value.ndim == 0 else tuple(value.tolist())), start, end
