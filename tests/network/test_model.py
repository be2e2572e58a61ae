from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from untrained import stir

from jasco_pl.controls import CONTROLS
from jasco_pl.controls.conditions import Conditions
from jasco_pl.network.flow.guidance import parse_guidance
from jasco_pl.network.model import JascoModel, ModelConfig, check_state
from jasco_pl.network.transformer import TransformerConfig
from jasco_pl.system.errors import UserError


def build(config: ModelConfig) -> JascoModel:
    """A model that says something: what starts at zero is moved away from it."""
    torch.manual_seed(0)
    codebook = torch.randn(config.codebook_size, config.latent_dim)
    model = JascoModel(config, torch.linspace(-8, -4, 128), torch.linspace(1, 3, 128), codebook)
    stir(model)
    return model.eval()


@pytest.fixture
def model(tiny_model_config: ModelConfig) -> JascoModel:
    return build(tiny_model_config)


def some_conditions(batch: int = 2, frames: int = 12) -> Conditions:
    draw = torch.Generator().manual_seed(3)
    local = {
        "chords": torch.randint(0, 194, (batch, frames), generator=draw),
        "melody": torch.randint(-1, 53, (batch, frames), generator=draw),
        "drums": torch.randint(0, 16, (batch, frames), generator=draw),
    }
    mask = torch.arange(5) < torch.tensor([[5], [3]])[:batch]
    return Conditions(local, torch.randn(batch, 5, 384, generator=draw), mask)


def latents(batch: int = 2, frames: int = 12) -> torch.Tensor:
    return torch.randn(batch, frames, 128, generator=torch.Generator().manual_seed(4))


def test_defaults_are_the_papers() -> None:
    config = ModelConfig()
    assert (config.transformer.layers, config.transformer.width, config.transformer.feed_forward) == (24, 1024, 4096)
    assert list(config.controls) == ["chords", "melody", "drums"]
    assert (config.latent_dim, config.codebook_size, config.frame_rate, config.seconds) == (128, 2048, 50.0, 10.0)


def test_latents_and_controls_enter_side_by_side(model: JascoModel) -> None:
    seen: list[torch.Tensor] = []
    model.transformer.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    z, conditions = latents(), some_conditions()
    velocity = model(z, torch.tensor([0.1, 0.9]), conditions)
    assert velocity.shape == z.shape
    torch.testing.assert_close(seen[0], torch.cat([z, model.controls(conditions)], dim=-1))
    assert seen[0].shape[-1] == 128 + 16 + 16 + 2


def test_every_condition_is_heard(model: JascoModel) -> None:
    z, t, conditions = latents(), torch.tensor([0.1, 0.9]), some_conditions()
    everything = model(z, t, conditions)
    for name in ["text", "chords", "melody", "drums"]:
        rest = frozenset(["text", "chords", "melody", "drums"]) - {name}
        assert not torch.allclose(model(z, t, model.controls.only(conditions, rest)), everything, atol=1e-4), name


def test_normalisation_uses_every_channels_own_statistics(model: JascoModel) -> None:
    raw = latents() * torch.linspace(1, 3, 128) + torch.linspace(-8, -4, 128)
    torch.testing.assert_close(model.normalize(raw), latents(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.denormalize(latents()), raw)
    scalar = JascoModel(model.config, -0.0074, 4.0102)
    assert scalar.latent_std.shape == (128,)
    assert float(scalar.normalize(torch.full((1, 1, 128), 4.0028))[0, 0, 5]) == pytest.approx(1.0)


def test_null_conditions_are_what_dropping_leaves(model: JascoModel) -> None:
    z, t = latents(), torch.tensor([0.3, 0.6])
    dropped = model.controls.only(some_conditions(), frozenset())
    torch.testing.assert_close(model(z, t, model.null_conditions(2, 12)), model(z, t, dropped), atol=1e-5, rtol=1e-5)


def test_guided_rows_equal_separate_evaluations(model: JascoModel) -> None:
    z, conditions = latents(), some_conditions()
    terms = parse_guidance("all=1.5 text+chords=0.5 drums=0.3", model.controls.names).terms
    assert len(terms) == 4
    context = model.context(conditions, terms, 12)
    assert context.controls is not None
    assert context.controls.shape == (8, 12, 34)
    rows = model.velocity(z.repeat(4, 1, 1), torch.full((8,), 0.4), context)
    for index, term in enumerate(terms):
        alone = model(z, torch.full((2,), 0.4), model.controls.only(conditions, term.conditions))
        torch.testing.assert_close(rows[2 * index : 2 * index + 2], alone, atol=1e-5, rtol=1e-5)


def test_a_model_of_text_alone(tiny_model_config: ModelConfig) -> None:
    model = build(replace(tiny_model_config, controls={}))
    conditions = replace(some_conditions(), local={})
    z, t = latents(), torch.tensor([0.2, 0.7])
    assert model(z, t, conditions).shape == z.shape
    rows = model.velocity(z.repeat(2, 1, 1), t.repeat(2), model.context(conditions, parse_guidance("all=2", []).terms, 12))
    torch.testing.assert_close(rows[:2], model(z, t, conditions), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(rows[2:], model(z, t, model.null_conditions(2, 12)), atol=1e-5, rtol=1e-5)


def test_controls_are_chosen_by_name_with_their_options(tiny_model_config: ModelConfig) -> None:
    model = JascoModel(replace(tiny_model_config, controls={"drums": {"dim": 3, "window": 5}, "chords": {"dim": 7}}))
    assert model.controls.names == ["drums", "chords"]
    assert model.controls.channels == 10
    with pytest.raises(UserError, match="control 'bass' is unknown: chords, melody, drums"):
        JascoModel(replace(tiny_model_config, controls={"bass": {}}))
    with pytest.raises(UserError, match=r"control 'chords' does not take these options: .*'window'"):
        JascoModel(replace(tiny_model_config, controls={"chords": {"window": 3}}))


def test_saving_and_loading_changes_nothing(model: JascoModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "tiny")
    again = JascoModel.from_pretrained(tmp_path / "tiny")
    assert again.config == model.config
    assert not again.training
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert any(name.endswith("codebook") for name in again.state_dict())
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == ["config.json", "model.safetensors"]


def test_half_precision_halves_the_file_and_keeps_the_statistics(model: JascoModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "full")
    model.save_pretrained(tmp_path / "half", torch.float16)
    full, half = ((tmp_path / name / "model.safetensors").stat().st_size for name in ("full", "half"))
    numbers = sum(tensor.numel() for tensor in model.state_dict().values())
    assert full == pytest.approx(4 * numbers, rel=0.05)
    assert half == pytest.approx(2 * numbers, rel=0.1)
    again = JascoModel.from_pretrained(tmp_path / "half")
    assert all(parameter.dtype == torch.float32 for parameter in again.parameters())
    assert torch.equal(again.latent_mean, model.latent_mean)
    z, t, conditions = latents(), torch.tensor([0.1, 0.9]), some_conditions()
    torch.testing.assert_close(again(z, t, conditions), model(z, t, conditions), atol=5e-3, rtol=5e-3)


@pytest.mark.parametrize("injection", ["concatenation", "zero_convolution"])
def test_what_is_loaded_is_not_drawn_first(injection: Any, tiny_model_config: ModelConfig, tmp_path: Path) -> None:
    """With every control there is: whatever one makes while it is built has to come from the file, or be made when it is used."""
    transformer = replace(tiny_model_config.transformer, injection=injection)
    model = build(replace(tiny_model_config, transformer=transformer, controls={name: {} for name in CONTROLS}))
    model.save_pretrained(tmp_path)
    before = torch.get_rng_state()
    again = JascoModel.from_pretrained(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(tensor.is_meta for tensor in [*again.parameters(), *again.buffers()])
    asked = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    assert {name: parameter.requires_grad for name, parameter in again.named_parameters()} == asked
    z, t, conditions = latents(), torch.tensor([0.1, 0.9]), model.null_conditions(2, 12)
    assert torch.equal(again(z, t, conditions), model(z, t, conditions))


def test_a_loaded_model_does_not_change_with_its_file(model: JascoModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    again, path = JascoModel.from_pretrained(tmp_path), tmp_path / "model.safetensors"
    path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(again.transformer.output.weight, model.transformer.output.weight)


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_weights_of_another_shape_are_named(model: JascoModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    wider = vars(replace(model.config.transformer, feed_forward=65))
    change_config(tmp_path, transformer=wider)
    with pytest.raises(
        UserError, match=r"another configuration: transformer.layers.0.feed_in.weight is \[64, 32\], the model wants \[65, 32\]"
    ):
        JascoModel.from_pretrained(tmp_path)
    change_config(tmp_path, transformer=vars(replace(model.config.transformer, skips=False)))
    with pytest.raises(UserError, match=r"transformer.skip_projections.0.bias is \[32\], the model wants absent"):
        JascoModel.from_pretrained(tmp_path)
    change_config(tmp_path, transformer=vars(replace(model.config.transformer, layers=4)))
    with pytest.raises(UserError, match=r"transformer.layers.2.* is absent, the model wants \["):
        JascoModel.from_pretrained(tmp_path)


def test_equal_states_pass(model: JascoModel) -> None:
    check_state(model.state_dict(), model, "here")


def one_sentence(folder: Path, match: str) -> None:
    with pytest.raises(UserError, match=match) as caught:
        JascoModel.from_pretrained(folder)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_damaged_and_missing_files_are_one_sentence(model: JascoModel, tmp_path: Path) -> None:
    one_sentence(tmp_path / "nowhere", "no JASCO checkpoint in .*nowhere")
    model.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    for length in (0, 100, len(whole) - 100):
        weights.write_bytes(whole[:length])
        one_sentence(tmp_path, "cannot read the weights .*model.safetensors")
    weights.unlink()
    one_sentence(tmp_path, "cannot read the weights .*model.safetensors")
    weights.write_bytes(whole)
    (tmp_path / "config.json").unlink()
    one_sentence(tmp_path, "no JASCO checkpoint in .*config.json")


@pytest.mark.parametrize(
    "text",
    [
        '{"model_type": "encodec", "sampling_rate": 32000}',
        '{"format": "jasco-pl/1", "transformer": {"width": 33}}',
        '{"format": "jasco-pl/1", "transformer": {"depth": 3}}',
        '{"format": "jasco-pl/1"}',
        '{"format": "jasco-pl/1", "transformer": {}, "colour": "red"}',
        '{"format": "jasco-pl/1", "transformer": null}',
        "[1, 2]",
        "not json",
        "",
        "\xff\x00",
    ],
)
def test_a_foreign_config_is_one_sentence(text: str, model: JascoModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    one_sentence(tmp_path, "config.json' is not the config of a JASCO checkpoint")


def test_config_goes_through_json(tiny_model_config: ModelConfig, tmp_path: Path) -> None:
    config = replace(tiny_model_config, transformer=TransformerConfig(layers=2, time="text"), controls={"chords": {"dim": 12}})
    assert ModelConfig.from_dict(json.loads(json.dumps(asdict(config)))) == config


def test_preconditioning_adds_the_linear_guess(tiny_model_config: ModelConfig) -> None:
    plain = build(tiny_model_config)
    conditioned = JascoModel(replace(tiny_model_config, preconditioning=True)).eval()
    conditioned.load_state_dict(plain.state_dict())
    z, t = torch.randn(2, 12, 128, generator=torch.Generator().manual_seed(1)), torch.tensor([0.0, 0.75])
    with torch.no_grad():
        added = conditioned(z, t, some_conditions()) - plain(z, t, some_conditions())
    torch.testing.assert_close(added, torch.tensor([-1.0, 0.8])[:, None, None] * z)


def test_objectives_know_their_path_and_exclude_preconditioning(tiny_model_config: ModelConfig) -> None:
    assert build(tiny_model_config).path.sampler == "midpoint"
    assert build(replace(tiny_model_config, objective="v_diffusion")).path.sampler == "ddim"
    with pytest.raises(UserError, match="preconditioning belongs to flow_matching"):
        replace(tiny_model_config, objective="v_diffusion", preconditioning=True)
    with pytest.raises(UserError, match="objective 'score' is unknown: flow_matching, v_diffusion"):
        replace(tiny_model_config, objective="score")  # type: ignore[arg-type]


DAMAGED: list[tuple[str, Any]] = [
    ("format", None),
    ("format", ["jasco-pl/1"]),
    ("transformer", None),
    ("transformer", []),
    ("transformer", {"width": None}),
    ("transformer", {"width": "32"}),
    ("transformer", {"width": 32.5}),
    ("transformer", {"heads": 0}),
    ("transformer", {"layers": [2]}),
    ("transformer", {"positions": "none"}),
    ("transformer", {"more": 1}),
    ("transformer", [[[[]]]]),
    ("controls", None),
    ("controls", ["chords"]),
    ("controls", {"chords": None}),
    ("controls", {"chords": {"dim": "16"}}),
    ("controls", {"chords": {"dim": [16]}}),
    ("controls", {"chords": {"dim": 10**9}}),
    ("controls", {"chords": {"more": 1}}),
    ("controls", {"nothing": {}}),
    ("codec", 5),
    ("text_encoder", {}),
    ("text_dim", "384"),
    ("latent_dim", -1),
    ("latent_dim", 10**9),
    ("codebook_size", None),
    ("frame_rate", 0),
    ("frame_rate", "fast"),
    ("seconds", float("nan")),
    ("objective", "magic"),
    ("preconditioning", "yes"),
    ("control_gain", []),
    ("latent_limit", {}),
    ("guidance", None),
    ("more", {}),
]


@pytest.mark.parametrize(("key", "value"), DAMAGED)
def test_any_entry_of_another_kind_is_one_sentence(model: JascoModel, tmp_path: Path, key: str, value: Any) -> None:
    model.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    whole = {**config["transformer"], **value} if key == "transformer" and isinstance(value, dict) else value
    path.write_text(json.dumps({**config, key: whole}))
    with pytest.raises(UserError) as error:
        JascoModel.from_pretrained(tmp_path)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


def test_flipped_bits_of_weights_are_noticed_wherever_they_fall(model: JascoModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    for place in range(8, len(whole), len(whole) // 20):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 7
        path.write_bytes(flipped)
        with pytest.raises(UserError, match=r"cannot read the weights '.*model\.safetensors': .*\.$"):
            JascoModel.from_pretrained(tmp_path)


def test_weights_of_a_former_version_are_read_without_a_word(model: JascoModel, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    save_file(load_file(path), path)
    JascoModel.from_pretrained(tmp_path)
    assert not caplog.records


@pytest.mark.parametrize("times", [[], [0.0], [0.0, 0.9], [0.1, 1.0], [0.0, 0.5, 0.5, 1.0], [0.0, 0.7, 0.3, 1.0], [0.0, float("nan"), 1.0]])
def test_times_that_do_not_lead_from_noise_to_data(times: list[float]) -> None:
    with pytest.raises(UserError, match="times must ascend from 0 to 1"):
        ModelConfig(times=times)
    assert ModelConfig(times=[0.0, 0.2, 1.0]).times == [0.0, 0.2, 1.0]
