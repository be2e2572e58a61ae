"""Audio files of any length at any rate, in memory that does not grow with them.

A `LongAudio` decodes and resamples its file in one pass a rate. Up to five minutes stay in memory; what is longer lies as raw float32 in a
temporary file without a name, which the system removes even when the process is killed. Extractors take `Samples`, which give any
window of either, or of a tensor.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from jasco_pl.audio.channels import Downmix
from jasco_pl.audio.decoding import AudioFile
from jasco_pl.audio.files import resampled

MEMORY_SECONDS = 300.0
DRUM_BAND = (200.0, 800.0)  # Hz, paper section 5: drums of the multi-condition models
_RINGING = 0.5  # seconds, at the end of which the filter's answer has died away to less than float32 holds

Block = NDArray[np.float32]


class Samples(ABC):
    """Mono samples of which only the windows that are asked for are in memory: `samples[start:stop]` is float32 [n].

    Attributes:
        rate: samples a second.
    """

    rate: int

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _read(self, start: int, stop: int) -> Block: ...

    def __getitem__(self, part: slice) -> Block:
        start, stop, step = part.indices(len(self))
        if step != 1:
            raise ValueError(f"samples are read in whole windows, not with step {step}")
        return self._read(start, max(start, stop))

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self) / self.rate

    def windows(self, length: int, context: int = 0) -> Iterator[tuple[Block, int, int]]:
        """Windows one after the other, each with what lies around it.

        Args:
            length: samples of a window; the last one may be shorter.
            context: samples on either side, fewer where the audio begins and ends.

        Yields:
            The samples [before + own + behind], how many come before, and how many are the window's own.
        """
        for start in range(0, len(self), length):
            before, own = min(context, start), min(length, len(self) - start)
            yield self[start - before : start + own + context], before, own


class InMemory(Samples):
    """Samples of a clip.

    Args:
        samples: [S] or [1, S].
        rate: samples a second.
    """

    def __init__(self, samples: Tensor | Block, rate: int) -> None:
        array = samples.detach().cpu().numpy() if isinstance(samples, Tensor) else samples
        self._array = np.ascontiguousarray(array.reshape(-1), dtype=np.float32)
        self.rate = rate

    def __len__(self) -> int:
        return len(self._array)

    def _read(self, start: int, stop: int) -> Block:
        return self._array[start:stop]


class OnDisk(Samples):
    """Samples in an open file of raw float32."""

    def __init__(self, file: IO[bytes], length: int, rate: int) -> None:
        self._file, self._length, self.rate = file, length, rate

    def __len__(self) -> int:
        return self._length

    def _read(self, start: int, stop: int) -> Block:
        out = np.empty(stop - start, dtype=np.float32)
        self._file.seek(start * out.itemsize)
        got = self._file.readinto(out.data.cast("B"))  # type: ignore[attr-defined]
        if got != out.nbytes:
            raise OSError(f"a temporary file of samples ends {out.nbytes - got} bytes early")
        return out


class Filtered(Samples):
    """Samples behind a causal filter, which is run anew over every window that is read.

    Args:
        source: what is filtered.
        function: samples [n] -> samples [n].
        lead_seconds: how long the filter rings: so much before a window is filtered with it.
    """

    def __init__(self, source: Samples, function: Callable[[Block], Block], lead_seconds: float) -> None:
        self._source, self._function, self.rate = source, function, source.rate
        self._lead = round(lead_seconds * source.rate)

    def __len__(self) -> int:
        return len(self._source)

    def _read(self, start: int, stop: int) -> Block:
        first = max(0, start - self._lead)
        return self._function(self._source[first:stop])[start - first :]


def bandpass(wav: Tensor, sample_rate: int) -> Tensor:
    """Keep 200-800 Hz (Butterworth, fourth order a side); [1, S] -> [1, S]."""
    from scipy.signal import butter, sosfilt  # here: to make music without a recording needs none of it, and its import takes a second

    sections = butter(4, DRUM_BAND, btype="bandpass", fs=sample_rate, output="sos")
    return torch.from_numpy(sosfilt(sections, wav.numpy()).astype(np.float32))


def bandpass_long(samples: Samples) -> Samples:
    """The same of samples of any length, filtered when they are read."""
    return Filtered(samples, lambda part: bandpass(torch.from_numpy(part)[None], samples.rate)[0].numpy(), _RINGING)


class Spool:
    """Takes samples block by block, into memory while they are few and otherwise into a temporary file without a name.

    Args:
        rate: samples a second.
        scratch: folder of the temporary file, made at need; None is the system's.
    """

    def __init__(self, rate: int, scratch: str | os.PathLike[str] | None = None) -> None:
        self.rate, self._scratch = rate, scratch
        self._held: list[Block] = []
        self._length = 0
        self._file: IO[bytes] | None = None

    def append(self, block: Block) -> None:
        """Add samples [n].

        Raises:
            OSError: the temporary file cannot be made or written.
        """
        self._held.append(np.ascontiguousarray(block, dtype=np.float32))
        self._length += len(block)
        if self._file is not None or self._length > MEMORY_SECONDS * self.rate:
            self._spill()

    def _spill(self) -> None:
        with self._named():
            if self._file is None:
                if self._scratch is not None:
                    Path(self._scratch).mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=self._scratch)  # noqa: SIM115
            for block in self._held:
                self._file.write(block.data.cast("B"))
            self._held.clear()

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """An error says which folder it is about: the file has no name."""
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, os.fspath(self._scratch or tempfile.gettempdir())) from error

    def samples(self) -> Samples:
        """All that was added; nothing can be added afterwards. From a file they can be read until `close`."""
        if self._file is None:
            return InMemory(np.concatenate(self._held) if self._held else np.zeros(0, dtype=np.float32), self.rate)
        with self._named():
            self._file.flush()
        return OnDisk(self._file, self._length, self.rate)

    def close(self) -> None:
        """Remove the temporary file."""
        self._held.clear()
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk, which `append` has told
                self._file.close()


class LongAudio:
    """An audio file of any length; a context manager, at whose end all of its samples on disk are gone.

    Args:
        path: wav, flac, ogg, mp3, opus, aiff, ...; any rate, any number of channels.
        scratch: folder of temporary files, made at need; None is the system's.
        start, stop: the stretch of the file that is meant, in seconds; None goes to the end.
        progress: show a bar while more than five minutes are decoded.

    Attributes:
        source_rate: samples a second in the file.
        channels: of the file.
        floating: full scale is no limit to its samples.
        claimed_seconds: the length by the file's header (see `decoding.AudioFile`); in a truncated file `seconds` is less.

    Raises:
        UserError: here, the file is missing, a folder, unreadable or not audio; when it is decoded, it breaks off, holds no samples, NaN or
            infinity.
        OSError: when it is decoded, the temporary file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        scratch: str | os.PathLike[str] | None = None,
        start: float = 0.0,
        stop: float | None = None,
        progress: bool = False,
    ) -> None:
        self._audio = AudioFile(path)
        self._start, self._stop = round(start * self._audio.rate), None if stop is None else round(stop * self._audio.rate)
        self.path, self.scratch, self.progress = Path(path), scratch, progress
        self.source_rate, self.channels, self.floating = self._audio.rate, self._audio.channels, self._audio.floating
        end = self._audio.claimed_seconds if stop is None else min(stop, self._audio.claimed_seconds)
        self.claimed_seconds = max(0.0, end - start)
        self._resources = contextlib.ExitStack()
        self._samples: dict[int, Samples] = {}
        self._frames: int | None = None
        self._mix: Downmix | None = None  # after all channels were heard

    def __enter__(self) -> LongAudio:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Remove all temporary files."""
        self._samples.clear()
        self._resources.close()

    @property
    def seconds(self) -> float:
        """The length that decodes; known for nothing once anything was read, else the file is decoded for it."""
        return self.length(self.source_rate) / self.source_rate

    def length(self, rate: int) -> int:
        """How many samples it has at a rate; at what cost see `seconds`."""
        if self._frames is None:
            self._hear()
        assert self._frames is not None
        return round(self._frames * rate / self.source_rate)

    def samples(self, rate: int) -> Samples:
        """One channel at `rate`, the mean of all or the louder one (`channels.Downmix`): decoded at the first call, kept until `close`.

        Equal to `read_audio` up to rounding.
        """
        if rate not in self._samples:
            if self._mix is None:
                mix = Downmix()
                self._samples[rate] = self.keep(resampled(map(mix, self._decoded()), self.source_rate, rate), rate)
                self._mix = mix
                if mix.louder is None:
                    return self._samples[rate]
            self._samples[rate] = self.keep(resampled(self._mono(), self.source_rate, rate), rate)
        return self._samples[rate]

    @property
    def channel(self) -> int | None:
        """The channel that stands for all because they cancel out in their mean; None where that is not so."""
        if self._mix is None and self.channels > 1:
            self._hear()
        return None if self._mix is None else self._mix.louder

    def stereo(self, rate: int) -> Iterator[Block]:
        """Both channels at `rate` in blocks [n, 2], decoded anew at every call and kept nowhere.

        A mono file gives the same on both sides, and so do more than two channels, and two that cancel out.
        """
        if self.channels == 2 and self.channel is None:
            return resampled(self._decoded(), self.source_rate, rate)
        return resampled((mono[:, None].repeat(2, axis=1) for mono in self._mono()), self.source_rate, rate)

    def keep(self, blocks: Iterable[Block], rate: int) -> Samples:
        """What is made of this file, as samples that last until `close`: blocks [n] -> all of them."""
        spool = self.spool(rate)
        try:
            for block in blocks:
                spool.append(block)
            return spool.samples()
        except BaseException:
            spool.close()
            raise

    def spool(self, rate: int) -> Spool:
        """An empty store that `close` empties."""
        spool = Spool(rate, self.scratch)
        self._resources.callback(spool.close)
        return spool

    def _hear(self) -> None:
        mix = Downmix()
        for block in self._decoded():
            mix(block)
        self._mix = mix

    def _mono(self) -> Iterator[Block]:
        """Blocks [n] of the file."""
        channel = self.channel
        return (block.mean(axis=1) if channel is None else block[:, channel] for block in self._decoded())

    def _decoded(self) -> Iterator[Block]:
        """Blocks [n, channels] of the file."""
        done = 0
        hidden = not self.progress or self.claimed_seconds <= MEMORY_SECONDS
        with tqdm(total=round(self.claimed_seconds), desc="decoding", unit="s", disable=hidden, leave=False) as bar:
            for block in self._audio.blocks(self._start, self._stop):
                done += len(block)
                bar.update(done // self.source_rate - bar.n)
                yield block
        self._frames = done
