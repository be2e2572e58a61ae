from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from untrained import stir

from jasco_pl.controls.conditions import Conditions
from jasco_pl.network.model import JascoModel, ModelConfig, read_config, start_from
from jasco_pl.network.transformer import TransformerConfig
from jasco_pl.system.errors import UserError

MEAN, STD = torch.linspace(-8, -4, 128), torch.linspace(1, 3, 128)


def build(config: ModelConfig, seed: int = 0) -> JascoModel:
    torch.manual_seed(seed)
    return JascoModel(config, MEAN, STD, torch.randn(config.codebook_size, config.latent_dim)).eval()


def shaken(model: JascoModel) -> JascoModel:
    stir(model)
    return model


@pytest.fixture
def text_only(tiny_model_config: ModelConfig, tmp_path: Path) -> JascoModel:
    model = shaken(build(replace(tiny_model_config, controls={})))
    model.save_pretrained(tmp_path / "text-only")
    return model


def some_inputs(model: JascoModel) -> tuple[torch.Tensor, torch.Tensor, Conditions]:
    draw = torch.Generator().manual_seed(3)
    local = {
        "chords": torch.randint(0, 194, (2, 13), generator=draw),
        "melody": torch.randint(-1, 53, (2, 13), generator=draw),
        "drums": torch.randint(0, 16, (2, 13), generator=draw),
    }
    mask = torch.arange(5) < torch.tensor([[5], [3]])
    local = {name: local[name] for name in model.controls.names}
    return (
        torch.randn(2, 13, 128, generator=draw),
        torch.tensor([0.2, 0.7]),
        Conditions(local, torch.randn(2, 5, 384, generator=draw), mask),
    )


def injected(config: ModelConfig, injection: Any, seed: int = 1) -> JascoModel:
    return build(replace(config, transformer=replace(config.transformer, injection=injection)), seed)


@torch.no_grad()
def test_zero_convolution_begins_as_the_text_only_model_exactly(
    text_only: JascoModel, tiny_model_config: ModelConfig, tmp_path: Path
) -> None:
    model = injected(tiny_model_config, "zero_convolution")
    start_from(model, tmp_path / "text-only")
    z, t, conditions = some_inputs(model)
    expected = text_only(z, t, replace(conditions, local={}))
    assert torch.equal(model(z, t, conditions), expected)
    branch = model.transformer.branch
    assert branch is not None
    copied, original = branch.layers[0].state_dict(), text_only.transformer.layers[0].state_dict()
    assert all(torch.equal(copied[name], original[name]) for name in original)


def test_zero_convolution_trains_the_copy_and_the_controls_alone(
    text_only: JascoModel, tiny_model_config: ModelConfig, tmp_path: Path
) -> None:
    model = injected(tiny_model_config, "zero_convolution")
    start_from(model, tmp_path / "text-only")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(3):  # the controls are heard from the third step on: what enters, and what leaves, both begin at zero
        optimizer.zero_grad()
        model(*some_inputs(model)).square().mean().backward()
        optimizer.step()
    after = model.state_dict()
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert moved == learning
    assert {name.split(".")[0] for name in learning} == {"controls", "transformer"}
    assert all(name.startswith(("controls.", "transformer.branch.")) for name in learning)


@torch.no_grad()
def test_concatenation_begins_as_the_text_only_model(text_only: JascoModel, tiny_model_config: ModelConfig, tmp_path: Path) -> None:
    """Two frames a token: the columns of latents and controls alternate."""
    assert tiny_model_config.transformer.frames_per_token == 2
    model = injected(tiny_model_config, "concatenation")
    start_from(model, tmp_path / "text-only")
    z, t, conditions = some_inputs(model)
    torch.testing.assert_close(model(z, t, conditions), text_only(z, t, replace(conditions, local={})), atol=1e-5, rtol=1e-5)


def test_a_concatenated_control_learns_from_its_zero_columns(text_only: JascoModel, tiny_model_config: ModelConfig, tmp_path: Path) -> None:
    model = injected(tiny_model_config, "concatenation")
    start_from(model, tmp_path / "text-only")
    model(*some_inputs(model)).square().mean().backward()
    columns = model.transformer.embed.weight.grad.unflatten(1, (2, -1))[..., 128:]  # type: ignore[union-attr]
    assert (columns != 0).any(dim=0).all()


@pytest.fixture
def teacher(tiny_model_config: ModelConfig, tmp_path: Path) -> JascoModel:
    """A model with three concatenated controls, kept in tmp_path / "teacher"."""
    model = shaken(build(tiny_model_config))
    model.save_pretrained(tmp_path / "teacher")
    return model


@torch.no_grad()
def test_the_same_controls_go_on_as_they_are(teacher: JascoModel, tiny_model_config: ModelConfig, tmp_path: Path) -> None:
    model = build(tiny_model_config, seed=1)
    start_from(model, tmp_path / "teacher")
    assert torch.equal(model(*some_inputs(model)), teacher(*some_inputs(model)))


@torch.no_grad()
def test_controls_change_places_and_company(teacher: JascoModel, tiny_model_config: ModelConfig, tmp_path: Path) -> None:
    """Melody and chords in another order, drums gone, the mix new, which says nothing."""
    model = build(replace(tiny_model_config, controls={"melody": {}, "mix": {}, "chords": {}}), seed=1)
    start_from(model, tmp_path / "teacher")
    quiet = build(tiny_model_config, seed=2)
    start_from(quiet, tmp_path / "teacher")
    frames = quiet.transformer.embed.weight.unflatten(1, (2, -1))
    drums = list(quiet.controls.names).index("drums")
    first = 128 + sum(control.channels for control in list(quiet.controls.values())[:drums])
    frames[..., first : first + quiet.controls["drums"].channels] = 0
    z, t, conditions = some_inputs(quiet)
    expected = quiet(z, t, conditions)
    for seed in range(2):
        mix = torch.randint(0, 16, (2, 13), generator=torch.Generator().manual_seed(seed))
        local = {name: conditions.local[name] for name in ("melody", "chords")} | {"mix": mix}
        torch.testing.assert_close(model(z, t, replace(conditions, local=local)), expected, atol=1e-5, rtol=1e-5)


def test_controls_of_other_options_do_not_go_on(teacher: JascoModel, tiny_model_config: ModelConfig, tmp_path: Path) -> None:
    other = replace(tiny_model_config, controls={"chords": {"dim": 7}})
    with pytest.raises(UserError, match=r"has the control 'chords' with \{\}, this model with \{'dim': 7\}"):
        start_from(build(other), tmp_path / "teacher")


@torch.no_grad()
def test_a_painting_model_gains_a_mask_channel(tiny_model_config: ModelConfig, tmp_path: Path) -> None:
    """Behind the latents, before other controls; its zero columns say nothing until they are trained."""
    config = replace(tiny_model_config, controls={"painting": {}, **tiny_model_config.controls})
    teacher = shaken(build(config))
    teacher.save_pretrained(tmp_path / "painting")
    grown = replace(config, controls={**config.controls, "painting": {"mask": True, "masks": "varied"}})
    model = build(grown, seed=1)
    start_from(model, tmp_path / "painting")
    z, t, conditions = some_inputs(build(tiny_model_config))
    kept = torch.randn(2, 13, 128).masked_fill((torch.arange(13) > 6)[:, None], torch.nan)
    conditions = replace(conditions, local={"painting": kept, **conditions.local})
    torch.testing.assert_close(model(z, t, conditions), teacher(z, t, conditions), atol=1e-5, rtol=1e-5)
    model.save_pretrained(tmp_path / "grown")
    assert JascoModel.from_pretrained(tmp_path / "grown").controls["painting"].mask
    with pytest.raises(UserError, match=r"has more channels of the control 'painting' than this model"):
        start_from(build(config), tmp_path / "grown")


@torch.no_grad()
def test_cross_attention_takes_all_that_both_have(text_only: JascoModel, tiny_model_config: ModelConfig, tmp_path: Path) -> None:
    model = injected(tiny_model_config, "cross_attention")
    start_from(model, tmp_path / "text-only")
    state, source = model.state_dict(), text_only.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in source.items())
    new = {name.rsplit(".", 1)[0] for name in state.keys() - source.keys() if not name.startswith("controls.")}
    assert new == {"transformer.control_tokens"}


@pytest.mark.parametrize("injection", ["cross_attention", "zero_convolution"])
def test_a_model_of_another_injection_is_kept_and_read_again(injection: str, tiny_model_config: ModelConfig, tmp_path: Path) -> None:
    model = shaken(injected(tiny_model_config, injection))
    model.save_pretrained(tmp_path / "model")
    again = JascoModel.from_pretrained(tmp_path / "model")
    assert again.config.transformer.injection == injection
    with torch.no_grad():
        assert torch.equal(again(*some_inputs(model)), model(*some_inputs(model)))


def test_checkpoints_that_do_not_fit_are_one_sentence(text_only: JascoModel, tiny_model_config: ModelConfig, tmp_path: Path) -> None:
    model = injected(tiny_model_config, "zero_convolution")
    folder = tmp_path / "text-only"
    model.save_pretrained(tmp_path / "with-controls")
    with pytest.raises(UserError, match=r"has the controls chords, melody, drums; only concatenated ones can go on"):
        start_from(model, tmp_path / "with-controls")
    with pytest.raises(UserError, match=r"no JASCO checkpoint in .*nowhere"):
        start_from(model, tmp_path / "nowhere")
    wide = replace(tiny_model_config, transformer=replace(tiny_model_config.transformer, feed_forward=128))
    with pytest.raises(UserError, match=r"has feed_forward 64, this model 128"):
        start_from(build(wide), folder)
    with pytest.raises(UserError, match=r"has objective 'flow_matching', this model 'v_diffusion'"):
        start_from(build(replace(tiny_model_config, objective="v_diffusion")), folder)
    other = JascoModel(tiny_model_config, MEAN + 1, STD)
    with pytest.raises(UserError, match="another codec: its latent_mean differs"):
        start_from(other, folder)


def test_the_overlay_for_recordings_has_the_size_of_the_model_that_it_starts_from():
    root = Path(__file__).parents[2]
    overlay = yaml.safe_load((root / "conf" / "recordings.yaml").read_text())["model"]
    shipped = read_config(root / overlay["start_from"])
    mini = yaml.safe_load((root / "conf" / "mini.yaml").read_text())["model"]["config"]
    assert TransformerConfig(**{**mini["transformer"], **overlay["config"]["transformer"]}) == shipped.transformer
    assert {name: shipped.controls[name] for name in overlay["config"]["controls"]} == overlay["config"]["controls"]


def test_beginning_with_weights_that_nobody_can_verify_is_told(
    teacher: JascoModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    teacher.save_pretrained(tmp_path)
    start_from(teacher, tmp_path)
    assert not caplog.records
    path = tmp_path / "model.safetensors"
    save_file(load_file(path), path)
    start_from(teacher, tmp_path)
    (record,) = caplog.records
    assert "gave weights no checksum" in record.getMessage()
