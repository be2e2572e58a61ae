"""A set that lies in the memory of the training device: crops are gathered there by index, so that no loader is needed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from jasco_pl.data.crops import CropDataset
from jasco_pl.data.sampler import Drawn
from jasco_pl.data.schema import FIELDS, Batch
from jasco_pl.network.transformer import TEXT_MULTIPLE
from jasco_pl.notation.timed_text import ALWAYS, Span, covering
from jasco_pl.system.device import sent
from jasco_pl.system.seeding import stable_hash

Encode = Callable[[Sequence[str]], tuple[Tensor, Tensor]]
"""Texts -> states [B, L, D] and mask [B, L], as `network.text.TextEncoder` gives them."""
SHARE = 0.4
"""Of a GPU's free memory, that `auto` lets data take; the rest is for weights, gradients and activations."""
TOGETHER = 256  # texts that are given to the encoder at once
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
        self._firsts = [0, *itertools.accumulate(lengths)]  # to ask the device for one would be waited for
        self.total, self.longest = sum(lengths), max(lengths, default=0)
        self.rows: Tensor | None = None

    def adopt(self, former: _Rows) -> None:
        """Take over the rows of the first items, which `former` loses."""
        if former.rows is not None:
            self.rows = torch.empty(self.total, *former.rows.shape[1:], dtype=former.rows.dtype, device=self.lengths.device)
            self.rows[: former.total] = former.rows
            former.rows = None

    def put(self, item: int, rows: Tensor) -> None:
        """Store the rows of an item, or of several from that one on."""
        if self.rows is None:
            self.rows = torch.empty(self.total, *rows.shape[1:], dtype=rows.dtype, device=self.lengths.device)
        first = self._firsts[item]
        self.rows[first : first + len(rows)] = rows.to(self.rows.device)

    def take(self, items: Tensor, starts: Tensor, length: int, null: float) -> Tensor:
        """`length` rows of each item from its start on, [B, length, ...], padded with `null`."""
        assert self.rows is not None
        places = starts[:, None] + torch.arange(length, device=starts.device)
        inside = places < self.lengths[items, None]
        found = self.rows[(self.firsts[items, None] + places).clamp(max=self.total - 1)]
        return torch.where(inside.view(*inside.shape, *[1] * (found.ndim - 2)), found, torch.full_like(found, null))


Numbered = Sequence[tuple[int, Sequence[int]]]
"""Sections of a sample as `covering` gives them, with numbers for their texts."""


class _Sections:
    """First frames of all sections, and the numbers of the texts that each may have."""

    def __init__(self, samples: Sequence[Numbered], device: torch.device | str) -> None:
        self.firsts = _Rows([len(sections) for sections in samples], device)
        self.texts = _Rows([len(texts) for sections in samples for _, texts in sections], device)
        self.firsts.put(0, torch.tensor([first for sections in samples for first, _ in sections], dtype=torch.int64))
        self.texts.put(0, torch.tensor([text for sections in samples for _, texts in sections for text in texts], dtype=torch.int64))

    def take(self, positions: Tensor, drawn: Drawn, whole: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """The texts of crops of `length` frames, where `whole` [B] is that of a crop that is not told by section.

        Returns:
            Their numbers [B, S] and frames [first, last) in the crop [B, S, 2], one behind another; those with first = last are none.
        """
        none = torch.zeros_like(positions)
        firsts = self.firsts.take(positions, none, self.firsts.longest, ALWAYS)
        edges = (torch.cat([firsts, torch.full_like(firsts[:, :1], ALWAYS)], dim=1) - drawn.starts[:, None]).clamp(0, length)
        frames = torch.stack([edges[:, :-1], edges[:, 1:]], dim=-1)
        numbers = self.firsts.firsts[positions, None] + torch.arange(self.firsts.longest, device=positions.device)
        numbers = numbers.clamp(max=len(self.texts.lengths) - 1)  # behind an item's last section come other items', with no frames
        choices = drawn.section_captions(self.texts.lengths[numbers])
        texts = self.texts.take(numbers.flatten(), choices.flatten(), 1, 0).view_as(numbers)
        assert drawn.by_section is not None
        told = drawn.by_section & (self.firsts.lengths[positions] > 0)
        always = torch.zeros_like(frames)
        always[:, 0, 1] = ALWAYS
        return torch.where(told[:, None], texts, whole[:, None]), torch.where(told[:, None, None], frames, always)


def _most_states(sections: Numbered, states: Sequence[int], length: int) -> int:
    """States of the longest texts, by number, that a crop of `length` frames can have of these sections."""
    lasts = [*(first for first, _ in sections[1:]), ALWAYS]
    longest = [max(states[number] for number in texts) for _, texts in sections]
    runs = (
        sum(longest[begin : end + 1])
        for begin in range(len(sections))
        for end in range(begin, len(sections))
        if begin == end or sections[end][0] - lasts[begin] <= length - 2
    )
    return max(runs, default=0)


class ResidentSet:
    """All that a `CropDataset` reads, on one device.

    Args:
        dataset: its samples and what is drawn of them: a batch here is the collated batch there.
        device: where it lies.
        encode: the text encoder; then a batch has `text` [B, L, D] and `text_mask` [B, L], padded to the longest caption of the batch, on a
            GPU of the set; and `text_frames` [B, L, 2] in place of `spans`.
        former: a set of the first of these samples, which is used up: what it holds is not read again.

    Raises:
        CorruptShardError: a sample is damaged.
    """

    def __init__(
        self, dataset: CropDataset, device: torch.device | str, encode: Encode | None = None, former: ResidentSet | None = None
    ) -> None:
        self.dataset, self.device, self.encode = dataset, torch.device(device), encode
        entries = [dataset.reader.entries[position] for position in range(len(dataset))]
        self.ids = [entry["id"] for entry in entries]
        self._names = torch.tensor([stable_hash(name) for name in self.ids], device=device)
        captions = [entry["captions"] or [""] for entry in entries]
        by_section = bool(dataset.draws.by_section)
        sections = [covering(entry.get("sections", [])) if by_section else [] for entry in entries]
        told = (texts for parts in sections for _, texts in parts)
        self._texts: list[str] = list(dict.fromkeys(itertools.chain(former._texts if former else [], *captions, *told)))
        number = {caption: index for index, caption in enumerate(self._texts)}
        self._captions = _Rows([len(several) for several in captions], device)
        frames = [entry["frames"] for entry in entries]
        others = {f"{other} for {field}": other for field, (other, _) in dataset.alternatives.items()}
        self._fields = {name: _Rows(frames, device) for name in [*dataset.fields, *others]}
        self._captions.put(0, torch.tensor([number[caption] for several in captions for caption in several]))
        if former:
            for name, rows in self._fields.items():
                rows.adopt(former._fields[name])
        fresh = range(len(former or ()), len(entries))
        for position in tqdm(fresh, desc="data into memory", unit="sample", delay=QUIET_SECONDS, leave=False):
            sources = dataset.sources(entries[position]) | others
            stored = dataset.reader.read(position, list(sources.values()))
            for name, source in sources.items():
                self._fields[name].put(position, stored.tensors[source])
        self._states = self._encoded(former)
        numbered = [[(first, [number[text] for text in texts]) for first, texts in parts] for parts in sections]
        self._sections = _Sections(numbered, device) if by_section else None
        self._longest = 0
        if self._states is not None:
            states = self._states.lengths.tolist()
            longest = max([self._states.longest, *(_most_states(parts, states, dataset.draws.length) for parts in numbered)])
            self._longest = longest + -longest % TEXT_MULTIPLE.get(self.device.type, 1)

    def _encoded(self, former: ResidentSet | None) -> _Rows | None:
        if self.encode is None:
            return None
        held, states = former._states if former else None, dict[int, Tensor]()
        lengths = [] if held is None else held.lengths.tolist()
        fresh = sorted(range(len(lengths), len(self._texts)), key=lambda number: len(self._texts[number]))  # equally long ones go together
        for first in tqdm(range(0, len(fresh), TOGETHER), desc="captions", unit_scale=TOGETHER, delay=QUIET_SECONDS, leave=False):
            part = fresh[first : first + TOGETHER]
            found, mask = self.encode([self._texts[number] for number in part])
            states |= {number: one[:length] for number, one, length in zip(part, found, mask.sum(dim=1).tolist(), strict=True)}
        rows = _Rows([*lengths, *(len(states[number]) for number in sorted(states))], self.device)
        if held:
            rows.adopt(held)
        if states:
            rows.put(len(lengths), torch.cat([states[number] for number in sorted(states)]))
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
        texts, frames = self._captions.take(positions, drawn.captions, 1, 0), None
        if self._states is None:
            batch["caption"] = [self._texts[number] for (number,) in texts.tolist()]
        if self._sections is not None:
            texts, frames = self._sections.take(positions, drawn, texts[:, 0], draws.length)
        if self._states is not None:
            return {**batch, **self._told(texts, frames)}
        if frames is not None:
            batch["spans"] = [
                [Span(first, last, self._texts[number]) for number, (first, last) in zip(row, places, strict=True) if first < last]
                for row, places in zip(texts.tolist(), frames.tolist(), strict=True)
            ]
        return batch

    def _told(self, texts: Tensor, frames: Tensor | None) -> Batch:
        """States of texts by number [B, S] one behind another, of those alone that have frames in [B, S, 2], if that is given."""
        assert self._states is not None
        lengths = self._states.lengths[texts]
        if frames is not None:
            lengths = lengths * (frames[..., 0] < frames[..., 1])
        ends = lengths.cumsum(1)
        # on a GPU shapes do not change, hardly even where the set grows, and nobody waits for a length; elsewhere padding costs
        longest = self._longest if self.device.type == "cuda" else int(ends[:, -1].max())
        places = torch.arange(longest, device=self.device).expand(len(texts), -1).contiguous()
        which = torch.searchsorted(ends, places, right=True).clamp(max=texts.shape[1] - 1)
        within, inside = places - (ends - lengths).gather(1, which), places < ends[:, -1:]
        found = self._states.take(texts.gather(1, which).flatten(), within.flatten(), 1, 0.0)
        batch: Batch = {"text": found.view(*places.shape, -1) * inside[..., None], "text_mask": inside}
        if frames is not None:
            seen = frames.gather(1, which[..., None].expand(-1, -1, 2))
            always = torch.zeros_like(seen)
            always[..., 1] = ALWAYS
            batch["text_frames"] = torch.where(inside[..., None], seen, always)
        return batch

    def __call__(self, keys: Sequence[tuple[int, int]]) -> Batch:
        """The batch of these (epoch, position) pairs, of one epoch."""
        ((epoch, _), *_), positions = keys, [position for _, position in keys]
        batch = self.gather(sent(torch.tensor(positions), self.device), epoch)
        return {**batch, "id": [self.ids[position] for position in positions]}
