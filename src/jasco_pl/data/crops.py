"""Crops of stored samples, by position and epoch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from jasco_pl.data.sampler import CropDraws, Drawn
from jasco_pl.data.schema import FIELDS, STAND_INS, Batch, Sample, stage_of
from jasco_pl.data.shards import ShardReader
from jasco_pl.data.split import is_recorded
from jasco_pl.notation.timed_text import Span, covering, spans_of, throughout
from jasco_pl.system.errors import UserError
from jasco_pl.system.seeding import stable_hash


def crop(sample: Sample, start: int, length: int) -> dict[str, Tensor]:
    """`length` frames from `start` of every field, padded with the fields' nulls if the sample ends before; and the mask of real frames."""
    result = {}
    for name, tensor in sample.tensors.items():
        part = tensor[start : start + length]
        if not part.is_floating_point():
            part = part.long()
        missing = length - part.shape[0]
        if missing:
            part = torch.cat([part, part.new_full((missing, *part.shape[1:]), FIELDS[name].null)])
        result[name] = part.float() if part.is_floating_point() else part
    result["mask"] = torch.arange(start, start + length) < sample.frames
    return result


class CropDataset(Dataset[Batch]):
    """Map-style: (epoch, position) -> a crop. Everything random about it is a function of (seed, epoch, id).

    A sample without `chords`, as recordings are, gives its `chords_heard` under that name, in training and validation alike; samples
    of both kinds may stand in one set.

    Args:
        folder: prepared shards, or a reader of them.
        frames: length of a crop.
        seed: of crops and captions.
        fields: which stored fields to read; a field that a sample lacks is an error.
        alternatives: field -> (other field, share): that share of the crops takes the other field in its place.
        random_crop: false takes every sample's beginning and its first caption (validation).
        section_captions: share of the crops of samples with sections that take the captions of those sections that they touch, each for
            its frames, in place of one of the whole. Batches have `spans` then; in a set without sections nothing changes.

    Raises:
        UserError: a sample lacks a field; the sentence names it and what adds the field.
    """

    def __init__(
        self,
        folder: str | Path | ShardReader,
        frames: int,
        seed: int,
        fields: Sequence[str],
        alternatives: dict[str, tuple[str, float]] | None = None,
        random_crop: bool = True,
        section_captions: float = 0.0,
    ) -> None:
        self.reader = folder if isinstance(folder, ShardReader) else ShardReader(folder)
        self.alternatives = alternatives or {}
        shares = {field: share for field, (_, share) in self.alternatives.items()}
        by_section = section_captions if self.reader.columns.has_sections else 0.0
        self.draws = CropDraws(frames, seed, shares, random_crop, by_section)
        self.fields = list(fields)
        for entry in self.reader.columns.kinds():
            if missing := next(self._lacking(entry["crc32"]), None):
                raise UserError(
                    f"the shards in {self.reader.location!r} lack the field {missing!r}: sample {entry['id']!r} holds "
                    f"{', '.join(sorted(entry['crc32']))}; {self._remedy(missing, entry['id'])}."
                )

    def _lacking(self, stored: Collection[str]) -> Iterator[str]:
        """What a sample with these fields would need besides."""
        for field in self.fields:
            if field in stored:
                if field in self.alternatives and self.alternatives[field][0] not in stored:
                    yield self.alternatives[field][0]
            elif STAND_INS.get(field) not in stored:
                yield field

    def _remedy(self, field: str, sample: str) -> str:
        """What adds a field to the set that a sample comes from."""
        stages = [stage_of(name) for name in (field, STAND_INS.get(field)) if name]
        if is_recorded(sample):
            heard = next((stage for stage in stages if stage.hears_recordings()), None)
            remedy = "only composed pieces have it"
            if heard:
                remedy = f"`jasco prepare SOURCE --out DIR --stages {heard.name}` adds it to the set in which recordings were prepared"
        elif stages[0].reads_pieces():
            command = f"`jasco shards build --pieces DIR --out DIR --codec {self.reader.codec.get('name', 'DIR')}`"
            remedy = f"{command} adds it to the set that was built of composed pieces"
        else:
            remedy = "only recordings have it"
        return remedy if field in self.fields else f"{remedy}, and data.heard_chords 0 does without it"

    def sources(self, entry: dict[str, Any]) -> dict[str, str]:
        """Field -> the stored field that is read for it, where no alternative is drawn."""
        return {field: field if field in entry["crc32"] else STAND_INS[field] for field in self.fields}

    def check_continues(self, former: CropDataset) -> None:
        """Raise UserError if its samples are not the first of these."""
        ids, known = self.reader.ids, former.reader.ids
        if len(ids) < len(known) or any(ids[place] != known[place] for place in (0, len(known) - 1)):
            raise UserError(f"the set {self.reader.location!r} has changed under the training: it may only grow behind its last sample.")

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> list[Batch]:
        entries = [self.reader.entries[position] for _, position in keys]
        epochs = torch.tensor([epoch for epoch, _ in keys])
        names = torch.tensor([stable_hash(entry["id"]) for entry in entries])
        frames, captions = torch.tensor([(entry["frames"], len(entry["captions"])) for entry in entries]).unbind(1)
        drawn = self.draws(names, epochs, frames, captions)
        return [self._item(entry, position, drawn, index) for index, (entry, (_, position)) in enumerate(zip(entries, keys, strict=True))]

    def _item(self, entry: dict[str, Any], position: int, drawn: Drawn, index: int) -> Batch:
        sources = self.sources(entry)
        sources |= {field: self.alternatives[field][0] for field, taken in drawn.alternatives.items() if taken[index]}
        stored = self.reader.read(position, list(sources.values()))
        sample = Sample(stored.id, {field: stored.tensors[source] for field, source in sources.items()}, stored.captions)
        item: Batch = dict(crop(sample, int(drawn.starts[index]), self.draws.length))
        item["caption"] = sample.captions[int(drawn.captions[index])] if sample.captions else ""
        if drawn.by_section is not None:
            by_section = bool(drawn.by_section[index]) and bool(stored.sections)
            item["spans"] = self._spans(stored.sections, drawn, index) if by_section else throughout(item["caption"])
        item["id"] = sample.id
        item["key"] = drawn.keys[index]
        item["start"] = drawn.starts[index]
        return item

    def _spans(self, sections: Sequence[tuple[int, list[str]]], drawn: Drawn, index: int) -> list[Span]:
        whole = covering(sections)
        choices = drawn.section_captions(torch.tensor([len(captions) for _, captions in whole]).expand(len(drawn.keys), -1))[index]
        chosen = [(first, captions[choice]) for (first, captions), choice in zip(whole, choices.tolist(), strict=True)]
        return spans_of(chosen, int(drawn.starts[index]), self.draws.length)


def collate(items: Sequence[Batch]) -> Batch:
    """Stack the tensors, list the rest."""
    return {
        name: torch.stack([item[name] for item in items]) if isinstance(value, Tensor) else [item[name] for item in items]
        for name, value in items[0].items()
    }
