from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jasco_pl.studies.gpu_bundle.pieces import RECEIPT, faults, find_saves, join, save
from jasco_pl.system.errors import UserError


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "weights").write_bytes(os.urandom(25_000))
    (folder / "empty.md").touch()
    (folder / "log.txt").write_text("done\n")
    return folder


@pytest.fixture
def cut(tmp_path: Path, results: Path) -> Path:
    save(results, tmp_path / "out", "train", {"machine": "a GPU"}, piece=10_000)
    return tmp_path / "out"


def test_what_is_cut_comes_back(cut: Path, results: Path, tmp_path: Path) -> None:
    sizes = [path.stat().st_size for path in sorted(cut.glob("train-1.0*"))]
    assert len(sizes) > 2
    assert set(sizes[:-1]) == {10_000}
    assert 0 < sizes[-1] <= 10_000
    assert join(cut, tmp_path / "joined") == [tmp_path / "joined" / "train"]
    joined = tree(tmp_path / "joined" / "train")
    assert b'"machine": "a GPU"' in joined.pop(RECEIPT)
    assert joined == tree(results)


def test_a_second_joining_replaces_the_first(cut: Path, results: Path, tmp_path: Path) -> None:
    join(cut, tmp_path / "joined")
    first = tree(tmp_path / "joined")
    (tmp_path / "joined" / "train" / "stray").touch()
    join(cut, tmp_path / "joined")
    assert tree(tmp_path / "joined") == first
    assert [path.name for path in (tmp_path / "joined").iterdir()] == ["train"]


def test_the_last_save_counts_and_stands_alone(cut: Path, results: Path, tmp_path: Path) -> None:
    (results / "log.txt").write_text("more\n")
    save(results, cut, "train", {}, piece=10_000)
    assert {path.name.split(".")[0] for path in cut.iterdir()} == {"train-2"}
    save(results / "model", cut, "bench", {})
    assert {folder.name for folder in join(cut, tmp_path / "joined")} == {"train", "bench"}
    assert (tmp_path / "joined" / "train" / "log.txt").read_text() == "more\n"


def test_a_save_cut_short_leaves_the_former_one(cut: Path, results: Path, tmp_path: Path) -> None:
    (cut / "train-2.000").write_bytes(b"of a save whose manifest was never written")
    assert find_saves(cut)[0].number == 1
    join(cut, tmp_path / "joined")
    save(results, cut, "train", {})
    assert {path.name for path in cut.iterdir()} == {"train-3.000", "train-3.json"}


def missing(folder: Path) -> None:
    (folder / "train-1.001").unlink()


def flipped(folder: Path) -> None:
    content = bytearray((folder / "train-1.001").read_bytes())
    content[4321] ^= 1
    (folder / "train-1.001").write_bytes(content)


def truncated(folder: Path) -> None:
    content = (folder / "train-1.001").read_bytes()
    (folder / "train-1.001").write_bytes(content[:-1])


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (missing, "train-1.001 is missing"),
        (flipped, "train-1.001 is damaged"),
        (truncated, "train-1.001 has 9999 bytes, not 10000"),
    ],
)
def test_harm_is_named_and_nothing_is_made(cut: Path, tmp_path: Path, harm: Callable[[Path], None], said: str) -> None:
    harm(cut)
    assert faults(find_saves(cut)[0]) == [said]
    with pytest.raises(UserError, match=said):
        join(cut, tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_harm_leaves_what_was_joined_before(cut: Path, tmp_path: Path) -> None:
    join(cut, tmp_path / "joined")
    before = tree(tmp_path / "joined")
    flipped(cut)
    with pytest.raises(UserError, match="damaged"):
        join(cut, tmp_path / "joined")
    assert tree(tmp_path / "joined") == before


def test_a_damaged_manifest_is_told(cut: Path, tmp_path: Path) -> None:
    text = (cut / "train-1.json").read_text()
    for harm in (text[:-20], text.replace('"bytes": 10000', '"bytes": 10001', 1), text.replace("train-1.001", "../train-1.001")):
        (cut / "train-1.json").write_text(harm)
        with pytest.raises(UserError, match=r"train-1\.json' is damaged"):
            join(cut, tmp_path / "joined")


def test_foreign_folders_are_left_alone(cut: Path, tmp_path: Path) -> None:
    (tmp_path / "joined" / "train").mkdir(parents=True)
    (tmp_path / "joined" / "train" / "mine").touch()
    with pytest.raises(UserError, match="holds something else"):
        join(cut, tmp_path / "joined")
    assert list(tree(tmp_path / "joined")) == ["train/mine"]
    with pytest.raises(UserError, match="holds no results"):
        join(tmp_path / "joined", tmp_path / "other")
