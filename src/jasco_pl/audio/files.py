"""Audio files and levels: read anything soundfile reads, write whole files only, bring a clip to a loudness without clipping.

Inside the project audio is float32 in [-1, 1], mono, [1, S] for one clip.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from jasco_pl.audio.channels import Downmix, said
from jasco_pl.audio.decoding import AudioFile
from jasco_pl.audio.loudness import convolved, integrated_loudness, lowest_around
from jasco_pl.audio.suffixes import AUDIO_SUFFIXES, SUBTYPES, check_suffix
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path

SAMPLE_RATE = 32000
_BLOCK = 1 << 16
LIMIT_DB = 6.0  # most that the limiter takes off a peak; beyond it limiting is heard
_LIMIT_SECONDS = 0.04
_MP3: dict[str, Any] = {"bitrate_mode": "CONSTANT", "compression_level": 0.3}  # 224 kbit/s, whatever is played
LIMITER_REACH = 0.05  # seconds: twice half of these, for what is lowest around is then averaged, and what oversampling sees


def read_audio(
    path: str | os.PathLike[str], sample_rate: int = SAMPLE_RATE, max_seconds: float | None = None, notes: list[str] | None = None
) -> Tensor:
    """Read an audio file (wav, flac, ogg, mp3, opus, aiff, ...; any rate, any number of channels) as mono.

    Channels are averaged, or the louder one is taken where they cancel out; the rate is changed by soxr (HQ), which takes any ratio at no
    cost in memory; no more than the result is held.

    Args:
        path: the file.
        sample_rate: rate of the result in Hz.
        max_seconds: read no further than this; None reads all.
        notes: takes a sentence ("its ...") where not the mean of the channels was read.

    Returns:
        float32 [1, S].

    Raises:
        UserError: the file is missing, a folder, unreadable, not audio, without samples, breaks off, or holds NaN or infinity.
    """
    file = AudioFile(path)
    limit = None if max_seconds is None else math.ceil(max_seconds * file.rate)
    mix = Downmix()
    read = list(resampled(map(mix, file.blocks(stop=limit)), file.rate, sample_rate))
    if (channel := mix.louder) is not None:
        read = list(resampled((block[:, channel] for block in file.blocks(stop=limit)), file.rate, sample_rate))
        if notes is not None:
            notes.append(said(channel, file.channels))
    return torch.from_numpy(np.concatenate(read))[None]


def resample(wav: Tensor, source_rate: float, target_rate: int) -> Tensor:
    """Change the rate of one clip [1, S] on the CPU; the result has round(S * target / source) samples."""
    return torch.from_numpy(_resample(wav.detach().cpu().float().reshape(-1).numpy(), source_rate, target_rate))[None]


def resampled(blocks: Iterable[NDArray[np.float32]], source_rate: int, target_rate: int) -> Iterator[NDArray[np.float32]]:
    """The same for a stream: blocks [n] or [n, channels] in, blocks of other lengths out, round(S * target / source) samples in all."""
    if source_rate == target_rate:
        yield from blocks
        return
    stream, taken, given = None, 0, 0
    for block in blocks:
        if stream is None:
            stream = soxr.ResampleStream(source_rate, target_rate, block[:1].size, dtype="float32", quality="HQ")
        out = stream.resample_chunk(np.ascontiguousarray(block))
        taken, given = taken + len(block), given + len(out)
        if len(out):
            yield out
    if stream is not None:
        missing = max(0, round(taken * target_rate / source_rate) - given)
        out = stream.resample_chunk(block[:0].copy(), last=True)[:missing]
        yield np.concatenate([out, np.zeros((missing - len(out), *out.shape[1:]), dtype=np.float32)])


def write_audio(
    path: str | os.PathLike[str],
    wav: Tensor,
    sample_rate: int,
    subtype: str | None = None,
    compression: float | None = None,
    said: Mapping[str, str] | None = None,
) -> None:
    """Write a clip, whole or not at all; the extension decides between wav, flac, ogg and mp3.

    Args:
        path: where to; the folder is made.
        wav: [S] or [channels, S]; what lies beyond [-1, 1] is clipped by integer formats.
        sample_rate: in Hz.
        subtype: soundfile's name of the sample format; by default PCM_16 (VORBIS in ogg, MPEG_LAYER_III of a constant rate in mp3).
        compression: of flac and ogg, 0 to 1 (smallest); None is libsndfile's own.
        said: `title`, `comment` and what else of its own the file is to carry, by libsndfile's names; in mp3 what is ASCII.

    Raises:
        UserError: unknown extension, NaN or infinity in the samples, a rate that the format does not have, no permission, disk full.
    """
    suffix = check_suffix(path)
    data = np.atleast_2d(wav.detach().cpu().float().numpy()).T
    if not np.isfinite(data).all():
        raise UserError(f"cannot write audio to {os.fspath(path)!r}: the samples hold NaN or infinity.")
    encoded = io.BytesIO()  # so that Python does the writing and a full disk is reported as one
    with _opened(encoded, suffix, sample_rate, data.shape[1], subtype, compression) as file:
        for name, text in (said or {}).items():
            if suffix != ".mp3" or text.isascii():  # there libsndfile calls Latin-1 what it is given
                setattr(file, name, text.replace("\0", " "))
        for start in range(0, len(data), _BLOCK):  # libsndfile's Vorbis writer overflows its stack on long buffers
            file.write(data[start : start + _BLOCK])
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded.getvalue())


def write_blocks(
    path: str | os.PathLike[str], blocks: Iterable[NDArray[Any]], sample_rate: int, channels: int = 1, subtype: str | None = None
) -> None:
    """The same for audio of any length, as blocks [n] or [n, channels] of finite samples."""
    suffix = check_suffix(path)
    with (
        atomic_path(path) as temporary,
        _opened(temporary, suffix, sample_rate, channels, subtype) as file,
    ):
        for block in blocks:
            for start in range(0, len(block), _BLOCK):
                file.write(block[start : start + _BLOCK])


def _opened(
    where: io.BytesIO | Path, suffix: str, sample_rate: int, channels: int, subtype: str | None = None, compression: float | None = None
) -> soundfile.SoundFile:
    kind: dict[str, Any] = {"subtype": subtype or SUBTYPES[suffix], "format": suffix[1:].upper()}
    kind |= _MP3 if suffix == ".mp3" else {"compression_level": compression}
    try:
        return soundfile.SoundFile(where, "w", sample_rate, channels, **kind)
    except soundfile.LibsndfileError as error:
        raise UserError(f"{suffix[1:]} cannot hold {channels} channel{'s' * (channels > 1)} at {sample_rate} Hz: wav holds any.") from error


def measure_loudness(wav: Tensor, sample_rate: int) -> float | None:
    """Integrated loudness of [1, S] in LUFS (ITU-R BS.1770-4); None if shorter than 0.4 s or silent."""
    return _loudness(_mono(wav), sample_rate)


def true_peak_db(wav: Tensor, sample_rate: int) -> float:
    """Highest magnitude of [1, S] in dB over full scale after fourfold oversampling; -inf for silence."""
    return _decibels(float(_true_peaks(_mono(wav), sample_rate).max(initial=0.0)))


def loudness_normalize(wav: Tensor, sample_rate: int, target: float = -14.0, peak_db: float = -1.0) -> tuple[Tensor, float | None]:
    """Bring a clip to a loudness without clipping.

    One gain when the peaks allow it. Where they do not, a limiter rounds off the peaks alone: its gain looks 20 ms ahead and
    back and takes at most 6 dB off a peak. So very peaky material may stay quieter than `target`; nothing passes `peak_db`.

    Args:
        wav: [1, S].
        sample_rate: in Hz.
        target: integrated loudness wanted, LUFS.
        peak_db: ceiling for the fourfold oversampled peak, dB over full scale.

    Returns:
        The clip [1, S] and its loudness in LUFS as measured after the change. A clip that cannot be measured (shorter than
        0.4 s, or silent) comes back unchanged, with None.
    """
    source = _mono(wav)
    measured = _loudness(source, sample_rate)
    if measured is None:
        return wav, None
    ceiling = 10 ** (peak_db / 20)
    headroom = peak_db - _decibels(float(_true_peaks(source, sample_rate).max()))
    most = headroom + LIMIT_DB
    gain = min(target - measured, most)
    out = _limited(source * 10 ** (gain / 20), sample_rate, ceiling)
    for _ in range(4):  # limiting takes a little loudness away: give it back
        reached = _loudness(out, sample_rate)
        missing = 0.0 if reached is None else min(target - reached, most - gain)
        if abs(missing) < 0.02:
            break
        gain += missing
        out = _limited(source * 10 ** (gain / 20), sample_rate, ceiling)
    return torch.from_numpy(out.astype(np.float32))[None].to(wav), _loudness(out, sample_rate)


def limit_peaks(wav: Tensor, sample_rate: int, peak_db: float = -1.0) -> Tensor:
    """A clip [1, S] whose fourfold oversampled peak is `peak_db` at most: a limiter takes 6 dB, one gain what goes beyond."""
    source, ceiling = _mono(wav), 10 ** (peak_db / 20)
    over = _decibels(float(_true_peaks(source, sample_rate).max(initial=0.0))) - peak_db
    if over <= 0:
        return wav
    out = _limited(source * 10 ** (-max(0.0, over - LIMIT_DB) / 20), sample_rate, ceiling)
    return torch.from_numpy(out.astype(np.float32))[None].to(wav)


def _mono(wav: Tensor) -> NDArray[np.float64]:
    if wav.ndim != 2 or wav.shape[0] != 1:
        raise ValueError(f"expected one mono clip [1, S], got {list(wav.shape)}")
    return wav[0].detach().cpu().double().numpy()


def _resample(samples: NDArray[np.float32], source_rate: float, target_rate: int) -> NDArray[np.float32]:
    if source_rate == target_rate:
        return samples
    wanted = round(len(samples) * target_rate / source_rate)
    out = np.asarray(soxr.resample(samples, source_rate, target_rate, quality="HQ"), dtype=np.float32)
    return np.pad(out, (0, max(0, wanted - len(out))))[:wanted]


def _loudness(samples: NDArray[np.float64], sample_rate: int) -> float | None:
    if len(samples) < 0.4 * sample_rate:
        return None
    value = integrated_loudness(samples, sample_rate)
    return value if math.isfinite(value) else None


def _decibels(magnitude: float) -> float:
    return 20 * math.log10(magnitude) if magnitude > 0 else -math.inf


def _true_peaks(samples: NDArray[np.float64], sample_rate: int) -> NDArray[np.float64]:
    """Magnitude around each sample [S]: the largest of the four oversampled points that follow it, and itself."""
    fine = np.abs(soxr.resample(samples, sample_rate, 4 * sample_rate, quality="HQ"))
    fine = np.pad(fine, (0, max(0, 4 * len(samples) - len(fine))))[: 4 * len(samples)]
    return np.maximum(fine.reshape(-1, 4).max(axis=1), np.abs(samples))


def _limited(samples: NDArray[np.float64], sample_rate: int, ceiling: float) -> NDArray[np.float64]:
    if _true_peaks(samples, sample_rate).max(initial=0.0) <= ceiling:
        return samples
    out = samples * limiter_gains(samples, sample_rate, ceiling)
    return out * min(1.0, ceiling / _true_peaks(out, sample_rate).max())


def limiter_gains(samples: NDArray[np.float64], sample_rate: int, ceiling: float) -> NDArray[np.float64]:
    """What a limiter multiplies samples [S] by, 1 away from peaks over the ceiling; it looks `LIMITER_REACH` seconds ahead and back."""
    peaks = _true_peaks(samples, sample_rate)
    width = 2 * int(_LIMIT_SECONDS * sample_rate / 2) + 1
    # Lowest gain in reach, then averaged over the same reach: every average then lies at or under the gain that its sample needs.
    needed = lowest_around(np.minimum(1.0, ceiling / np.maximum(peaks, 1e-12)), width + 2)
    window = np.hanning(width + 2)
    return convolved(np.pad(needed, (width + 1) // 2, mode="edge"), window / window.sum())


def audio_files(folder: str | Path) -> list[Path]:
    """Audio under a folder, sorted; where composed pieces are among it, their mixes alone.

    Raises:
        UserError: there is none.
    """
    found = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    mixes = [path for path in found if path.name.endswith(".mix.flac")]
    if not found:
        raise UserError(f"{str(folder)!r} is no folder that holds audio ({', '.join(AUDIO_SUFFIXES)}).")
    return mixes or found
