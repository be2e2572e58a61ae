"""A set that lies in the memory of the training device: crops are gathered there by index, so that no loader is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from jasco_pl.data.crops import CropDataset
from jasco_pl.data.schema import FIELDS, Batch
from jasco_pl.system.seeding import stable_hash

Encode = Callable[[Sequence[str]], tuple[Tensor, Tensor]]
"""Texts -> states [B, L, D] and mask [B, L], as `network.text.TextEncoder` gives them."""
SHARE = 0.4
"""Of a GPU's free memory, that `auto` lets data take; the rest is for weights, gradients and activations."""
QUIET_SECONDS = 2.0  # of loading, before a bar shows


def needed_bytes(dataset: CropDataset) -> int:
    """About how much a set takes up in memory, without its texts: as much a frame as its first sample."""
    sample = dataset.reader.read(0)
    wanted = {*dataset.fields, *(other for other, _ in dataset.alternatives.values())}
    a_frame = sum(tensor.nbytes for name, tensor in sample.tensors.items() if name in wanted) / sample.frames
    return round(a_frame * int(dataset.reader.columns.frames.sum(dtype=np.int64)))


def fits(dataset: CropDataset, device: torch.device) -> bool:
    """Whether `auto` keeps a set in this device's memory: a folder's, on a GPU, where it takes at most `SHARE` of what is free."""
    if device.type != "cuda" or dataset.reader.remote:
        return False
    return needed_bytes(dataset) <= SHARE * torch.cuda.mem_get_info(device)[0]


class _Rows:
    """Rows of several items behind one another, [sum of lengths, ...], on the device."""

    def __init__(self, lengths: Sequence[int], device: torch.device | str) -> None:
        self.lengths = torch.tensor(lengths, device=device)
        self.firsts = self.lengths.cumsum(0) - self.lengths
        self.total, self.longest = sum(lengths), max(lengths, default=0)
        self.rows: Tensor | None = None

    def put(self, item: int, rows: Tensor) -> None:
        """Store an item."""
        if self.rows is None:
            self.rows = torch.empty(self.total, *rows.shape[1:], dtype=rows.dtype, device=self.lengths.device)
        first = int(self.firsts[item])
        self.rows[first : first + len(rows)] = rows.to(self.rows.device)

    def take(self, items: Tensor, starts: Tensor, length: int, null: float) -> Tensor:
        """`length` rows of each item from its start on, [B, length, ...], padded with `null`."""
        assert self.rows is not None
        places = starts[:, None] + torch.arange(length, device=starts.device)
        inside = places < self.lengths[items, None]
        found = self.rows[(self.firsts[items, None] + places).clamp(max=self.total - 1)]
        return torch.where(inside.view(*inside.shape, *[1] * (found.ndim - 2)), found, torch.full_like(found, null))


class ResidentSet:
    """All that a `CropDataset` reads, on one device.

    Args:
        dataset: its samples and what is drawn of them: a batch here is the collated batch there.
        device: where it lies.
        encode: the text encoder; then a batch has `text` [B, L, D] and `text_mask` [B, L], padded to the longest caption of the batch, on a
            GPU of the set.

    Raises:
        CorruptShardError: a sample is damaged.
    """

    def __init__(self, dataset: CropDataset, device: torch.device | str, encode: Encode | None = None) -> None:
        self.dataset, self.device, self.encode = dataset, torch.device(device), encode
        entries = [dataset.reader.entries[position] for position in range(len(dataset))]
        self.ids = [entry["id"] for entry in entries]
        self._names = torch.tensor([stable_hash(name) for name in self.ids], device=device)
        captions = [entry["captions"] or [""] for entry in entries]
        self._texts = list(dict.fromkeys(caption for several in captions for caption in several))
        number = {caption: index for index, caption in enumerate(self._texts)}
        self._captions = _Rows([len(several) for several in captions], device)
        frames = [entry["frames"] for entry in entries]
        others = {f"{other} for {field}": other for field, (other, _) in dataset.alternatives.items()}
        self._fields = {name: _Rows(frames, device) for name in [*dataset.fields, *others]}
        for position in tqdm(range(len(entries)), desc="data into memory", unit="sample", delay=QUIET_SECONDS, leave=False):
            sources = dataset.sources(entries[position]) | others
            stored = dataset.reader.read(position, list(sources.values()))
            for name, source in sources.items():
                self._fields[name].put(position, stored.tensors[source])
            self._captions.put(position, torch.tensor([number[caption] for caption in captions[position]]))
        self._states = self._encoded()

    def _encoded(self) -> _Rows | None:
        if self.encode is None:
            return None
        states = [self.encode([text])[0][0] for text in tqdm(self._texts, desc="captions", unit="text", delay=QUIET_SECONDS, leave=False)]
        rows = _Rows([len(one) for one in states], self.device)
        for number, one in enumerate(states):
            rows.put(number, one)
        return rows

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """What lies on the device."""
        rows = [*self._fields.values(), self._captions, *([self._states] if self._states else [])]
        return sum(one.rows.nbytes for one in rows if one.rows is not None)

    def gather(self, positions: Tensor, epoch: int) -> Batch:
        """The crops that an epoch takes of the samples at these positions [B], as tensors alone."""
        draws, lengths = self.dataset.draws, self._fields["latents"].lengths[positions]
        drawn = draws(self._names[positions], epoch, lengths, self._captions.lengths[positions])
        batch: Batch = {"key": drawn.keys, "start": drawn.starts}
        batch["mask"] = drawn.starts[:, None] + torch.arange(draws.length, device=self.device) < lengths[:, None]
        for field in self.dataset.fields:
            part = self._fields[field].take(positions, drawn.starts, draws.length, FIELDS[field].null)
            if field in drawn.alternatives:
                name = f"{self.dataset.alternatives[field][0]} for {field}"
                other = self._fields[name].take(positions, drawn.starts, draws.length, FIELDS[field].null)
                part = torch.where(drawn.alternatives[field].view(-1, *[1] * (part.ndim - 1)), other, part)
            batch[field] = part.float() if part.is_floating_point() else part.long()
        texts = self._captions.take(positions, drawn.captions, 1, 0)[:, 0]
        if self._states is None:
            batch["caption"] = [self._texts[number] for number in texts.tolist()]
        else:
            lengths = self._states.lengths[texts]
            # on a GPU shapes never change, and nobody waits for a length; elsewhere padding costs
            longest = self._states.longest if self.device.type == "cuda" else int(lengths.max())
            batch["text"] = self._states.take(texts, torch.zeros_like(texts), longest, 0.0)
            batch["text_mask"] = torch.arange(longest, device=self.device) < lengths[:, None]
        return batch

    def __call__(self, keys: Sequence[tuple[int, int]]) -> Batch:
        """The batch of these (epoch, position) pairs, of one epoch."""
        ((epoch, _), *_), positions = keys, [position for _, position in keys]
        batch = self.gather(torch.tensor(positions, device=self.device), epoch)
        return {**batch, "id": [self.ids[position] for position in positions]}
