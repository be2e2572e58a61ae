from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import EncodecConfig, EncodecModel

from jasco_pl.audio.long_audio import InMemory
from jasco_pl.codec import load_codec
from jasco_pl.codec.encodec import EncodecCodec
from jasco_pl.extract.latents import encode
from jasco_pl.system.errors import UserError


def tiny(channels: int = 1) -> EncodecModel:
    """The shape of facebook/encodec_32khz (32 kHz, 50 Hz, 4 codebooks, not causal), small and with random weights."""
    torch.manual_seed(0)
    config = EncodecConfig(
        sampling_rate=32000,
        audio_channels=channels,
        upsampling_ratios=[8, 5, 4, 4],
        num_filters=2,
        hidden_size=16,
        codebook_size=32,
        codebook_dim=16,
        num_lstm_layers=1,
        target_bandwidths=[1.0],
        use_causal_conv=False,
        normalize=False,
    )
    model = EncodecModel(config).eval()
    assert len(model.quantizer.layers) == 4
    with torch.no_grad():  # codebooks start at zero; these lie among the latents
        latents = model.encoder(torch.randn(1, channels, 32 * 640))[0].t()
        for layer in model.quantizer.layers:
            layer.codebook.embed.copy_(latents[torch.randperm(32)])
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encodec")
    tiny().save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def codec(folder: Path) -> EncodecCodec:
    return EncodecCodec.from_pretrained(folder)


@pytest.fixture(scope="module")
def wav() -> torch.Tensor:
    return torch.randn(2, 1, 6500, generator=torch.Generator().manual_seed(0))


def test_rates_and_sizes(codec: EncodecCodec) -> None:
    assert (codec.sample_rate, codec.hop, codec.frame_rate, codec.dim) == (32000, 640, 50.0, 16)
    assert not codec.training
    assert not codec.model.training


def test_statistics_are_the_official_ones_unless_given(codec: EncodecCodec, tmp_path: Path) -> None:
    torch.testing.assert_close(codec.latent_mean, torch.full((16,), -0.0074))
    torch.testing.assert_close(codec.latent_std, torch.full((16,), 4.0102))
    own = EncodecCodec(codec.model, 1.0, 2.0)
    torch.testing.assert_close(own.normalized_codebook, (own.codebook - 1.0) / 2.0)
    own.save_pretrained(tmp_path)
    again = load_codec(tmp_path)
    assert (float(again.latent_mean[0]), float(again.latent_std[0])) == (1.0, 2.0)


@torch.inference_mode()
def test_latents_are_the_encoders_before_quantisation(codec: EncodecCodec, wav: torch.Tensor) -> None:
    latents = codec.encode(wav)
    assert latents.shape == (2, 11, 16)  # 6500 samples fill 11 frames of 640
    padded = torch.nn.functional.pad(wav, (0, 540))
    torch.testing.assert_close(latents, codec.model.encoder(padded).transpose(1, 2))
    whole = codec.model.encode(padded, bandwidth=1.0).audio_codes[0]
    assert torch.equal(codec.codes(latents), whole[:, 0])


@torch.inference_mode()
def test_codes_are_the_first_of_the_quantiser(codec: EncodecCodec, wav: torch.Tensor) -> None:
    latents = codec.encode(wav)
    codes = codec.codes(latents)
    assert codes.shape == (2, 11)
    assert codes.dtype == torch.long
    assert codes.unique().numel() > 3
    assert torch.equal(codes, codec.model.quantizer.encode(latents.transpose(1, 2), bandwidth=1.0)[0])
    assert codec.codebook.shape == (32, 16)
    assert torch.equal(torch.cdist(latents, codec.codebook).argmin(-1), codes)


@torch.inference_mode()
def test_decoding_takes_latents_that_are_not_quantised(codec: EncodecCodec, wav: torch.Tensor) -> None:
    latents = codec.encode(wav)
    sound = codec.decode(latents)
    assert sound.shape == (2, 1, 11 * 640)
    torch.testing.assert_close(sound, codec.model.decoder(latents.transpose(1, 2)))


@torch.inference_mode()
def test_parts_of_a_clip_are_what_the_whole_is_there(codec: EncodecCodec) -> None:
    latents = codec.encode(torch.randn(1, 1, 300 * 640, generator=torch.Generator().manual_seed(1)))
    whole = codec.decode(latents)
    for first, last in ((0, 100), (100, 200), (200, 300)):
        there = whole[..., first * 640 : last * 640]
        assert (codec.decode_part(latents, first, last, end=min(300, last + 50)) - there).norm() < 1e-4 * there.norm()


def test_a_folder_is_loaded_whole(folder: Path, codec: EncodecCodec, tmp_path: Path) -> None:
    assert isinstance(load_codec(folder), EncodecCodec)
    original = tiny().state_dict()
    assert all(torch.equal(tensor, codec.model.state_dict()[name]) for name, tensor in original.items())
    codec.save_pretrained(tmp_path)
    again = EncodecCodec.from_pretrained(tmp_path)
    assert all(torch.equal(tensor, codec.state_dict()[name]) for name, tensor in again.state_dict().items())


def test_the_hubs_names_of_normed_weights_are_read(folder: Path, tmp_path: Path, codec: EncodecCodec) -> None:
    tensors = load_file(folder / "model.safetensors")
    renamed = {
        name.replace("parametrizations.weight.original0", "weight_g").replace("parametrizations.weight.original1", "weight_v"): tensor
        for name, tensor in tensors.items()
    }
    assert any(name.endswith("weight_g") for name in renamed)
    save_file(renamed, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    again = EncodecCodec.from_pretrained(tmp_path)
    assert all(torch.equal(tensor, codec.state_dict()[name]) for name, tensor in again.state_dict().items())


def one_sentence(name: str | Path, match: str) -> None:
    with pytest.raises(UserError, match=match) as caught:
        load_codec(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["facebook/encodec_none", "/nonexistent/codec", "checkpoints/codec-nowhere"])
def test_what_is_not_there_is_one_sentence_and_soon(name: str) -> None:
    started = time.monotonic()
    one_sentence(name, f"codec '{name}' is not available: .*'checkpoints/codec-mini' works offline")
    assert time.monotonic() - started < 20


def test_damaged_folders_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    weights, config = (folder / "model.safetensors").read_bytes(), (folder / "config.json").read_text()
    (tmp_path / "config.json").write_text(config)
    one_sentence(tmp_path, "cannot be read from the folder")
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    one_sentence(tmp_path, "cannot be read from the folder")
    (tmp_path / "model.safetensors").write_bytes(weights)
    (tmp_path / "config.json").write_text(json.dumps({**json.loads(config), "hidden_size": 8}))
    one_sentence(tmp_path, "weights are missing or of another shape, such as")
    (tmp_path / "config.json").write_text(config)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors.pop("quantizer.layers.0.codebook.embed")
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    one_sentence(tmp_path, "1 of its weights are missing .*quantizer.layers.0.codebook.embed")


def test_folders_of_something_else_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    for data in ({"format": "jasco-pl/1"}, {"model_type": "t5"}):
        (tmp_path / "config.json").write_text(json.dumps(data))
        one_sentence(tmp_path, "model type .*, not 'encodec'")


def test_stereo_is_refused() -> None:
    with pytest.raises(UserError, match="2 channels is not supported"):
        EncodecCodec(tiny(channels=2))


def test_windows_are_nearly_the_whole(folder: Path) -> None:
    codec = EncodecCodec.from_pretrained(folder)
    assert codec.context == 50
    wav = 0.1 * torch.randn(1, 10 * 32000, generator=torch.Generator().manual_seed(0))
    latents, codes = encode(codec, InMemory(wav, 32000), window_seconds=1.5)
    with torch.no_grad():
        whole = codec.encode(wav[None])
        assert latents.shape == whole[0].shape
        assert (latents - whole[0]).abs().max() < 1e-3 * whole.std()  # an untrained LSTM forgets quickly
        assert (codes == codec.codes(whole)[0]).float().mean() > 0.99
