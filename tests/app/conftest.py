"""A server around a tiny model, in this process or in one of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
import torch
from fastapi.testclient import TestClient
from untrained import stir

from jasco_pl.app.limits import Limits
from jasco_pl.app.server import create_app
from jasco_pl.app.serving import Serving
from jasco_pl.app.store import Store
from jasco_pl.codec import BandCodec
from jasco_pl.generation.jasco import Jasco
from jasco_pl.generation.outline import Outline
from jasco_pl.network.model import JascoModel, ModelConfig

CONTROLS = {"chords": {"dim": 16}, "melody": {"dim": 16}, "drums": {"dim": 2, "window": 3}, "painting": {}}
NO_PROXY = {"trust_env": False}


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory, tiny_codec_folder: Path, tiny_text_folder: Path) -> Path:
    """A folder with a model of two layers that was never trained; clips of a second."""
    from jasco_pl.network.transformer import TransformerConfig

    config = ModelConfig(
        transformer=TransformerConfig(
            width=32, layers=2, heads=4, feed_forward=64, frames_per_token=2, convolution_kernel=7, convolution_groups=4
        ),
        controls=CONTROLS,
        codec=str(tiny_codec_folder),
        codebook_size=16,
        text_encoder=str(tiny_text_folder),
        text_dim=32,
        seconds=1.0,
        guidance="all=2",
    )
    torch.manual_seed(0)
    codec = BandCodec.from_pretrained(tiny_codec_folder)
    model = JascoModel(config, codec.latent_mean, codec.latent_std, codec.normalized_codebook, codec.normalized_silence)
    stir(model)
    model.config = replace(config, codec=str(tiny_codec_folder))
    folder = tmp_path_factory.mktemp("served") / "tiny"
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_jasco(tiny_checkpoint: Path) -> Jasco:
    return Jasco.from_pretrained(tiny_checkpoint)


@dataclass
class Server:
    """In this process."""

    serving: Serving
    client: TestClient

    def visitor(self) -> TestClient:
        """Somebody else."""
        return TestClient(self.client.app, base_url="http://127.0.0.1")

    def done(self, job: str, client: TestClient | None = None, seconds: float = 60) -> dict:
        """A job once nothing more comes of it."""
        client = client or self.client
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            told = client.get(f"/api/jobs/{job}").json()
            if told["state"] not in ("waiting", "running"):
                return told
            time.sleep(0.02)
        raise AssertionError(f"job {job} is still {told['state']}")


@pytest.fixture
def serve(tmp_path: Path, tiny_checkpoint: Path, tiny_jasco: Jasco) -> Iterator[Callable[..., Server]]:
    """serve(limits, hosts, password) starts one; all are ended afterwards."""
    opened: list[TestClient] = []

    def start(limits: Limits | None = None, hosts: frozenset[str] | None = None, password: str | None = None) -> Server:
        limits = limits or Limits()
        outline = Outline.of(tiny_checkpoint)
        assert outline is not None
        serving = Serving("tiny", outline, "all=2", False, lambda: tiny_jasco, limits, Store(tmp_path / "served", limits))
        client = TestClient(create_app(serving, hosts, password), base_url="http://127.0.0.1")
        client.__enter__()
        opened.append(client)
        return Server(serving, client)

    yield start
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    return serve()


@contextmanager
def running(checkpoint: Path | str, folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`jasco serve` in a process of its own at a free port, its model loaded; the process, and the address."""
    command = [
        sys.executable,
        "-m",
        "jasco_pl",
        "serve",
        "--port",
        "0",
        "--checkpoint",
        str(checkpoint),
        "--folder",
        str(folder),
        *arguments,
    ]
    threads = {"OMP_NUM_THREADS": "1"}  # on a machine that does much besides, two of them wait for each other most of the time
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **threads})
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[1]
        until = time.monotonic() + 120
        while httpx.get(f"{address}/health", timeout=100, **NO_PROXY).json()["status"] != "ready":
            assert time.monotonic() < until
            time.sleep(0.1)
        yield process, address
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()
