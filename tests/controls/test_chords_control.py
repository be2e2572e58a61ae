from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from jasco_pl.codec import BandCodec
from jasco_pl.controls.base import FrameGrid
from jasco_pl.controls.chords import Chords
from jasco_pl.notation import harmony


def test_chords_are_the_papers() -> None:
    control = Chords()
    assert (control.name, control.field, control.channels, control.null) == ("chords", "chords", 16, 194)
    assert control.embedding.weight.shape == (195, 16)  # 192 chords, N, UNK, and "no chord given"


def test_a_frame_is_its_row() -> None:
    control = Chords(dim=5)
    raw = torch.tensor([[0, 193, 194], [17, 17, 0]])
    torch.testing.assert_close(control(raw), control.embedding.weight[raw])
    assert control(raw).shape == (2, 3, 5)


def test_no_chord_given_is_row_194_and_not_the_label_n() -> None:
    control = Chords()
    nothing = control(control.null_frames(1, 4))
    torch.testing.assert_close(nothing, control.embedding.weight[194].expand(1, 4, 16))
    assert not torch.allclose(nothing[0, 0], control.embedding.weight[harmony.N])


def test_what_does_not_count_is_noted(tiny_codec_folder: Path) -> None:
    grid = FrameGrid(100, BandCodec.from_pretrained(tiny_codec_folder), lambda latents: latents, 100)

    def notes(chords: str, bpm: float | None = None, meter: str = "3/4") -> list[str]:
        return Chords().read({"chords": chords, "bpm": bpm, "meter": meter, "key": None}, grid).notes

    assert notes("C G") == ["the meter 3/4 counts with a tempo alone (bpm): without one the bars are spread evenly over the clip"]
    assert notes("C@0 G@1") == ["the chords stand at times of their own, which the meter 3/4 does not move"]
    assert notes("C G", bpm=90) == notes("C G", meter="4/4") == []
    assert notes("C@0 G@1 D@2 Am@3 N@4", meter="4/4") == ["left out beyond the clip's end: D@2 and 1 more"]
    assert notes("C@0 N@2", meter="4/4") == []  # where the chords end


def test_drop_is_for_single_samples() -> None:
    raw = torch.tensor([[3, 4], [5, 6]])
    assert Chords().drop(raw, torch.tensor([False, True])).tolist() == [[194, 194], [5, 6]]


def test_rows_can_start_from_pitch_classes() -> None:
    torch.manual_seed(0)
    control = Chords(pitch_class_init=True)
    row = control.embedding.weight.detach()[harmony.index("Am7")]
    assert sorted(row[:12].topk(4).indices.tolist()) == [0, 4, 7, 9]  # C E G A
    assert float(row[[0, 4, 7, 9]].mean()) == pytest.approx(1.0, abs=0.3)
    rest = torch.cat([control.embedding.weight.detach()[[harmony.N, harmony.UNK, harmony.NULL]].flatten(), row[12:]])
    assert float(rest.abs().max()) < 0.6  # only the noise, a tenth of its usual size
    with pytest.raises(ValueError, match="at least 12, not 8"):
        Chords(dim=8, pitch_class_init=True)


def test_a_bar_that_no_frame_hears_is_no_chord(tiny_codec_folder: Path) -> None:
    """Eight bars at 61 bpm end within a frame, whose end belongs to the next bar."""
    frames = math.ceil(8 * 4 * 60 / 61 * 50)
    grid = FrameGrid(frames, BandCodec.from_pretrained(tiny_codec_folder), lambda latents: latents, frames)
    reading = Chords().read({"chords": "C | G | Am | F", "bpm": 61.0, "meter": "4/4", "key": None}, grid)
    assert [change.label for change in reading.changes] == ["C", "G", "Am", "F"] * 2
