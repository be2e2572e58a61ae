"""A stretch of a song made anew: what lies around it is heard, what was asked for holds in it, and all else stays as it is.

Only a window around the stretch is encoded and made; the song itself is read block after block, at its own rate and in its own channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jasco_pl.audio.channels import Downmix, said
from jasco_pl.audio.decoding import AudioFile
from jasco_pl.audio.files import limit_peaks, resample
from jasco_pl.audio.levels import sounding_loudness
from jasco_pl.audio.patching import patched, write_patched
from jasco_pl.controls.keeping import EDGE
from jasco_pl.controls.painting import SHARE_NOTE, Painting
from jasco_pl.extract.chordino import chordino, require
from jasco_pl.generation.jasco import Jasco
from jasco_pl.generation.outline import lacking
from jasco_pl.generation.painting import FADE, OVERLAP, PEAK_DB
from jasco_pl.generation.request import Clip, Request
from jasco_pl.generation.saving import checksum
from jasco_pl.generation.whole import NOT_EDITED
from jasco_pl.notation.timed_text import Prompt, passages
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import write_json


@dataclass
class Edit:
    """A stretch of a song, and what of it lies around.

    `edit = Edit.of(jasco, "song.wav", 62, 68)`, then `(clip,) = edit.make([Request("solo violin", chords="Dm | G")])`, then
    `edit.write("out.wav", clip)`.

    Attributes:
        jasco: who makes it anew.
        file: the song.
        first, stop: the stretch, in samples of the song.
        start, total: where the window begins and the song ends, in samples of the song.
        wav: the window as one channel at the codec's rate, [1, S], and a little more.
        frames, before, inside: of the window, of it before the stretch, and of the stretch, in latent frames.
        wider_db: by how much the song in all its channels is louder than its mean in each of them.
        notes: how it was read.
    """

    jasco: Jasco
    file: AudioFile
    first: int
    stop: int
    start: int
    total: int
    wav: Tensor
    frames: int
    before: int
    inside: int
    wider_db: float
    notes: list[str]

    @classmethod
    def of(cls, jasco: Jasco, song: str | Path, begin: float, end: float | None = None) -> Edit:
        """Read the song.

        Args:
            jasco: with the control painting.
            song: any audio file.
            begin, end: the stretch in seconds; None is the end of the song.

        Raises:
            UserError: the song cannot be read, the stretch does not lie in it, is longer than can be made, or is all that sounds.
        """
        if Painting.name not in jasco.model.controls:
            raise lacking(Painting.name, jasco.model.controls.names)
        file, codec = AudioFile(song), jasco.codec
        learnt = jasco.frames(jasco.model.config.seconds)
        reach = math.ceil((learnt + EDGE) / codec.frame_rate * file.rate)
        first = round(begin * file.rate)
        low, high = max(0, first - reach), None if end is None else round(end * file.rate) + reach
        total, near = _read(file, low, high)
        stop = total if end is None else round(end * file.rate)
        _check_stretch(file, begin, end, first, stop, total)
        inside = max(1, math.ceil((stop - first) / file.rate * codec.frame_rate - 1e-6))
        jasco.frames(inside / codec.frame_rate)  # refuses what is too long
        hop = file.rate / codec.frame_rate
        has_before, has_behind = int(first / hop), int((total - stop) / hop)
        around = max(learnt - inside, 2 * round(OVERLAP * learnt))
        before = min(has_before, max(around // 2, around - has_behind))
        behind = min(has_behind, around - before)
        start = first - round(before * hop)
        window = near[start - low : stop - low + math.ceil((behind + EDGE) * hop)]
        mix = Downmix()
        mono = mix(window)
        notes = [] if mix.louder is None else [f"the song: {said(mix.louder, file.channels)}"]
        if total < (file.claimed_seconds - _CLAIM) * file.rate:
            notes.append(f"the song: its header says {file.claimed_seconds:.1f} s, and {total / file.rate:.1f} s are there")
        if mix.louder is not None:
            mono = window[:, mix.louder]
        outside = np.concatenate([window[: first - start], window[stop - start :]])
        kept = np.concatenate([mono[: first - start], mono[stop - start :]])
        heard = sounding_loudness(torch.from_numpy(kept)[None], file.rate) if len(kept) else None
        if heard is None:
            seconds = f"{start / file.rate:.2f}-{(start + len(window)) / file.rate:.2f}"
            raise UserError(f"there is nothing to go on from: around the stretch ({seconds} s) the song is silent.")
        sides = [sounding_loudness(torch.from_numpy(side.copy())[None], file.rate) for side in outside.T]
        power = sum(10 ** (side / 10) for side in sides if side is not None)
        wider = 10 * math.log10(power / len(sides)) - heard if power else 0.0
        wav = resample(torch.from_numpy(np.ascontiguousarray(mono))[None], file.rate, codec.sample_rate)
        return cls(jasco, file, first, stop, start, total, wav, before + inside + behind, before, inside, wider, notes)

    def make(self, requests: Sequence[Request], variation: float = 1.0, **how: Any) -> Iterator[Clip]:
        """A clip of the window for each request, whose stretch is made anew and which `write` lays into the song.

        Args:
            requests: what holds in the stretch; times in it count from where that begins.
            variation: how far from what is there, up to 1, which owes it nothing.
            how: guidance, solver, progress and more, as for `Jasco.make`.

        Raises:
            UserError: something in a request cannot be read; nothing has been computed then.
        """
        clips = [self.read(request, variation) for request in requests]
        for request, clip in zip(requests, self.jasco.make(clips, self.frames / self.jasco.codec.frame_rate, **how), strict=True):
            yield replace(clip, request=request)

    def read(self, request: Request, variation: float = 1.0) -> Clip:
        """A request taken to the window's frames."""
        jasco = self.jasco
        rate = jasco.codec.frame_rate
        asked = {name: value for name, value in vars(request).items() if name not in {"text", "seed", *NOT_EDITED}}
        inner = jasco.read(Request(request.text, **asked), self.inside)
        outer = Request(
            _later(request.text, self.before / rate),
            seed=request.seed,
            paint=self.wav,
            redo=[(self.before / rate, (self.before + self.inside) / rate)],
            **({"vary": self.wav, "variation": variation} if variation < 1 else {}),
        )
        clip = jasco.read(outer, self.frames)
        for name, raw in inner.asked.items():
            null = jasco.model.controls.by_name[name].null_frames(1, self.frames)[0].numpy().copy()
            null[self.before : self.before + self.inside] = raw
            clip.asked[name] = null
            clip.during[name] = np.full(self.frames, False)
            clip.during[name][self.before : self.before + self.inside] = inner.during.get(name, True)
        notes = [note for note in clip.notes if not note.startswith(("kept of the recording", "varied from")) and SHARE_NOTE not in note]
        return replace(clip, changes=inner.changes, notes=[*self.notes, *inner.notes, *notes])

    def patch(self, clip: Clip) -> tuple[NDArray[np.float64], int]:
        """What `patched` lays into the song, of a clip of the window: at the song's rate, as loud as all its channels; and its lead."""
        fade = round(FADE * self.file.rate)
        made = resample(clip.audio, clip.sample_rate, self.file.rate) * 10 ** (self.wider_db / 20)
        lead = min(fade, self.first - self.start)
        stop = min(self.stop + fade, self.total) - self.start
        return limit_peaks(made[:, self.first - self.start - lead : stop], self.file.rate, PEAK_DB)[0].double().numpy(), lead

    def write(self, path: Path, clip: Clip) -> None:
        """The song with that stretch anew, whole or not at all."""
        self._lay(path, *self.patch(clip))

    def _lay(self, path: Path, patch: NDArray[np.float64], lead: int) -> None:
        write_patched(path, self.file, patched(self.file, self.first, self.stop, patch, lead))

    def save(self, path: Path, clip: Clip, settings: Mapping[str, Any]) -> None:
        """The same, with a JSON beside it."""
        patch, lead = self.patch(clip)
        place = {"window": [self.start / self.file.rate, self.frames], "seconds": round(self.total / self.file.rate, 6)}
        self._lay(path, patch, lead)
        write_json(path.with_suffix(".json"), {**settings, **place, "sound": checksum(torch.from_numpy(patch))})

    def chords(self) -> str:
        """What Chordino hears in the stretch, as a line of times that count from where it begins.

        Raises:
            UserError: Chordino is not here.
        """
        require()
        begin, end = ((sample - self.start) / self.file.rate for sample in (self.first, self.stop))
        found = chordino(self.wav, self.jasco.codec.sample_rate)
        before = [(label, 0.0) for label, time in found if time <= begin][-1:]
        inside = [(label, time - begin) for label, time in found if begin < time < end]
        return " ".join(f"{'N.C.' if label == 'N' else label}@{time:.3g}" for label, time in [*before, *inside])


def _read(file: AudioFile, low: int, high: int | None) -> tuple[int, NDArray[np.float32]]:
    """The length of a file in samples, and those of [low, high)."""
    total, near = 0, []
    for block in file.blocks():
        if total + len(block) > low and (high is None or total < high):
            near.append(block[max(0, low - total) : None if high is None else high - total])
        total += len(block)
    return total, np.concatenate(near) if near else np.zeros((0, file.channels), dtype=np.float32)


def _check_stretch(file: AudioFile, begin: float, end: float | None, first: int, stop: int, total: int) -> None:
    seconds = total / file.rate
    if first < 0 or first >= total or stop > total:
        raise UserError(
            f"the stretch {begin:g}-{'' if end is None else f'{end:g}'} s does not lie in the song, which lasts {seconds:.2f} s."
        )
    if stop - first < _LEAST * file.rate:
        raise UserError(
            f"there is nothing to make anew between {begin:g} and {stop / file.rate:g} s: a stretch lasts {_LEAST:g} s or longer."
        )
    if first == 0 and stop == total:
        raise UserError(f"all of the song (0-{seconds:.2f} s) would be made anew: leave something of it, or make a clip (jasco generate).")


_LEAST = 0.1  # seconds of a stretch
_CLAIM = 0.1  # seconds by which a header may be wrong


def _later(text: Prompt, seconds: float) -> Prompt:
    """A text whose times count from so many seconds before: what holds at their beginning holds before it too."""
    found = passages(text)
    if found is None:
        return text
    return [(one.start + seconds if one.start else 0, None if one.end is None else one.end + seconds, one.text) for one in found]
