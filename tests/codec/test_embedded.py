from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from jasco_pl.codec import BandCodec, BandCodecConfig, griffin_lim, load_codec
from jasco_pl.codec.embedded import FORMAT, is_band_codec
from jasco_pl.codec.held import Held
from jasco_pl.system.errors import UserError

HOP = 640


@pytest.fixture(scope="module")
def codec(tiny_codec_folder: Path) -> BandCodec:
    return BandCodec.from_pretrained(tiny_codec_folder)


@pytest.fixture(scope="module")
def music() -> torch.Tensor:
    """Two clips of 1.2 s: plucked chords, and a pulse of noise bursts over a bass note. [2, 1, 60 * HOP]"""
    time = torch.arange(60 * HOP) / 32000
    draw = torch.Generator().manual_seed(0)
    chords = torch.zeros_like(time)
    for start, notes in ((0.0, (60, 64, 67)), (0.6, (57, 60, 65))):
        since = (time - start).clamp(min=0)
        for note in notes:
            hertz = 440 * 2 ** ((note - 69) / 12)
            for partial in range(1, 5):
                chords += (time >= start) * torch.exp(-3 * since) * torch.sin(2 * math.pi * hertz * partial * since) * 0.1 / partial
    beats = 0.3 * torch.randn(len(time), generator=draw) * torch.exp(-40 * (time % 0.3))
    return torch.stack([chords, beats + 0.2 * torch.sin(2 * math.pi * 82.4 * time)])[:, None]


def test_frames_fill_the_clip(codec: BandCodec) -> None:
    assert (codec.sample_rate, codec.hop, codec.frame_rate, codec.dim) == (32000, 640, 50.0, 128)
    for samples, frames in ((1, 1), (640, 1), (641, 2), (6400, 10), (6999, 11)):
        assert codec.encode(torch.zeros(1, 1, samples)).shape == (1, frames, 128)
    assert codec.decode(torch.full((1, 11, 128), -9.0)).shape == (1, 1, 7040)


def band_distance(codec: BandCodec, wav: torch.Tensor, latents: torch.Tensor) -> float:
    """Mean distance of the bands in dB, over those that sound at all."""
    sounding = latents > math.log(1e-3)
    return float((codec.encode(wav) - latents).abs()[sounding].mean()) * 20 / math.log(10)


@torch.inference_mode()
def test_decoding_brings_the_bands_back(music: torch.Tensor) -> None:
    codec = BandCodec(BandCodecConfig(codebook_size=2, codebooks=1))
    latents = codec.encode(music)
    sound = codec.decode(latents)
    assert sound.shape == music.shape
    assert band_distance(codec, sound, latents) < 0.85
    phaseless = BandCodec(BandCodecConfig(codebook_size=2, codebooks=1, iterations=0))
    assert band_distance(codec, phaseless.decode(latents), latents) > 5.0  # right magnitudes, random phases


@torch.inference_mode()
def test_magnitudes_move_to_what_frames_agree_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where many voices waver, no sound has the magnitudes that were spread; one that has the bands is found by letting them go."""
    draw, time = torch.Generator().manual_seed(0), torch.arange(100 * HOP) / 32000
    music = torch.zeros_like(time)
    for _ in range(24):
        octave, speed, start = torch.rand(3, generator=draw).tolist()
        wavering = 110 * 2 ** (3 * octave) * (1 + 0.004 * torch.sin(2 * math.pi * (4 + 2 * speed) * time))
        phase = 2 * math.pi * (wavering.cumsum(0) / 32000 + start)
        music += sum(0.02 / partial * torch.sin(partial * phase) for partial in (1, 2, 3))
    codec = BandCodec(BandCodecConfig(codebook_size=2, codebooks=1))
    latents = codec.encode(music[None, None])
    free = band_distance(codec, codec.decode(latents), latents)
    monkeypatch.setattr(griffin_lim, "UNMOVED", 1000)
    assert free < 0.8 * band_distance(codec, codec.decode(latents), latents)


def test_beginnings_are_those_of_the_frame_wherever_a_part_starts() -> None:
    whole = griffin_lim.chances(7, 0, 200)
    assert whole.shape == (7, 200)
    torch.testing.assert_close(whole.abs(), torch.ones(7, 200))
    assert whole.mean().abs() < 0.1
    for first, frames in ((0, 1), (63, 2), (64, 64), (130, 70)):
        assert torch.equal(griffin_lim.chances(7, first, frames), whole[:, first : first + frames])
    assert not torch.equal(whole[:, :64], whole[:, 64:128])


@torch.inference_mode()
def test_a_decoded_note_keeps_its_pitch_and_level(codec: BandCodec) -> None:
    wav = 0.5 * torch.sin(2 * math.pi * 440 * torch.arange(50 * HOP) / 32000)[None, None]
    sound = codec.decode(codec.encode(wav))
    spectrum = torch.fft.rfft(sound[0, 0, 5 * HOP : 45 * HOP]).abs()
    assert float(spectrum.argmax()) * 32000 / (40 * HOP) == pytest.approx(440, abs=8)
    assert float(sound[..., 5 * HOP : 45 * HOP].square().mean().sqrt()) == pytest.approx(0.5 / math.sqrt(2), rel=0.1)


@torch.inference_mode()
def test_silence_stays_silent(codec: BandCodec) -> None:
    latents = codec.encode(torch.zeros(1, 1, 20 * HOP))
    torch.testing.assert_close(latents, torch.full((1, 20, 128), math.log(1e-4)))
    assert float(codec.decode(latents).square().mean().sqrt()) < 1e-3  # -60 dB


@torch.inference_mode()
def test_items_do_not_depend_on_their_batch(codec: BandCodec, music: torch.Tensor) -> None:
    latents = codec.encode(music)
    sound = codec.decode(latents)
    for index in range(2):
        one = slice(index, index + 1)
        torch.testing.assert_close(codec.encode(music[one]), latents[one], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(codec.decode(latents[one]), sound[one], atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_codes_are_nearest_in_normalised_space(codec: BandCodec, music: torch.Tensor) -> None:
    latents = codec.encode(music)
    codes = codec.codes(latents)
    normal = (latents - codec.latent_mean) / codec.latent_std
    assert codes.shape == (2, 60)
    assert torch.equal(codes, torch.cdist(normal, codec.codebooks[0]).argmin(-1))
    torch.testing.assert_close(codec.normalized_codebook, codec.codebooks[0], atol=1e-4, rtol=1e-4)
    assert torch.equal(codec.codes(codec.codebook[None]), torch.arange(16)[None])


def test_spread_is_positive_and_keeps_the_bands(codec: BandCodec, music: torch.Tensor) -> None:
    filters = codec.analysis.low_filters
    power = filters @ codec.analysis.low(music[:1, 0]).abs().square()
    bins = Held(filters).spread(power)
    assert float(bins.min()) >= 0
    strong = power > 1e-3 * power.max()
    assert float((filters @ bins / power)[strong].log().abs().mean()) < 0.1


def test_saving_and_loading(codec: BandCodec, tiny_codec_folder: Path, tmp_path: Path) -> None:
    assert codec.config == BandCodecConfig(codebook_size=16, codebooks=2, iterations=4)
    assert sorted(path.name for path in tiny_codec_folder.iterdir()) == ["codec.safetensors", "config.json"]
    codec.save_pretrained(tmp_path)
    again = load_codec(tmp_path)
    assert isinstance(again, BandCodec)
    assert not again.training
    assert again.config == codec.config
    assert {name: tensor.tolist() for name, tensor in again.state_dict().items()} == {
        name: tensor.tolist() for name, tensor in codec.state_dict().items()
    }
    assert sorted(codec.state_dict()) == ["codebooks", "latent_mean", "latent_std"]  # what can be computed is not stored


def test_codebooks_are_stored_in_half_precision(tmp_path: Path) -> None:
    books, mean = torch.randn(1, 8, 128), torch.randn(128)
    BandCodec(BandCodecConfig(codebook_size=8, codebooks=1), mean, None, books).save_pretrained(tmp_path)
    again = BandCodec.from_pretrained(tmp_path)
    assert torch.equal(again.codebooks, books.half().float())
    assert torch.equal(again.latent_mean, mean)


def one_sentence(folder: Path, match: str) -> None:
    with pytest.raises(UserError, match=match) as caught:
        load_codec(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_damaged_folders_are_one_sentence(codec: BandCodec, tmp_path: Path) -> None:
    codec.save_pretrained(tmp_path)
    weights, config = tmp_path / "codec.safetensors", tmp_path / "config.json"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-50])
    one_sentence(tmp_path, "cannot read the codec")
    weights.unlink()
    one_sentence(tmp_path, "cannot read the codec")
    weights.write_bytes(whole)
    config.write_text(json.dumps({"format": FORMAT, "codebook_size": 17, "codebooks": 2}))
    one_sentence(tmp_path, "cannot read the codec .*codebooks")
    config.write_text(json.dumps({"format": FORMAT, "colour": "red"}))
    one_sentence(tmp_path, "cannot read the codec .*'colour'")
    config.unlink()
    assert not is_band_codec(tmp_path)
    one_sentence(tmp_path, "codec")


def test_flipped_bits_of_a_codec_are_noticed(codec: BandCodec, tmp_path: Path) -> None:
    codec.save_pretrained(tmp_path)
    path = tmp_path / "codec.safetensors"
    whole = path.read_bytes()
    for place in range(8, len(whole), len(whole) // 10):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 7
        path.write_bytes(flipped)
        with pytest.raises(UserError, match=r"cannot read the codec in .*: .*\.$"):
            load_codec(tmp_path)


def test_a_codec_beside_a_checkpoint_is_found(tiny_codec_folder: Path) -> None:
    beside = tiny_codec_folder.parent / "jasco-other"
    assert isinstance(load_codec("elsewhere/codec-tiny", beside=beside), BandCodec)
    with pytest.raises(UserError, match="elsewhere/codec-tiny"):
        load_codec("elsewhere/codec-tiny")


@pytest.mark.parametrize("decoder", ["griffin_lim", "vocoder"])
@torch.inference_mode()
def test_parts_of_a_clip_are_what_the_whole_is_there(music: torch.Tensor, decoder: str) -> None:
    """As deep as what ships: 32 rounds of Griffin-Lim reach four seconds far, but hardly anything comes from there."""
    codec = BandCodec(BandCodecConfig(decoder=decoder, width=16))  # type: ignore[arg-type]
    torch.manual_seed(0)
    if decoder == "vocoder":
        codec.decoder.head.weight.normal_(std=0.05)  # type: ignore[union-attr]
    latents = codec.encode(music.repeat(1, 1, 5))
    whole = codec.decode(latents)
    for first, last in ((0, 90), (90, 200), (200, 300)):
        part = codec.decode_part(latents, first, last, end=min(300, last + 50))
        there = whole[..., first * HOP : last * HOP]
        assert 20 * torch.log10((part - there).norm() / there.norm()) < -90
    assert torch.equal(codec.decode_part(latents, 0, 300), whole)
