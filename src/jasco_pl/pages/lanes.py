"""Lanes: what was asked for over what is heard on one axis of time, in a page and in a picture, with a verdict on each stretch or event.

There are four kinds: labels, notes and events here, curves in `pages.curve`. A page's script draws by the kind; a picture is drawn here.
What a lane is about - which labels, what is near - says the control to which it belongs (`jasco_pl.controls.adherence`).

Colours are Okabe and Ito's, which stay apart for colour-blind eyes, and no meaning rests on colour alone: disagreement is also hatched,
crossed or set apart.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from jasco_pl.notation.harmony import FRAME_RATE, ROOTS, changes_to_frames, first_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FREE, RIGHT, NEAR, WRONG = range(4)
"""Nothing was asked for; as asked; nearly so (of chords: the same triad with another bass, sixth or seventh); something else."""
INK, SOFT, FAINT = "#222222", "#777777", "#dddddd"
BLUE, RED, GREEN, SKY, GREY = "#0072b2", "#d55e00", "#009e73", "#a9d4f0", "#9a9a9a"
WIDTH = 12.0  # inches, of a picture
LEFT, RIGHT_END = 0.085, 0.905  # share of the width between which the lanes lie
MIDDLE = 66  # MIDI; where pitch classes are drawn while no melody says in which octave
Side = NDArray[Any]
"""Frames at 50 Hz, or times in seconds: what was asked for, or what is heard."""
Colour = tuple[float, float, float]


class Lane(ABC):
    """One kind of lane.

    Attributes:
        kind: what a page's script draws it by.
        heights: of its strip in a picture, in inches: with one side given, with both.
        name: of the lane.
        signs: what the signs in a strip with both sides mean.
    """

    kind: ClassVar[str]
    heights: ClassVar[tuple[float, float]]

    def __init__(self, name: str, signs: str) -> None:
        self.name, self.signs = name, f"{name}: {signs}"

    @abstractmethod
    def written(self, side: Side) -> list[Any]:
        """One side as it is kept in a file for a page; times in seconds."""

    @abstractmethod
    def judged(self, asked: Sequence[Any], heard: Sequence[Any], seconds: float) -> dict[str, Any]:
        """What a page's script draws.

        Args:
            asked, heard: as `written` wrote them.
            seconds: the clip's length.

        Returns:
            `kind`, `asked` and `heard`; what is heard ends with its verdict, and so does each event that was asked for.
        """

    @abstractmethod
    def draw(self, axes: Axes, asked: Side | None, heard: Side | None, names: tuple[str, str]) -> str:
        """Draw what is given of the two, between 0 and the right end of the axis of time.

        Args:
            axes: of the strip.
            asked, heard: as for `written`; they need not be of the same length.
            names: what the two sides are called.

        Returns:
            How far they agree, in a line or two; nothing where there is nothing to compare.
        """


class Labels(Lane):
    """Segments with a label each: labels by index [T].

    Args:
        name: of the lane.
        labels: the vocabulary; indices beyond it mean that nothing was asked for, and are written as no label, "".
        nothing: index that holds before the first label.
        signs: what hatched and dotted stretches mean.
    """

    kind = "labels"
    heights = (0.42, 0.84)

    def __init__(self, name: str, labels: Sequence[str], nothing: int, signs: str = "hatched = another") -> None:
        super().__init__(name, signs)
        self.labels, self.nothing = labels, nothing
        self._index = {label: index for index, label in enumerate([*labels, ""])}

    def verdicts(self, asked: Side, heard: Side) -> Side:
        """A verdict a frame [T]; both sides are of one length."""
        return np.where(asked >= len(self.labels), FREE, np.where(asked == heard, RIGHT, WRONG))

    def score(self, verdicts: Side) -> str:
        """How far two sides agree, from the verdicts on what was asked for."""
        return f"{100 * (verdicts == RIGHT).mean():.0f} % agree"

    def pretty(self, label: str) -> str:
        """A label as it is shown."""
        return label

    def colour(self, index: int) -> Colour:
        """Of a label in a picture."""
        return tint(0.87, index / len(self.labels))

    def written(self, side: Side) -> list[list[Any]]:
        """Changes as [label, start]."""
        changes = runs(np.minimum(side, len(self.labels)))
        return [[self.labels[index] if index < len(self.labels) else "", round(first / FRAME_RATE, 3)] for (index,), first, _ in changes]

    def judged(self, asked: Sequence[Any], heard: Sequence[Any], seconds: float) -> dict[str, Any]:
        frames = max(1, round(seconds * FRAME_RATE))
        wanted, found = (self._frames(changes, frames) for changes in (asked, heard))
        verdicts = self.verdicts(wanted, found)
        return {
            "kind": self.kind,
            "asked": [[self.pretty(self.labels[index]), *_times(*run)] for (index,), *run in runs(wanted) if index < len(self.labels)],
            "heard": [[self.pretty(self.labels[index]), *_times(*run), verdict] for (index, verdict), *run in runs(found, verdicts)],
        }

    def _frames(self, changes: Sequence[Any], frames: int) -> Side:
        return changes_to_frames([(self.nothing, 0.0), *((self._index[label], start) for label, start in changes)], frames)

    def draw(self, axes: Axes, asked: Side | None, heard: Side | None, names: tuple[str, str]) -> str:
        rows = [(name, side) for name, side in zip(names, (asked, heard), strict=True) if side is not None]
        axes.set_ylim(0, len(rows))
        axes.set_yticks([len(rows) - 0.5 - number for number in range(len(rows))], [name for name, _ in rows])
        for number, (_, side) in enumerate(rows):
            self._draw_row(axes, side, len(rows) - 1 - number)
        if asked is None or heard is None:
            return ""
        count = min(len(asked), len(heard))
        verdicts = self.verdicts(asked[:count], heard[:count])
        for (verdict,), first, last in runs(verdicts):
            if verdict in (NEAR, WRONG):
                _draw_difference(axes, first / FRAME_RATE, (last - first) / FRAME_RATE, near=verdict == NEAR)
        given = verdicts[verdicts != FREE]
        return self.score(given) if given.size else ""

    def _draw_row(self, axes: Axes, side: Side, bottom: float) -> None:
        inches_a_second = WIDTH * (RIGHT_END - LEFT) / axes.get_xlim()[1]
        for (index,), first, last in runs(side):
            if index >= len(self.labels):
                continue
            begin, length, colour = first / FRAME_RATE, (last - first) / FRAME_RATE, self.colour(index)
            _box(axes, (begin, bottom + 0.06), length, 0.88, facecolor=colour, edgecolor="white", linewidth=0.8)
            text = self.pretty(self.labels[index])
            inches = length * inches_a_second
            size = next((size for size in (10, 8.5, 7, 6) if inches > 0.0093 * size * len(text) + 0.05), None)
            if size is not None:
                outline = {"facecolor": colour, "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
                place = (begin + length / 2, bottom + 0.5)
                axes.text(*place, text, ha="center", va="center", fontsize=size, color=INK, zorder=5, bbox=outline, clip_on=True)


class Notes(Lane):
    """Pitch over time: semitones above `lowest` (MIDI) [T], -1 for none. The right pitch class is right in any octave."""

    kind = "notes"
    heights = (2.1, 2.1)

    def __init__(self, name: str, lowest: int) -> None:
        super().__init__(name, "pale = asked, blue = heard and right, orange = wrong, grey = not asked for")
        self.lowest = lowest

    def verdicts(self, asked: Side, heard: Side) -> Side:
        """A verdict a frame [T], of MIDI pitches; both sides are of one length."""
        right = (heard >= 0) & (heard % 12 == asked % 12)
        return np.where(asked < 0, FREE, np.where(right, RIGHT, WRONG))

    def written(self, side: Side) -> list[list[float]]:
        """Runs of one pitch as [MIDI, onset, offset]."""
        return [[pitch, *(round(time, 3) for time in _times(*run))] for (pitch,), *run in runs(self._midi(side)) if pitch >= 0]

    def judged(self, asked: Sequence[Any], heard: Sequence[Any], seconds: float, octaves: bool = True) -> dict[str, Any]:
        """As for every lane; without `octaves` what is heard is pitch classes, which go into the octave nearest to what was asked for."""
        frames = max(1, round(seconds * FRAME_RATE))
        wanted, found = (_pitches(notes, frames) for notes in (asked, heard))
        verdicts, placed = self.verdicts(wanted, found), found if octaves else in_octaves(found, wanted)
        return {
            "kind": self.kind,
            "asked": [[pitch, *_times(*run)] for (pitch,), *run in runs(wanted) if pitch >= 0],
            "heard": [[pitch, *_times(*run), judged] for (pitch, judged), *run in runs(placed, verdicts) if pitch >= 0],
            "octaves": octaves,
        }

    def nearest(self, classes: Side, asked: Side) -> Side:
        """Pitch classes [T] as pitches near to those asked for [T]; those of the lowest octave stay on the scale."""
        midi = in_octaves(classes, self._midi(asked))
        return np.where(classes >= 0, midi - self.lowest + 12 * (midi < self.lowest), -1)

    def draw(self, axes: Axes, asked: Side | None, heard: Side | None, names: tuple[str, str]) -> str:
        wanted, found = (None if side is None else self._midi(side) for side in (asked, heard))
        low, high = self._range(wanted, found)
        axes.set_ylim(low - 0.5, high + 0.5)
        for midi in range(low, high + 1):
            if midi % 12 in (1, 3, 6, 8, 10):
                axes.axhspan(midi - 0.5, midi + 0.5, color="#f3f3f3", linewidth=0, zorder=0)
        named = [midi for midi in range(low, high + 1) if midi % 12 == 0 or (midi % 12 == 7 and high - low < 30)]
        axes.set_yticks(named, [f"{ROOTS[midi % 12]}{midi // 12 - 1}" for midi in named])
        for (pitch,), *run in runs(wanted) if wanted is not None else ():
            if pitch >= 0:
                _draw_note(axes, pitch, run, 0.9, SKY if found is not None else BLUE, zorder=2)
        if found is None:
            return ""
        count = len(found) if wanted is None else min(len(found), len(wanted))
        verdicts = np.full(count, RIGHT) if wanted is None else self.verdicts(wanted[:count], found[:count])
        for (pitch, verdict), *run in runs(found[:count], verdicts):
            if pitch >= 0:
                _draw_note(axes, min(max(pitch, low), high), run, 0.4, {RIGHT: BLUE, FREE: GREY, WRONG: RED}[verdict], zorder=3)
        given = verdicts[verdicts != FREE]
        return f"{100 * (given == RIGHT).mean():.0f} % pitch\nclass agrees" if wanted is not None and given.size else ""

    def _midi(self, side: Side) -> NDArray[np.int64]:
        pitches = side.astype(np.int64)
        return np.where(pitches >= 0, pitches + self.lowest, -1)

    @staticmethod
    def _range(wanted: Side | None, found: Side | None) -> tuple[int, int]:
        """A few stray frames of an extractor must not press the tune flat; they are drawn at the rim."""
        sounding = np.concatenate([side[side >= 0] for side in (wanted, found) if side is not None])
        low, high = np.percentile(sounding, [1, 99]) if sounding.size else (60, 72)
        if wanted is not None and (wanted >= 0).any():
            low, high = min(low, wanted[wanted >= 0].min()), max(high, wanted.max())
        return int(low) - 2, int(high) + 2


class Events(Lane):
    """Points in time in seconds [N]; each is right that has a partner of its own on the other side, at most `window` seconds away."""

    kind = "events"
    heights = (0.4, 0.7)

    def __init__(self, name: str, window: float) -> None:
        super().__init__(name, f"× = no partner within {1000 * window:.0f} ms")
        self.window = window

    def verdicts(self, asked: Side, heard: Side) -> tuple[Side, Side]:
        """A verdict an event of each side; times ascend."""
        import mir_eval  # here, as in `metrics.following`

        pairs = mir_eval.util.match_events(asked, heard, self.window) if len(asked) and len(heard) else []
        sides = np.full(len(asked), WRONG), np.full(len(heard), WRONG)
        for pair in pairs:
            for side, number in zip(sides, pair, strict=True):
                side[number] = RIGHT
        return sides

    def written(self, side: Side) -> list[float]:
        """Times, to the millisecond."""
        return [round(float(time), 3) for time in side]

    def judged(self, asked: Sequence[Any], heard: Sequence[Any], seconds: float) -> dict[str, Any]:
        sides = [np.sort(np.array(times, dtype=np.float64)) for times in (asked, heard)]
        return {
            "kind": self.kind,
            **{
                name: [[round(float(time), 3), int(verdict)] for time, verdict in zip(times, verdicts, strict=True)]
                for name, times, verdicts in zip(("asked", "heard"), sides, self.verdicts(*sides), strict=True)
            },
        }

    def draw(self, axes: Axes, asked: Side | None, heard: Side | None, names: tuple[str, str]) -> str:
        wanted, found = (None if side is None else np.sort(side.astype(np.float64)) for side in (asked, heard))
        axes.set_ylim(-1 if found is not None else 0, 1 if wanted is not None else 0)
        axes.axhline(0, color=SOFT, linewidth=0.6)
        sides = [(0.5, names[0], wanted), (-0.5, names[1], found)]
        axes.set_yticks([place for place, _, times in sides if times is not None], [name for _, name, times in sides if times is not None])
        if wanted is None or found is None:
            for place, _, times in sides:
                if times is not None:
                    axes.vlines(times, 0, 1.6 * place, color=BLUE, linewidth=1.2)
            return ""
        verdicts = self.verdicts(wanted, found)
        for side, times, judged in zip((1, -1), (wanted, found), verdicts, strict=True):
            good, bad = times[judged == RIGHT], times[judged == WRONG]
            axes.vlines(good, 0, 0.85 * side, color=GREEN, linewidth=1.4)
            axes.vlines(bad, 0, 0.55 * side, color=RED, linewidth=1.2)
            axes.plot(bad, np.full(len(bad), 0.7 * side), "x", color=RED, markersize=4, markeredgewidth=1.3)
        share = 2 * (verdicts[0] == RIGHT).sum() / (len(wanted) + len(found)) if len(wanted) else None
        return "" if share is None else f"F1 {share:.2f}\n({1000 * self.window:.0f} ms)"


def in_octaves(classes: Side, wanted: Side) -> Side:
    """Pitch classes [T] as MIDI pitches in the octave nearest to a melody of MIDI pitches [T]; -1 is none in both."""
    near = _held(wanted)
    return np.where(classes >= 0, near + (classes - near + 6) % 12 - 6, -1)


def _held(pitches: Side) -> Side:
    """Each rest takes the pitch before it, the first one that after it."""
    sounding = np.flatnonzero(pitches >= 0)
    if not sounding.size:
        return np.full_like(pitches, MIDDLE)
    last = np.searchsorted(sounding, np.arange(len(pitches)), side="right") - 1
    return pitches[sounding[np.maximum(last, 0)]]


def _pitches(notes: Sequence[Sequence[float]], frames: int) -> NDArray[np.int64]:
    """Notes [pitch, onset, offset] -> [T], -1 for none."""
    out = np.full(frames, -1, dtype=np.int64)
    for pitch, onset, offset in notes:
        out[first_frame(onset) : first_frame(offset)] = round(pitch)
    return out


def runs(*columns: Side) -> Iterator[tuple[tuple[int, ...], int, int]]:
    """Stretches over which all columns [T] keep their values: the values, the first frame, the frame after the last."""
    last = 0
    for values, run in itertools.groupby(zip(*(column.tolist() for column in columns), strict=True)):
        first, last = last, last + len(list(run))
        yield values, first, last


def _times(first: int, last: int) -> list[float]:
    """Frames [first, last) in seconds."""
    return [first / FRAME_RATE, last / FRAME_RATE]


def _box(axes: Axes, corner: tuple[float, float], width: float, height: float, **look: Any) -> None:
    """A rectangle in the units of the axes."""
    from matplotlib.patches import Rectangle  # here: nobody who measures without drawing waits for matplotlib

    axes.add_patch(Rectangle(corner, width, height, **look))


def _draw_difference(axes: Axes, begin: float, width: float, near: bool) -> None:
    """Mark a stretch of the heard row: dotted where it is near, hatched with a red edge where it is wrong."""
    if near:
        _box(axes, (begin, 0.06), width, 0.13, facecolor="none", edgecolor=SOFT, hatch="....", linewidth=0, zorder=3)
        return
    _box(axes, (begin, 0.06), width, 0.88, facecolor="none", edgecolor=RED, hatch="////", linewidth=0, alpha=0.55, zorder=3)
    _box(axes, (begin, 0.06), width, 0.88, facecolor="none", edgecolor=RED, linewidth=1.6, zorder=4)


def _draw_note(axes: Axes, midi: int, run: Sequence[int], height: float, colour: str, zorder: int) -> None:
    begin, end = _times(*run)
    _box(axes, (begin, midi - height / 2), end - begin, height, facecolor=colour, linewidth=0, zorder=zorder)


def tint(lightness: float, turn: float) -> Colour:
    """A hue, a share of a turn, in Oklch (Ottosson 2020): all are of one lightness, so that black text reads on them."""
    hue = 2 * np.pi * turn + 0.5
    a, b = 0.09 * np.cos(hue), 0.09 * np.sin(hue)
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
