"""Audio that libsndfile does not read, through FFmpeg's libraries, which the package `av` (PyAV) brings: no program is called."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXTRA = "media"
# Containers that hold their own audio: a playlist, or a file that names others, could make FFmpeg open them
_CONTAINERS = (
    "aac,ac3,aiff,alac,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,iff,loas,m4a,matroska,mov,mp3,mp4,mpc,mpc8,mpeg,mpegts,ogg,rm,tak,tta,"
    "w64,wav,webm,wv,xwma"
)
_ESTIMATING = ("aac", "ac3", "amr", "avi", "dts", "eac3", "loas", "mp3", "mpeg", "mpegts")  # their length is guessed from the bit rate


class ForeignError(Exception):
    """Why a file cannot be read, in words without its name; empty where there is nothing to say but that it is no audio."""


def _again(error: Exception) -> Iterator[NDArray[np.float32]]:
    raise error
    yield


class ForeignFile:
    """The first sound of a file, from its beginning; as `soundfile.SoundFile`, as far as it is needed.

    Args:
        path: as bytes, so that any name will do.

    Attributes:
        samplerate, channels: as they are in the file.
        frames: by the header; 0 where it does not say.

    Raises:
        ForeignError: it is not audio that can be read, or `av` is not installed.
        OSError: it cannot be opened.
    """

    subtype = "FOREIGN"
    extra_info = ""

    def __init__(self, path: bytes) -> None:
        try:
            import av
        except ImportError:
            raise ForeignError(
                f"m4a, mp4, webm, wma and the like are read where the package av is: `pip install 'jasco-pl[{EXTRA}]'`"
            ) from None
        self._errors: tuple[type[Exception], ...] = (av.FFmpegError, ValueError, EOFError)
        self._file = open(path, "rb")  # noqa: SIM115  closed in close
        self._container: Any = None
        try:
            self._container = av.open(self._file, mode="r", metadata_errors="replace", options={"format_whitelist": _CONTAINERS})
            if not self._container.streams.audio:
                raise ForeignError("there is no sound in it")
            self._stream = self._container.streams.audio[0]
            context = self._stream.codec_context
            if context is None:  # FFmpeg knows no decoder of that kind
                raise ForeignError("its sound is of a kind that is not read")
            self.samplerate, self.channels = int(context.sample_rate or 0), int(context.layout.nb_channels)
            if not self.samplerate or not self.channels:
                raise ForeignError("its sound is of a kind that is not read")
            self._to_float = av.AudioResampler(format="flt", layout=context.layout, rate=self.samplerate)
        except self._errors as error:
            self.close()
            raise ForeignError("") from error
        except BaseException:
            self.close()
            raise
        self.frames = self._claimed()
        self._blocks = self._decoded()
        self._left = np.zeros((0, self.channels), dtype=np.float32)

    def _claimed(self) -> int:
        if set(self._container.format.name.split(",")) & set(_ESTIMATING):
            return 0
        if self._stream.duration and self._stream.time_base:
            return round(self._stream.duration * self._stream.time_base * self.samplerate)
        return round((self._container.duration or 0) / 1e6 * self.samplerate)

    def _decoded(self) -> Iterator[NDArray[np.float32]]:
        frames = self._container.decode(self._stream)
        while True:
            frame = next(frames, None)
            for out in self._to_float.resample(frame):
                yield out.to_ndarray().reshape(-1, self.channels).astype(np.float32, copy=False)
            if frame is None:
                return

    def seek(self, frames: int) -> None:
        """Pass over so many samples from the beginning, decoding them: containers find a place by the packet alone."""
        while frames > 0 and len(passed := self.read(min(frames, 1 << 16))):
            frames -= len(passed)

    def read(self, frames: int, **_: Any) -> NDArray[np.float32]:
        """The next samples, float32 [n, channels]; fewer at the end.

        Raises:
            RuntimeError: it breaks off.
        """
        parts, have = [self._left], len(self._left)
        try:
            while have < frames and (block := next(self._blocks, None)) is not None:
                parts.append(block)
                have += len(block)
        except self._errors as error:
            if have == 0:
                raise RuntimeError(getattr(error, "strerror", None) or str(error)) from None
            self._blocks = _again(error)  # first what was decoded
        whole = np.concatenate(parts)
        self._left = whole[frames:]
        return whole[:frames]

    def close(self) -> None:
        """Let go of the file."""
        if self._container is not None:
            self._container.close()
        self._file.close()

    def __enter__(self) -> ForeignFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
