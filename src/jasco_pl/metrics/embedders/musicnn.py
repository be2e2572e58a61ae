"""musicnn (Pons and Serra 2019): an embedding and fifty tags of music, with weights that a package on PyPI carries.

The package (ISC licence, optional) is never imported, because its code needs TensorFlow 1; its checkpoint is read as a file. A distance by
these embeddings is `FD[musicnn]`, a divergence of its tags `KL[musicnn]`: figures of their own, not to be compared with FAD or KL by PaSST.

A checkpoint of TensorFlow (version 2, "tensor bundle") is an index and data files. The index is a LevelDB table (table_format.md of
LevelDB): sorted blocks of prefix-compressed keys, found through an index block that the footer names. Its values are BundleEntryProto
messages (tensorflow/core/protobuf/tensor_bundle.proto): type, shape, and where in the data the bytes lie.

Legend: B clips, T = 187 frames of 16 ms, F = 96 mel bands.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pooch import file_hash
from torch import Tensor, nn
from torch.nn.functional import pad

from jasco_pl.metrics.embedders import Embedder
from jasco_pl.system import librosa
from jasco_pl.system.errors import UserError

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_FLOAT32 = 1  # tensorflow/core/framework/types.proto


def read_checkpoint(prefix: str | os.PathLike[str]) -> dict[str, NDArray[np.float32]]:
    """The float32 variables of the checkpoint `PREFIX.index` and `PREFIX.data-00000-of-00001`, by name.

    Variables of other types are left out.

    Raises:
        ValueError: the index is no uncompressed table, or the data ends early.
        OSError: the files cannot be read.
    """
    index = Path(f"{os.fspath(prefix)}.index").read_bytes()
    data = Path(f"{os.fspath(prefix)}.data-00000-of-00001").read_bytes()
    if len(index) < _FOOTER or int.from_bytes(index[-8:], "little") != _MAGIC:
        raise ValueError("the index is no TensorFlow checkpoint")
    footer = index[-_FOOTER:]
    _, position = _handle(footer, 0)  # of the meta index
    found = {}
    for _, block in _entries(index, _handle(footer, position)[0]):
        for key, value in _entries(index, _handle(block, 0)[0]):
            entry = _message(value)
            if key and entry.get(1) == [_FLOAT32]:
                found[key.decode()] = _tensor(entry, data)
    return found


def _tensor(entry: dict[int, list[int | bytes]], data: bytes) -> NDArray[np.float32]:
    shape = [_integer(_message(_bytes(size)), 1) for size in _message(_bytes(entry.get(2, [b""])[0])).get(2, [])]
    start, size = _integer(entry, 4), _integer(entry, 5)
    if start + size > len(data) or size != 4 * int(np.prod(shape)) or _integer(entry, 3):
        raise ValueError("the data does not hold what the index lists")
    return np.frombuffer(data[start : start + size], dtype="<f4").reshape(shape)


def _entries(table: bytes, handle: tuple[int, int]) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of the block at (offset, size)."""
    offset, size = handle
    block = table[offset : offset + size]
    if offset + size >= len(table) or table[offset + size] != 0:
        raise ValueError("the index is damaged or compressed")
    end = size - 4 - 4 * int.from_bytes(block[-4:], "little")  # without the restart points, by which one would seek
    key, position = b"", 0
    while position < end:
        shared, position = _varint(block, position)
        unshared, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + unshared]
        position += unshared
        yield key, block[position : position + length]
        position += length


def _handle(buffer: bytes, position: int) -> tuple[tuple[int, int], int]:
    offset, position = _varint(buffer, position)
    size, position = _varint(buffer, position)
    return (offset, size), position


def _message(buffer: bytes) -> dict[int, list[int | bytes]]:
    """A protocol buffer's fields by number: integers, and bytes of what is nested."""
    fields: dict[int, list[int | bytes]] = {}
    position = 0
    while position < len(buffer):
        tag, position = _varint(buffer, position)
        kind = tag & 7
        value: int | bytes
        if kind == 0:
            value, position = _varint(buffer, position)
        else:
            length, position = _varint(buffer, position) if kind == 2 else ({1: 8, 5: 4}[kind], position)
            value = buffer[position : position + length]
            position += length
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _varint(buffer: bytes, position: int) -> tuple[int, int]:
    result, shift = 0, 0
    while True:
        if position >= len(buffer):
            raise ValueError("the index ends early")
        byte = buffer[position]
        result |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return result, position


def _integer(fields: dict[int, list[int | bytes]], number: int) -> int:
    value = fields.get(number, [0])[0]
    if not isinstance(value, int):
        raise ValueError("the index is damaged")
    return value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("the index is damaged")
    return value


BANDS = 96
TIMBRAL = (38, 67)  # bands that a filter of 7 frames spans: 0.4 and 0.7 of all
TEMPORAL = (128, 64, 32)  # frames that a filter of one band spans
EMBEDDING = 200
TAGS = 50
_EPSILON = 1e-3


class MusicnnNetwork(nn.Module):
    """Log-mel patches [B, T, F] -> the penultimate layer [B, 200] and the logits of 50 tags [B, 50]."""

    def __init__(self) -> None:
        super().__init__()
        timbral, temporal, middle = 204, 51, 64
        self.input_norm = nn.BatchNorm2d(1, eps=_EPSILON)
        shapes = [(timbral, (7, span)) for span in TIMBRAL] + [(temporal, (span, 1)) for span in TEMPORAL]
        # in time; TensorFlow pads an even number of frames by more after than before
        self.padding = [(0, 0, (frames - 1) // 2, frames // 2) for _, (frames, _) in shapes]
        self.front = nn.ModuleList(nn.Conv2d(1, filters, kernel) for filters, kernel in shapes)
        self.front_norms = nn.ModuleList(nn.BatchNorm2d(filters, eps=_EPSILON) for filters, _ in shapes)
        features = sum(filters for filters, _ in shapes)
        self.middle = nn.ModuleList(nn.Conv1d(width, middle, 7, padding=3) for width in (features, middle, middle))
        self.middle_norms = nn.ModuleList(nn.BatchNorm1d(middle, eps=_EPSILON) for _ in range(3))
        pooled = 2 * (features + 3 * middle)
        self.pool_norm = nn.BatchNorm1d(pooled, eps=_EPSILON)
        self.dense = nn.Linear(pooled, EMBEDDING)
        self.dense_norm = nn.BatchNorm1d(EMBEDDING, eps=_EPSILON)
        self.head = nn.Linear(EMBEDDING, TAGS)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Patches [B, T, F] -> embeddings [B, 200], logits [B, 50]."""
        image = self.input_norm(patches[:, None])
        found = []
        for convolution, norm, padding in zip(self.front, self.front_norms, self.padding, strict=True):
            found.append(norm(convolution(pad(image, padding)).relu()).amax(dim=3))
        layers = [torch.cat(found, dim=1)]
        for convolution, norm in zip(self.middle, self.middle_norms, strict=True):
            heard = norm(convolution(layers[-1]).relu())
            layers.append(heard + layers[-1] if len(layers) > 1 else heard)
        features = torch.cat(layers, dim=1)
        pooled = torch.stack([features.amax(dim=2), features.mean(dim=2)], dim=2).flatten(1)
        embedding = self.dense_norm(self.dense(self.pool_norm(pooled)).relu())
        return embedding, self.head(embedding)


def from_tensorflow(variables: Mapping[str, NDArray[np.float32]]) -> dict[str, Tensor]:
    """The state of `MusicnnNetwork` from the variables of musicnn's checkpoint, which are numbered in the order of their creation.

    Raises:
        KeyError: variables are missing.
    """
    norms = ["input_norm", *(f"front_norms.{n}" for n in range(5)), *(f"middle_norms.{n}" for n in range(3)), "pool_norm", "dense_norm"]
    layers = {"conv2d": [*(f"front.{n}" for n in range(5)), *(f"middle.{n}" for n in range(3))], "dense": ["dense", "head"]}
    state: dict[str, Tensor] = {}

    def take(name: str) -> Tensor:
        return torch.from_numpy(variables[name].copy())

    def numbered(name: str, number: int) -> str:
        return f"{name}_{number}" if number else name

    for number, ours in enumerate(norms):
        theirs = numbered("batch_normalization", number)
        parts = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
        state |= {f"{ours}.{part}": take(f"{theirs}/{name}") for part, name in parts.items()}
        state[f"{ours}.num_batches_tracked"] = torch.tensor(0)
    for kind, names in layers.items():
        for number, ours in enumerate(names):
            theirs = numbered(kind, number)
            kernel = take(f"{theirs}/kernel")
            if kind == "dense":
                weight = kernel.T
            elif ours.startswith("middle"):  # [frames, features, 1, out]
                weight = kernel[:, :, 0].permute(2, 1, 0)
            else:  # [frames, bands, 1, out]
                weight = kernel.permute(3, 2, 0, 1)
            state |= {f"{ours}.weight": weight.contiguous(), f"{ours}.bias": take(f"{theirs}/bias")}
    return state


VARIABLE = "JASCO_MUSICNN"
MODEL = "MTT_musicnn"  # trained on MagnaTagATune, whose tags name instruments
SHA256 = "041f3935e981a65cea739842d30c188d3a7d2adf4410955c8668eb3de4a5acab"
FRAMES = 187  # 3 s
HOP_FRAMES = 94  # half a window, as FAD's windows overlap
_N_FFT, _HOP = 512, 256


def find_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """The folder of the checkpoint: the one given, that of JASCO_MUSICNN, or that of the installed package.

    Raises:
        UserError: it is nowhere.
    """
    named = given or os.environ.get(VARIABLE)
    if named:
        return Path(named)
    package = importlib.util.find_spec("musicnn")  # found, not imported
    if package is None or not package.submodule_search_locations:
        raise UserError(
            "the weights of musicnn are not installed: `pip install --no-deps musicnn==0.1.0` (29 MB) brings them, "
            f"or {VARIABLE} names the folder {MODEL} of that package."
        )
    return Path(next(iter(package.submodule_search_locations))) / MODEL


class Musicnn(Embedder):
    """Embeddings (the penultimate layer, 200-d) and tags of windows of 3 s, every 1.5 s.

    Args:
        folder: of the checkpoint, see `find_folder`.
        device: where the network runs.

    Raises:
        UserError: there is no checkpoint, or it is not musicnn's.
    """

    name = "musicnn"
    dim = EMBEDDING
    sample_rate = 16000

    def __init__(self, folder: str | os.PathLike[str] | None = None, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        found = find_folder(folder)
        try:
            if file_hash(str(found / ".data-00000-of-00001")) != SHA256:
                raise ValueError("its checksum is not that of the published model")
            state = from_tensorflow(read_checkpoint(f"{found}{os.sep}"))
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{str(found)!r} does not hold the checkpoint {MODEL} of musicnn 0.1.0: {error}.") from error
        self.network = MusicnnNetwork().eval().requires_grad_(False)
        self.network.load_state_dict(state)
        self.network.to(self.device)

    def __call__(self, wav: Tensor, sample_rate: int) -> Tensor:
        """Embeddings [B, N, 200] of [B, 1, S] or [1, S] of at least 3 s."""
        return self.analyse(wav, sample_rate)[0]

    @torch.inference_mode()
    def analyse(self, wav: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
        """Embeddings [B, N, 200] and tag logits [B, N, 50] of windows of 3 s, both from one pass."""
        clips = self.prepare(wav, sample_rate, least=3.0)
        patches = torch.stack([self._patches(clip) for clip in clips])
        embeddings, logits = zip(*(self.network(part.to(self.device)) for part in patches), strict=True)
        return torch.stack(embeddings), torch.stack(logits)

    def _patches(self, clip: Tensor) -> Tensor:
        """Log-mel windows [N, 187, 96] of one clip [S], as the package makes them.

        The package rounds the spectrogram to half precision before the logarithm, where loud bands overflow; that step is left out.
        """
        mel = librosa.feature.melspectrogram(
            y=clip.cpu().numpy(), sr=self.sample_rate, n_fft=_N_FFT, hop_length=_HOP, n_mels=BANDS, pad_mode="reflect"
        )
        frames = torch.log10(10000 * torch.from_numpy(mel.T) + 1)
        return frames.unfold(0, FRAMES, HOP_FRAMES).transpose(1, 2).contiguous()
