from __future__ import annotations

import torch

from jasco_pl.controls.painting import Painting, masked_segments


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
