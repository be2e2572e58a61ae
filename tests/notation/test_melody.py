from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jasco_pl.controls.melody import read_melody
from jasco_pl.notation.melody import check_suffix, write_melody
from jasco_pl.system.errors import UserError

RUNS = st.lists(st.tuples(st.integers(-1, 52), st.integers(1, 400)), min_size=1, max_size=60)


@pytest.mark.parametrize("suffix", [".mid", ".npy"])
@settings(max_examples=30, deadline=None)
@given(runs=RUNS)
def test_what_is_written_reads_back(suffix: str, runs: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    bins = np.concatenate([np.full(length, pitch, dtype=np.int8) for pitch, length in [*runs, (7, 1)]])
    path = tmp_path_factory.getbasetemp() / f"melody{suffix}"
    write_melody(path, bins)
    assert read_melody(path, len(bins)).bins.tolist() == bins.tolist()


def test_frames_stay_exact_after_two_hours(tmp_path: Path) -> None:
    bins = np.full(360_000, -1, dtype=np.int8)
    for start in range(0, len(bins), 997):
        bins[start : start + start % 50 + 1] = start % 53
    bins[-3:] = 10
    write_melody(tmp_path / "long.mid", bins)
    assert (read_melody(tmp_path / "long.mid", len(bins)).bins == bins).all()


def test_the_array_is_one_hot(tmp_path: Path) -> None:
    write_melody(tmp_path / "melody.npy", np.array([0, -1, 52], dtype=np.int8))
    array = np.load(tmp_path / "melody.npy")
    assert (array.shape, array.dtype) == ((3, 53), np.float32)
    assert np.argwhere(array == 1).tolist() == [[0, 0], [2, 52]]
    assert array.sum() == 2


def test_other_endings_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    for name in ("melody.wav", "melody"):
        with pytest.raises(UserError, match=r"must end in one of \.mid, \.midi, \.npy"):
            check_suffix(tmp_path / name)
        with pytest.raises(UserError):
            write_melody(tmp_path / name, np.zeros(3, dtype=np.int8))
    assert not list(tmp_path.iterdir())
