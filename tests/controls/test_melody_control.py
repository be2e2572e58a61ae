from __future__ import annotations

import torch

from jasco_pl.controls.melody import Melody


def test_melody_is_the_papers() -> None:
    control = Melody()
    assert (control.name, control.field, control.channels, control.null) == ("melody", "melody", 16, -1)
    assert control.projection.weight.shape == (16, 53)


def test_a_bin_is_its_column_and_none_is_the_bias() -> None:
    control = Melody(dim=4)
    out = control(torch.tensor([[0, 52, -1, 20]]))
    weight, bias = control.projection.weight, control.projection.bias
    torch.testing.assert_close(out[0], torch.stack([weight[:, 0], weight[:, 52], torch.zeros(4), weight[:, 20]]) + bias)


def test_no_melody_given_is_the_bias() -> None:
    control = Melody()
    out = control(control.null_frames(2, 3))
    torch.testing.assert_close(out, control.projection.bias.expand(2, 3, 16))


def test_drop_is_for_single_samples() -> None:
    raw = torch.tensor([[3, -1], [5, 6]])
    assert Melody().drop(raw, torch.tensor([True, False])).tolist() == [[3, -1], [-1, -1]]


def test_half_precision_stays_half() -> None:
    assert Melody().bfloat16()(torch.tensor([[1, -1]])).dtype == torch.bfloat16
