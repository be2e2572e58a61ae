"""One sample of prepared data for the eye and the ear: a picture of its fields over its decoded latents, and the sound itself."""

from __future__ import annotations

import difflib
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jasco_pl.audio.files import write_audio
from jasco_pl.codec import Codec
from jasco_pl.controls import ADHERENCES, CONTROLS
from jasco_pl.data.schema import Sample
from jasco_pl.data.shards import ShardReader
from jasco_pl.extract.heard import Heard
from jasco_pl.notation import harmony
from jasco_pl.notation.timed_text import covering, spans_of
from jasco_pl.pages.pictures import draw_clip
from jasco_pl.pages.texts import Texts
from jasco_pl.system.errors import UserError

_DRUMS = ("codes_drums", "codes_drums_bandpass")
_SILENT = 0.01  # of the mix's peak: under -40 dB the detector would find onsets in a codec's hiss, for it knows no absolute level


def find(reader: ShardReader, text: str) -> int:
    """Position of the sample of that id, or of the only one whose id begins so.

    Raises:
        UserError: there is none, or more than one.
    """
    ids = list(reader.ids)
    if text in ids:
        return ids.index(text)
    begun = [position for position, name in enumerate(ids) if name.startswith(text)]
    if len(begun) == 1:
        return begun[0]
    if begun:
        some = ", ".join(repr(ids[position]) for position in begun[:3])
        raise UserError(f"{len(begun)} samples in {reader.location!r} begin with {text!r}, {some} among them; give more of the id.")
    near = difflib.get_close_matches(text, ids, n=3, cutoff=0.3) or ids[:3]
    raise UserError(f"no sample {text!r} in {reader.location!r}; the nearest of its {len(ids)} are {', '.join(map(repr, near))}.")


def draw_position(reader: ShardReader, seed: int | None) -> int:
    """A sample at random; the same one for the same seed."""
    return random.Random(seed).randrange(len(reader))


@dataclass
class Excerpt:
    """A stretch of a sample, decoded.

    Attributes:
        sample: the whole of it.
        start: of the stretch in the sample, in frames.
        tensors: its fields within the stretch, [T, ...].
        audio: the latents decoded, [1, S].
        parts: field -> its codes' codebook vectors decoded [1, S]: all that a model hears of that part.
    """

    sample: Sample
    start: int
    tensors: dict[str, Tensor]
    audio: Tensor
    parts: dict[str, Tensor]


@torch.inference_mode()
def decode(sample: Sample, codec: Codec, start: float = 0.0, seconds: float | None = None, every_part: bool = False) -> Excerpt:
    """Decode a stretch of a sample.

    Args:
        sample: with all its fields.
        codec: the one that made it.
        start: in seconds.
        seconds: length, None up to the sample's end.
        every_part: decode all stored codes; otherwise only the drums', which the picture shows.

    Raises:
        UserError: the stretch lies beyond the sample, or the codec is another one.
    """
    length = sample.frames / codec.frame_rate
    first = round(start * codec.frame_rate)
    count = sample.frames - first if seconds is None else round(seconds * codec.frame_rate)
    if not 0 <= first < sample.frames or count < 1:
        raise UserError(f"sample {sample.id!r} lasts {length:.2f} s: start must lie within it, and seconds must be positive.")
    tensors = {name: tensor[first : first + count] for name, tensor in sample.tensors.items()}
    if tensors["latents"].shape[1] != codec.dim:
        raise UserError(f"latents of {tensors['latents'].shape[1]} channels are not this codec's, which has {codec.dim}; name theirs.")
    wanted = [name for name in tensors if name.startswith("codes_")]
    if not every_part:
        wanted = [name for name in wanted if name == _drum_field(tensors)]
    parts = {name: codec.decode(codec.codebook[tensors[name].long()][None])[0] for name in wanted}
    return Excerpt(sample, first, tensors, codec.decode(tensors["latents"].float()[None])[0], parts)


def _drum_field(tensors: dict[str, Tensor]) -> str | None:
    return next((name for name in _DRUMS if name in tensors), None)


def picture(path: str | Path, excerpt: Excerpt, codec: Codec) -> None:
    """Draw waveform and spectrum of the decoded latents, the drums as the model hears them, and a lane for whatever can be asked for.

    In the rows, "given" are exact chords and the onsets of the decoded drum codes (none where these are silent beside the mix); "heard"
    are Chordino's chords as stored and the onsets of the decoded mix.

    Raises:
        UserError: the file cannot be written.
    """
    tensors, rate = excerpt.tensors, codec.sample_rate
    drums, part = excerpt.parts.get(_drum_field(tensors) or ""), None
    sample, frames = excerpt.sample, len(tensors["latents"])
    start, end, length = (count / codec.frame_rate for count in (excerpt.start, excerpt.start + frames, sample.frames))
    fields = {name: tensor.numpy() for name, tensor in tensors.items()}
    given = {name: fields[control.field] for name, control in CONTROLS.items() if control.field in fields}
    if drums is not None:
        part = Heard(drums, rate)
        if drums.abs().max() <= _SILENT * excerpt.audio.abs().max():
            part.onsets = np.zeros(0)
    heard, lanes = Heard(excerpt.audio, rate), list[Any]()
    for adherence in ADHERENCES:
        found = fields.get(adherence.heard_field) if adherence.heard_field else adherence.heard(heard)
        lanes.append((adherence.lane, adherence.asked(given, part), found))
    if sample.sections:
        texts = Texts(spans_of([(first, captions[0]) for first, captions in covering(sample.sections)], excerpt.start, frames))
        lanes.insert(0, (texts, texts.side, None))
    draw_clip(
        path,
        wav=excerpt.audio,
        sample_rate=rate,
        title=f"{sample.id}  ·  {start:g}–{end:g} of {length:g} s  ·  {sample.captions[0] if sample.captions else 'no caption'}",
        lanes=lanes,
        parts=None if drums is None else {"drums": drums},
        names=("given", "heard"),
    )


def write(folder: str | Path, excerpt: Excerpt, codec: Codec, suffix: str = ".flac", parts: bool = False) -> list[Path]:
    """Write the picture, the sound, and with `parts` every decoded part; all turned down together where one would clip.

    Returns:
        The files, named after the sample.

    Raises:
        UserError: one cannot be written.
    """
    stem = Path(folder) / excerpt.sample.id.replace("/", "_")
    files = [Path(f"{stem}.png"), Path(f"{stem}{suffix}")]
    picture(files[0], excerpt, codec)
    sounds = [excerpt.audio]
    for name, wav in excerpt.parts.items() if parts else ():
        files.append(Path(f"{stem}.{name.removeprefix('codes_')}{suffix}"))
        sounds.append(wav)
    gain = 1 / max(1.0, *(float(wav.abs().max()) for wav in sounds))
    for path, wav in zip(files[1:], sounds, strict=True):
        write_audio(path, gain * wav, codec.sample_rate)
    return files


def describe(excerpt: Excerpt, frame_rate: float) -> str:
    """Id, length, captions, fields, and what chords and melody there are, as text of several lines."""
    sample = excerpt.sample
    lines = [f"id        {sample.id}", f"length    {sample.frames / frame_rate:.2f} s, {sample.frames} frames"]
    lines += [f"{'captions' if not number else '':10}{caption}" for number, caption in enumerate(sample.captions or ["none"])]
    for number, (first, captions) in enumerate(sample.sections):
        lines.append(f"{'sections' if not number else '':10}{first / frame_rate:6.2f} s  {' / '.join(captions) or 'no caption'}")
    for number, (name, tensor) in enumerate(sorted(sample.tensors.items())):
        shape = f"[{', '.join(map(str, tensor.shape))}]"
        lines.append(f"{'fields' if not number else '':10}{name:22}{shape:14}{str(tensor.dtype).removeprefix('torch.')}")
    for name in ("chords", "chords_heard"):
        if name in sample.tensors:
            chords = sample.tensors[name]
            none = 100 * float((chords == harmony.N).float().mean())
            changes = harmony.frames_to_changes(chords.numpy(), frame_rate)
            lines.append(f"{name:14}{none:.0f} % without a chord; {_line(changes)}")
    if "melody" in sample.tensors:
        lines.append(f"{'melody':14}in {100 * float((sample.tensors['melody'] >= 0).float().mean()):.0f} % of the frames")
    return "\n".join(lines)


def _line(changes: list[tuple[str, float]], most: int = 12) -> str:
    text = "  ".join(f"{label}@{start:.1f}" for label, start in changes[:most])
    return text + (f"  … {len(changes) - most} more" if len(changes) > most else "")
