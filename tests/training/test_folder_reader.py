"""A sharded checkpoint from anybody: nothing in it is executed, and nothing outside of it is read."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint.metadata import Metadata

from jasco_pl.cli import main
from jasco_pl.system.errors import UserError
from jasco_pl.training.checkpoint_io import META, AtomicCheckpointIO, read_folder, write_folder
from jasco_pl.training.folder_reader import METADATA, read_metadata


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """A folder as one process writes it: a weight, its average, and an optimiser's numbers."""
    folder = tmp_path / "last.ckpt"
    folder.mkdir()
    weight = torch.arange(12.0).reshape(3, 4)
    optimizer = {"state": {"weight": {"exp_avg": weight + 1}}, "param_groups": [{"lr": 0.5, "betas": (0.9, 0.99), "params": ["weight"]}]}
    ema = {"average": {"weight": weight * 2}, "updates": 3}
    write_folder(folder, {"state_dict": {"weight": weight}, "optimizer_states": [optimizer], "ema": ema, "global_step": 7}, True)
    return folder


def test_what_was_written_comes_back(checkpoint):
    found = read_folder(checkpoint)
    weight = torch.arange(12.0).reshape(3, 4)
    assert torch.equal(found["state_dict"]["weight"], weight)
    assert torch.equal(found["ema"]["average"]["weight"], weight * 2)
    (optimizer,) = found["optimizer_states"]
    assert torch.equal(optimizer["state"][0]["exp_avg"], weight + 1)
    assert optimizer["param_groups"] == [{"lr": 0.5, "betas": (0.9, 0.99), "params": [0]}]
    assert found["global_step"] == 7


@pytest.fixture
def refused(tmp_path, tiny_training, capsys):
    """refused(checkpoint, *words): `export` and `fit` say in one sentence that it is none, and no bomb went off."""

    def check(path: Path, *words: str) -> None:
        commands = (["export", str(path), "-o", str(tmp_path / "out")], ["fit", *tiny_training("run", "--ckpt_path", str(path))])
        for arguments in commands:
            capsys.readouterr()
            assert main(arguments) == 2
            error = capsys.readouterr().err
            assert "Traceback" not in error
            assert error.rstrip().splitlines()[-1].startswith(f"jasco {arguments[0]}: {str(path)!r} is not a checkpoint")
            for word in words:
                assert word in error
        assert not (tmp_path / "mark").exists()
        assert not (tmp_path / "out").exists()

    return check


def test_an_index_that_would_run_code_is_refused(checkpoint, refused, tmp_path):
    (checkpoint / METADATA).write_bytes(pickle.dumps(Bomb(tmp_path / "mark")))
    refused(checkpoint)
    with pytest.raises(pickle.UnpicklingError, match=r"names posix\.mkdir"):
        read_metadata(checkpoint)


def test_one_that_hides_it_inside_of_a_true_one_is_refused(checkpoint, refused, tmp_path):
    index = read_metadata(checkpoint)
    index.planner_data = {**index.planner_data, "more": Bomb(tmp_path / "mark")}
    (checkpoint / METADATA).write_bytes(pickle.dumps(index))
    refused(checkpoint)


def test_a_value_that_would_run_code_is_refused(checkpoint, refused, tmp_path):
    """Values that are no tensors are pickles inside of the shards."""
    for entry in checkpoint.iterdir():
        entry.unlink()
    weight = {"weight": torch.zeros(2)}
    optimizer = {"state": {}, "param_groups": [{"lr": Bomb(tmp_path / "mark"), "params": ["weight"]}]}
    write_folder(checkpoint, {"state_dict": weight, "optimizer_states": [optimizer]}, True)
    refused(checkpoint)


@pytest.mark.parametrize("name", [META, "last.ckpt"])
def test_so_are_the_file_beside_it_and_a_single_file(checkpoint, refused, tmp_path, name):
    path = checkpoint / META if name == META else tmp_path / "single.ckpt"
    torch.save({"state_dict": {}, "more": Bomb(tmp_path / "mark")}, path)
    refused(checkpoint if name == META else path)


def test_a_url_is_read_no_other_way(tmp_path):
    path = tmp_path / "single.ckpt"
    torch.save({"state_dict": {}, "more": Bomb(tmp_path / "mark")}, path)
    with pytest.raises(ValueError, match="is not a checkpoint"):
        AtomicCheckpointIO().load_checkpoint(f"file://{path}")
    torch.save({"state_dict": {}, "more": 5}, path)
    assert AtomicCheckpointIO().load_checkpoint(f"file://{path}")["more"] == 5
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("outside", ["../other/__0_0.distcp", "/etc/hostname", "..", ""])
def test_files_outside_of_the_folder_are_not_read(checkpoint, refused, tmp_path, outside):
    """The file would be one that can be read: the same shard, elsewhere."""
    (tmp_path / "other").mkdir()
    (checkpoint / "__0_0.distcp").rename(tmp_path / "other" / "__0_0.distcp")
    index = read_metadata(checkpoint)
    for place in index.storage_data.values():
        place.relative_path = outside
    (checkpoint / METADATA).write_bytes(pickle.dumps(index))
    refused(checkpoint)


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"garbage", pickle.dumps([1, 2]), pickle.dumps(Metadata({})), b"(" * 100_000])
def test_an_index_of_something_else_is_refused(checkpoint, refused, content):
    (checkpoint / METADATA).write_bytes(content)
    refused(checkpoint)


def test_an_index_that_claims_room_for_a_billion_objects_gets_none(checkpoint):
    """LONG_BINPUT with a place of 2^31 - 1: the unpickler in C would make a table of 16 GiB."""
    (checkpoint / METADATA).write_bytes(b"\x80\x04Nr\xff\xff\xff\x7f.")
    with pytest.raises(ValueError, match="index is none"):
        read_metadata(checkpoint)


@pytest.mark.parametrize("name", [METADATA, META, "__0_0.distcp"])
def test_any_flipped_bit_of_a_folder_is_noticed(checkpoint, name):
    """Or falls where it says nothing: the gaps between what `torch.save` stores."""
    path, expected = checkpoint / name, read_folder(checkpoint)
    whole, unnoticed, places = path.read_bytes(), 0, 60
    for place in range(0, len(whole), max(1, len(whole) // places)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            found = AtomicCheckpointIO().load_checkpoint(checkpoint)
        except UserError:
            continue
        unnoticed += 1
        assert str(found) == str(expected)
    assert unnoticed < places if name != METADATA else unnoticed == 0


def test_an_index_without_checksum_is_of_a_former_version(checkpoint):
    rest = torch.load(checkpoint / META, weights_only=True)
    del rest["index_crc32"]
    torch.save(rest, checkpoint / META)
    assert read_folder(checkpoint)["global_step"] == 7
    torch.save({**rest, "index_crc32": 0}, checkpoint / META)
    with pytest.raises(UserError, match="its index fails its checksum"):
        AtomicCheckpointIO().load_checkpoint(checkpoint)
