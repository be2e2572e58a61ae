from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from jasco_pl.controls import ADHERENCES
from jasco_pl.notation import harmony
from jasco_pl.pages.lanes import Lane, Side
from jasco_pl.pages.pictures import draw_clip, figure_to_image
from jasco_pl.system.errors import UserError

SR = 32000
WAV = 0.3 * torch.sin(2 * torch.pi * 220 * torch.arange(4 * SR) / SR)[None]
CHORDS = harmony.changes_to_frames([("C", 0.0), ("Am7", 1.0), ("F#m7b5", 2.0), ("N", 3.0)], 200)
MELODY = np.repeat([20, -1, 27, 24], 50)
ONSETS = np.array([0.5, 1.0, 2.0, 3.0])


LANES = {adherence.name: adherence.lane for adherence in ADHERENCES}
Sides = dict[str, tuple[Side | None, Side | None]]


def lanes(sides: Sides) -> list[tuple[Lane, Side | None, Side | None]]:
    return [(LANES[name], asked, heard) for name, (asked, heard) in sides.items()]


def draw(parts: Mapping[str, torch.Tensor] | None = None, names: tuple[str, str] = ("asked", "heard"), **sides: Any) -> Figure:
    """A picture with lanes of (asked, heard) by their names."""
    return draw_clip(None, wav=WAV, sample_rate=SR, title="A test", lanes=lanes(sides), parts=parts, names=names)


def words(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def reds(figure: Figure) -> int:
    """Pixels of the colour of disagreement."""
    image = figure_to_image(figure).astype(int)
    return int((np.abs(image - [0xD5, 0x5E, 0x00]).max(axis=2) < 12).sum())


def test_png_is_written_whole_and_nothing_else(tmp_path: Path) -> None:
    figure = draw_clip(
        tmp_path / "clip.png",
        wav=WAV,
        sample_rate=SR,
        title="Costs $5 and $6_x",
        lanes=lanes({"chords": (CHORDS, CHORDS), "melody": (MELODY, MELODY), "onsets": (ONSETS, ONSETS)}),
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["clip.png"]
    assert (tmp_path / "clip.png").read_bytes().startswith(b"\x89PNG")
    assert {"100 % exact\n100 % triads", "100 % pitch\nclass agrees", "F1 1.00\n(50 ms)", "F♯m7♭5"} <= set(words(figure))


def test_a_part_is_a_lane_of_its_own_and_the_rows_are_called_as_told() -> None:
    rows = {"chords": (CHORDS, CHORDS), "onsets": (ONSETS, ONSETS)}
    plain = draw(**rows)
    figure = draw(**rows, parts={"drums": 0.5 * WAV}, names=("given", "found"))
    assert [len(figure.axes), len(plain.axes)] == [5, 4]
    assert "drums" in words(figure)
    assert {"peak\n−10.5 dB", "peak\n−16.5 dB"} <= set(words(figure))
    for drawn, names in ((plain, ["asked", "heard"]), (figure, ["given", "found"])):
        for axes in drawn.axes[-2:]:
            assert [label.get_text() for label in axes.get_yticklabels()] == names


def test_image_for_tensorboard() -> None:
    image = figure_to_image(draw(chords=(CHORDS, None)))
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert image.shape[1] == 1320
    assert image.std() > 10


def test_a_lane_for_what_is_given_only() -> None:
    assert len(draw().axes) == 2
    assert len(draw(chords=(None, None), onsets=(None, ONSETS)).axes) == 3
    assert len(draw(chords=(CHORDS, None), melody=(None, MELODY), onsets=(ONSETS[:0], None)).axes) == 5


@pytest.mark.parametrize(
    ("kind", "asked", "wrong"),
    [("chords", CHORDS, np.roll(CHORDS, 50)), ("melody", MELODY, MELODY + (MELODY >= 0)), ("onsets", ONSETS, ONSETS + 0.06)],
)
def test_disagreement_shows_and_agreement_does_not(kind: str, asked: np.ndarray, wrong: np.ndarray) -> None:
    assert reds(draw(**{kind: (asked, asked)})) == 0
    assert reds(draw(**{kind: (asked, wrong)})) > 100


def test_scores_of_partial_agreement() -> None:
    heard = CHORDS.copy()
    heard[50:100] = harmony.index("Am")
    heard[150:] = harmony.index("G")
    found = words(draw(chords=(CHORDS, heard), onsets=(ONSETS, np.array([0.5, 1.0, 2.0, 3.06]))))
    assert "50 % exact\n75 % triads" in found
    assert "F1 0.75\n(50 ms)" in found


def test_frames_where_no_chord_is_asked_for_are_left_blank_and_not_scored() -> None:
    asked = CHORDS.copy()
    asked[50:] = harmony.NULL
    figure = draw(chords=(asked, CHORDS))
    assert "100 % exact\n100 % triads" in words(figure)
    assert reds(figure) == 0


def test_empty_and_silent_things_draw() -> None:
    nothing = np.full(200, -1)
    figure = draw_clip(
        None,
        wav=torch.zeros(1, 1000),
        sample_rate=SR,
        title="",
        lanes=lanes(
            {
                "chords": (np.array([], dtype=int), np.full(3, harmony.UNK)),
                "melody": (nothing, nothing),
                "onsets": (np.zeros(0), np.zeros(0)),
            }
        ),
    )
    assert "peak\nsilent" in words(figure)


def test_heard_may_be_a_frame_longer_than_asked() -> None:
    longer = np.append(CHORDS, CHORDS[-1])
    assert "100 % exact\n100 % triads" in words(draw(chords=(CHORDS, longer), melody=(MELODY, np.full(201, 20))))


def test_threads_draw_the_same_picture() -> None:
    images: list[np.ndarray] = []
    workers = [threading.Thread(target=lambda: images.append(figure_to_image(draw(chords=(CHORDS, None))))) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(images) == 2
    assert all((image == images[0]).all() for image in images)


def test_bad_audio_and_bad_place_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mono"):
        draw_clip(None, wav=torch.zeros(2, 100), sample_rate=SR, title="")
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        draw_clip(tmp_path / "taken" / "clip.png", wav=WAV, sample_rate=SR, title="")
