"""A set that grows under a training: every epoch draws from the samples that were there when it began."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from speller import spell

from jasco_pl.data.crops import CropDataset
from jasco_pl.data.growing import GrowingLoader
from jasco_pl.data.loader import ResidentLoader, ResumableLoader
from jasco_pl.data.resident import ResidentSet
from jasco_pl.data.sampler import GlobalBatches, epoch_order
from jasco_pl.data.schema import Batch
from jasco_pl.data.shards import ShardReader, write_index
from jasco_pl.system.errors import UserError

FIELDS = ("latents", "chords", "melody", "codes_drums")
SEED = 3


@pytest.fixture
def folder(tmp_path: Path, write_tiny_shards: Callable[..., Any]) -> Path:
    write_tiny_shards(tmp_path / "train")  # 20 samples in shards of eight
    show(tmp_path / "train", 1)
    return tmp_path / "train"


def show(folder: Path, shards: int) -> None:
    """Let the index name the first shards alone."""
    names = sorted(path.stem for path in folder.glob("shard-*.safetensors"))
    write_index(folder, {"name": "codec-tiny", "frame_rate": 50.0}, names[:shards])
    os.utime(folder / "index.json", ns=(time.time_ns(), time.time_ns() + shards))


def opened(folder: Path, resident: bool, former: ResumableLoader | None, batch: int = 4, window: int = 0) -> ResumableLoader:
    dataset = CropDataset(folder, 50, SEED, FIELDS)
    if former is not None:
        dataset.check_continues(former.dataset)
    batches = GlobalBatches(len(dataset), batch, SEED, shards=dataset.reader.counts, window=window)
    if not resident:
        return ResumableLoader(dataset, batches, 0)
    return ResidentLoader(ResidentSet(dataset, "cpu", spell, former.resident if isinstance(former, ResidentLoader) else None), batches)


def growing(folder: Path, resident: bool = True, **options: Any) -> GrowingLoader:
    return GrowingLoader(folder, partial(opened, folder, resident, **options))


def ids(batches: Any) -> list[list[str]]:
    return [batch["id"] for batch in batches]


@pytest.mark.parametrize("resident", [False, True])
def test_an_epoch_takes_what_was_there_when_it_began(folder: Path, resident: bool, capsys: pytest.CaptureFixture[str]) -> None:
    loader, names = growing(folder, resident), ShardReader(folder).ids
    assert (len(loader), loader.samples) == (2, 8)
    reading = iter(loader)
    first = [next(reading)]
    show(folder, 3)  # within the first epoch
    first += list(reading)
    assert ids(first) == [[names[place] for place in batch] for batch in epoch_order(8, SEED, 0).reshape(2, 4)]
    loader.look()
    assert (len(loader), loader.samples, loader.sizes) == (5, 20, [(0, 8), (1, 20)])
    assert "epoch 1: the set has grown from 8 to 20 samples" in capsys.readouterr().err
    everything = ShardReader(folder).ids
    assert ids(loader) == [[everything[place] for place in batch] for batch in epoch_order(20, SEED, 1).reshape(5, 4)]
    loader.look()
    assert loader.sizes == [(0, 8), (1, 20)]
    assert "grown" not in capsys.readouterr().err


def test_a_grown_set_in_memory_is_that_of_a_new_one_and_reads_nothing_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader, read, asked = growing(folder), [], []
    original = ShardReader.read
    monkeypatch.setattr(ShardReader, "read", lambda self, position, *rest: read.append(position) or original(self, position, *rest))  # type: ignore[func-returns-value]
    known = list(ShardReader(folder).entries)
    show(folder, 2)
    former = loader.loader
    assert isinstance(former, ResidentLoader)
    monkeypatch.setattr("test_growing.spell", lambda texts, spell=spell: asked.extend(texts) or spell(texts))
    loader.look()
    assert read == list(range(8, 16))
    assert not {caption for entry in known for caption in entry["captions"]} & set(asked)
    anew = opened(folder, True, None)
    anew.epoch = loader.loader.epoch
    for one, other in zip(loader, anew, strict=True):
        assert_same(one, other)


def assert_same(one: Batch, other: Batch) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name], name


@pytest.mark.parametrize("window", [0, 1])
@pytest.mark.parametrize("resident", [False, True])
def test_a_run_that_goes_on_ends_its_epoch_with_the_samples_that_it_began_with(folder: Path, resident: bool, window: int) -> None:
    show(folder, 2)
    loader = growing(folder, resident, window=window)
    expected = ids(loader)
    assert len(expected) == 4
    again = growing(folder, resident, window=window)
    reading = iter(again)
    begun = [next(reading)["id"], next(reading)["id"]]
    state = again.state_dict()
    show(folder, 3)  # while the run was dead
    resumed = growing(folder, not resident, window=window)
    resumed.load_state_dict(state)
    assert resumed.samples == 16
    assert begun + ids(resumed) == expected
    resumed.look()
    assert (resumed.samples, resumed.sizes) == (20, [(0, 16), (1, 20)])


def test_a_run_that_goes_on_between_epochs_takes_all(folder: Path) -> None:
    loader = growing(folder)
    list(loader)
    state = loader.state_dict()
    assert (state["epoch"], state["batch"]) == (1, 0)
    show(folder, 2)
    resumed = growing(folder)
    resumed.load_state_dict(state)
    assert (resumed.samples, resumed.sizes) == (16, [(0, 8), (1, 16)])


def test_a_run_of_a_set_that_did_not_grow_goes_on(folder: Path) -> None:
    plain = opened(folder, True, None)
    next(iter(plain))
    resumed = growing(folder)
    resumed.load_state_dict(plain.state_dict())
    assert (resumed.loader.epoch, resumed.loader.batch, resumed.samples) == (0, 1, 8)
    plain.load_state_dict(resumed.state_dict())  # and back


def test_another_set_in_its_place_is_an_error(folder: Path, write_tiny_shards: Callable[..., Any]) -> None:
    show(folder, 3)
    loader = growing(folder)
    state = loader.state_dict()
    show(folder, 2)
    with pytest.raises(UserError, match="has changed under the training: it may only grow behind its last sample"):
        loader.look()
    with pytest.raises(UserError, match="is not the set that the run began with: its sample 20 was '"):
        growing(folder).load_state_dict(state)


def test_processes_use_what_the_first_one_sees(folder: Path) -> None:
    show(folder, 2)
    told = [8]
    loader = GrowingLoader(folder, partial(opened, folder, True), lambda own: told[0])
    assert (loader.samples, len(loader)) == (8, 2)
    told[0] = 16
    loader.look()
    assert loader.samples == 16
    told[0] = 20
    with pytest.raises(UserError, match=r"this process sees 16 samples in .*, another one 20"):
        loader.look()
