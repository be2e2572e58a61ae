"""Lightning's data module over prepared shards: random crops, stateless order, exact resume."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from jasco_pl.data.object_store import is_url
from jasco_pl.data.remote import CacheOptions
from jasco_pl.data.sampler import GlobalBatches, crop_start
from jasco_pl.data.schema import FIELDS, STAND_INS, Batch, Sample, stage_of
from jasco_pl.data.shards import ShardReader
from jasco_pl.data.split import is_recorded
from jasco_pl.system.errors import UserError
from jasco_pl.system.seeding import stable_hash

REMOTE_WINDOW = 8  # shards shuffled together where they come from a URL


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
    """Map-style: (epoch, position) -> a crop. Everything random about it is a hash of (seed, epoch, id).

    A sample without `chords`, as recordings are, gives its `chords_heard` under that name, in training and validation alike; samples
    of both kinds may stand in one set.

    Args:
        folder: prepared shards, or a reader of them.
        frames: length of a crop.
        seed: of crops and captions.
        fields: which stored fields to read; a field that a sample lacks is an error.
        alternatives: field -> (other field, share): that share of the crops takes the other field in its place.
        random_crop: false takes every sample's beginning and its first caption (validation).

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
    ) -> None:
        self.reader = folder if isinstance(folder, ShardReader) else ShardReader(folder)
        self.frames, self.seed, self.random_crop = frames, seed, random_crop
        self.alternatives = alternatives or {}
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

    def _sources(self, entry: dict[str, Any], epoch: int) -> dict[str, str]:
        """Field -> the stored field that is read for it."""
        sources = {}
        for field in self.fields:
            other, share = self.alternatives.get(field, ("", 0.0))
            drawn = share > 0 and stable_hash("alternative", field, self.seed, epoch, entry["id"]) % 10_000 < share * 10_000
            sources[field] = other if drawn else field if field in entry["crc32"] else STAND_INS[field]
        return sources

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, position = key
        sources = self._sources(self.reader.entries[position], epoch)
        stored = self.reader.read(position, list(sources.values()))
        sample = Sample(stored.id, {field: stored.tensors[source] for field, source in sources.items()}, stored.captions)
        name = sample.id
        start = crop_start(sample.frames, self.frames, self.seed, epoch, name) if self.random_crop else 0
        item: Batch = dict(crop(sample, start, self.frames))
        choice = stable_hash("caption", self.seed, epoch, name) if self.random_crop else 0
        item["caption"] = sample.captions[choice % len(sample.captions)] if sample.captions else ""
        item["id"] = name
        item["key"] = stable_hash("noise", self.seed, epoch, name)
        item["start"] = start
        return item


def collate(items: Sequence[Batch]) -> Batch:
    """Stack the tensors, list the rest."""
    return {
        name: torch.stack([item[name] for item in items]) if isinstance(value, Tensor) else [item[name] for item in items]
        for name, value in items[0].items()
    }


class _Guarded(Dataset[Any]):
    """Hands a damaged sample on as a value: raised in a worker process, its sentence would come wrapped in two tracebacks."""

    def __init__(self, dataset: CropDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, key: tuple[int, int]) -> Any:
        try:
            return self.dataset[key]
        except UserError as error:
            return error


def _collate_guarded(items: Sequence[Any]) -> Any:
    return next((item for item in items if isinstance(item, UserError)), None) or collate(items)


def _leave_signals_to_the_parent(worker: int) -> None:
    """A scheduler that stops a job signals its process group; a loader that dies of it would end the training before it has saved."""
    os.setpgrp()


class ResumableLoader:
    """Endless epochs of batches with a state of two integers, the same on every rank.

    The state counts global batches handed out, not batches that workers have prepared; Lightning stores it in the checkpoint and gives it
    back. It does not know into how many parts a global batch is split: a run may go on with another number of processes or parts.
    Batches that are not shuffled (validation) are the same from the first on, every time.
    """

    def __init__(self, dataset: CropDataset, batches: GlobalBatches, workers: int) -> None:
        self.dataset, self.batches, self.workers = dataset, batches, workers
        self.epoch, self.batch = 0, 0

    def __len__(self) -> int:
        return len(self.batches) * self.batches.parts

    def __iter__(self) -> Iterator[Batch]:
        epoch, start = (self.epoch, self.batch) if self.batches.shuffle else (0, 0)
        keys = self.batches.epoch(epoch, start)
        if isinstance(self.dataset, CropDataset) and self.dataset.reader.remote:
            following = [self.batches.epoch(epoch + 1)] if self.batches.shuffle else []
            self.dataset.reader.expect(*(batches.positions.ravel() for batches in (keys, *following)))
        loader = DataLoader(
            _Guarded(self.dataset),
            batch_sampler=keys,
            collate_fn=_collate_guarded,
            num_workers=self.workers,
            worker_init_fn=_leave_signals_to_the_parent,
            pin_memory=torch.cuda.is_available(),
        )
        for done, batch in enumerate(loader, start * self.batches.parts + 1):
            if isinstance(batch, UserError):
                raise batch
            # before the yield: Lightning stops asking after len() batches, code behind the last yield would never run
            self.epoch, self.batch = (epoch, done // self.batches.parts) if done < len(self) else (epoch + 1, 0)
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Where the next batch comes from."""
        return {"epoch": self.epoch, "batch": self.batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there; from the next epoch, if this one has fewer batches now."""
        self.epoch, self.batch = int(state["epoch"]), int(state["batch"])
        if self.batch >= len(self.batches):
            self.epoch, self.batch = self.epoch + 1, 0


class ShardDataModule(lightning.LightningDataModule):
    """Crops of prepared shards for training, validation and test.

    Args:
        train: folder of training shards, or a URL: s3://bucket/folder, gs://, hf://datasets/owner/name/folder, file://.
        valid: folder or URL of validation shards.
        test: folder or URL of test shards, needed by `jasco test` alone.
        batch_size: samples an optimiser step, over all devices, nodes and accumulated parts (`trainer.accumulate_grad_batches`) together.
        seconds: length of a crop.
        fields: stored fields to read besides the latents; `jasco fit` takes those of the model's controls.
        heard_chords: share of the crops that take Chordino's labels (`chords_heard`) in place of exact annotations; for models with chords.
            A recording has no exact ones: it gives Chordino's whatever this says, in training, validation and test.
        workers: loader processes a device.
        seed: of order, crops, captions, noise.
        cache: local folder for the shards of URLs; null is jasco_pl/shards in the user's cache folder. Processes and runs may share it.
        cache_gb: size of that folder in GB; the least recently used shards go first.
        prefetch_shards: shards of a URL that each loader process fetches ahead.
        shuffle_shards: shards whose samples are shuffled together, 0 for all. Null is 0 for a folder and 8 for a URL. A run that goes on
            from a checkpoint needs the value it began with.
    """

    def __init__(
        self,
        train: str = "data/shards/train",
        valid: str = "data/shards/valid",
        test: str = "data/shards/test",
        batch_size: int = 16,
        seconds: float = 10.0,
        fields: Sequence[str] = ("chords", "melody", "codes_drums"),
        heard_chords: float = 0.0,
        workers: int = 2,
        seed: int = 0,
        cache: str | None = None,
        cache_gb: float = 20.0,
        prefetch_shards: int = 4,
        shuffle_shards: int | None = None,
    ) -> None:
        super().__init__()
        unknown = [name for name in fields if name not in FIELDS]
        if unknown:
            raise UserError(f"the field {unknown[0]!r} is unknown; stored fields are: {', '.join(FIELDS)}.")
        if batch_size < 1 or seconds <= 0 or workers < 0:
            raise UserError(f"batch_size {batch_size} and seconds {seconds:g} must be positive, workers {workers} not negative.")
        if not 0 <= heard_chords <= 1:
            raise UserError(f"heard_chords is a share from 0 to 1, not {heard_chords:g}.")
        if cache_gb <= 0 or prefetch_shards < 0 or (shuffle_shards or 0) < 0:
            counts = f"prefetch_shards {prefetch_shards} and shuffle_shards {shuffle_shards}"
            raise UserError(f"cache_gb {cache_gb:g} must be positive, {counts} not negative.")
        self.cache, self.cache_gb, self.prefetch_shards, self.shuffle_shards = cache, cache_gb, prefetch_shards, shuffle_shards
        self.train_folder, self.valid_folder, self.test_folder = train, valid, test
        self.batch_size, self.seconds, self.workers, self.seed = batch_size, seconds, workers, seed
        self.fields = ["latents", *fields]
        self.alternatives = {"chords": ("chords_heard", heard_chords)} if heard_chords and "chords" in fields else {}

    def _loader(self, folder: str, shuffle: bool) -> ResumableLoader:
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        parts = self.trainer.accumulate_grad_batches if self.trainer else 1
        if self.batch_size % (world * parts):
            split = f"{world} processes" + (f" times {parts} accumulated batches" if parts > 1 else "")
            raise UserError(f"the global batch_size of {self.batch_size} does not divide by {split}.")
        window = self.shuffle_shards if self.shuffle_shards is not None else REMOTE_WINDOW if is_url(folder) else 0
        reader = ShardReader(folder, cache=CacheOptions(self.cache, self.cache_gb, self.prefetch_shards, window if shuffle else 1))
        frames = round(self.seconds * float(reader.codec["frame_rate"]))
        dataset = CropDataset(reader, frames, self.seed, self.fields, self.alternatives if shuffle else {}, random_crop=shuffle)
        batches = GlobalBatches(len(dataset), self.batch_size, self.seed, rank, world, shuffle, parts, reader.counts, window)
        return ResumableLoader(dataset, batches, self.workers)

    def prepare_data(self) -> None:
        """Look at the data before the run writes anything.

        Raises:
            UserError: a folder holds no prepared data, lacks a field, or has a shard missing or truncated.
        """
        folders = {
            TrainerFn.FITTING: (self.train_folder, self.valid_folder),
            TrainerFn.VALIDATING: (self.valid_folder,),
            TrainerFn.TESTING: (self.test_folder,),
        }
        for folder in folders[self.trainer.state.fn if self.trainer and self.trainer.state.fn else TrainerFn.FITTING]:
            self._loader(folder, shuffle=folder == self.train_folder)

    def train_dataloader(self) -> Any:
        """Shuffled random crops."""
        return self._loader(self.train_folder, shuffle=True)

    def val_dataloader(self) -> Any:
        """The beginning of every validation sample."""
        return self._loader(self.valid_folder, shuffle=False)

    def test_dataloader(self) -> Any:
        """The beginning of every test sample."""
        return self._loader(self.test_folder, shuffle=False)
