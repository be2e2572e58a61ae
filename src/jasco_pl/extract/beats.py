"""Beats and downbeats: heard in audio by BeatNet's network, or as a composed piece was played.

BeatNet (Heydari, Cwitkowitz and Duan 2021): a convolutional recurrent network that says of every 20 ms how much it sounds like a beat and
like a downbeat. Its package (CC BY 4.0) carries the weights and is never imported, because its code needs madmom, which no longer
installs; the spectrum that the network sees (madmom's, Böck et al. 2016) and the network stand here, its weights are read as a file. In
place of BeatNet's particle filter, beats are placed by dynamic programming over what the network says (Ellis 2007, librosa's), which hears
all of a clip at once; bars are then counted in twos, threes or fours from where downbeats sound most like it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pooch import file_hash
from torch import Tensor, nn
from torch.nn import functional

from jasco_pl.audio.files import resample
from jasco_pl.audio.long_audio import InMemory, LongAudio, Samples
from jasco_pl.extract.stage import Field, Piece, Stage
from jasco_pl.notation.beats import NOWHERE, phases
from jasco_pl.system import librosa
from jasco_pl.system.errors import UserError

SAMPLE_RATE, HOP = 22050, 441
FRAME_RATE = SAMPLE_RATE // HOP
_FRAME = 1411  # samples, 64 ms
_BANDS, _LOWEST, _HIGHEST = 24, 30.0, 17000.0  # an octave; Hz
_INPUTS = 272  # bands, and their growth since the frame before
_SHA256 = "619091bc317ca3e83b45591d46f6de3d5a41588bcb39fe9fe7be30cffa6aca84"
_BLOCK = 3000  # frames that are looked at at once, a minute
OVERLAP = 500  # frames by which blocks overlap in which beats are placed
METERS = (4, 3, 2)  # beats in a bar; of two that fit as well the first
_LEAST = 0.1  # likeness to a beat that the first and the last have: silence has 0.03 after its first frame, beats of music 0.6 to 1


class BeatNetwork(nn.Module):
    """Spectra [T, 272] -> how much each frame sounds like a beat, a downbeat, neither [T, 3]; the names are those of the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(1, 2, 10)
        self.linear0 = nn.Linear(262, 150)
        self.lstm = nn.LSTM(150, 150, num_layers=2, batch_first=True)
        self.linear = nn.Linear(150, 3)

    def forward(self, spectra: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The state goes on from one stretch of a recording to the next."""
        seen = functional.max_pool1d(self.conv1(spectra[:, None]).relu(), 2).flatten(1)
        heard, state = self.lstm(self.linear0(seen)[None], state)
        return self.linear(heard)[0].softmax(dim=-1), state


@cache
def weights_file() -> Path | None:
    """Of the model that BeatNet takes by default; None where the package is not installed."""
    package = importlib.util.find_spec("BeatNet")  # found, not imported
    places = list(package.submodule_search_locations or []) if package else []
    return next((path for place in places if (path := Path(place) / "models" / "model_1_weights.pt").is_file()), None)


def require() -> Path:
    """The file of the weights; raises the UserError that says how to install them, where they are not."""
    path = weights_file()
    if path is None:
        raise UserError(
            "beats are heard with the weights of BeatNet, which is not installed: run `pip install --no-deps BeatNet==1.1.3` "
            "(`make setup` does)."
        )
    return path


@cache
def _network() -> BeatNetwork:
    path = require()
    if file_hash(str(path)) != _SHA256:
        raise UserError(f"{str(path)!r} does not hold the weights of BeatNet 1.1.3: its checksum is another.")
    network = BeatNetwork()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval()


@cache
def _filters() -> Tensor:
    """Triangles [705, 136] of unit sum between the bins nearest to 24 tones an octave (none between two in one bin)."""
    tones = 440.0 * 2.0 ** (np.arange(-10 * _BANDS, 10 * _BANDS) / _BANDS)
    tones = tones[(tones >= _LOWEST) & (tones <= _HIGHEST)]
    size = _FRAME // 2
    bins = np.unique(np.clip(np.round(tones * 2 * size / SAMPLE_RATE), 0, size - 1)).astype(int)  # as madmom counts them
    filters = np.zeros((size, len(bins) - 2), dtype=np.float32)
    for number, (low, middle, high) in enumerate(zip(bins, bins[1:], bins[2:], strict=False)):
        filters[low:middle, number] = np.linspace(0, 1, middle - low, endpoint=False)
        filters[middle:high, number] = np.linspace(1, 0, high - middle, endpoint=False)
    return torch.from_numpy(filters / filters.sum(axis=0))


def spectra(samples: Samples, first: int, frames: int) -> Tensor:
    """What the network sees of frames [first, first + frames): [frames, 272].

    Frame k is centred on sample k * 441; log10 of the filtered magnitude plus one, then how much that grew since the frame before.
    """
    begin = (first - 1) * HOP - _FRAME // 2
    wanted = frames * HOP + _FRAME
    part = torch.from_numpy(samples[max(begin, 0) : max(begin + wanted, 0)])
    part = functional.pad(part, (max(-begin, 0), 0))
    part = functional.pad(part, (0, wanted - len(part)))
    window = torch.hann_window(_FRAME, periodic=False)
    magnitude = torch.fft.rfft(part.unfold(0, _FRAME, HOP) * window).abs()[:, : _FRAME // 2]
    level = torch.log10(magnitude @ _filters() + 1)
    growth = (level[1:] - level[:-1]).clamp(min=0)
    if first == 0:
        growth[0] = 0
    return torch.cat([level[1:], growth], dim=1)


@torch.inference_mode()
def _likeness(samples: Samples) -> NDArray[np.float32]:
    """How much each frame sounds like a beat, and like a downbeat [T, 2]."""
    network, state, parts = _network(), None, []
    total = -(-len(samples) // HOP)
    for first in range(0, total, _BLOCK):
        found, state = network(spectra(samples, first, min(_BLOCK, total - first)), state)
        parts.append(found[:, :2].numpy())
    return np.concatenate(parts) if parts else np.zeros((0, 2), dtype=np.float32)


def track(samples: Samples) -> NDArray[np.float64]:
    """Beats of music of any length: (seconds, number in the bar from 1) [N, 2]; none where nothing sounds like a beat.

    What is longer than a minute is taken minute by minute, joined in the middle of what they share: the tempo may change from one to the
    next, and a bar may be cut short there.

    Args:
        samples: at 22,050 Hz.

    Raises:
        UserError: the weights are not installed.
    """
    if samples.rate != SAMPLE_RATE:
        raise ValueError(f"beats are heard at {SAMPLE_RATE} samples a second here, not {samples.rate}")
    found = np.zeros((0, 2))
    likeness = _likeness(samples)
    for first, part in _blocks(likeness):
        beats = _placed(part) + np.array([first / FRAME_RATE, 0])
        joint = (first + OVERLAP / 2) / FRAME_RATE if first else 0.0
        found = np.concatenate([found[found[:, 0] < joint], beats[beats[:, 0] >= joint]])
    return found


def track_parts(samples: Samples, parts: Sequence[tuple[float, float]]) -> list[NDArray[np.float64]]:
    """The beats of stretches of music (seconds from, to): heard in the whole, but placed in each stretch as if there were nothing else.

    Args:
        samples: at 22,050 Hz.

    Raises:
        UserError: the weights are not installed.
    """
    likeness = _likeness(samples)
    found = []
    for start, end in parts:
        first = max(0, round(start * FRAME_RATE))
        found.append(_placed(likeness[first : max(first, round(end * FRAME_RATE))]) + np.array([first / FRAME_RATE, 0]))
    return found


def _blocks(likeness: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    for first in [0, *range(_BLOCK - OVERLAP, len(likeness) - OVERLAP, _BLOCK - OVERLAP)]:
        yield first, likeness[first : first + _BLOCK]


def _placed(likeness: NDArray[np.float32]) -> NDArray[np.float64]:
    """Beats of one tempo, give or take: (seconds, number) [N, 2]."""
    strength = likeness.sum(axis=1)
    if len(strength) < FRAME_RATE:
        return np.zeros((0, 2))
    _, found = librosa.beat.beat_track(onset_envelope=strength, sr=SAMPLE_RATE, hop_length=HOP, trim=False)
    frames = np.asarray(found, dtype=np.int64)
    sounding = np.flatnonzero(_around(strength, frames) >= _LEAST)
    if len(sounding) < 2:
        return np.zeros((0, 2))
    frames = frames[sounding[0] : sounding[-1] + 1]  # what the program goes on with into silence is none
    return np.stack([frames / FRAME_RATE, _numbered(frames, likeness[:, 1])], axis=1)


def _around(values: NDArray[np.float32], frames: NDArray[np.int64]) -> NDArray[np.float32]:
    """The largest of values [T] near each of some frames [N]."""
    near = frames + np.arange(-1, 3)[:, None]
    return np.asarray(values[near.clip(0, len(values) - 1)].max(axis=0))


def _numbered(frames: NDArray[np.int64], down: NDArray[np.float32]) -> NDArray[np.float64]:
    """Numbers in the bar, from which frame sounds how much like a downbeat [T]: the count and the start that set them apart most."""
    around = _around(down, frames)
    best, apart = (1, 0), -np.inf
    for count in METERS:
        for start in range(min(count, max(len(frames) - count, 0))):
            on = np.arange(len(frames)) % count == start
            if (found := float(around[on].mean() - around[~on].mean())) > apart + 1e-6:
                best, apart = (count, start), found
    count, start = best
    return (np.arange(len(frames), dtype=np.float64) - start) % count + 1


def beats_of(wav: Tensor, sample_rate: int) -> NDArray[np.float64]:
    """The same of one clip [1, S]."""
    return track(InMemory(resample(wav, sample_rate, SAMPLE_RATE), SAMPLE_RATE))


class Beats(Stage):
    """How far every frame lies into its beat and its bar [T, 2], see `notation.beats.phases`."""

    name = "beats"
    fields = (Field("beats", torch.float16, NOWHERE),)
    annotations = ("beats",)

    @cached_property
    def _found(self) -> Path:
        return require()

    def fingerprint(self) -> str:
        return f"beatnet-{file_hash(str(self._found))[:8]}-ellis"

    def of_recording(self, audio: LongAudio) -> dict[str, Tensor]:
        beats = [(time, int(number)) for time, number in track(audio.samples(SAMPLE_RATE)).tolist()]
        return {"beats": torch.from_numpy(phases(beats, self.frames(audio), self.codec.frame_rate)).half()}

    def of_piece(self, piece: Piece) -> dict[str, Tensor]:
        beats = [(float(time), int(number)) for time, number in piece.note["beats"]]
        return {"beats": torch.from_numpy(phases(beats, piece.frames, self.codec.frame_rate)).half()}
