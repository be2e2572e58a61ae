"""Lightning's data module over prepared shards."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from lightning.pytorch.trainer.states import TrainerFn

from jasco_pl.data.crops import CropDataset
from jasco_pl.data.growing import GrowingLoader
from jasco_pl.data.loader import ResidentLoader, ResumableLoader
from jasco_pl.data.object_store import is_url
from jasco_pl.data.remote import CacheOptions
from jasco_pl.data.resident import ResidentSet, fits
from jasco_pl.data.sampler import GlobalBatches
from jasco_pl.data.schema import FIELDS
from jasco_pl.data.shards import ShardReader
from jasco_pl.system.errors import UserError
from jasco_pl.system.intervals import require

REMOTE_WINDOW = 8  # shards shuffled together where they come from a URL


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
        section_captions: share of the crops of music with sections that are told what happens in the sections that they touch, each at its
            time, in place of a caption of the whole. Nothing changes for music without.
        workers: loader processes a device.
        seed: of order, crops, captions, noise.
        cache: local folder for the shards of URLs; null is jasco_pl/shards in the user's cache folder. Processes and runs may share it.
        cache_gb: size of that folder in GB; the least recently used shards go first.
        prefetch_shards: shards of a URL that each loader process fetches ahead.
        shuffle_shards: shards whose samples are shuffled together, 0 for all. Null is 0 for a folder and 8 for a URL. A run that goes on
            from a checkpoint needs the value it began with.
        resident: whether the set lies in the memory of the training device, with the states of its texts; then no loader runs, and the
            batches are the same. Every process keeps the whole set. auto: on a GPU, for folders that take at most 40 % of its free memory.
        grow: take in, at the border of an epoch, what has been added to the training folder since, as `jasco compose --shards` adds it;
            false: the set is as it is at the start.
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
        section_captions: float = 0.5,
        workers: int = 2,
        seed: int = 0,
        cache: str | None = None,
        cache_gb: float = 20.0,
        prefetch_shards: int = 4,
        shuffle_shards: int | None = None,
        resident: Literal["auto"] | bool = "auto",
        grow: bool = False,
    ) -> None:
        super().__init__()
        unknown = [name for name in fields if name not in FIELDS]
        if unknown:
            raise UserError(f"the field {unknown[0]!r} is unknown; stored fields are: {', '.join(FIELDS)}.")
        require("[1, 65536]", batch_size=batch_size)
        require("(0, 600]", seconds=seconds)
        require("[0, 1024]", workers=workers)
        require("[0, 1]", heard_chords=heard_chords, section_captions=section_captions)
        require("(0, inf)", cache_gb=cache_gb)
        require("[0, inf)", prefetch_shards=prefetch_shards, shuffle_shards=shuffle_shards)
        self.cache, self.cache_gb, self.prefetch_shards, self.shuffle_shards = cache, cache_gb, prefetch_shards, shuffle_shards
        self.train_folder, self.valid_folder, self.test_folder = train, valid, test
        self.batch_size, self.seconds, self.workers, self.seed, self.resident = batch_size, seconds, workers, seed, resident
        if grow and is_url(train):
            raise UserError(f"a set that grows is a folder, not {train!r}.")
        self.grow = grow
        self._growing: GrowingLoader | None = None
        self.fields, self.section_captions = ["latents", *fields], section_captions
        self.alternatives = {"chords": ("chords_heard", heard_chords)} if heard_chords and "chords" in fields else {}

    def _batches(self, folder: str, shuffle: bool) -> tuple[CropDataset, GlobalBatches]:
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        parts = self.trainer.accumulate_grad_batches if self.trainer else 1
        if self.batch_size % (world * parts):
            split = f"{world} processes" + (f" times {parts} accumulated batches" if parts > 1 else "")
            raise UserError(f"the global batch_size of {self.batch_size} does not divide by {split}.")
        window = self.shuffle_shards if self.shuffle_shards is not None else REMOTE_WINDOW if is_url(folder) else 0
        reader = ShardReader(folder, cache=CacheOptions(self.cache, self.cache_gb, self.prefetch_shards, window if shuffle else 1))
        frames = round(self.seconds * float(reader.codec["frame_rate"]))
        alternatives, by_section = (self.alternatives, self.section_captions) if shuffle else ({}, 0.0)
        dataset = CropDataset(reader, frames, self.seed, self.fields, alternatives, shuffle, by_section)
        return dataset, GlobalBatches(len(dataset), self.batch_size, self.seed, rank, world, shuffle, parts, reader.counts, window)

    def _loader(self, folder: str, shuffle: bool, former: ResumableLoader | None = None) -> ResumableLoader:
        """Of all that is there, which begins with what the former one has; in memory if that is."""
        dataset, batches = self._batches(folder, shuffle)
        if former is not None:
            dataset.check_continues(former.dataset)
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        resident = self.resident is True or (self.resident == "auto" and fits(dataset, device))
        if not (resident if former is None else isinstance(former, ResidentLoader)):
            return ResumableLoader(dataset, batches, self.workers)
        encode = getattr(self.trainer.lightning_module, "text_encoder", None) if self.trainer else None
        held = former.resident if isinstance(former, ResidentLoader) else None
        return ResidentLoader(ResidentSet(dataset, device, encode, held), batches)

    def setup(self, stage: str) -> None:
        """Let Lightning ask for the training's loader every epoch where it may have grown."""
        if self.grow and self.trainer is not None:
            self.trainer.reload_dataloaders_every_n_epochs = 1  # type: ignore[attr-defined]

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
            self._batches(folder, shuffle=folder == self.train_folder)

    def _fewest(self, seen: int) -> int:
        """Samples that all processes see: a file system may show one of them an index later than another."""
        strategy = self.trainer.strategy  # type: ignore[union-attr]
        return int(strategy.reduce(torch.tensor(seen, device=strategy.root_device), reduce_op="min"))

    def train_dataloader(self) -> Any:
        """Shuffled random crops; of a set that grows the same loader again, when it has looked for more."""
        if not self.grow:
            return self._loader(self.train_folder, shuffle=True)
        if self._growing is None:
            agree = self._fewest if self.trainer is not None and self.trainer.world_size > 1 else int
            self._growing = GrowingLoader(Path(self.train_folder), partial(self._loader, self.train_folder, True), agree)
        else:
            self._growing.look()
        return self._growing

    def val_dataloader(self) -> Any:
        """The beginning of every validation sample."""
        return self._loader(self.valid_folder, shuffle=False)

    def test_dataloader(self) -> Any:
        """The beginning of every test sample."""
        return self._loader(self.test_folder, shuffle=False)
