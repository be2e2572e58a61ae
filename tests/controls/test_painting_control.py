from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from jasco_pl.controls.painting import Painting, masked_segments, varied_masks
from jasco_pl.notation.stretches import runs
from jasco_pl.system.errors import UserError


def painting() -> Painting:
    control = Painting(dim=4)
    control.take_codec(None, torch.tensor([1.0, -2.0, 3.0, 0.5]))
    return control


def test_the_control_in_short() -> None:
    control = painting()
    assert (control.name, control.field, control.option.name, control.channels) == ("painting", "latents", "paint", 4)
    assert control.null_frames(2, 3).shape == (2, 3, 4)
    assert control.null_frames(2, 3).isnan().all()
    assert list(control.state_dict()) == ["silence"]  # the checkpoint is complete


def test_single_frames_may_be_masked() -> None:
    control = painting()
    raw = torch.randn(1, 3, 4)
    raw[0, 1] = torch.nan
    out = control(raw)
    assert torch.equal(out[0, [0, 2]], raw[0, [0, 2]])
    assert torch.equal(out[0, 1], control.silence)


def test_drop_is_for_single_samples() -> None:
    raw = torch.randn(3, 5, 4)
    dropped = painting().drop(raw, torch.tensor([True, False, True]))
    assert torch.equal(dropped[[0, 2]], raw[[0, 2]])
    assert dropped[1].isnan().all()
    assert not raw.isnan().any()


def test_frames_past_the_end_of_a_short_sample_are_masked_and_do_not_count() -> None:
    latents, mask = torch.randn(40, 100, 4), torch.ones(40, 100, dtype=torch.bool)
    mask[:, 60:] = False
    raw = painting().from_batch({"key": torch.arange(40), "mask": mask}, latents)
    masked = raw.isnan().all(dim=-1)
    assert masked[:, 60:].all()
    assert all(24 <= count <= 54 for count in masked[:, :60].sum(dim=1).tolist())
    assert mask.sum() == 40 * 60  # the batch itself is untouched


def test_very_short_clips_have_a_segment_too() -> None:
    for frames in range(2, 12):
        for first, last in torch.stack(masked_segments(torch.arange(50), torch.tensor(frames)), dim=1).tolist():
            assert 0 <= first < last <= frames
            assert last - first <= round(0.9 * frames)


def test_a_mask_channel_tells_kept_silence_from_what_is_to_be_made() -> None:
    control = Painting(dim=4, mask=True)
    control.take_codec(None, torch.tensor([1.0, -2.0, 3.0, 0.5]))
    assert control.channels == 5
    raw = control.silence.expand(1, 3, 4).clone()
    raw[0, 1] = torch.nan
    out = control(raw)
    assert torch.equal(out[..., :4], painting()(raw))
    assert out[0, :, 4].tolist() == [1, 0, 1]
    assert not control(control.null_frames(2, 3))[..., 4].any()
    assert list(control.state_dict()) == ["silence"]


def test_masks_are_the_papers_unless_asked_otherwise() -> None:
    latents, batch = torch.randn(200, 50, 4), {"key": torch.arange(200), "mask": torch.ones(200, 50, dtype=torch.bool)}
    for first, last, masked in zip(*masked_segments(batch["key"], torch.tensor(50)), painting().from_batch(batch, latents), strict=True):
        assert runs(masked.isnan().all(dim=1).numpy()) == [(first, last)]
    varied = Painting(dim=4, masks="varied").from_batch(batch, latents).isnan()
    assert torch.equal(varied.all(dim=2), varied_masks(batch["key"], torch.full((200,), 50), 50))
    with pytest.raises(UserError, match="masks of the control 'painting' are one of paper, varied, not 'all'"):
        Painting(dim=4, masks="all")  # type: ignore[arg-type]


def test_varied_masks() -> None:
    """Ends, beginnings, middles and several, in the shares and lengths that are promised."""
    frames = torch.full((4000,), 500)
    masks = varied_masks(torch.arange(4000), frames, 600)
    assert not masks[:, 500:].any()
    found = [runs(row[:500].numpy()) for row in masks]
    ends = sum(len(row) == 1 and row[0][0] > 0 and row[0][1] == 500 for row in found) / 4000
    beginnings = sum(len(row) == 1 and row[0][0] == 0 for row in found) / 4000
    several = sum(len(row) == 2 for row in found) / 4000
    assert (ends, beginnings, several) == pytest.approx((0.35, 0.15, 0.25), abs=0.03)
    lengths = torch.tensor([row[0][1] - row[0][0] for row in found if len(row) == 1]).double()
    assert (lengths.min(), lengths.max()) == pytest.approx((50, 450), abs=2)
    assert lengths.mean() == pytest.approx(250, abs=10)
    assert masks.sum(dim=1).min() >= 50
    alone = torch.cat([varied_masks(key[None], torch.tensor([500]), 600) for key in torch.arange(20)])
    assert torch.equal(alone, masks[:20])  # by its own key, whatever the batch


def test_varied_masks_are_drawn_without_looking_at_values() -> None:
    """Which a CUDA graph could not hold: fake tensors have none."""
    with FakeTensorMode():
        assert varied_masks(torch.arange(4), torch.full((4,), 50), 60).shape == (4, 60)


def test_varied_masks_of_very_short_clips_lie_inside() -> None:
    for frames in range(2, 12):
        masks = varied_masks(torch.arange(100), torch.full((100,), frames), 15)
        assert masks.any(dim=1).all()
        assert not masks[:, frames:].any()
