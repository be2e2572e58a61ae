"""What a request may say to each control, and how it is read before there is a network.

`jasco read` prints these readings; `jasco generate` refuses with them what cannot be read, before it imports torch, which takes seconds.
The controls take their frames from the same functions. Only what is heard in audio needs torch, which is imported there.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from jasco_pl.audio.decoding import AudioFile
from jasco_pl.audio.loudness import silent
from jasco_pl.audio.suffixes import AUDIO_SUFFIXES
from jasco_pl.controls import options
from jasco_pl.controls.options import Option, check_names
from jasco_pl.notation import midi
from jasco_pl.notation.beats import read_meter, read_tempo
from jasco_pl.notation.chord_text import read_chords
from jasco_pl.notation.harmony import FRAME_RATE
from jasco_pl.notation.level_curve import SHAPES, read_points
from jasco_pl.notation.melody_files import check_details, kind_of, no_track, read_start
from jasco_pl.notation.stretches import read_ranges, runs, stretches
from jasco_pl.system.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

_SAID = 3.0  # dB of a change of level
_LONGEST_LOOP = 60.0  # seconds that are read of one that is to be fitted
_SHOWN = 100  # chords, notes or onsets that a person is shown; JSON has all


@dataclass
class Preview:
    """What would be asked for.

    Attributes:
        data: by the keys of `jasco read --json`.
        lines: the same for a person.
        notes: how it was read.
    """

    data: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Input:
    """How a request asks a control for something.

    Attributes:
        option: what asks for it; controls that follow the same thing share one.
        details: options that say more about it.
        heeds: options of others that it looks at, without following them.
    """

    option: ClassVar[Option]
    details: ClassVar[tuple[Option, ...]] = ()
    heeds: ClassVar[tuple[Option, ...]] = ()

    @classmethod
    def options(cls) -> tuple[Option, ...]:
        """All that a request may say to it, what asks for it first."""
        return (cls.option, *cls.details)

    @classmethod
    def check(cls, asked: Mapping[str, Any]) -> None:
        """Raise UserError if values of its options, by name, do not go together; called whether or not it is asked for."""

    @classmethod
    def preview(cls, asked: Mapping[str, Any], seconds: float, listen: bool = True) -> Preview:
        """Read what was written on a command line.

        Args:
            asked: values of its options by name; that of `option` is not None.
            seconds: length of the clip.
            listen: also hear what is in audio, which imports torch; without, its header alone is read.

        Raises:
            UserError: a value that cannot be read or used.
        """
        raise NotImplementedError


class ChordsInput(Input):
    """Chords as musicians write them."""

    option, details = options.CHORDS, (options.BPM, options.METER, options.KEY)

    @classmethod
    def preview(cls, asked: Mapping[str, Any], seconds: float, listen: bool = True) -> Preview:
        read = read_chords(asked["chords"], asked["bpm"], asked["meter"], seconds, asked["key"])
        chords = [[change.label, round(change.start, 4)] for change in read.changes]
        return Preview({"chords": chords}, [_listed("chords", [f"{label}@{start:.10g}" for label, start in chords], " ")], read.notes)


class MelodyInput(Input):
    """A tune, from MIDI, audio or an array."""

    option, details = options.MELODY, (options.TRACK, options.MELODY_FROM)

    @classmethod
    def check(cls, asked: Mapping[str, Any]) -> None:
        check_details(asked["melody"], asked["track"], asked["melody_from"])

    @classmethod
    def preview(cls, asked: Mapping[str, Any], seconds: float, listen: bool = True) -> Preview:
        path, track, start = Path(asked["melody"]), asked["track"], read_start(asked["melody_from"])
        kind = kind_of(path)
        if kind == "midi":
            melody = midi.read_midi(path, seconds, track, start)
            notes = [(pitch, onset, min(offset, seconds)) for pitch, onset, offset in melody.notes if onset < seconds]
            return cls._shown(notes, melody.remarks, melody)
        if not listen:
            no_track(path, track)
            return opened(path, audio=kind == "audio")
        from jasco_pl.controls.melody import read_melody
        from jasco_pl.notation.melody import bins_to_notes

        read = read_melody(path, _frames(seconds), track=track, start=start)
        return cls._shown(bins_to_notes(read.bins), read.notes)

    @classmethod
    def _shown(cls, notes: Sequence[midi.Note], remarks: list[str], found: midi.MidiMelody | None = None) -> Preview:
        data: dict[str, Any] = {"melody": [[pitch, round(onset, 4), round(offset, 4)] for pitch, onset, offset in notes]}
        title = "melody"
        if found is not None:
            data |= {"track": found.track, "tracks": found.tracks}
            title = f"melody (track {found.track})"
        names = [f"{midi.pitch_name(pitch)} {onset:.2f}-{offset:.2f}" for pitch, onset, offset in notes]
        return Preview(data, [_listed(title, names)], remarks)


class AudioInput(Input):
    """A recording that the clip follows.

    Attributes:
        loudness: in LUFS, to which it is brought before the codec hears it: the median of what the training set has (docs/decisions.md).
    """

    loudness: ClassVar[float] = -20.0

    @classmethod
    def level_notes(cls, gain: float | None) -> list[str]:
        """What a person is told where a recording was brought there by so many dB; None is a silent one. A small change is not told."""
        name = cls.option.name
        if gain is None:
            return [silent(name)]
        change = f"{'raised' if gain > 0 else 'lowered'} by {abs(gain):.0f} dB to the {cls.loudness:g} LUFS that are usual in training"
        return [f"{name}: {cls.loudness - gain:.1f} LUFS, {change}"] if abs(gain) >= _SAID else []

    @classmethod
    def most_seconds(cls, asked: Mapping[str, Any], seconds: float) -> float:
        """How much of it is read for a clip of so many seconds."""
        return seconds

    @classmethod
    def at_tempo(cls, wav: Tensor, sample_rate: int, asked: Mapping[str, Any], seconds: float) -> tuple[Tensor, list[str]]:
        """What is done to a loop [1, S] for the tempo of the request, and what a person is told of that."""
        return wav, []

    @classmethod
    def preview(cls, asked: Mapping[str, Any], seconds: float, listen: bool = True) -> Preview:
        name = cls.option.name
        if not listen:
            return opened(asked[name])
        from jasco_pl.audio.files import SAMPLE_RATE, read_audio
        from jasco_pl.audio.levels import sounding_loudness
        from jasco_pl.extract.classical import onset_times

        told: list[str] = []
        wav = read_audio(asked[name], SAMPLE_RATE, max_seconds=cls.most_seconds(asked, seconds), notes=told)
        wav, fitted = cls.at_tempo(wav, SAMPLE_RATE, asked, seconds)
        length, loudness = wav.shape[-1] / SAMPLE_RATE, sounding_loudness(wav, SAMPLE_RATE)
        onsets = [round(float(time), 3) for time in onset_times(wav, SAMPLE_RATE)]
        level = "silent" if loudness is None else f"{loudness:.1f} LUFS"
        notes = [*(f"{name}: {note}" for note in (*told, *fitted)), *cls.level_notes(None if loudness is None else cls.loudness - loudness)]
        notes += [f"{name}: {length:.2f} s of audio will be repeated to fill the clip"] if length < seconds - 0.02 else []
        data = {"seconds": round(length, 3), "loudness": loudness and round(loudness, 2), "onsets": onsets}
        lines = [_listed(f"{name} ({length:.2f} s, {level}), onsets", [f"{onset:.2f}" for onset in onsets])]
        return Preview({name: data}, lines, notes)


class DrumsInput(AudioInput):
    """A drum part."""

    option, details, heeds = options.DRUMS, (options.FIT_LOOP,), (options.BPM, options.METER)
    loudness = -24.5

    @classmethod
    def check(cls, asked: Mapping[str, Any]) -> None:
        if asked.get("fit_loop") and (asked.get("drums") is None or asked.get("bpm") is None):
            raise UserError("--fit-loop stretches a loop (--drums) to a tempo (--bpm): both are needed.")

    @classmethod
    def most_seconds(cls, asked: Mapping[str, Any], seconds: float) -> float:
        return max(seconds, _LONGEST_LOOP) if asked.get("fit_loop") else seconds

    @classmethod
    def at_tempo(cls, wav: Tensor, sample_rate: int, asked: Mapping[str, Any], seconds: float) -> tuple[Tensor, list[str]]:
        if asked.get("bpm") is None or (wav.shape[-1] >= seconds * sample_rate and not asked.get("fit_loop")):
            return wav, []
        from jasco_pl.extract.loop import at_tempo  # librosa, which takes seconds, is for those who give both alone

        return at_tempo(wav, sample_rate, asked["bpm"], asked["meter"], bool(asked.get("fit_loop")))


class MixInput(AudioInput):
    """Music as a whole."""

    option = options.MIX


class DrumlessInput(AudioInput):
    """Music without its drums."""

    option = options.DRUMLESS
    loudness = -21.5


class PaintingInput(Input):
    """A recording that stays in parts."""

    option, details = options.PAINT, (options.KEEP, options.REDO, options.AT)

    @classmethod
    def check(cls, asked: Mapping[str, Any]) -> None:
        if asked["paint"] is None and (asked["keep"] is not None or asked["redo"] is not None):
            raise UserError("seconds to keep or to redo were given, but no recording (paint) to take them from.")
        if (at := asked.get("at")) is not None:
            if asked["paint"] is None:
                raise UserError("a second for a recording to begin at was given (at), but no recording (paint).")
            if not 0 <= at < math.inf:
                raise UserError(f"a recording begins at 0 seconds of the clip or later, not at {at:g}.")

    @classmethod
    def preview(cls, asked: Mapping[str, Any], seconds: float, listen: bool = True) -> Preview:
        for name in ("keep", "redo"):
            if asked[name] is not None:
                read_ranges(asked[name], name)
        found = opened(asked["paint"])
        if not listen:
            return found
        from jasco_pl.audio.files import SAMPLE_RATE
        from jasco_pl.controls.keeping import read_painting

        _, kept = read_painting(asked, SAMPLE_RATE, SAMPLE_RATE // FRAME_RATE, _frames(seconds), found.notes)
        parts = {"kept": kept, "made": ~kept}
        data = {name: [[first / FRAME_RATE, last / FRAME_RATE] for first, last in runs(mask)] for name, mask in parts.items()}
        line = f"paint: {', '.join(f'{name} {stretches(mask, FRAME_RATE)} s' for name, mask in parts.items())}"
        return Preview({"paint": data}, [*found.lines, line], found.notes)


class BeatInput(Input):
    """A steady tempo."""

    option, details = options.BPM, (options.METER,)

    @classmethod
    def preview(cls, asked: Mapping[str, Any], seconds: float, listen: bool = True) -> Preview:
        read_tempo(asked["bpm"])
        read_meter(asked["meter"])
        return Preview()


class DynamicsInput(Input):
    """Loudness over time."""

    option = options.DYNAMICS

    @classmethod
    def preview(cls, asked: Mapping[str, Any], seconds: float, listen: bool = True) -> Preview:
        written = asked["dynamics"].strip()
        if Path(written).suffix.lower() in AUDIO_SUFFIXES:
            found = opened(written)
            return cls._heard(written, seconds, found) if listen else found
        shape = SHAPES.get(written.lower())
        return cls._shown(read_points(written) if shape is None else [(share * seconds, level) for share, level in shape], Preview())

    @classmethod
    def _heard(cls, path: str, seconds: float, found: Preview) -> Preview:
        """A recording's levels, one a second, as they could be written."""
        from jasco_pl.audio.files import SAMPLE_RATE
        from jasco_pl.controls.dynamics import heard_levels

        levels = heard_levels(path, SAMPLE_RATE, SAMPLE_RATE // FRAME_RATE, _frames(seconds), found.notes)
        return cls._shown([(float(second), round(float(level), 1) + 0.0) for second, level in enumerate(levels[::FRAME_RATE])], found)

    @classmethod
    def _shown(cls, points: Sequence[tuple[float, float]], found: Preview) -> Preview:
        line = _listed("dynamics", [f"{time:g}:{level:g}" for time, level in points])
        return Preview({"dynamics": points}, [*found.lines, line], found.notes)


INPUTS: dict[str, type[Input]] = {
    "chords": ChordsInput,
    "melody": MelodyInput,
    "drums": DrumsInput,
    "drums_bandpass": DrumsInput,
    "mix": MixInput,
    "drumless": DrumlessInput,
    "painting": PaintingInput,
    "beat": BeatInput,
    "dynamics": DynamicsInput,
}
"""By the names of the controls. A control that is not among them has its options in its class alone."""


def previews(asked: Mapping[str, Any], seconds: float, listen: bool = True) -> dict[str, Preview]:
    """Read all that is asked for.

    Args:
        asked: values of options by name; None is not asked for.
        seconds: length of the clip.
        listen: as in `Input.preview`.

    Returns:
        By the names of the options, in the order of the controls.

    Raises:
        UserError: something cannot be read, or does not go together.
    """
    kinds = list(dict.fromkeys(INPUTS.values()))
    for kind in kinds:
        check_names(kind.options(), asked)
        kind.check(asked)
    wanted = [kind for kind in kinds if asked[kind.option.name] is not None]
    return {kind.option.name: kind.preview(asked, seconds, listen) for kind in wanted}


def opened(path: str | os.PathLike[str], audio: bool = True) -> Preview:
    """Of a file whose content is heard later: that it is there, and that audio is audio."""
    if audio:
        file = AudioFile(path)
        return Preview(lines=[f"{os.fspath(path)}: {file.claimed_seconds:.2f} s, {file.channels} channel(s) at {file.rate} Hz"])
    if not Path(path).is_file():
        raise UserError(f"melody file {os.fspath(path)!r} does not exist.")
    return Preview()


def _frames(seconds: float) -> int:
    """Of a clip."""
    return max(1, round(seconds * FRAME_RATE))


def _listed(title: str, items: Sequence[str], separator: str = ", ") -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return f"{title}: {separator.join(items[:_SHOWN]) or 'none'}{more}"
