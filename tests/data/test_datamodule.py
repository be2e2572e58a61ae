from __future__ import annotations

import os
import struct
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn

from jasco_pl.data.crops import CropDataset, collate, crop
from jasco_pl.data.datamodule import ShardDataModule
from jasco_pl.data.loader import ResumableLoader
from jasco_pl.data.sampler import GlobalBatches
from jasco_pl.data.schema import Sample
from jasco_pl.data.shards import CorruptShardError, write_index, write_shard
from jasco_pl.system.errors import UserError

FIELDS = ("latents", "chords", "melody", "codes_drums")


@pytest.fixture
def prepared(tmp_path, write_tiny_shards):
    folder = tmp_path / "train"
    return folder, write_tiny_shards(folder)


def loader(folder, workers: int = 0, shuffle: bool = True, batch: int = 4, **options) -> ResumableLoader:
    dataset = CropDataset(folder, 50, seed=3, fields=FIELDS, random_crop=shuffle, **options)
    return ResumableLoader(dataset, GlobalBatches(len(dataset), batch, 3, shuffle=shuffle), workers)


def seen(batches) -> list[tuple[list[str], list[int], list[str]]]:
    return [(batch["id"], batch["start"].tolist(), batch["caption"]) for batch in batches]


def test_a_crop_is_the_stored_frames_in_the_types_of_the_network(prepared):
    folder, samples = prepared
    item = CropDataset(folder, 50, seed=0, fields=FIELDS)[2, 4]
    start, stored = item["start"], samples[4]
    assert 0 < start <= stored.frames - 50
    for name in FIELDS:
        assert torch.equal(item[name], stored.tensors[name][start : start + 50].to(item[name].dtype))
    assert item["latents"].dtype == torch.float32
    assert {item[name].dtype for name in FIELDS[1:]} == {torch.int64}
    assert item["mask"].all()
    assert item["caption"] in stored.captions


def test_a_short_sample_is_filled_up_with_nulls_and_masked(prepared):
    sample = prepared[1][0]
    part = crop(sample, 0, 80)
    assert part["mask"].tolist() == [True] * 60 + [False] * 20
    assert torch.equal(part["latents"][60:], torch.zeros(20, 128))
    for name, null in (("chords", 194), ("chords_heard", 194), ("melody", -1), ("codes_drums", -1)):
        assert part[name][60:].tolist() == [null] * 20
        assert torch.equal(part[name][:60], sample.tensors[name].long())


def test_everything_random_is_a_function_of_seed_epoch_and_sample(prepared):
    folder, _ = prepared
    first, again, other = (CropDataset(folder, 50, seed, FIELDS) for seed in (0, 0, 1))
    crops = [[data[epoch, 7] for epoch in range(8)] for data in (first, again, other)]
    draws = [[(int(item["start"]), item["caption"], item["key"].item()) for item in items] for items in crops]
    assert draws[0] == draws[1]
    assert len({key for draw in (draws[0], draws[2]) for _, _, key in draw}) == 16
    assert len({start for start, _, _ in draws[0]}) > 3
    assert len({caption for _, caption, _ in draws[0]}) > 1


def test_validation_takes_beginnings_and_first_captions(prepared):
    folder, samples = prepared
    item = CropDataset(folder, 50, seed=0, fields=FIELDS, random_crop=False)[5, 7]
    assert item["start"] == 0
    assert item["caption"] == samples[7].captions[0]


def test_the_stated_share_of_crops_takes_the_heard_chords(prepared):
    folder, samples = prepared
    data = CropDataset(folder, 50, 0, FIELDS, alternatives={"chords": ("chords_heard", 0.3)})
    heard = 0
    for epoch in range(20):
        for position, sample in enumerate(samples):
            item = data[epoch, position]
            assert "chords_heard" not in item
            part = slice(item["start"], item["start"] + 50)
            from_ear = torch.equal(item["chords"], sample.tensors["chords_heard"][part].long())
            assert from_ear or torch.equal(item["chords"], sample.tensors["chords"][part].long())
            heard += from_ear
    assert 90 < heard < 150  # of 400; 120 expected, standard deviation 9


def test_heard_chords_that_the_shards_lack_are_one_sentence(tmp_path):
    sample = Sample("one", {"latents": torch.zeros(60, 128).half(), "chords": torch.full((60,), 5).short()}, [])
    write_shard(tmp_path, "shard-00000", [sample])
    write_index(tmp_path, {"name": "codec-tiny", "frame_rate": 50.0, "dim": 128}, ["shard-00000"])
    message = (
        r"lack the field 'chords_heard': sample 'one' holds chords, latents; "
        r"`jasco shards build --pieces DIR --out DIR --codec codec-tiny` adds it to the set that was built of composed pieces, "
        r"and data.heard_chords 0 does"
    )
    with pytest.raises(UserError, match=message):
        data_module(tmp_path, fields=["chords"], heard_chords=0.5).train_dataloader()
    item = next(iter(data_module(tmp_path, fields=["chords"], batch_size=1).train_dataloader()))
    assert item["chords"].tolist() == [[5] * 50]
    assert item["caption"] == [""]
    next(iter(data_module(tmp_path, fields=[], heard_chords=0.5, batch_size=1).train_dataloader()))  # nothing to replace
    with pytest.raises(UserError, match=r"heard_chords is .*, where a number of at least 0 and at most 1 is accepted"):
        data_module(tmp_path, heard_chords=50.0)


def test_a_field_that_one_sample_lacks_is_named_at_once(tmp_path):
    tensors = {"latents": torch.zeros(60, 128).half(), "chords": torch.zeros(60).short()}
    write_shard(
        tmp_path, "shard-00000", [Sample("one", tensors, []), Sample("two-0123abcd-001", {"latents": tensors["latents"].clone()}, [])]
    )
    write_index(tmp_path, {"name": "none", "frame_rate": 50.0, "dim": 128}, ["shard-00000"])
    with pytest.raises(
        UserError, match=r"lack the field 'chords': sample 'two-0123abcd-001' holds latents; .*--stages chords` adds it to the set .*\.$"
    ):
        CropDataset(tmp_path, 50, 0, ("latents", "chords"))


@pytest.mark.parametrize(("field", "stage"), [("melody", "melody"), ("codes_drums_bandpass", "drums"), ("codes_mix", "codec")])
def test_what_adds_a_missing_field_is_named(tmp_path, field, stage):
    write_shard(tmp_path, "shard-00000", [Sample("song-0123abcd-000", {"latents": torch.zeros(60, 128).half()}, [])])
    write_index(tmp_path, {"name": "none", "frame_rate": 50.0, "dim": 128}, ["shard-00000"])
    with pytest.raises(
        UserError, match=rf"sample 'song-0123abcd-000' holds latents.*`jasco prepare SOURCE --out DIR --stages {stage}` adds it"
    ):
        data_module(tmp_path, fields=[field]).val_dataloader()


@pytest.fixture
def recordings_and_pieces(tmp_path):
    """Two samples with Chordino's chords alone (5), two with exact ones (7) besides."""
    names = ("recorded-0", "composed-0", "composed-1", "recorded-1")
    samples = []
    for name in names:
        tensors = {"latents": torch.zeros(60, 128).half(), "chords_heard": torch.full((60,), 5).short()}
        if name.startswith("composed"):
            tensors["chords"] = torch.full((60,), 7).short()
        samples.append(Sample(name, tensors, []))
    write_shard(tmp_path, "shard-00000", samples)
    write_index(tmp_path, {"name": "none", "frame_rate": 50.0, "dim": 128}, ["shard-00000"])
    return tmp_path


@pytest.mark.parametrize(("share", "composed"), [(0.0, {7}), (1.0, {5}), (0.5, {5, 7})])
def test_a_recording_gives_the_heard_chords_in_place_of_exact_ones(recordings_and_pieces, share, composed):
    module = data_module(recordings_and_pieces, fields=["chords"], heard_chords=share)
    train, valid = module.train_dataloader(), module.val_dataloader()
    taken = {"recorded": set(), "composed": set()}
    for _ in range(12):
        for batch in train:
            assert "chords_heard" not in batch
            for name, chords in zip(batch["id"], batch["chords"], strict=True):
                taken[name.split("-")[0]] |= set(chords.tolist())
    assert taken == {"recorded": {5}, "composed": composed}
    (batch,) = valid
    assert [chords.unique().tolist() for chords in batch["chords"]] == [[5], [7], [7], [5]]
    assert batch["chords"].dtype == torch.int64


def test_collating_stacks_tensors_and_lists_the_rest(prepared):
    data = CropDataset(prepared[0], 50, 0, FIELDS)
    batch = collate([data[0, 1], data[0, 2], data[0, 3]])
    assert batch["latents"].shape == (3, 50, 128)
    assert batch["mask"].shape == (3, 50)
    assert batch["id"] == ["train-001", "train-002", "train-003"]
    assert (batch["key"].shape, batch["key"].dtype) == ((3,), torch.int64)


@pytest.mark.parametrize("taken", [1, 3, 5, 7])
def test_the_state_says_which_batch_comes_next(prepared, taken):
    whole = loader(prepared[0])
    expected = [batch for _ in range(3) for batch in seen(whole)]
    assert len(expected) == 15
    assert len({tuple(ids) for ids, _, _ in expected}) == 15

    first, count, state = loader(prepared[0]), 0, {}
    while count < taken:
        for _ in first:
            count += 1
            state = first.state_dict()  # as Lightning takes it: while the loader has not been asked for more
            if count == taken:
                break
    assert state == {"epoch": taken // 5, "batch": taken % 5}
    assert all(type(value) is int for value in state.values())  # checkpoints are loaded without pickle

    second = loader(prepared[0])
    second.load_state_dict(state)
    assert len(second) == 5  # Lightning counts on the length of whole epochs
    rest = seen(second)
    assert rest + seen(second) == expected[taken : taken + len(rest) + 5]


def test_a_state_past_the_end_of_a_smaller_set_goes_on_with_the_next_epoch(prepared):
    smaller = loader(prepared[0], batch=8)
    smaller.load_state_dict({"epoch": 2, "batch": 4})
    assert smaller.state_dict() == {"epoch": 3, "batch": 0}
    assert len(list(smaller)) == 2


def test_worker_processes_change_nothing(prepared):
    assert seen(loader(prepared[0], workers=2)) == seen(loader(prepared[0]))


def test_validation_is_the_same_every_time_even_after_a_part_of_it(prepared):
    valid = loader(prepared[0], shuffle=False)
    first = list(valid)
    next(iter(valid))
    again = list(valid)
    assert seen(first) == seen(again)
    assert [batch["key"].tolist() for batch in first] == [batch["key"].tolist() for batch in again]  # the noise too


class Where(torch.utils.data.Dataset):
    """What was asked for, and the process that answers."""

    def __getitem__(self, key):
        return {"key": torch.tensor(key), "process": torch.tensor(os.getpid())}


@pytest.mark.parametrize("shuffle", [True, False])
def test_worker_processes_of_a_training_stay_and_those_of_a_validation_do_not(shuffle):
    loaders = [ResumableLoader(Where(), GlobalBatches(12, 4, 3, shuffle=shuffle), workers) for workers in (2, 0)]
    processes = []
    for number in range(3):
        epochs = [list(loader) for loader in loaders]
        assert [batch["key"].tolist() for batch in epochs[0]] == [batch["key"].tolist() for batch in epochs[1]]
        processes.append({int(process) for batch in epochs[0] for process in batch["process"]})
        if number == 0:  # one that is left in the middle is gone on with from there
            for loader in loaders:
                next(iter(loader))
    assert all(os.getpid() not in group for group in processes)
    assert (processes[0] == processes[1] == processes[2]) is shuffle


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_sample_is_one_sentence_from_a_worker_too(prepared, workers):
    path = prepared[0] / "shard-00001.safetensors"
    data = bytearray(path.read_bytes())
    header = struct.unpack("<Q", data[:8])[0]
    data[8 + header : 8 + header + 2000] = bytes(2000)
    path.write_bytes(data)
    with pytest.raises(CorruptShardError) as caught:
        list(loader(prepared[0], workers))
    assert "shard-00001.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


def data_module(folder, **options) -> ShardDataModule:
    return ShardDataModule(str(folder), str(folder), str(folder), **{"seconds": 1.0, "batch_size": 4, "workers": 0, **options})


def on(module: ShardDataModule, rank: int, world: int, stage: TrainerFn = TrainerFn.FITTING, parts: int = 1) -> ShardDataModule:
    device = SimpleNamespace(root_device=torch.device("cpu"))
    state = SimpleNamespace(fn=stage)
    trainer = SimpleNamespace(global_rank=rank, world_size=world, state=state, accumulate_grad_batches=parts, strategy=device)
    module.trainer = trainer  # type: ignore[assignment]
    return module


def test_ranks_share_the_global_batch(prepared):
    alone = seen(data_module(prepared[0]).train_dataloader())
    ranks = [seen(on(data_module(prepared[0]), rank, 2).train_dataloader()) for rank in (0, 1)]
    assert [a[0] + b[0] for a, b in zip(*ranks, strict=True)] == [batch[0] for batch in alone]
    assert all(len(batch[0]) == 2 for batch in ranks[0])


def test_accumulated_parts_share_the_global_batch_and_the_state_counts_whole_ones(prepared):
    """One process in four parts and two in two parts see what one sees at once; a state saved by any goes on in every other."""
    alone = [batch[0] for batch in seen(data_module(prepared[0]).train_dataloader())]
    for world, parts in ((1, 4), (2, 2)):
        loaders = [on(data_module(prepared[0]), rank, world, parts=parts).train_dataloader() for rank in range(world)]
        assert len(loaders[0]) == parts * len(alone)
        batches = [seen(loader) for loader in loaders]
        for number, whole in enumerate(alone):
            pieces = [batches[rank][number * parts + part][0] for rank in range(world) for part in range(parts)]
            assert [name for piece in pieces for name in piece] == whole
            assert {len(piece) for piece in pieces} == {1}
        assert loaders[0].state_dict() == {"epoch": 1, "batch": 0}

    half = on(data_module(prepared[0]), 0, 1, parts=2).train_dataloader()
    iterator = iter(half)
    states = [(next(iterator), half.state_dict()["batch"])[1] for _ in range(4)]
    assert states == [0, 1, 1, 2]  # a step of which only a part is done begins anew
    other = data_module(prepared[0]).train_dataloader()
    other.load_state_dict(half.state_dict())
    assert [batch[0] for batch in seen(other)] == alone[2:]


@pytest.mark.parametrize(("world", "parts", "message"), [(3, 1, "3 processes"), (2, 4, "2 processes times 4 accumulated batches")])
def test_ranks_that_do_not_divide_the_batch_are_one_sentence(prepared, world, parts, message):
    with pytest.raises(UserError, match=rf"batch_size of 4 does not divide by {message}\."):
        on(data_module(prepared[0]), 0, world, parts=parts).train_dataloader()


def test_an_unknown_field_is_one_sentence(prepared):
    with pytest.raises(UserError, match=r"'tempo' is unknown; stored fields are: latents, "):
        data_module(prepared[0], fields=["tempo"])


def test_heard_chords_are_for_training_alone(prepared):
    module = data_module(prepared[0], heard_chords=1.0)
    (train, *_), (valid, *_) = module.train_dataloader(), module.val_dataloader()
    for batch, field in ((train, "chords_heard"), (valid, "chords")):
        sample = prepared[1][int(batch["id"][0][-3:])]
        part = sample.tensors[field][batch["start"][0] :][:50]
        assert torch.equal(batch["chords"][0], part.long())


STAGES = [(TrainerFn.FITTING, "train"), (TrainerFn.FITTING, "valid"), (TrainerFn.VALIDATING, "valid"), (TrainerFn.TESTING, "test")]


@pytest.mark.parametrize(("stage", "missing"), STAGES)
def test_the_data_of_a_stage_are_looked_at_before_anything_is_written(prepared, tmp_path, stage, missing):
    folders = {"train": str(prepared[0]), "valid": str(prepared[0]), "test": str(prepared[0]), missing: str(tmp_path / "nowhere")}
    module = on(ShardDataModule(**folders, batch_size=4), 0, 1, stage)
    with pytest.raises(UserError, match=r"no prepared data in .*nowhere"):
        module.prepare_data()
    other = TrainerFn.VALIDATING if missing == "test" else TrainerFn.TESTING
    on(module, 0, 1, other).prepare_data()  # what a stage does not read may be absent
