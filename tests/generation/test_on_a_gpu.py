"""All of a request that is made on a GPU lies there, and gives what a CPU gives: on a pretended one, since few machines have another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from pretended_gpu import OnGpu, pretended
from untrained import stir

from jasco_pl.codec import BandCodec
from jasco_pl.generation import velocity
from jasco_pl.generation.jasco import Jasco, Request
from jasco_pl.generation.outline import DEFAULT_CHECKPOINT
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.network.transformer import TransformerConfig
from jasco_pl.system.resources import locate

FAST = SolverConfig("midpoint", steps=2)
CONTROLS: dict[str, dict[str, object]] = {
    "chords": {"dim": 16, "pitch_class_init": True},
    "melody": {"dim": 16},
    "drums": {"dim": 2, "window": 3},
    "mix": {"dim": 1, "window": 5},
    "painting": {"mask": True},
    "beat": {"dim": 16},
    "dynamics": {"dim": 4},
}


@pytest.fixture(scope="module", autouse=True)
def _gpu() -> Iterator[None]:
    with pretended(velocity):
        yield


@pytest.fixture(scope="module")
def folder(tiny_codec_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformer = TransformerConfig(32, 2, 4, 64, frames_per_token=2, convolution_kernel=7, convolution_groups=4)
    config = ModelConfig(transformer, controls=CONTROLS, codec=str(tiny_codec_folder), codebook_size=16, seconds=1.0)
    codec = BandCodec.from_pretrained(tiny_codec_folder)
    torch.manual_seed(0)
    model = JascoModel(config, codec.latent_mean, codec.latent_std, codec.normalized_codebook, codec.normalized_silence)
    stir(model)
    model.save_pretrained(made := tmp_path_factory.mktemp("checkpoints") / "model")
    return made


@pytest.fixture(scope="module")
def cpu(folder: Path) -> Jasco:
    return Jasco.from_pretrained(folder)


@pytest.fixture(scope="module")
def gpu(folder: Path) -> Jasco:
    return Jasco.from_pretrained(folder, device="cuda", precision="fp32")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("recorded") / "noise.wav"
    soundfile.write(path, 0.2 * np.random.default_rng(0).standard_normal(64000), 32000)
    return str(path)


CHORDS: dict[str, Any] = {"text": "mellow jazz", "chords": "C | G7", "bpm": 240, "seed": 1}
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "chords": (CHORDS, {}),
    "in the paper's way": (CHORDS, {"guidance": "all=1.5 text=0.5", "solver": SolverConfig("euler", steps=2)}),
    "dopri5": (CHORDS, {"solver": SolverConfig("dopri5", tolerance=0.5)}),
    "text over time": ({"text": "0-0.5: rock | 0.5-1: jazz"}, {}),
    "loop": (CHORDS | {"loop": True}, {"seconds": 2.0}),
    "longer than a window": (CHORDS, {"seconds": 2.5}),
    "recorded drums and mix": ({"text": "rock", "drums": "recording", "mix": "recording"}, {}),
    "painting": ({"text": "rock", "paint": "recording"}, {"seconds": 2.4}),
    "variation": ({"text": "rock", "vary": "recording", "variation": 0.5}, {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_request_is_made_there(cpu: Jasco, gpu: Jasco, recording: str, kind: str) -> None:
    asked, how = KINDS[kind]
    request = Request(**{name: recording if value == "recording" else value for name, value in asked.items()})
    options = {"seconds": 1.0, "solver": FAST, **how}
    assert isinstance(gpu.model.latent_mean, OnGpu)
    (made,), (expected,) = gpu.generate(request, **options), cpu.generate(request, **options)
    assert type(made.audio) is type(made.latents) is torch.Tensor  # in the host's memory again
    assert made.evaluations == expected.evaluations
    torch.testing.assert_close(made.latents, expected.latents, rtol=1e-3, atol=1e-2 if kind == "dopri5" else 2e-3)
    assert made.audio.shape == expected.audio.shape


@pytest.mark.skipif(not Path(locate(DEFAULT_CHECKPOINT)).is_dir(), reason="the checkpoint that ships is not here")
def test_what_ships_is_in_half_precision_there_and_decoded_there() -> None:
    jasco = Jasco.from_pretrained(device="auto")
    assert jasco.model.precision == "bf16"
    assert {weight.dtype for weight in jasco.model.transformer.parameters()} == {torch.bfloat16}
    (made,) = jasco.generate(Request(**CHORDS), seconds=1.0, solver=SolverConfig("euler", steps=1))
    audio = jasco.codec.to("cpu").decode(made.latents[None])[0]  # so do sums in another order search for other phases
    spectra = [torch.stft(wav[0], 1024, window=torch.hann_window(1024), return_complex=True).abs() for wav in (made.audio, audio)]
    assert (spectra[0] - spectra[1]).norm() < 0.1 * spectra[1].norm()


def test_audio_streams_from_there(gpu: Jasco) -> None:
    parts = list(gpu.stream_audio(Request(**CHORDS), seconds=2.5, solver=FAST))
    assert len(parts) > 1
    assert all(type(part) is torch.Tensor for part in parts)
    assert sum(part.shape[-1] for part in parts) == 80000
