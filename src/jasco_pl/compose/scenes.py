"""Edition 2: sections that differ in who plays, how loud and how fast, with fills into the change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from jasco_pl.compose.cast import Cast
from jasco_pl.compose.form import Frame, Section
from jasco_pl.compose.motion import TOUCH, Levels, Stretch, draw_levels, draw_stretch, fade_out
from jasco_pl.compose.tables import FORMS, SCENES, Groove
from jasco_pl.compose.turns import HARMONY, Turn

# Seconds that sections of a piece last, more or less, so that ten seconds often hold a change.
_PACES = ((4.0, 6.5), (6.5, 11.0), (11.0, 18.0))
_PACE_WEIGHTS = (40, 40, 20)
_BARS = (1, 2, 4, 6, 8, 12, 16)
_SHORTEST = 3.2
_BEATING = ("kick", "snare", "clap", "rim", "low tom", "low conga", "high conga")
# Growing rolls, a bar of each metre.
_RISES: dict[str, tuple[Groove, ...]] = {
    "4/4": (
        {"snare": "x.x.x.x.x.x.x.x.", "kick": "X...X...X...X..."},
        {"snare": "xxxxxxxxxxxxxxxx"},
        {"kick": "x...x...x.x.x.x.", "clap": "x...x...x...x..."},
    ),
    "3/4": ({"snare": "x.x.x.x.x.x.", "kick": "X...X...X..."}, {"snare": "xxxxxxxxxxxx"}),
    "6/8": ({"snare": "xxxxxx", "kick": "X..X.."}, {"low tom": "xxxxxx"}),
}


@dataclass(frozen=True)
class Scene:
    """A section of the plan; `wanted` are players as `forms.yaml` names them, `first` is the bar of its material that it begins with."""

    name: str
    bars: int
    energy: float
    wanted: frozenset[str]
    groove: Groove | None
    first: int
    repeat: int
    pad: int
    fill: bool
    crash: bool


@dataclass(frozen=True)
class Scenes:
    """The plan of a piece of edition 2; see `Form`."""

    frame: Frame
    sections: dict[str, Section]
    plan: tuple[Scene, ...]
    levels: Levels
    stretch: Sequence[float]
    faded: bool
    """Whether it ends by fading out, without a last bar."""
    intro: Section | None = None
    start: float = 0.0

    @classmethod
    def draw(cls, rng: Random, frame: Frame, sections: dict[str, Section], bars: int) -> Scenes:
        """Plan sections that fill `bars` bars."""
        plan = _dress(rng, frame, sections, _order(rng, frame, bars))
        stretches, at = [], 0.0
        for scene in plan:
            end = at + scene.bars * frame.pulses
            stretches.append(Stretch(at, end, scene.energy, "rise" in scene.wanted))
            at = end
        levels = draw_levels(rng, stretches, frame.pulses)
        stretch = draw_stretch(rng, stretches, frame.pulses, frame.style.rubato)
        faded = rng.random() < 0.12
        if faded:
            length = min(at / 2, max(2 * frame.pulses, rng.uniform(4.0, 9.0) * frame.bpm / 60))
            levels = fade_out(levels, at - length, at)
        return cls(frame, sections, plan, levels, stretch, faded)

    def ending(self, cast: Cast) -> frozenset[str]:
        """See `Form`."""
        return self._players(self.plan[-1], cast)

    def turns(self, cast: Cast, rng: Random) -> Iterator[Turn]:
        """See `Form`."""
        start = self.start
        for scene in self.plan:
            section = self.sections[SCENES[scene.name].material]
            section = replace(
                _cut(section, scene.first, scene.bars, self.frame.pulses), groove=section.groove if scene.groove is None else scene.groove
            )
            fill, players = scene.fill and self.frame.drums and not cast.brushes, self._players(scene, cast)
            yield Turn(section, start, scene.bars, scene.repeat, players, scene.pad, fill, scene.crash, scene.name)
            start += scene.bars * self.frame.pulses

    def _players(self, scene: Scene, cast: Cast) -> frozenset[str]:
        """Who of the wanted there is: some harmony where any is wanted, and everybody where nobody would be left."""
        there = {"melody"} if self.frame.melody else set()
        there |= {"drums"} if self.frame.drums else set()
        if self.frame.harmony:
            there |= {"comp"} | {role for role, plays in (("second", cast.second), ("pad", cast.pad), ("bass", cast.with_bass)) if plays}
        wanted = set(scene.wanted)
        if wanted & {"light", "rise"}:
            wanted.add("drums")
        players = wanted & there
        if wanted.intersection(HARMONY) and self.frame.harmony and not players.intersection(HARMONY):
            players.add("comp")
        return frozenset(players or there)

    def touch(self, position: float) -> float:
        """See `Form`."""
        return 10 ** (TOUCH * self.levels(position) / 20)

    def with_sections(self, sections: dict[str, Section]) -> Scenes:
        """See `Form`."""
        return replace(self, sections=sections)


def _order(rng: Random, frame: Frame, bars: int) -> list[tuple[str, int]]:
    """Names and lengths of sections that fill `bars` bars; everybody plays in one of them."""
    form = rng.choice(FORMS)
    bar = frame.pulses * 60.0 / frame.bpm
    pace = rng.uniform(*rng.choices(_PACES, _PACE_WEIGHTS)[0])
    at = 0 if rng.random() < 0.6 else rng.randrange(len(form))
    order: list[tuple[str, int]] = []
    filled = 0
    while filled < bars:
        name = form[at % len(form)]
        at += 1
        if name == "outro" or (order and name == "intro"):
            continue
        seconds = pace * rng.uniform(0.75, 1.35) * (0.6 if name == "build" else 1.0)
        length = min(_BARS, key=lambda count: abs(count * bar - seconds) + (99.0 if count * bar < _SHORTEST else 0.0))
        length = min(length, bars - filled)
        if order and length * bar < _SHORTEST:
            # Too little is left for another one: the last one is longer.
            order[-1] = (order[-1][0], order[-1][1] + length)
        else:
            order.append((name, length))
        filled += length
    full = [i for i, (name, _) in enumerate(order) if name in ("chorus", "climax")]
    if len(order) > 2 and full and full != [len(order) - 1] and rng.random() < 0.5:
        order[-1] = ("outro", order[-1][1])
    elif not full:
        order[-1] = ("climax", order[-1][1])
    return order


def _dress(rng: Random, frame: Frame, sections: dict[str, Section], order: list[tuple[str, int]]) -> tuple[Scene, ...]:
    """Draw players and energy of every section, and what leads from one to the next."""
    plan: list[Scene] = []
    position: dict[str, int] = {}
    count: dict[str, int] = {}
    for number, (name, bars) in enumerate(order):
        kind = SCENES[name]
        section = sections[kind.material]
        wanted = frozenset(rng.choice(kind.players).split())
        # What goes on from a section of the same material goes on in it; what comes back begins again.
        goes_on = number > 0 and SCENES[order[number - 1][0]].material == kind.material
        first = position.get(kind.material, 0) % section.bars if goes_on else 0
        position[kind.material] = first + bars
        energy = rng.uniform(*kind.energy)
        drums = bool(wanted & {"drums", "light", "rise"})
        louder = bool(plan) and energy > plan[-1].energy
        plan.append(
            Scene(
                name=name,
                bars=bars,
                energy=energy,
                wanted=wanted,
                groove=_groove(rng, frame, section, wanted),
                first=first,
                repeat=count.get(kind.material, 0),
                pad=rng.choice((0, 0, 5)),
                fill=rng.random() < (0.75 if drums else 0.0),
                crash=drums and louder and rng.random() < 0.7,
            )
        )
        count[kind.material] = count.get(kind.material, 0) + 1
        if number and frame.drums and not frame.only and drums and not plan[-2].wanted & {"drums", "light", "rise"}:
            plan[-2] = replace(plan[-2], fill=rng.random() < 0.4)
    return tuple(plan)


def _groove(rng: Random, frame: Frame, section: Section, wanted: frozenset[str]) -> Groove | None:
    """Another groove than the section's own, where one is wanted."""
    if "rise" in wanted:
        return rng.choice(_RISES[frame.meter])
    if "light" in wanted:
        beating = rng.random() < 0.5
        return {name: steps for name, steps in section.groove.items() if (name in _BEATING) == beating} or None
    return None


def _cut(section: Section, first: int, bars: int, pulses: int) -> Section:
    """Bars [first, first + bars) of a section's material, over and over again; they come first in the result."""
    start, end = float(first * pulses), float((first + bars) * pulses)
    slots, at = [], 0.0
    while at < end - 1e-6:
        for chord, length in section.chords:
            low, high = max(at, start), min(at + length, end)
            if high - low > 1e-6:
                slots.append((chord, high - low))
            at += length
    return replace(section, chords=slots, bars=bars)
