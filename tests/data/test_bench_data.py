from __future__ import annotations

import re

import pytest

from jasco_pl.cli import main
from jasco_pl.studies import bench as throughput
from jasco_pl.studies.bench import DataBench, data_speeds
from jasco_pl.system.errors import UserError


def test_folders_and_urls_are_measured_cold_and_warm(store, tmp_path, write_tiny_shards, capsys):
    write_tiny_shards(tmp_path / "train")
    url = store.upload(tmp_path / "train", "s3://bucket/bench")
    options = ["--workers", "0", "--batch-size", "4", "--seconds", "1", "--batches", "5", "--step", "0.01"]
    assert main(["bench", "data", str(tmp_path / "train"), url, *options]) == 0
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert lines[0] == ["shards", "cache", "workers", "samples/s", "MB/s", "data wait, 10 ms a step", "first batch"]
    rows = lines[2:]
    expected = [[where, cache, "0"] for where in (str(tmp_path / "train"), url) for cache in ("cold", "warm")]
    assert [row[:3] for row in rows] == expected
    for row in rows:
        assert float(row[3]) > 0
        assert 0 <= int(row[5].removesuffix("%")) <= 100
        assert re.fullmatch(r"\d+\.\d\d s", row[6])
    assert set(store.gets("safetensors").values()) == {2}  # a cold pass fetches every shard anew, a warm one none; with and without steps


def test_waiting_is_what_the_loader_takes_and_not_what_the_step_takes(tmp_path, write_tiny_shards, monkeypatch):
    write_tiny_shards(tmp_path / "train")
    slow = throughput.ShardReader.read

    def read(self, *args):
        throughput.time.sleep(0.02)
        return slow(self, *args)

    monkeypatch.setattr(throughput.ShardReader, "read", read)
    bench = DataBench(str(tmp_path / "train"), batch_size=4, seconds=1.0, batches=5, step=0.08)  # 80 ms of reading, 80 ms of step
    speed = next(iter(data_speeds(bench, [0])))
    assert 0.4 < speed.wait < 0.8
    assert 5 < speed.samples_per_second < 50
    assert speed.first_batch >= 0.08


def test_what_cannot_be_measured_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="no prepared data"):
        list(data_speeds(DataBench(str(tmp_path)), [0]))
    with pytest.raises(UserError, match="at least one batch"):
        list(data_speeds(DataBench(str(tmp_path), batches=0), [0]))
