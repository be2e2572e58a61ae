from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from jasco_pl.system import draws
from jasco_pl.system.seeding import stable_hash


def keys_of(count: int, name: str = "test") -> torch.Tensor:
    return torch.tensor([stable_hash(name, number) for number in range(count)])


def widynski(counter: int, key: int) -> int:
    """`squares64` of arXiv 2004.06278, listing 2, in Python's integers."""
    full = (1 << 64) - 1
    x = y = (counter * key) & full
    z = (y + key) & full
    for added in (y, z, y):
        x = (x * x + added) & full
        x = (x >> 32) | ((x << 32) & full)
    t = x = (x * x + z) & full
    x = (x >> 32) | ((x << 32) & full)
    return t ^ (((x * x + y) & full) >> 32)


@pytest.mark.parametrize("key", [0x548C9DECBCE65297, 0xC8E4FD154CE32F6D, 3])
def test_squares_is_the_published_generator(key: int) -> None:
    signed = key - (1 << 64) if key >> 63 else key
    counters = [0, 1, 2, 77, 2**31, 2**40 + 5]
    found = draws.squares(torch.tensor(counters), torch.tensor(signed))
    assert [value % (1 << 64) for value in found.tolist()] == [widynski(counter, key) for counter in counters]


def test_draws_are_the_same_on_every_machine() -> None:
    key = torch.tensor([stable_hash("a")])
    assert draws.bits(key, "x", 2).tolist() == [[-4466707847630744664, 3155852163342661455]]
    np.testing.assert_allclose(draws.normal(key, "x", 3)[0], [0.32694464921951294, -0.6690458059310913, -1.8401894569396973], rtol=1e-6)


def test_a_draw_depends_on_its_key_and_purpose_alone() -> None:
    keys = keys_of(7)
    for draw in (draws.uniform, draws.normal):
        whole = draw(keys, "noise", 33)
        assert torch.equal(torch.cat([draw(keys[index : index + 1], "noise", 33) for index in range(7)]), whole)
        assert torch.equal(draw(keys, "noise", 5), whole[:, :5])
        assert not torch.equal(draw(keys, "time", 33), whole)
    assert draws.normal(keys, "noise", 3, 11).shape == (7, 3, 11)
    assert torch.equal(draws.normal(keys, "noise", 3, 11).flatten(1), draws.normal(keys, "noise", 33))


def test_draws_have_their_distributions() -> None:
    keys = keys_of(200)
    flat = draws.uniform(keys, "time", 100).flatten()
    assert flat.min() >= 0
    assert flat.max() < 1
    assert stats.kstest(flat.numpy(), "uniform").pvalue > 1e-3
    noise = draws.normal(keys, "noise", 101).flatten()
    assert stats.kstest(noise.numpy(), "norm").pvalue > 1e-3
    pairs = noise.unflatten(0, (-1, 101))
    assert abs(np.corrcoef(pairs[:, 0:-1:2].flatten(), pairs[:, 1::2].flatten())[0, 1]) < 0.03
    first, second = (draws.uniform(keys_of(20_000), what)[:, 0].numpy() for what in ("one", "another"))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.03


def test_integers_reach_all_values_below_their_limit_equally() -> None:
    keys = keys_of(6000)
    limits = torch.tensor([1, 2, 6]).repeat(2000)
    found = draws.below(keys, "crop", limits)
    for limit in (1, 2, 6):
        counts = torch.bincount(found[limits == limit], minlength=limit)
        assert len(counts) == limit
        assert stats.chisquare(counts.numpy()).pvalue > 1e-3 or limit == 1
    assert draws.below(keys, "crop", torch.full((6000,), 2**31)).max() < 2**31


def test_refined_keys_differ_by_number_and_purpose() -> None:
    keys = keys_of(50)
    made = torch.cat([draws.refined(keys, what, epoch) for what in ("a", "b") for epoch in range(20)])
    assert len(made.unique()) == len(made)
    epochs = torch.arange(50)
    assert torch.equal(draws.refined(keys, "a", epochs)[7], draws.refined(keys[7:8], "a", 7)[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_draws_the_same() -> None:
    keys = keys_of(64)
    assert torch.equal(draws.bits(keys.cuda(), "x", 1000).cpu(), draws.bits(keys, "x", 1000))
    torch.testing.assert_close(draws.normal(keys.cuda(), "x", 999).cpu(), draws.normal(keys, "x", 999), rtol=1e-6, atol=1e-7)
