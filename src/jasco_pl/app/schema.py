"""What is asked of the server, as JSON: checked here for its form, and described by it in the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from jasco_pl.controls.options import VARIATION
from jasco_pl.network.flow.config import Method, Quality
from jasco_pl.notation.melody import BINS, LOWEST_MIDI

MOST_TEXT, MOST_CHORDS, MOST_NOTES = 2000, 4000, 4000
FORMAT: Literal["jasco-pl/page/1"] = "jasco-pl/page/1"
VOICES = ("kick", "snare", "hat", "open hat", "clap", "tom")
STEPS = "xX.-"
_USUAL: Quality = "balanced"

Identity = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$", description="as the server gave it")]
Weight = Annotated[float, Field(ge=-10, le=10, description="guidance of its own beside the common one; 0 adds none and costs no time")]
Seconds = Annotated[float, Field(ge=0, le=600)]
Pitch = Annotated[int, Field(ge=LOWEST_MIDI, le=LOWEST_MIDI + BINS - 1)]
Note = tuple[Pitch, Seconds, Seconds]
Stretches = Annotated[str, Field(max_length=200, pattern=r"^[0-9.+\- ]*$", description="seconds it holds for: 0-4, 8-, 0-2+6-8")]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _Control(_Asked):
    guidance: Weight = 0.0
    during: Stretches | None = None


class Chords(_Control):
    """A chord line in any spelling that `jasco read` takes; no file."""

    text: str = Field(min_length=1, max_length=MOST_CHORDS, examples=["Dm7 | G7 | Cmaj7 A7"])


class Melody(_Control):
    """A tune: notes, or an upload (MIDI, of which a track may be chosen, or audio), from a second of its own on."""

    notes: list[Note] | None = Field(None, max_length=MOST_NOTES, description="[MIDI pitch, onset, offset] in seconds")
    upload: Identity | None = None
    track: int | None = Field(None, ge=0, le=255, description="of a MIDI upload, by the numbers that the upload's answer lists")
    start: Seconds | None = Field(
        None,
        alias="from",
        description="second of the upload at which a take takes it up; left out, 0, or the first note of MIDI that begins past the end",
    )

    @model_validator(mode="after")
    def _one(self) -> Melody:
        if (self.notes is None) == (self.upload is None):
            raise ValueError("a melody is notes or an upload, one of them")
        if self.notes is not None and (self.track is not None or self.start is not None):
            raise ValueError("notes have no track and no second to be taken from: leave out track and from, which belong to an upload")
        for number, (_, onset, offset) in enumerate(self.notes or [], 1):
            if offset <= onset:
                raise ValueError(f"note {number} ends at {offset:g} s, not after its beginning at {onset:g} s")
        return self


class Pattern(_Asked):
    """A drum machine: one string a voice, `x` a hit, `X` an accent, `.` or `-` none; it repeats."""

    voices: dict[str, Annotated[str, Field(min_length=1, max_length=64)]] = Field(
        examples=[{"kick": "x...x...x...x...", "hat": "..x...x.."}]
    )
    steps_per_beat: int = Field(4, ge=1, le=8)
    swing: float = Field(0.0, ge=0, le=0.5, description="share of a step by which every second one comes late")

    @model_validator(mode="after")
    def _known(self) -> Pattern:
        if unknown := [name for name in self.voices if name not in VOICES]:
            raise ValueError(f"there is no drum {unknown[0][:40]!r}; there are {', '.join(VOICES)}")
        if not self.voices:
            raise ValueError("a pattern needs at least one voice")
        for name, steps in self.voices.items():
            if unknown := sorted(set(steps) - set(STEPS)):
                raise ValueError(f"the pattern of {name!r} has {' '.join(unknown)!r}, where x (a hit), X (an accent), . and - are accepted")
        if not any("x" in steps.lower() for steps in self.voices.values()):
            raise ValueError("a pattern needs at least one hit, an x or X")
        return self


class Drums(_Control):
    """A drum part: an upload (audio), or a pattern."""

    upload: Identity | None = None
    pattern: Pattern | None = None
    fit: bool = Field(False, description="stretch a loop to whole bars of bpm, which has to be given then")

    @model_validator(mode="after")
    def _one(self) -> Drums:
        if self.fit and self.upload is None:
            raise ValueError("only a loop that was uploaded can be fitted to the tempo")
        if (self.pattern is None) == (self.upload is None):
            raise ValueError("drums are a pattern or an upload, one of them")
        return self


class Reference(_Control):
    """Music to follow."""

    upload: Identity


class TakeOf(_Asked):
    """A take of one's own."""

    job: Identity
    take: int = Field(ge=0, le=1000)


class _Recording(_Asked):
    upload: Identity | None = None
    take: TakeOf | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.take is None) == (self.upload is None):
            raise ValueError("a recording is an upload or a take, one of them")
        return self


class Paint(_Recording):
    """A recording that stays in parts: an upload or a take. Without `keep` and `redo` all of it stays, and is gone on from."""

    keep: str | None = Field(None, max_length=200, description="seconds that stay, as in 0-4 or 0-2,8-")
    redo: str | None = Field(None, max_length=200, description="seconds that are made anew")
    guidance: Weight = 0.0


class Vary(_Recording):
    """A recording that takes are variations of: an upload or a take, from its beginning on."""

    variation: float = Field(
        float(VARIATION.default or 0), ge=0, le=1, description="how far from it: 0 is the recording, 1 independent of it"
    )


class Dynamics(_Control):
    """Loudness over time: points such as `0:-30, 5:-10`, or a word such as `build`; no file."""

    curve: str = Field(min_length=1, max_length=500)


class Make(_Asked):
    """What shall be made. Everything may be left out."""

    format: Literal["jasco-pl/page/1"] = FORMAT
    text: str = Field("", max_length=MOST_TEXT)
    text_guidance: Weight = 0.0
    bpm: float | None = Field(None, ge=20, le=400)
    meter: str = Field("4/4", max_length=10)
    key: str | None = Field(None, max_length=20)
    chords: Chords | None = None
    melody: Melody | None = None
    drums: Drums | None = None
    mix: Reference | None = None
    drumless: Reference | None = None
    dynamics: Dynamics | None = None
    paint: Paint | None = None
    vary: Vary | None = None
    loop: bool = Field(False, description="the end of a take runs into its beginning")
    seconds: float | None = Field(
        None, gt=0, le=600, description="length; left out, that of the recording that is varied, or what the model was trained on"
    )
    bars: int | None = Field(None, ge=1, le=400, description="length in bars of bpm and meter, in place of seconds")
    seed: int | None = Field(None, ge=0, le=2**53 - 1, description="of the first take, the others follow; left out, a new one")
    takes: int = Field(1, ge=1, le=64)
    quality: Quality = Field(_USUAL, description="stands for a solver and its steps; another than the usual one excludes them")
    guidance: float | None = Field(None, ge=0, le=20, description="of all conditions together; left out, the checkpoint's own")
    solver: Method | None = Field(None, description="in place of the quality's")
    steps: int | None = Field(None, ge=1, le=200)
    tolerance: float | None = Field(None, gt=0, lt=1, description="of dopri5")

    @model_validator(mode="after")
    def _length(self) -> Make:
        if self.bars is not None and (self.bpm is None or self.seconds is not None):
            raise ValueError("a length in bars needs bpm, and no seconds beside it")
        if self.drums is not None and self.drums.fit and self.bpm is None:
            raise ValueError("a loop is fitted to the tempo, which needs bpm")
        return self

    @model_validator(mode="after")
    def _solver(self) -> Make:
        if self.quality != _USUAL and self.has_solver:  # the usual one may stand beside them: nobody need have asked for it
            raise ValueError("quality stands for a solver and its steps: leave out solver, steps and tolerance, or quality")
        return self

    @property
    def has_solver(self) -> bool:
        """Whether something is said in place of what the quality stands for."""
        return self.solver not in (None, "auto") or self.steps is not None or self.tolerance is not None


class ChordLine(_Asked):
    """A chord line to be read, and what it is read with."""

    text: str = Field(max_length=MOST_CHORDS)
    bpm: float | None = Field(None, ge=20, le=400)
    meter: str = Field("4/4", max_length=10)
    key: str | None = Field(None, max_length=20)
    seconds: float = Field(10.0, gt=0, le=600)


class Transposition(_Asked):
    """A chord line to be moved."""

    text: str = Field(max_length=MOST_CHORDS)
    semitones: int = Field(ge=-11, le=11)
    key: str | None = Field(None, max_length=20)


class Beat(_Asked):
    """A pattern to be heard by itself."""

    pattern: Pattern
    bpm: float = Field(120, ge=20, le=400)


def dumped(make: Make) -> dict[str, Any]:
    """As it is kept and given back: what says nothing is left out."""
    said = make.model_dump(exclude_none=True, exclude_defaults=True, by_alias=True)
    return {"format": FORMAT, **said, "quality": make.quality, "takes": make.takes}
