from __future__ import annotations

import torch

from jasco_pl.system.seeding import generator, item_noise, stable_hash


def test_hashes_are_the_same_on_every_machine() -> None:
    assert stable_hash("generate", 7) == 5485071855418473978
    assert stable_hash() == 6510301506637419378
    assert stable_hash(7) == stable_hash("7")


def test_hashes_keep_parts_apart_and_fit_a_signed_64_bit_integer() -> None:
    assert len({stable_hash("ab"), stable_hash("a", "b"), stable_hash("b", "a"), stable_hash("ab", "")}) == 4
    hashes = [stable_hash("x", number) for number in range(2000)]
    assert len(set(hashes)) == 2000
    assert 0 <= min(hashes) < 2**57
    assert 2**62 < max(hashes) < 2**63


def test_generators_of_equal_parts_draw_the_same() -> None:
    draws = [torch.rand(4, generator=generator(*parts)) for parts in (("draw", 1), ("draw", 1), ("draw", 2))]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_noise_of_an_item_depends_on_its_key_alone() -> None:
    batch = item_noise([5, 9, 2**62, 5], 30, 8)
    assert batch.shape == (4, 30, 8)
    assert torch.equal(item_noise([9], 30, 8)[0], batch[1])
    assert torch.equal(item_noise([2**62, 9], 30, 8)[0], batch[2])
    assert torch.equal(batch[0], batch[3])
    assert not torch.equal(batch[0], batch[1])


def test_noise_is_standard_normal() -> None:
    noise = item_noise(list(range(10)), 500, 16)
    assert abs(float(noise.mean())) < 0.02
    assert abs(float(noise.std()) - 1) < 0.02
    assert abs(float((noise.abs() < 1).float().mean()) - 0.6827) < 0.01
