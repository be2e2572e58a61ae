"""An S3-compatible object store on loopback, with faults on demand."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from jasco_pl.data.schema import Sample
from jasco_pl.data.shards import write_index, write_shard


class ObjectStore:
    """Handle of the running server: upload, faults, counts."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def upload(self, folder: Path, url: str) -> str:
        import fsspec

        filesystem, path = fsspec.core.url_to_fs(url)
        filesystem.mkdirs(path.split("/")[0], exist_ok=True)
        filesystem.put([str(file) for file in sorted(folder.iterdir())], [f"{path}/{file.name}" for file in sorted(folder.iterdir())])
        self.faults()
        return url

    def faults(self, **faults: int) -> None:
        """Faults from now on; without arguments none. Counts begin anew."""
        data = json.dumps(faults).encode()
        urllib.request.urlopen(urllib.request.Request(f"{self.endpoint}/-/faults", data), timeout=10).read()

    def stats(self) -> dict[str, int]:
        with urllib.request.urlopen(f"{self.endpoint}/-/stats", timeout=10) as response:
            return json.load(response)

    def gets(self, suffix: str) -> dict[str, int]:
        return {name: times for name, times in self.stats().items() if name.startswith("GET ") and name.endswith(suffix)}


@pytest.fixture(scope="session")
def _server() -> Iterator[str]:
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    command = [sys.executable, str(Path(__file__).with_name("s3_server.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        endpoint = next((line.strip() for line in process.stdout if line.startswith("http")), "")
        assert endpoint, "the object store did not start"
        yield endpoint
        process.stdin.close()
        process.wait(10)


@pytest.fixture
def store(_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ObjectStore:
    """The server, with the environment that reaches it; botocore's own repetitions are off, so that ours are what is tested."""
    settings = {
        "AWS_ENDPOINT_URL": _server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_CONFIG_FILE": "/dev/null",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    server = ObjectStore(_server)
    server.faults()
    return server


@pytest.fixture(scope="session")
def write_many_shards() -> Callable[[Path, int, int], list[str]]:
    """write(folder, shards, samples a shard): samples of 12 frames with latents alone; returns their ids."""

    def write(folder: Path, shards: int, per_shard: int) -> list[str]:
        draw = torch.Generator().manual_seed(shards)
        names = [f"shard-{number:05d}" for number in range(shards)]
        for name in names:
            latents = torch.randn(per_shard, 12, 128, generator=draw).half()
            write_shard(folder, name, [Sample(f"{name}-{index}", {"latents": rows}, []) for index, rows in enumerate(latents)])
        write_index(folder, {"name": "none", "frame_rate": 50.0, "dim": 128}, names)
        return [f"{name}-{index}" for name in names for index in range(per_shard)]

    return write
