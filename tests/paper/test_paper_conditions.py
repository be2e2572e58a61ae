"""The paper's conditions (sections 3.1, 3.3, 4, 5): every number it gives has a test of that name here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from jasco_pl.audio.long_audio import bandpass
from jasco_pl.codec import BandCodec
from jasco_pl.controls import CONTROLS
from jasco_pl.controls.audio import AudioControl
from jasco_pl.controls.conditions import ConditionDropout, Conditions
from jasco_pl.controls.painting import Painting, masked_segments
from jasco_pl.network.flow.guidance import parse_guidance
from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.notation import harmony
from jasco_pl.training.module import JascoModule

DRAWS = 10_000
FRAMES = 500  # ten seconds at 50 Hz
PAPER = ["chords", "melody", "mix", "drums", "painting"]  # Y in equation 3, in its order
ALL = ["chords", "melody", "mix", "drumless", "drums", "drums_bandpass", "painting"]  # those of the experiments too; there may be others


def paper_model(config: ModelConfig, names: Sequence[str] = PAPER) -> JascoModel:
    """A tiny network with these controls at their default options and random facts of a codec."""
    torch.manual_seed(0)
    config = replace(config, controls={name: {} for name in names})
    mean, std, silence = torch.randn(128), torch.rand(128) + 0.5, torch.randn(128)
    return JascoModel(config, mean, std, torch.randn(config.codebook_size, 128), silence).eval()


def some_conditions(model: JascoModel, batch: int = 2, frames: int = 60) -> Conditions:
    """Conditions in which every frame of every control says something."""
    raw: dict[str, Tensor] = {}
    for name in model.controls:
        if name == "painting":
            raw[name] = torch.randn(batch, frames, 128)
        else:
            raw[name] = torch.randint(0, 16, (batch, frames))
    return Conditions(raw, torch.randn(batch, 3, model.config.text_dim), torch.ones(batch, 3, dtype=torch.bool))


# ---- section 3.1: dimensions and windows


@pytest.mark.parametrize(
    ("name", "channels"),
    [("chords", 16), ("melody", 16), ("drums", 2), ("drums_bandpass", 2), ("mix", 1), ("drumless", 1), ("painting", 128)],
)
def test_dimension(tiny_model_config: ModelConfig, name: str, channels: int) -> None:
    model = paper_model(tiny_model_config, [name])
    assert model.controls(some_conditions(model)).shape == (2, 60, channels)
    assert model.transformer.embed.in_features == (128 + channels) * model.config.transformer.frames_per_token


@pytest.mark.parametrize(("name", "window"), [("drums", 3), ("drums_bandpass", 3), ("mix", 5), ("drumless", 5)])
def test_blur_window(tiny_model_config: ModelConfig, name: str, window: int) -> None:
    """Average pooling over windows that do not overlap, broadcast back."""
    model = paper_model(tiny_model_config, [name])
    control = model.controls[name]
    raw = torch.randint(0, 16, (1, 60))
    out = control(raw)[0]
    for start in range(0, 60, window):
        expected = control.projection(control.codebook[raw[0, start : start + window]].mean(dim=0))
        torch.testing.assert_close(out[start : start + window], expected.expand(window, -1))
    changes = (out[1:] != out[:-1]).any(dim=1).nonzero().flatten() + 1
    assert changes.tolist() == list(range(window, 60, window))


def test_audio_is_its_first_codebook_alone(tiny_model_config: ModelConfig, tiny_codec_folder: Path) -> None:
    """One token a frame, turned back into its vector as the network sees latents; the bottleneck is linear."""
    codec = BandCodec.from_pretrained(tiny_codec_folder)
    model = JascoModel(replace(tiny_model_config, controls={"mix": {}}), codebook=codec.normalized_codebook)
    control = model.controls["mix"]
    torch.testing.assert_close(control.codebook, codec.codebooks[0], atol=1e-4, rtol=1e-4)
    assert {name: tuple(value.shape) for name, value in control.named_parameters()} == {
        "projection.weight": (1, 128),
        "projection.bias": (1,),
    }


def test_chords_are_a_table_of_chordinos_labels_and_no_chord_given(tiny_model_config: ModelConfig) -> None:
    assert paper_model(tiny_model_config).controls["chords"].embedding.weight.shape == (193 + 1 + 1, 16)  # 0..193, then null
    assert (harmony.SIZE, harmony.NULL) == (194, 194)


def test_melody_is_a_linear_projection_of_53_binary_notes(tiny_model_config: ModelConfig) -> None:
    control = paper_model(tiny_model_config).controls["melody"]
    assert control.projection.weight.shape == (16, 53)
    out = control(torch.arange(-1, 53)[None])[0]
    torch.testing.assert_close(out[0], control.projection.bias)
    torch.testing.assert_close(out[1:] - control.projection.bias, control.projection.weight.T)


# ---- section 3.1: in- and outpainting


def test_painting_is_the_raw_latents_without_a_projection(tiny_model_config: ModelConfig) -> None:
    control = paper_model(tiny_model_config).controls["painting"]
    assert list(control.parameters()) == []
    latents = torch.randn(2, 60, 128)
    assert torch.equal(control(latents), latents)


def segments() -> np.ndarray:
    return torch.stack(masked_segments(torch.arange(DRAWS), torch.tensor(FRAMES)), dim=1).numpy()


def test_painting_masks_40_to_90_percent() -> None:
    first, last = segments().T
    shares = (last - first) / FRAMES
    assert 0.4 <= shares.min() < 0.402
    assert 0.898 < shares.max() <= 0.9
    assert shares.mean() == pytest.approx(0.65, abs=0.005)
    counts, _ = np.histogram(shares, bins=10, range=(0.4, 0.9))
    assert counts.min() > 880, counts  # uniform: 1,000 a tenth, standard deviation 30
    assert counts.max() < 1120, counts


def test_painting_chooses_between_in_and_outpainting() -> None:
    first, last = segments().T
    outpainting = last == FRAMES
    assert outpainting.mean() == pytest.approx(0.5, abs=0.02)
    assert first.min() >= 1  # something is known before what is to be made, and behind it too when it is inpainting
    inside = ~outpainting
    place = (first[inside] - 1) / (FRAMES - (last - first)[inside] - 2)
    counts, _ = np.histogram(place, bins=5, range=(0, 1.001))
    assert counts.min() > 0.17 * inside.sum(), counts  # anywhere
    assert counts.max() < 0.23 * inside.sum(), counts


def test_painting_in_training_is_a_masked_stretch_of_the_samples_own_latents(tiny_model_config: ModelConfig) -> None:
    """Drawn from the sample's key: the same in any batch, another for another key; masked frames are silence."""
    control = paper_model(tiny_model_config).controls["painting"]
    latents = torch.randn(64, FRAMES, 128)
    batch = {"key": torch.arange(64), "mask": torch.ones(64, FRAMES, dtype=torch.bool)}
    raw = control.from_batch(batch, latents)
    masked = raw.isnan().all(dim=-1)
    assert torch.equal(raw.isnan().any(dim=-1), masked)
    assert torch.equal(raw[~masked], latents[~masked])
    assert all(0.4 <= share <= 0.9 for share in masked.float().mean(dim=1).tolist())
    assert (masked.int().diff(dim=1) == 1).sum(dim=1).tolist() == [1] * 64  # one stretch
    assert len({tuple(row) for row in masked.tolist()}) > 60
    seen = control(raw)
    torch.testing.assert_close(seen[masked], control.silence.expand(int(masked.sum()), -1))
    few = [40, 7, 21]
    alone = control.from_batch({"key": torch.tensor(few), "mask": batch["mask"][few]}, latents[few])
    assert torch.equal(alone.isnan(), raw[few].isnan())


# ---- section 4: dropout


def kept(dropout: ConditionDropout, names: list[str]) -> Tensor:
    """Masks [draws, names], every draw by a key of its own as in training."""
    return torch.stack(list(dropout.draw(names, torch.arange(DRAWS)).values()), dim=1)


def default_dropout(config: ModelConfig, names: Sequence[str]) -> ConditionDropout:
    """What a model with these controls trains with when its configuration says nothing."""
    return JascoModule(replace(config, controls={name: {} for name in names})).condition_dropout


def test_dropout_of_a_single_condition_is_40_percent(tiny_model_config: ModelConfig) -> None:
    dropout, *others = (default_dropout(tiny_model_config, [name]) for name in ALL)
    assert all(other == dropout for other in others)
    masks = kept(dropout, ["text", "chords"])
    assert masks.float().mean(dim=0).tolist() == pytest.approx([0.6, 0.6], abs=0.015)
    assert float(masks.all(dim=1).float().mean()) == pytest.approx(0.36, abs=0.015)  # equation 4 needs either alone


def test_dropout_of_several_conditions_is_20_percent_for_all_then_50_each_and_70_for_painting(tiny_model_config: ModelConfig) -> None:
    names = ["text", *PAPER]
    masks = kept(default_dropout(tiny_model_config, PAPER), names)
    expected = [0.8 * 0.5] * 5 + [0.8 * 0.3]
    assert masks.float().mean(dim=0).tolist() == pytest.approx(expected, abs=0.015)
    assert float((~masks.any(dim=1)).float().mean()) == pytest.approx(0.2 + 0.8 * 0.5**5 * 0.7, abs=0.012)
    for one in range(5):
        for other in range(one):
            both = float((masks[:, one] & masks[:, other]).float().mean())
            assert both == pytest.approx(0.8 * 0.25, abs=0.015), (names[one], names[other])  # independent in the 80 %
        assert float((masks[:, one] & masks[:, 5]).float().mean()) == pytest.approx(0.8 * 0.15, abs=0.015)


def test_dropout_without_painting_knows_no_exception(tiny_model_config: ModelConfig) -> None:
    dropout = default_dropout(tiny_model_config, ["chords", "melody", "drums"])
    assert (dropout.everything, dropout.each, dropout.exceptions) == (0.2, 0.5, {})


# ---- section 5: drums of the multi-condition models


def test_drums_are_band_passed_from_200_to_800_hz() -> None:
    impulse = torch.zeros(1, 32000)
    impulse[0, 100] = 1.0
    response = torch.fft.rfft(bandpass(impulse, 32000)[0]).abs()  # one bin a hertz
    decibels = 20 * torch.log10(response.clamp(min=1e-9))
    assert decibels[[200, 800]].tolist() == pytest.approx([-3.0, -3.0], abs=0.1)
    assert decibels[260:640].min() > -0.5
    assert decibels[[100, 1600]].max() < -20
    control = CONTROLS["drums_bandpass"]
    assert issubclass(control, AudioControl)
    wav = torch.randn(1, 3200)
    assert torch.equal(control.filtered(wav, 32000), bandpass(wav, 32000))
    assert control.field == "codes_drums_bandpass"


# ---- sections 3 and 3.2: how conditions enter


def test_conditions_are_concatenated_to_the_latents_along_channels_in_their_order(tiny_model_config: ModelConfig) -> None:
    model = paper_model(tiny_model_config)
    assert model.controls.channels == 16 + 16 + 1 + 2 + 128
    assert model.transformer.embed.in_features == 2 * (128 + 163)  # two frames a token
    seen: list[Tensor] = []
    model.transformer.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    conditions, z = some_conditions(model), torch.randn(2, 60, 128)
    with torch.no_grad():
        model(z, torch.rand(2), conditions)
        assert torch.equal(seen[0][..., :128], z)
        start = 128
        for name in PAPER:
            control = model.controls[name]
            torch.testing.assert_close(seen[0][..., start : start + control.channels], control(conditions.local[name]))
            start += control.channels
    assert start == seen[0].shape[-1] == 291


def test_text_enters_by_cross_attention_alone(tiny_model_config: ModelConfig) -> None:
    model = paper_model(tiny_model_config, [])
    assert model.transformer.embed.in_features == 2 * 128
    assert all(layer.cross_attention.key_value.in_features == 32 for layer in model.transformer.layers)


# ---- section 3.3: what guidance leaves out is what dropout leaves out


@pytest.mark.parametrize("name", ["text", *ALL])
def test_null_is_one_value_in_dropout_guidance_and_for_what_is_not_asked(tiny_model_config: ModelConfig, name: str) -> None:
    model = paper_model(tiny_model_config, ALL)
    conditions = some_conditions(model)
    dropped = model.controls.keep(conditions, {name: torch.tensor([False, False])})
    others = frozenset({"text", *ALL}) - {name}
    guided = model.controls.only(conditions, others)
    if name == "text":
        for seen in (dropped, guided, model.null_conditions(2, 60)):
            assert not seen.text[seen.text_mask].any()
            assert seen.text_mask.sum(dim=1).tolist() == [1, 1]
        return
    control = model.controls[name]
    nothing = control(control.null_frames(2, 60))
    for seen in (dropped, guided, model.null_conditions(2, 60)):
        assert torch.equal(control(seen.local[name]), nothing)
    assert not torch.equal(control(conditions.local[name]), nothing)
    assert torch.equal(nothing, nothing[:1, :1].expand_as(nothing))  # the same in every frame


def test_null_values(tiny_model_config: ModelConfig) -> None:
    """A row of its own for chords; a zero column, hence the bias, for melody and audio; silence for painting."""
    controls = paper_model(tiny_model_config, ALL).controls
    null = {name: control(control.null_frames(1, 1))[0, 0] for name, control in controls.items()}
    torch.testing.assert_close(null["chords"], controls["chords"].embedding.weight[194])
    torch.testing.assert_close(null["painting"], controls["painting"].silence)
    for name in ("melody", "drums", "drums_bandpass", "mix", "drumless"):
        torch.testing.assert_close(null[name], controls[name].projection.bias)


def test_guidance_of_the_paper_evaluates_null_text_and_all(tiny_model_config: ModelConfig) -> None:
    terms = {term.conditions: term.weight for term in parse_guidance(ModelConfig().guidance, PAPER).terms}
    assert terms == {frozenset({"text", *PAPER}): 1.5, frozenset({"text"}): 0.5, frozenset(): -1.0}
    each = {term.conditions for term in parse_guidance(dict.fromkeys(ALL, 0.5), ALL).terms}
    assert each == {frozenset({name}) for name in ALL} | {frozenset()}  # every control can be weighted by its name


def test_painting_takes_the_codecs_silence_in_the_models_units(tiny_model_config: ModelConfig, tiny_codec_folder: Path) -> None:
    codec = BandCodec.from_pretrained(tiny_codec_folder)
    module = JascoModule(replace(tiny_model_config, controls={"painting": {}}))
    silence = module.model.controls["painting"].silence
    frames = codec.encode(torch.zeros(1, 1, 32000))[0]
    expected = (frames - codec.latent_mean) / codec.latent_std
    torch.testing.assert_close(silence.expand(50, -1), expected, atol=1e-5, rtol=1e-5)
    assert isinstance(module.model.controls["painting"], Painting)
