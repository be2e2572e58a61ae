"""A set in memory gives the loader's batches."""

from __future__ import annotations

import pytest
import torch
from speller import spell
from torch import Tensor

from jasco_pl.data.crops import CropDataset
from jasco_pl.data.loader import ResidentLoader, ResumableLoader
from jasco_pl.data.resident import ResidentSet, fits, needed_bytes
from jasco_pl.data.sampler import GlobalBatches
from jasco_pl.data.schema import Sample
from jasco_pl.data.shards import CorruptShardError, write_index, write_shard
from jasco_pl.notation.timed_text import ALWAYS, throughout

FIELDS = ("latents", "chords", "melody", "codes_drums")
HEARD = {"chords": ("chords_heard", 0.4)}


@pytest.fixture
def folder(tmp_path, write_tiny_shards):
    write_tiny_shards(tmp_path / "train")
    return tmp_path / "train"


def datasets(folder, length: int = 50, shuffle: bool = True, alternatives=HEARD, by_section: float = 0.0) -> CropDataset:
    return CropDataset(folder, length, 3, FIELDS, alternatives, shuffle, by_section)


@pytest.fixture
def sectioned(tmp_path, write_tiny_shards):
    write_tiny_shards(tmp_path / "parts", sections=True)
    return tmp_path / "parts"


def both(
    folder, batch: int = 5, rank: int = 0, world: int = 1, shuffle: bool = True, by_section: float = 0.0
) -> tuple[ResumableLoader, ResidentLoader]:
    made = []
    for resident in (False, True):
        dataset = datasets(folder, shuffle=shuffle, alternatives=HEARD if shuffle else {}, by_section=by_section)
        batches = GlobalBatches(len(dataset), batch, 3, rank, world, shuffle)
        made.append(ResidentLoader(ResidentSet(dataset, "cpu"), batches) if resident else ResumableLoader(dataset, batches, 0))
    return made[0], made[1]


def assert_same(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, Tensor):
            assert value.dtype == other[name].dtype, name
            assert torch.equal(value, other[name]), name
        else:
            assert list(value) == (other[name].tolist() if isinstance(other[name], Tensor) else other[name]), name


@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_are_the_loaders_over_the_border_of_an_epoch(folder, shuffle):
    loader, resident = both(folder, shuffle=shuffle)
    assert len(loader) == len(resident)
    for _ in range(3):
        for one, other in zip(loader, resident, strict=True):
            assert_same(one, other)
        assert loader.state_dict() == resident.state_dict()


def test_a_run_goes_on_with_the_other_kind_where_one_was_left(folder):
    loader, resident = both(folder)
    reading = iter(resident)
    next(reading), next(reading)
    loader.load_state_dict(resident.state_dict())
    expected = list(reading)
    assert expected
    for one, other in zip(loader, expected, strict=True):
        assert_same(one, other)


def test_texts_of_sections_are_the_loaders(sectioned):
    loader, resident = both(sectioned, by_section=0.6)
    told = []
    for _ in range(3):
        for one, other in zip(loader, resident, strict=True):
            assert_same(one, other)
            told += [len(spans) for spans in one["spans"]]
            for caption, spans in zip(one["caption"], one["spans"], strict=True):
                if spans != throughout(caption):
                    edges = [0, *(span.last for span in spans)]
                    assert [span.first for span in spans] == edges[:-1]  # without gaps
                    assert edges[-1] == 50
    assert {1, 2, 3} <= set(told)


def test_sections_change_nothing_but_texts_and_not_even_these_where_there_are_none(folder, sectioned):
    for where, share in ((folder, 0.6), (sectioned, 0.0)):
        for one, other in zip(both(where)[0], both(where, by_section=share)[0], strict=True):
            assert_same(one, other)
    for one, other in zip(both(sectioned)[0], both(sectioned, by_section=0.6)[0], strict=True):
        assert_same(one, {name: value for name, value in other.items() if name != "spans"})


@pytest.mark.parametrize("length", [8, 50, 90])
def test_states_of_sections_stand_one_behind_another_and_fit_into_what_a_gpu_keeps_for_them(sectioned, length):
    dataset = datasets(sectioned, length, by_section=0.7)
    resident = ResidentSet(dataset, "cpu", spell)
    longest = 0
    for epoch in range(12):
        keys = [(epoch, position) for position in range(len(dataset))]
        batch = resident(keys)
        assert "spans" not in batch
        longest = max(longest, batch["text"].shape[1])
        for row, item in enumerate(dataset.__getitems__(keys)):
            expected = [(ord(letter), span.first, span.last) for span in item["spans"] for letter in span.text or "-"]
            mask = batch["text_mask"][row]
            found = torch.cat([batch["text"][row, :, :1].long(), batch["text_frames"][row]], dim=1)[mask]
            assert found.tolist() == list(map(list, expected))
            assert not batch["text"][row][~mask].any()
            assert batch["text_frames"][row][~mask].tolist() == [[0, ALWAYS]] * int((~mask).sum())
    assert longest <= resident._longest <= longest + 3  # whose longest captions may not have met


def test_two_processes_share_the_batches_of_one(folder):
    alone = list(both(folder, batch=6)[1])
    shared = [list(both(folder, batch=6, rank=rank, world=2)[1]) for rank in (0, 1)]
    for whole, *parts in zip(alone, *shared, strict=True):
        assert [name for part in parts for name in part["id"]] == whole["id"]
        assert torch.equal(torch.cat([part["latents"] for part in parts]), whole["latents"])


def test_crops_longer_than_their_samples_are_padded_as_the_loader_pads_them(folder):
    dataset = datasets(folder, length=90)
    keys = [(2, position) for position in range(len(dataset))]
    batch = ResidentSet(dataset, "cpu")(keys)
    assert not batch["mask"].all()
    for row, item in enumerate(dataset.__getitems__(keys)):
        for field in (*FIELDS, "mask"):
            assert torch.equal(batch[field][row], item[field]), field


def test_texts_are_encoded_once_and_padded_to_the_longest_of_the_batch(folder):
    asked: list[str] = []

    def encode(texts):
        asked.extend(texts)
        return spell(texts)

    dataset = datasets(folder)
    resident = ResidentSet(dataset, "cpu", encode)
    assert len(asked) == len(set(asked)) == len({caption for entry in dataset.reader.entries for caption in entry["captions"]})
    keys = [(1, position) for position in range(6)]
    batch = resident(keys)
    assert "caption" not in batch
    assert batch["text"].shape == (6, int(batch["text_mask"].sum(dim=1).max()), 2)
    for row, item in enumerate(dataset.__getitems__(keys)):
        letters = batch["text"][row][batch["text_mask"][row]][:, 0]
        assert "".join(chr(int(letter)) for letter in letters) == item["caption"]
        assert not batch["text"][row][~batch["text_mask"][row]].any()


def test_a_sample_without_captions_has_the_null_text(tmp_path):
    samples = [Sample(name, {"latents": torch.randn(60, 8).half()}, captions) for name, captions in (("a", []), ("b", ["tune"]))]
    write_shard(tmp_path, "shard-00000", samples)
    write_index(tmp_path, {"name": "codec-tiny", "frame_rate": 50.0, "dim": 128}, ["shard-00000"])
    resident = ResidentSet(CropDataset(tmp_path, 50, 0, ["latents"]), "cpu")
    assert resident([(0, 0), (0, 1)])["caption"] == ["", "tune"]


def test_a_damaged_sample_is_one_sentence(folder):
    path = next(folder.glob("*.safetensors"))
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptShardError, match="fails its checksum"):
        ResidentSet(datasets(folder), "cpu")


def test_what_is_needed_is_known_before_it_is_read(folder):
    dataset = datasets(folder)
    resident = ResidentSet(dataset, "cpu")
    assert needed_bytes(dataset) == pytest.approx(resident.nbytes, rel=0.02)  # captions are numbers here
    assert not fits(dataset, torch.device("cpu"))
