from __future__ import annotations

from collections import Counter

import pytest
import torch

from jasco_pl.data.sampler import CropDraws, GlobalBatches, epoch_order, windowed_order
from jasco_pl.system.seeding import generator, stable_hash


def positions(batches: GlobalBatches, epoch: int, start: int = 0) -> list[list[int]]:
    return [[position for _, position in batch] for batch in batches.epoch(epoch, start)]


def test_the_order_is_a_function_of_seed_and_epoch_alone():
    assert epoch_order(100, 3, 5).tolist() == epoch_order(100, 3, 5).tolist()
    assert sorted(epoch_order(100, 3, 5)) == list(range(100))
    assert len({tuple(epoch_order(100, seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_the_order_never_changes():
    """A checkpoint of an older version must find the same samples."""
    assert epoch_order(8, 0, 0).tolist() == [3, 7, 6, 2, 1, 5, 0, 4]


@pytest.mark.parametrize("ranks", [2, 3, 6])
def test_a_global_batch_is_the_same_however_many_ranks_share_it(ranks):
    alone = positions(GlobalBatches(50, 12, seed=1), epoch=2)
    shared = [positions(GlobalBatches(50, 12, 1, rank, ranks), epoch=2) for rank in range(ranks)]
    assert len(alone) == 4
    for number, batch in enumerate(alone):
        assert [position for rank in shared for position in rank[number]] == batch


def test_an_epoch_gives_every_sample_at_most_once():
    seen = Counter(position for batch in positions(GlobalBatches(50, 8, 0), epoch=0) for position in batch)
    assert len(seen) == 48
    assert set(seen.values()) == {1}


def test_starting_in_the_middle_gives_the_rest():
    batches = GlobalBatches(50, 8, 0)
    assert positions(batches, 1, start=4) == positions(batches, 1)[4:]
    assert positions(batches, 1, start=len(batches)) == []


def test_every_position_knows_its_epoch():
    assert {epoch for batch in GlobalBatches(50, 8, 0).epoch(7) for epoch, _ in batch} == {7}


def test_without_shuffling_the_index_order_is_kept():
    assert positions(GlobalBatches(10, 5, 0, shuffle=False), epoch=3) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_a_set_smaller_than_a_batch_is_repeated_to_fill_it():
    batches = GlobalBatches(3, 8, 0)
    assert len(batches) == 1
    (batch,) = positions(batches, 0)
    assert len(batch) == 8
    assert set(batch) == {0, 1, 2}


def test_ranks_that_do_not_divide_the_batch_are_refused():
    with pytest.raises(ValueError, match=r"16.*3 ranks"):
        GlobalBatches(100, 16, 0, 0, 3)


def crop_starts(frames: int, length: int, seed: int, epoch: int, *names: str) -> list[int]:
    count = torch.full((len(names),), frames)
    return CropDraws(length, seed, {})(torch.tensor([stable_hash(name) for name in names]), epoch, count, count).starts.tolist()


def test_what_is_drawn_never_changes():
    """A run that goes on must draw as it did."""
    drawn = CropDraws(500, 3, {"chords": 0.5})(torch.tensor([stable_hash("a")]), 7, torch.tensor([900]), torch.tensor([6]))
    assert drawn.keys.item() == 2765632332021300134
    assert (drawn.starts.item(), drawn.captions.item(), drawn.alternatives["chords"].item()) == (376, 5, False)


def test_captions_by_section_are_drawn_apart_from_all_else():
    names, counts = torch.tensor([stable_hash("a"), stable_hash("b")]), torch.tensor([900, 700])
    plain, drawn = (CropDraws(500, 3, {}, by_section=share)(names, 7, counts, counts) for share in (0.0, 0.7))
    assert plain.by_section is None
    assert all(torch.equal(getattr(plain, name), getattr(drawn, name)) for name in ("keys", "starts", "captions"))
    choices = drawn.section_captions(torch.tensor([[3, 5, 2], [4, 0, 1]]))
    assert (drawn.by_section.tolist(), choices.tolist()) == ([False, True], [[1, 4, 1], [2, 0, 0]])  # in every release
    assert torch.equal(choices[:, :2], drawn.section_captions(torch.tensor([[3, 5], [4, 0]])))  # whatever sections others have
    many = CropDraws(500, 3, {}, by_section=0.3)(torch.arange(2000), 0, counts[:1], counts[:1])
    assert 0.26 < many.by_section.float().mean() < 0.34
    spread = many.section_captions(torch.full((2000, 2), 4))
    assert all(0.2 < (spread[:, section] == choice).float().mean() < 0.3 for section in (0, 1) for choice in range(4))
    assert 0.2 < (spread[:, 0] == spread[:, 1]).float().mean() < 0.3


def test_crops_lie_inside_and_spread_evenly():
    starts = [start for epoch in range(10) for start in crop_starts(700, 500, 0, epoch, *(f"song-{number}" for number in range(200)))]
    assert min(starts) >= 0
    assert max(starts) <= 200
    quarters = Counter(start * 4 // 201 for start in starts)
    assert all(400 < quarters[quarter] < 600 for quarter in range(4))  # 500 expected, standard deviation 19


def test_the_last_possible_crop_is_taken_too():
    assert {start for epoch in range(60) for start in crop_starts(12, 10, 0, epoch, "song")} == {0, 1, 2}


@pytest.mark.parametrize("frames", [1, 499, 500])
def test_a_sample_that_is_not_longer_than_the_crop_begins_at_its_beginning(frames):
    assert crop_starts(frames, 500, 0, 3, "song") == [0]


def test_crops_change_with_epoch_seed_and_sample():
    starts = [start for seed in (0, 1) for epoch in (0, 1) for start in crop_starts(10_000, 500, seed, epoch, "a", "b")]
    assert len(set(starts)) == 8


SHARDS = (5, 9, 1, 7, 3, 8, 4)


@pytest.mark.parametrize("window", [1, 2, 3, 7, 20])
def test_a_windowed_order_is_through_with_some_shards_before_it_begins_others(window):
    owner = [shard for shard, count in enumerate(SHARDS) for _ in range(count)]
    for epoch in range(5):
        order = windowed_order(SHARDS, window, 0, epoch).tolist()
        assert sorted(order) == list(range(37))
        turns = list(dict.fromkeys(owner[position] for position in order))
        groups = [set(turns[start : start + window]) for start in range(0, 7, window)]
        for group in groups:  # each group's samples lie together
            size = sum(SHARDS[shard] for shard in group)
            assert {owner[position] for position in order[:size]} == group
            order = order[size:]


def test_a_windowed_order_is_a_function_of_seed_and_epoch_and_mixes_other_shards_each_time():
    orders = {(seed, epoch): tuple(windowed_order(SHARDS, 3, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(set(orders.values())) == 9
    assert all(tuple(windowed_order(SHARDS, 3, *key)) == order for key, order in orders.items())
    first = {frozenset(owner for owner in order[:5]) for order in orders.values()}
    assert len(first) > 3


def test_the_windowed_order_does_not_change_from_release_to_release():
    assert windowed_order((2, 3, 1, 2), 2, 0, 0).tolist() == [4, 3, 2, 0, 1, 7, 6, 5]


def test_the_windowed_order_is_that_of_the_plain_definition():
    for number in range(40):
        counts = torch.randint(0, 7, (1 + number,), generator=torch.Generator().manual_seed(number)).tolist()
        window, draw = 1 + number % 9, generator("windows", number, 5)
        firsts = [sum(counts[:shard]) for shard in range(len(counts))]
        turns = torch.randperm(len(counts), generator=draw).tolist()
        expected: list[int] = []
        for start in range(0, len(turns), window):
            members = [firsts[shard] + place for shard in turns[start : start + window] for place in range(counts[shard])]
            expected += [members[index] for index in torch.randperm(len(members), generator=draw).tolist()]
        assert windowed_order(counts, window, number, 5).tolist() == expected


def test_batches_of_an_epoch_are_made_one_by_one_and_hold_plain_integers():
    batches = GlobalBatches(4_000_000, 16, 0).epoch(1, start=125_000)
    assert len(batches) == 125_000
    first, again = next(iter(batches)), next(iter(batches))
    assert first == again
    assert all(type(number) is int for pair in first for number in pair)  # whose hashes are those of older versions
    assert batches.positions.nbytes == 8 * 2_000_000


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_share_the_batches_of_a_windowed_order(ranks):
    options = {"shards": SHARDS, "window": 2}
    alone = positions(GlobalBatches(37, 4, seed=1, **options), epoch=2)
    shared = [positions(GlobalBatches(37, 4, 1, rank, ranks, **options), epoch=2) for rank in range(ranks)]
    assert [[item for part in parts for item in part] for parts in zip(*shared, strict=True)] == alone
    assert positions(GlobalBatches(37, 4, 1, **options), 2, start=5) == alone[5:]
