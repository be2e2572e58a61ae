"""What many tests share: no Hub, one thread, a model and a codec small enough to be built anew."""

from __future__ import annotations

import os
import signal

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported: a test must never wait for a network

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch

from jasco_pl.codec import BandCodec, BandCodecConfig
from jasco_pl.data.schema import Sample
from jasco_pl.data.shards import write_index, write_shard
from jasco_pl.network.model import ModelConfig
from jasco_pl.network.text import TextEncoder
from jasco_pl.network.transformer import TransformerConfig
from jasco_pl.system import environment

TINY_CODEBOOK = 16
MINI = Path(__file__).parents[1] / "conf" / "mini.yaml"

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # in the background of a script, and whoever is started here would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _one_precision() -> Iterator[None]:
    """`precision="auto"` is fp32 on every CPU, so that tests compute the same wherever they run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(environment, "half_precision", list)
        yield


@pytest.fixture(scope="session")
def tiny_codec_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A band codec with random codebooks, as `save_pretrained` writes it: two levels of 16 entries, four rounds of Griffin-Lim."""
    draw = torch.Generator().manual_seed(0)
    config = BandCodecConfig(codebook_size=TINY_CODEBOOK, codebooks=2, iterations=4)
    mean = -6.0 + torch.rand(128, generator=draw)
    std = 1.0 + torch.rand(128, generator=draw)
    codec = BandCodec(config, mean, std, torch.randn(2, TINY_CODEBOOK, 128, generator=draw))
    folder = tmp_path_factory.mktemp("checkpoints") / "codec-tiny"
    codec.save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_model_config(tiny_codec_folder: Path) -> ModelConfig:
    """Two layers of width 32 with every part of the paper's network, the three controls, on the tiny codec; one second of music."""
    return ModelConfig(
        transformer=TransformerConfig(
            width=32, layers=2, heads=4, feed_forward=64, frames_per_token=2, convolution_kernel=7, convolution_groups=4
        ),
        codec=str(tiny_codec_folder),
        codebook_size=TINY_CODEBOOK,
        seconds=1.0,
    )


@pytest.fixture(scope="session")
def offline_encoder() -> TextEncoder:
    """The text encoder that needs no network, loaded once."""
    return TextEncoder()


@pytest.fixture(scope="session")
def tiny_text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of one random layer and 32 channels that spells out letters, in the layout that AutoModel and AutoTokenizer read."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("checkpoints") / "text-tiny"
    folder.mkdir()
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(vocab_size=len(words), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    return folder


def tiny_sample(name: str, frames: int) -> Sample:
    """Random latents and labels with every field."""
    draw = torch.Generator().manual_seed(sum(map(ord, name)) * 1000 + frames)
    codes = {f"codes_{stem}": torch.randint(TINY_CODEBOOK, (frames,), generator=draw).short() for stem in ("mix", "drums", "drumless")}
    tensors = {
        "latents": (torch.randn(frames, 128, generator=draw) * 2 - 4).half(),
        **codes,
        "codes_drums_bandpass": codes["codes_drums"].flip(0),
        "chords": torch.randint(193, (frames,), generator=draw).short(),
        "chords_heard": torch.randint(193, (frames,), generator=draw).short(),
        "melody": torch.randint(-1, 53, (frames,), generator=draw).to(torch.int8),
        "beats": torch.rand(frames, 2, generator=draw).half(),
        "dynamics": (-30 * torch.rand(frames, generator=draw)).half(),
    }
    return Sample(name, tensors, [f"song {name}", f"tune called {name}", f"music for {name}"])


@pytest.fixture(scope="session")
def write_tiny_shards() -> Callable[..., list[Sample]]:
    """write(folder, samples=20, per_shard=8, sections=False) prepares random samples of 1.2 to 1.8 seconds and returns them; with sections,
    every fourth has none, others have up to three, some of which are short, begin late, or have no caption.
    """

    def write(folder: Path, samples: int = 20, per_shard: int = 8, sections: bool = False) -> list[Sample]:
        made = [tiny_sample(f"{folder.name}-{number:03d}", 60 + 7 * (number % 5)) for number in range(samples)]
        for number, sample in enumerate(made if sections else []):
            captions = (["piano"], ["full band", f"all of {number}"], [] if number % 3 else ["drums alone"])
            sample.sections = list(zip((number % 2 * 9, 20 + number, 47), captions, strict=True))[: number % 4]
        names = []
        for start in range(0, samples, per_shard):
            names.append(f"shard-{start // per_shard:05d}")
            write_shard(folder, names[-1], made[start : start + per_shard])
        codec = {"name": "codec-tiny", "frame_rate": 50.0, "dim": 128, "mean": [0.0] * 128, "std": [1.0] * 128}
        write_index(folder, codec, names)
        return made

    return write


@pytest.fixture
def tiny_training(
    tmp_path: Path, tiny_codec_folder: Path, tiny_text_folder: Path, write_tiny_shards: Callable[..., list[Sample]]
) -> Callable[..., list[str]]:
    """arguments(run, overrides...) for `jasco fit`: conf/mini.yaml at a tiny size, 20 samples, 5 batches an epoch, into tmp_path / run."""
    write_tiny_shards(tmp_path / "train")
    write_tiny_shards(tmp_path / "valid", samples=4)

    def arguments(run: str = "run", *overrides: str) -> list[str]:
        tiny = {
            "trainer": {
                "default_root_dir": str(tmp_path),
                "accelerator": "cpu",
                "max_steps": 13,
                "val_check_interval": 4,
                "log_every_n_steps": 1,
                "logger": {"init_args": {"save_dir": str(tmp_path), "name": run}},
                "callbacks": [
                    {
                        "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                        "init_args": {
                            "filename": "{step}",
                            "every_n_train_steps": 2,
                            "save_last": True,
                            "enable_version_counter": False,
                        },
                    },
                    {"class_path": "jasco_pl.training.callbacks.Speed"},
                    {"class_path": "jasco_pl.training.guard.GradientGuard"},
                ],
            },
            "model": {
                "config": {
                    "codec": str(tiny_codec_folder),
                    "text_encoder": str(tiny_text_folder),
                    "text_dim": 32,
                    "codebook_size": TINY_CODEBOOK,
                    "transformer": {
                        "width": 32,
                        "layers": 2,
                        "heads": 2,
                        "feed_forward": 64,
                        "convolution_kernel": 7,
                        "convolution_groups": 4,
                        "dropout": 0.1,
                    },
                },
                "warmup_steps": 4,
                "decay_steps": 20,
            },
            "data": {
                "train": str(tmp_path / "train"),
                "valid": str(tmp_path / "valid"),
                "test": str(tmp_path / "valid"),
                "batch_size": 4,
                "seconds": 1.0,
                "workers": 0,
            },
        }
        overlay = tmp_path / f"{run}.yaml"
        overlay.write_text(json.dumps(tiny))  # JSON is YAML
        return ["-c", str(MINI), "-c", str(overlay), *overrides]

    return arguments


@dataclass
class Published:
    """A folder that a server on this machine publishes, and the paths that were asked for."""

    folder: Path
    url: str
    asked: list[str]


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Published]:
    """Files to be fetched, with fetching allowed."""
    folder, asked = tmp_path / "published", []
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            asked.append(self.path)

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield Published(folder, f"http://127.0.0.1:{server.server_port}", asked)
    server.shutdown()
    server.server_close()
