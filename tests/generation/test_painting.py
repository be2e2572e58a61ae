from __future__ import annotations

import numpy as np
import pytest
import torch

from jasco_pl.controls.conditions import Conditions
from jasco_pl.generation.painting import Held, Window, paint, plan_windows, seams_of, splice
from jasco_pl.network.flow.path import OptimalTransportPath, VariancePreservingPath
from jasco_pl.network.flow.solver import Solution, SolverConfig, solve


def kept(frames: int, *stretches: tuple[int, int]) -> np.ndarray:
    known = np.zeros(frames, dtype=bool)
    for first, last in stretches:
        known[first:last] = True
    return known


def test_what_fits_is_one_window() -> None:
    assert plan_windows(kept(500), 500) == [Window(0, 500, 0, 500)]
    assert plan_windows(kept(300, (0, 100), (200, 250)), 500) == [Window(0, 300, 0, 300)]


def test_thirty_seconds_are_four_windows_of_ten() -> None:
    assert plan_windows(kept(1500), 500) == [
        Window(0, 500, 0, 500),
        Window(333, 833, 433, 833, 50),
        Window(667, 1167, 767, 1167, 50),
        Window(1000, 1500, 1100, 1500, 50),
    ]
    assert seams_of(1500, 500) == [458, 792, 1125]


def test_a_window_is_held_firmly_and_then_less() -> None:
    weight = plan_windows(kept(1500), 500)[1].held()
    assert (weight[:100] == 1).all()
    assert weight[100:150] == pytest.approx(1 - (np.arange(50) + 0.5) / 50)
    assert not weight[150:].any()
    assert not Window(0, 500, 0, 500).held().any()


def test_a_clip_a_little_too_long_has_as_much_to_make_as_any_other() -> None:
    assert plan_windows(kept(510), 500) == [Window(0, 500, 0, 500), Window(10, 510, 110, 510, 50)]


def test_what_is_kept_costs_nothing_and_stands_on_both_sides() -> None:
    assert plan_windows(kept(9000, (0, 8800)), 500) == [Window(8500, 9000, 8800, 9000)]
    assert plan_windows(kept(1500, (0, 300), (450, 1500)), 500) == [Window(125, 625, 300, 450)]
    assert plan_windows(kept(1500, (20, 1500)), 500) == [Window(0, 500, 0, 20)]
    long = plan_windows(kept(3000, (0, 600), (2100, 3000)), 500)
    assert (long[0], long[-1].last, long[-1].stop) == (Window(450, 950, 600, 950), 2250, 2100)


@pytest.mark.parametrize("seed", range(5))
def test_every_frame_is_made_by_windows_inside_the_clip(seed: int) -> None:
    draw = np.random.default_rng(seed)
    for _ in range(400):
        frames, length = int(draw.integers(2, 200)), int(draw.integers(4, 60))
        known = np.repeat(draw.random(frames) < 0.5, draw.integers(1, 60, frames))[:frames]
        if known.all():
            continue
        made = known.copy()
        for window in plan_windows(known, length):
            assert 0 <= window.first <= window.start < window.stop <= window.last <= frames
            assert made[window.start : window.start + window.fade].all()  # a window takes over from something
            assert window.last - window.first == min(length, frames)
            before = slice(window.first, window.start)
            assert made[before].all()  # what stands before it is there by now
            made[window.start : window.stop] = True
        assert made.all()


def test_a_kept_stretch_is_the_recording_but_for_its_fades() -> None:
    known = np.zeros(100, dtype=bool)
    known[:30] = known[50:60] = known[97:] = True
    made, recording = torch.zeros(1, 64000), torch.ones(1, 59 * 640)
    share = splice(made, recording, known, 640, 32000)[0]
    assert share.shape == (64000,)
    assert (share[: 25 * 640] == 1).all()  # nothing fades at the clip's own end
    assert share[25 * 640 : 30 * 640].diff().max() < 0
    assert share[30 * 640 - 1] < 0.001
    assert (share[30 * 640 : 50 * 640] == 0).all()
    assert share[55 * 640] == pytest.approx(1.0, abs=0.01)
    assert share[52 * 640] == pytest.approx(0.4, abs=0.01)
    assert (share[59 * 640 :] == 0).all()  # the recording is over


def noise(seconds: float, level: float) -> torch.Tensor:
    return level * torch.randn(1, round(seconds * 32000), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("level", [0.001, 0.01, 0.2])
def test_what_is_made_is_brought_to_the_level_of_what_is_kept(level: float) -> None:
    made, recording, known = noise(4.0, 0.05), noise(2.0, level), kept(200, (0, 100))
    made[:, 3 * 32000 :] *= 0.5  # music may fade
    out = splice(made, recording, known, 640, 32000)
    assert torch.equal(out[:, : 32000 * 19 // 10], recording[:, : 32000 * 19 // 10])  # to the bit, but for its fade
    assert float(out[:, 64000:96000].std()) == pytest.approx(level, rel=0.02)
    assert float(out[:, 96000:].std()) == pytest.approx(level / 2, rel=0.02)


def test_what_is_made_does_not_clip_where_the_recording_is_loud() -> None:
    made = noise(4.0, 0.05)
    made[:, 3 * 32000 :] *= 4
    out = splice(made, noise(2.0, 0.3).clamp(-1, 1), kept(200, (0, 100)), 640, 32000)
    assert float(out[:, 64000:].abs().max()) <= 0.9
    assert float(out[:, 96000:].std()) > 0.2


def test_silence_sets_no_level() -> None:
    made = noise(4.0, 0.05)
    out = splice(made, torch.zeros(1, 64000), kept(200, (0, 100)), 640, 32000)
    assert torch.equal(out[:, 64000:], made[:, 64000:])


def test_what_is_held_goes_straight_to_what_it_is_to_become_on_any_path() -> None:
    draw = torch.Generator().manual_seed(0)
    noise, known = (torch.randn(2, 30, 4, generator=draw) for _ in range(2))
    weight = torch.zeros(2, 30, 1)
    weight[:, :20] = 1

    def unmoved(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(z)

    for path, method in ((OptimalTransportPath(), "euler"), (OptimalTransportPath(), "midpoint"), (VariancePreservingPath(), "ddim")):
        field = Held(known, weight).over(unmoved, path, noise)
        latents = solve(lambda items, field=field: field, noise, SolverConfig(method, steps=8), path=path).latents
        torch.testing.assert_close(latents[:, :20], known[:, :20], atol=1e-4, rtol=0)
    latents = solve(
        lambda items: Held(known, 0.5 * weight).over(unmoved, OptimalTransportPath(), noise), noise, SolverConfig("euler")
    ).latents
    torch.testing.assert_close(latents[:, :20], (noise + known)[:, :20] / 2, atol=1e-4, rtol=0)
    torch.testing.assert_close(latents[:, 20:], noise[:, 20:])


def test_windows_are_handed_over_as_they_are_finished_and_stay_as_they_are() -> None:
    noise, seen = torch.zeros(1, 1500, 1), list[Held]()

    def flow(conditions: Conditions, noise: torch.Tensor, held: Held, progress: object) -> Solution:
        seen.append(held)
        return Solution(torch.lerp(torch.full_like(noise, float(len(seen))), held.latents, held.weight), 1)

    states = [
        (made.latents.clone(), made.frames) for made in paint(Conditions({}, torch.zeros(1, 1, 1), torch.ones(1, 1)), noise, 500, flow)
    ]
    assert [frames for _, frames in states] == [433, 767, 1100, 1500]
    final = states[-1][0]
    for latents, frames in states:
        assert torch.equal(latents[:, :frames], final[:, :frames])
    assert final[0, :433].eq(1).all()
    assert final[0, 433:483, 0].diff().gt(0).all()  # from one to the other
    assert final[0, 483:767].eq(2).all()
    assert seen[1].latents[0, :100].eq(1).all()
    assert not seen[0].weight.any()
