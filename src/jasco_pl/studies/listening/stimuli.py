"""The recordings of a test: found by file stem, brought to one format, length and loudness, so that only the music differs."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from scipy.signal import fftconvolve, firwin
from torch import Tensor

from jasco_pl.audio.files import SAMPLE_RATE, loudness_normalize, read_audio
from jasco_pl.studies.listening.study import ANCHOR
from jasco_pl.system.errors import UserError

SUFFIXES = (".flac", ".wav", ".ogg", ".mp3")
TARGET = -14.0  # LUFS; paper, section 4.1
SHORTEST = 1.0  # seconds
_TOLERANCE = 0.5  # LU that one version of a piece may be quieter than the others
_SLACK = 1.0  # seconds that versions of one piece may differ in length before one suspects that they are not the same stretch
_FADE = 0.02


def find_clips(folder: str | Path) -> dict[str, Path]:
    """Audio files of a folder by stem.

    Raises:
        UserError: no such folder, no audio in it, or one stem twice.
    """
    if not Path(folder).is_dir():
        raise UserError(f"there is no folder {str(folder)!r}.")
    found: dict[str, Path] = {}
    for path in sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")):
        if path.stem in found:
            raise UserError(f"{str(folder)!r} holds {found[path.stem].name} and {path.name}: one recording of a name is wanted.")
        found[path.stem] = path
    if not found:
        raise UserError(f"{str(folder)!r} holds no audio files ({', '.join(suffix[1:] for suffix in SUFFIXES)}).")
    return found


def find_references(path: str | Path) -> dict[str, Path]:
    """Original recordings by clip: a folder's, or those that the results.json of an evaluation names.

    Raises:
        UserError: as `find_clips`; the file holds no results, or names recordings that are not there.
    """
    if not Path(path).is_file():
        return find_clips(path)
    try:
        found = {name: Path(path).parent / entry["audio"] for name, entry in json.loads(Path(path).read_bytes())["references"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{str(path)!r} is no results.json of an evaluation; that, or a folder of recordings, is wanted.") from None
    for recording in found.values():
        if not recording.is_file():
            raise UserError(f"{str(path)!r} names the recording {str(recording)!r}, which is not there.")
    return found


def read_captions(path: str | Path) -> dict[str, str]:
    """Captions by clip from a JSON object, or from a CSV with the columns `clip` and `caption`."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"captions {str(path)!r} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UserError(f"captions {str(path)!r} are not UTF-8 text.") from None
    try:
        if Path(path).suffix.lower() == ".csv":
            return {row["clip"]: row["caption"] for row in csv.DictReader(text.splitlines())}
        return {str(name): _text(caption) for name, caption in json.loads(text).items()}
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error):
        wanted = "a JSON object {clip: caption} or a CSV with the columns clip and caption"
        raise UserError(f"captions {str(path)!r} cannot be understood: {wanted} is accepted.") from None


def caption_beside(path: Path) -> str | None:
    """The caption from the JSON of the same stem, as `jasco evaluate` and `jasco compose` write it; None if there is none."""
    try:
        data = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(data, dict):
        return None
    captions = data.get("captions") or [None]
    caption = data.get("caption") or captions[0] or data.get("text")
    return caption if isinstance(caption, str) and caption.strip() else None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def low_anchor(wav: Tensor, sample_rate: int = SAMPLE_RATE) -> Tensor:
    """The recording [1, S] without what lies above 3.5 kHz (ITU-R BS.1534-3, section 5.1: 25 dB down at 4 kHz, 50 dB at 4.5 kHz)."""
    taps = firwin(2 * round(0.004 * sample_rate) + 1, 3750, fs=sample_rate, window=("kaiser", 6.0))
    return torch.from_numpy(fftconvolve(wav.numpy()[0].astype(np.float64), taps, mode="same").astype(np.float32))[None]


def matched(paths: Mapping[str, Path], anchor_of: str | None, seconds: float | None) -> dict[str, tuple[Tensor, float | None]]:
    """All versions of one piece, mono at 32 kHz, equally long, equally loud, with the same short fades.

    The loudness is -14 LUFS. A version that is too peaky for that stays quieter (`loudness_normalize` limits by 6 dB at most); then all
    others are brought down to it, because of two equal recordings the louder sounds better.

    Args:
        paths: file by system.
        anchor_of: the system that a low anchor is made of; None for no anchor.
        seconds: cut everything there; None cuts at the shortest version, if they differ by no more than a second.

    Returns:
        By system ([1, S], loudness in LUFS or None where it cannot be measured).

    Raises:
        UserError: unreadable audio, versions of different length, a version shorter than `seconds` or than a second.
    """
    versions = {system: read_audio(path, SAMPLE_RATE) for system, path in paths.items()}
    lengths = {system: wav.shape[-1] / SAMPLE_RATE for system, wav in versions.items()}
    short, long = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
    if seconds is None and lengths[long] - lengths[short] > _SLACK:
        raise UserError(
            f"{str(paths[long])!r} lasts {lengths[long]:.1f} s and {str(paths[short])!r} {lengths[short]:.1f} s: versions of one piece "
            "must be the same stretch of it, or --seconds must say how much of their beginnings is to be heard."
        )
    wanted = lengths[short] if seconds is None else seconds
    if lengths[short] < max(wanted, SHORTEST):
        raise UserError(f"{str(paths[short])!r} lasts only {lengths[short]:.2f} s, where {max(wanted, SHORTEST):g} s are wanted.")
    versions = {system: _faded(wav[:, : round(wanted * SAMPLE_RATE)]) for system, wav in versions.items()}
    if anchor_of is not None:
        versions[ANCHOR] = low_anchor(versions[anchor_of])
    levelled = {system: loudness_normalize(wav, SAMPLE_RATE, TARGET) for system, wav in versions.items()}
    quietest = min((loudness for _, loudness in levelled.values() if loudness is not None), default=TARGET)
    if quietest < TARGET - _TOLERANCE:
        levelled = {system: loudness_normalize(wav, SAMPLE_RATE, quietest) for system, wav in versions.items()}
    return levelled


def _faded(wav: Tensor) -> Tensor:
    ramp = torch.linspace(0, 1, round(_FADE * SAMPLE_RATE))
    wav = wav.clone()
    wav[:, : len(ramp)] *= ramp
    wav[:, -len(ramp) :] *= ramp.flip(0)
    return wav
