"""Where clips take their conditions from, and what they are compared with: composed pieces, or any prepared set."""

from __future__ import annotations

import hashlib
import json
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jasco_pl.audio.decoding import AudioFile
from jasco_pl.codec import Codec
from jasco_pl.compose.pieces import place, read_note, read_stretch
from jasco_pl.controls import CONTROLS, Adherence, AudioControl, Control
from jasco_pl.controls.adherence import ONSETS
from jasco_pl.data.crops import crop
from jasco_pl.data.schema import STAGES, stage_of
from jasco_pl.data.shards import ShardReader
from jasco_pl.extract import chordino
from jasco_pl.extract.heard import Heard
from jasco_pl.extract.stage import Piece
from jasco_pl.notation.harmony import first_frame
from jasco_pl.notation.timed_text import Passage, covering, spans_of
from jasco_pl.prepare.config import PrepareConfig
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import is_bare
from jasco_pl.system.seeding import stable_hash

PURPOSE = "evaluation"  # of the hash that places a stretch
_AUDIBLE = 1e-3
_DRUMMED = 0.1  # share of frames whose drum code is not that of silence, for there to be drums


@dataclass
class Reference:
    """A stretch of music and what is known of it.

    Attributes:
        audio: [1, S] at `sample_rate`.
        conditions: raw frames of the conditions that are known without a codec (chords, melody), [T] each.
        codes: raw frames of an audio control [T], made when they are asked for.
        lacking: names of what it has nothing of to follow, whatever is heard in it: onsets, where there are no drums.
        start: second of the piece at which the stretch begins.
        told: what its sections are called, where it touches several: (start, end, text) in seconds of the stretch.
        key: `C major`, of the piece as it was composed; None where only ears can tell.
        heard: the stretch alone, as generated clips are heard.
    """

    id: str
    caption: str
    audio: Tensor
    sample_rate: int
    conditions: dict[str, NDArray[np.generic]]
    codes: Callable[[AudioControl], NDArray[np.generic]]
    lacking: Collection[str]
    start: float
    told: list[Passage] = field(default_factory=list)
    key: str | None = None
    heard: Heard = field(init=False)

    def __post_init__(self) -> None:
        self.heard = Heard(self.audio, self.sample_rate)

    def asked(self, adherence: Adherence) -> NDArray[np.generic] | None:
        """What a clip is asked for that is given its conditions; None where it has nothing of it."""
        return None if adherence.name in self.lacking else adherence.asked(self.conditions, self.heard)

    def target(self, adherence: Adherence) -> NDArray[np.generic] | None:
        """What a clip is measured by; None where there is nothing to follow."""
        return None if adherence.name in self.lacking else adherence.target(self.conditions, self.heard)


class Source(ABC):
    """A set of music by id."""

    location: str
    about: str  # what its references are, in words
    decoded: bool = False  # their audio is a codec's
    ceiling: str = "the reference itself, encoded and decoded"

    @property
    @abstractmethod
    def ids(self) -> list[str]:
        """All of them, sorted."""

    @property
    @abstractmethod
    def folder(self) -> str:
        """A folder's name for what is kept of this set."""

    @abstractmethod
    def lacks(self, control: type[Control]) -> bool:
        """Whether it has nothing to feed a control with."""

    def long_enough(self, name: str, seconds: float) -> bool:
        """Whether it holds a clip of that length, as far as can be told without reading it."""
        return True

    @abstractmethod
    def digest(self, name: str) -> str:
        """Changes with the music of that id and with what is known of it, but for its sections (`told`)."""

    @abstractmethod
    def reference(self, name: str, seconds: float, codec: Codec, cache: Path | None = None) -> Reference:
        """A stretch, placed by the hash of the id.

        Args:
            name: its id.
            seconds: how much of it.
            codec: of the model that shall follow it.
            cache: folder for what takes long to find out; without one it is left out, and the reference is good for its codes alone.

        Raises:
            UserError: it cannot be read, is shorter, or belongs to another codec.
        """

    def sections(self, name: str) -> list[tuple[float, str]]:
        """Where each section of a piece begins (seconds), and of its captions the longest, which names most; none of one without."""
        return []

    @abstractmethod
    def length(self, name: str, frame_rate: float) -> int:
        """Frames of a piece, as its file's header says."""

    def told(self, name: str, seconds: float, frame_rate: float) -> list[Passage]:
        """What the sections are called that the stretch of a piece touches; nothing where it is one."""
        parts = [(first_frame(start, frame_rate), [text]) for start, text in self.sections(name)]
        if not parts:
            return []
        frames = round(seconds * frame_rate)
        first = place(name, self.length(name, frame_rate), frames, seconds, PURPOSE)
        spans = spans_of([(at, texts[0]) for at, texts in covering(parts)], first, frames)
        return [Passage(span.first / frame_rate, span.last / frame_rate, span.text) for span in spans] if len(spans) > 1 else []

    def has(self, name: str, what: str) -> bool:
        """Whether a piece has `drums` or a `melody`, as far as can be told without listening to it."""
        return True

    def other(self, name: str, having: str | None = None, but: str | None = None, seconds: float = 0.0) -> str:
        """Another id, the same one whatever else is evaluated.

        Args:
            name: the piece.
            having: `drums` or `melody`, which the other shall have.
            but: one that it shall not be either.
            seconds: that it lasts at least, if one does.

        Raises:
            UserError: there is none.
        """
        others = [other for other in self.ids if other not in (name, but) and (having is None or self.has(other, having))]
        if not others and having is not None:
            raise UserError(
                f"the row crossed takes {having} from another piece than {name!r}, and {self.location!r} holds none with {having}."
            )
        if not others:
            raise UserError(
                f"{self.location!r} holds one piece alone, and FAD, KL and CLAP under audio conditions need the audio of another."
            )
        others.sort(key=lambda other: stable_hash("other", name, other))
        return next((other for other in others if not seconds or self.long_enough(other, seconds)), others[0])


class ComposedPieces(Source):
    """A folder that `jasco compose` filled.

    Chords are what Chordino hears in the whole piece (the paper's protocol; the composed ones where it is not installed), everything else
    that can be told of a piece is as it was composed, audio comes from the stems.

    Raises:
        UserError: it holds none.
    """

    about = "composed pieces; references are the renderings themselves"
    folder = "pieces"

    def __init__(self, folder: str | Path) -> None:
        self.location = str(folder)
        if not self.ids:
            raise UserError(f"{self.location!r} holds no composed pieces (*.json); `jasco compose --split test --out {folder}` makes some.")

    @cached_property
    def ids(self) -> list[str]:
        return sorted(path.stem for path in Path(self.location).glob("*.json"))

    def lacks(self, control: type[Control]) -> bool:
        return not stage_of(control.field).reads_pieces()

    @cached_property
    def _parts(self) -> dict[str, dict[str, bool]]:
        return {name: read_note(Path(self.location) / f"{name}.json")["has"] for name in self.ids}

    def has(self, name: str, what: str) -> bool:
        return self._parts[name][what]

    def long_enough(self, name: str, seconds: float) -> bool:
        return read_note(Path(self.location) / f"{name}.json")["duration"] >= seconds

    def sections(self, name: str) -> list[tuple[float, str]]:
        note = read_note(Path(self.location) / f"{name}.json")
        return [(part["start"], max(part["captions"], key=len, default="")) for part in note.get("sections", [])]

    def length(self, name: str, frame_rate: float) -> int:
        mix = AudioFile(Path(self.location) / f"{name}.mix.flac")
        return round(mix.claimed_seconds * mix.rate) // round(mix.rate / frame_rate)

    def digest(self, name: str) -> str:
        digest = hashlib.blake2b(b"heard" if chordino.available() else b"composed", digest_size=8)  # where its chords come from
        try:
            digest.update((Path(self.location) / f"{name}.mix.flac").read_bytes())
        except OSError as error:
            raise UserError(f"the mix of the piece {name!r} cannot be read ({error.strerror}).") from error
        note = read_note(Path(self.location) / f"{name}.json")
        digest.update(json.dumps({**note, "sections": None}, sort_keys=True).encode())
        return digest.hexdigest()

    def reference(self, name: str, seconds: float, codec: Codec, cache: Path | None = None) -> Reference:
        stretch = read_stretch(Path(self.location) / f"{name}.json", seconds, codec.sample_rate, codec.frame_rate, PURPOSE)
        inside = slice(stretch.first, stretch.first + stretch.frames)
        annotated: dict[str, Tensor] = {}
        for stage in STAGES.values():
            if (stage.annotations or stage.from_mix) and all(annotation in stretch.note for annotation in stage.annotations):
                annotated |= stage(codec, PrepareConfig()).of_piece(Piece(stretch.note, {"mix": stretch.whole}, stretch.total))
        conditions = {control.name: annotated[control.field][inside].numpy() for control in CONTROLS.values() if control.field in annotated}
        if chordino.available():  # what is composed is not taken for what is heard
            conditions.pop("chords", None)
        if cache is not None and chordino.available():
            whole = recalled(Heard(stretch.whole, codec.sample_rate), cache / f"{self.digest(name)}-whole.npz", ["chords"])
            conditions["chords"] = whole.chords[inside]

        @torch.inference_mode()
        def codes(control: AudioControl) -> NDArray[np.generic]:
            stem = control.option.name  # what a request gives is what a piece has under that name
            wav = control.filtered(stretch.stem(stem) if stem != "mix" else stretch.mix, codec.sample_rate)
            return codec.codes(codec.encode(wav[None].to(codec.latent_mean.device)))[0].cpu().numpy()

        lacking = _without_drums(float(stretch.stem("drums").abs().max()) > _AUDIBLE)
        start, told, key = stretch.first / codec.frame_rate, self.told(name, seconds, codec.frame_rate), stretch.note.get("key")
        return Reference(name, stretch.note["captions"][0], stretch.mix, codec.sample_rate, conditions, codes, lacking, start, told, key)


class PreparedSet(Source):
    """Prepared shards: a folder or a URL.

    Conditions are the stored fields; the audio to compare with is what the codec makes of the stored latents, since shards hold no audio.

    Raises:
        UserError: there is no prepared data.
    """

    about = "a prepared set; references are the codec's reconstructions of its stored latents, for shards hold no audio"
    ceiling = "the reference, which has been through the codec before, encoded and decoded a second time"
    decoded = True

    def __init__(self, location: str | Path) -> None:
        self.location = str(location)
        self._positions = {name: position for position, name in enumerate(self.reader.ids)}
        if elsewhere := [name for name in self._positions if not is_bare(name)]:  # clips are files of these names
            raise UserError(f"the sample {elsewhere[0]!r} of {self.location!r} cannot name a clip: its id is no bare name.")

    @cached_property
    def ids(self) -> list[str]:
        return sorted(self._positions)

    @property
    def folder(self) -> str:
        return f"prepared-{stable_hash('prepared', self.location) % 2**32:08x}"

    @property
    def reader(self) -> ShardReader:
        """Its samples."""
        return _reader(self.location)

    def _entry(self, name: str) -> dict:
        return self.reader.entries[self._positions[name]]

    def lacks(self, control: type[Control]) -> bool:
        fields = self._fields(control)
        return not all(any(field in entry["crc32"] for field in fields) for entry in self.reader.columns.kinds())

    def long_enough(self, name: str, seconds: float) -> bool:
        return self._entry(name)["frames"] >= round(seconds * float(self.reader.codec["frame_rate"]))

    @staticmethod
    def _fields(control: type[Control]) -> list[str]:
        """Those that it can be fed with, the best first."""
        heard = control.adherence.heard_field if control.adherence else None
        return [heard, control.field] if heard else [control.field]

    def sections(self, name: str) -> list[tuple[float, str]]:
        rate = float(self.reader.codec["frame_rate"])
        return [(first / rate, max(captions, key=len, default="")) for first, captions in self._entry(name).get("sections", [])]

    def length(self, name: str, frame_rate: float) -> int:
        return self._entry(name)["frames"]

    def digest(self, name: str) -> str:
        entry = self._entry(name)
        return f"{stable_hash(name, json.dumps([entry['crc32'], entry['captions']], sort_keys=True)):016x}"

    def reference(self, name: str, seconds: float, codec: Codec, cache: Path | None = None) -> Reference:
        check_codec(self.reader, codec)
        sample = self.reader.read(self._positions[name])
        frames = round(seconds * codec.frame_rate)
        first = place(name, sample.frames, frames, seconds, PURPOSE)
        stored = crop(sample, first, frames)
        with torch.inference_mode():
            audio = codec.decode(stored["latents"][None].to(codec.latent_mean.device))[0].cpu()
        silence = int(codec.codes(codec.silence[None, None])[0, 0])
        conditions = {}
        for control in CONTROLS.values():
            if not issubclass(control, AudioControl) and control.field != "latents":
                found = next((field for field in self._fields(control) if field in stored), None)
                if found is not None:
                    conditions[control.name] = stored[found].numpy()
        drums = "codes_drums" not in stored or float((stored["codes_drums"] != silence).float().mean()) > _DRUMMED
        caption = sample.captions[0] if sample.captions else ""

        def codes(control: AudioControl) -> NDArray[np.generic]:
            return stored[control.field].numpy()

        start, told = first / codec.frame_rate, self.told(name, seconds, codec.frame_rate)
        return Reference(name, caption, audio, codec.sample_rate, conditions, codes, _without_drums(drums), start, told)


def _without_drums(drums: bool) -> Collection[str]:
    """What is lacking in music that has drums or not."""
    return () if drums else (ONSETS.name,)


@lru_cache(maxsize=2)
def _reader(location: str) -> ShardReader:
    return ShardReader(location)


def check_codec(reader: ShardReader, codec: Codec) -> None:
    """Raise UserError unless a prepared set was made with this codec, as far as the statistics of its latents tell."""
    mean, std = (torch.tensor(reader.codec[key]).expand(codec.dim) if reader.codec["dim"] == codec.dim else None for key in ("mean", "std"))
    same = mean is not None and std is not None and float(reader.codec["frame_rate"]) == codec.frame_rate
    if not (
        same
        and torch.allclose(mean, codec.latent_mean.cpu(), atol=1e-3)  # type: ignore[arg-type]
        and torch.allclose(std, codec.latent_std.cpu(), atol=1e-3)  # type: ignore[arg-type]
    ):
        raise UserError(
            f"the set {reader.location!r} was prepared with the codec {reader.codec['name']!r}, and the checkpoint has another."
        )


def recalled(heard: Heard, path: Path, names: Sequence[str]) -> Heard:
    """What is heard, taken from a file or written to it; a damaged one is written anew."""
    if path.exists():
        with suppress(ValueError, EOFError, zipfile.BadZipFile):
            return heard.recall(path)
    heard.save(path, names)
    return heard
