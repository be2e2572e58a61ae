"""Audio files decoded block after block, with what is wrong with them said in one sentence."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from jasco_pl.audio.foreign import ForeignError, ForeignFile
from jasco_pl.audio.streamed_wav import open_streamed
from jasco_pl.system.errors import UserError

_BLOCK = 1 << 16
_MOST = 1 << 22  # samples of all channels in a block
_LOWEST_RATE, _HIGHEST_RATE = 1000, 3_072_000  # a file that claims less or more is a broken header, not music
_UNKNOWN_BYTES = 0x7FFFF000  # a recorder that could not go back to the header leaves its size at the largest number, signed or not
_UNKNOWN_FRAMES = 1 << 60  # what libsndfile says where a header does not


class AudioFile:
    """An audio file (wav, flac, ogg, mp3, opus, aiff, ...; any rate, any number of channels) whose header has been read.

    What libsndfile does not read (m4a, mp4, webm, wma, ...) is read where the package `av` is installed.

    Attributes:
        name: the path as text.
        rate: samples a second.
        channels: how many.
        claimed_seconds: the length by the file's header (wav, aiff, flac, mp3), which a truncated file does not keep. Ogg's headers
            give none: it is then the length that was found. An mp3 without a table of contents is estimated from its bit rate. 0 where
            nothing is known.
        subtype: the sample format, by libsndfile's name; of what it does not read, empty.
        floating: samples are floating-point numbers, for which full scale is no limit.

    Raises:
        UserError: the file is missing, a folder, unreadable, not audio, or of an impossible rate.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = os.fspath(path)
        try:
            with open(path, "rb"):  # the operating system says why, libsndfile says only "System error"
                pass
        except FileNotFoundError:
            raise UserError(f"audio file {self.name!r} does not exist.") from None
        except IsADirectoryError:
            raise UserError(f"{self.name!r} is a folder, where an audio file (wav, flac, ogg, mp3) is wanted.") from None
        except OSError as error:
            raise UserError(f"audio file {self.name!r} cannot be read: {error.strerror}.") from None
        with self._open() as file:
            self.rate, self.channels = int(file.samplerate), int(file.channels)
            if not _LOWEST_RATE <= self.rate <= _HIGHEST_RATE:
                accepted = f"{_LOWEST_RATE} to {_HIGHEST_RATE} are accepted"
                raise UserError(f"audio file {self.name!r} says it has {self.rate} samples a second, where {accepted}.")
            self.claimed_seconds = _claimed_frames(file) / self.rate
            self.subtype = str(getattr(file, "subtype", None) or "")
            self.floating = self.subtype in ("FLOAT", "DOUBLE")

    def _open(self) -> soundfile.SoundFile | ForeignFile:
        path = os.fsencode(self.name)  # as bytes: it may be no UTF-8
        try:
            file = soundfile.SoundFile(open_streamed(path) or path)
            if file.frames < _UNKNOWN_FRAMES:
                return file
            with contextlib.suppress(ForeignError):  # libsndfile stumbles over the end of a stream whose length it does not know
                return ForeignFile(path)
            return file
        except OSError as error:  # no file of that kind, such as a process's memory
            raise UserError(f"audio file {self.name!r} cannot be read: {error.strerror}.") from None
        except (soundfile.LibsndfileError, RuntimeError) as error:
            try:
                return ForeignFile(path)
            except ForeignError as foreign:
                why = f": {foreign}" if str(foreign) else _reason(error)
                raise UserError(f"{self.name!r} is not an audio file that can be read (wav, flac, ogg, mp3){why}.") from None

    def blocks(self, start: int = 0, stop: int | None = None, dtype: Literal["float32", "float64"] = "float32") -> Iterator[NDArray[Any]]:
        """The samples in order, [n, channels] with n <= 65536 (fewer of very many channels), all of them finite.

        Args:
            start: the first sample.
            stop: where to end before; None goes to the end.
            dtype: float64 holds samples of any format exactly.

        Raises:
            UserError: the file breaks off, or holds NaN or infinity (met when they are reached), or no samples at all.
        """
        at, most = start, max(1, min(_BLOCK, _MOST // self.channels))
        with self._open() as file:
            if start > 0 and (not file.frames or start <= file.frames):
                file.seek(start)
            # Not `file.blocks`: where a truncated file ends it gives its last block again, until the claimed length is reached.
            while (not file.frames or start <= file.frames) and (wanted := most if stop is None else min(most, stop - at)) > 0:
                try:
                    block = file.read(wanted, dtype=dtype, always_2d=True)
                except (soundfile.LibsndfileError, RuntimeError) as error:
                    raise UserError(
                        f"audio file {self.name!r} breaks off at {at / self.rate:.1f} s"
                        f"{f' of {self.claimed_seconds:.1f} s' if self.claimed_seconds else ''}{_reason(error)}."
                    ) from None
                if not len(block):
                    break
                bad = np.flatnonzero(~np.isfinite(block.mean(axis=1)))  # the mean: channels at the edge of float32 overflow in it
                if len(bad):
                    second = (at + bad[0]) / self.rate
                    raise UserError(
                        f"audio file {self.name!r} holds NaN or infinity, first at {second:.3f} s; only finite samples are accepted."
                    )
                yield block
                at += len(block)
        if at == start:
            where = f" behind {start / self.rate:g} s" if start else ""
            raise UserError(f"audio file {self.name!r} holds no samples{where}.")


def _claimed_frames(file: soundfile.SoundFile | ForeignFile) -> float:
    """libsndfile corrects the length of a cut wav or aiff file by its size, and notes so."""
    if file.frames >= _UNKNOWN_FRAMES:
        return 0.0
    noted = re.search(r"^ *(?:data|SSND) *: (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE)
    if noted and int(noted[2]) and int(noted[1]) < _UNKNOWN_BYTES:
        return float(file.frames) * int(noted[1]) / int(noted[2])
    return float(file.frames)


def _reason(error: Exception) -> str:
    text = str(getattr(error, "error_string", error)).strip().rstrip(".")
    return f": {text}" if text else ""
