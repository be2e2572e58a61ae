"""Sections 2 to 4 of the paper, one test a statement: objective, network, inference, optimiser. Conditions have a file of their own.

Numbers are written here as the paper has them, and compared with what conf/paper.yaml says and with what is built from it.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchdiffeq
import yaml
from torch import Tensor, nn

from jasco_pl.controls.conditions import ConditionDropout, Conditions
from jasco_pl.evaluation.settings import guidance_grid
from jasco_pl.network.flow import solver
from jasco_pl.network.flow.guidance import Term, guided_velocity, parse_guidance
from jasco_pl.network.flow.path import flow_matching_loss, make_path
from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.training.module import JascoModule

PAPER = yaml.safe_load((Path(__file__).parents[2] / "conf" / "paper.yaml").read_text())
MODEL, TRAINER = PAPER["model"], PAPER["trainer"]
DRAWS = 10_000


def paper_config(**changes: Any) -> ModelConfig:
    config = ModelConfig.from_dict(MODEL["config"])
    return replace(config, transformer=replace(config.transformer, **changes))


@pytest.fixture(scope="module")
def network() -> JascoModel:
    """The paper's model without its weights."""
    with torch.device("meta"):
        return JascoModel(paper_config())


@pytest.fixture
def module(tiny_model_config: ModelConfig, tiny_text_folder: Path) -> JascoModule:
    """A tiny network trained as conf/paper.yaml says."""
    config = replace(tiny_model_config, text_encoder=str(tiny_text_folder), text_dim=32)
    options = {name: value for name, value in MODEL.items() if name not in ("config", "dropout")}
    return JascoModule(config, ConditionDropout(0.0, 0.0), **options)


def batch_of(count: int, frames: int) -> dict[str, Any]:
    fields = {"chords": 5, "melody": 7, "codes_drums": 3}
    return {
        "latents": torch.randn(count, frames, 128),
        "mask": torch.ones(count, frames, dtype=torch.bool),
        "caption": ["music"] * count,
        "key": torch.arange(count),
        **{name: torch.full((count, frames), value) for name, value in fields.items()},
    }


@pytest.fixture
def seen(module: JascoModule, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """What the network is given in one batch of many samples, and what it is to answer; it answers zero."""
    seen: dict[str, Tensor] = {}
    original = module.path.target

    def target(noise: Tensor, data: Tensor, t: Tensor) -> Tensor:
        seen.update(noise=noise, data=data, t=t, target=original(noise, data, t))
        return seen["target"]

    def answer(z: Tensor, t: Tensor, conditions: Conditions) -> Tensor:
        seen.update(z=z)
        return torch.zeros_like(z)

    monkeypatch.setattr(module.path, "target", target)
    monkeypatch.setattr(module.model, "forward", answer)
    seen["loss"], _ = module.item_losses(batch_of(DRAWS, 2), None)
    return seen


# section 2


def test_equation_1_the_regression_loss(seen: dict[str, Tensor]) -> None:
    """|| v - (z1 - (1 - sigma_min) z0) ||^2, as a mean over frames and channels."""
    expected = seen["data"] - (1 - 1e-5) * seen["noise"]
    torch.testing.assert_close(seen["target"], expected, atol=1e-7, rtol=0)
    torch.testing.assert_close(seen["loss"], expected.square().mean((1, 2)))


def test_equation_2_the_interpolation(seen: dict[str, Tensor]) -> None:
    """z = (1 - (1 - sigma_min) t) z0 + t z1."""
    t = seen["t"][:, None, None]
    torch.testing.assert_close(seen["z"], (1 - (1 - 1e-5) * t) * seen["noise"] + t * seen["data"], atol=1e-6, rtol=0)


def test_sigma_min_is_1e_5_in_both_terms() -> None:
    assert MODEL["sigma_min"] == 1e-5
    path = make_path(MODEL["config"]["objective"], MODEL["sigma_min"])
    one, zero, end = torch.ones(1, 1, 1, dtype=torch.float64), torch.zeros(1, 1, 1), torch.ones(1, dtype=torch.float64)
    assert float(path.point(one, zero, end)) == pytest.approx(1e-5)
    assert float(path.target(one, zero, end)) == pytest.approx(-(1 - 1e-5), abs=1e-12)


def test_noise_is_standard_normal_and_time_runs_from_noise_to_data(seen: dict[str, Tensor]) -> None:
    assert float(seen["noise"].mean()) == pytest.approx(0, abs=0.003)
    assert float(seen["noise"].std()) == pytest.approx(1, abs=0.003)
    first, last = seen["t"].argmin(), seen["t"].argmax()
    torch.testing.assert_close(seen["z"][first], seen["noise"][first], atol=0.01, rtol=0)
    torch.testing.assert_close(seen["z"][last], seen["data"][last], atol=0.01, rtol=0)


def test_latents_are_the_codecs_128_channels_at_50_hz_with_4_codebooks_of_2048() -> None:
    """Of the four codebooks the first alone is used, for audio controls."""
    config = paper_config()
    assert (config.latent_dim, config.frame_rate, config.codebook_size) == (128, 50.0, 2048)
    assert config.codec == "facebook/encodec_32khz"


# section 3.2


def test_equation_3_the_weighted_loss(module: JascoModule, monkeypatch: pytest.MonkeyPatch) -> None:
    """(1 + t) times equation 1."""
    assert MODEL["weighting"] == "increasing"
    monkeypatch.setattr(module, "log", lambda *args, **options: None)
    monkeypatch.setattr(module, "_trainer", SimpleNamespace(global_step=0, log_every_n_steps=10))
    batch = batch_of(16, 4)
    losses, t = module.item_losses(batch, None)
    torch.testing.assert_close(module.training_step(batch, 0), ((1 + t) * losses).mean())


def test_time_is_uniform(seen: dict[str, Tensor]) -> None:
    counts = torch.histc(seen["t"], 10, 0, 1) / DRAWS
    torch.testing.assert_close(counts, torch.full((10,), 0.1), atol=0.012, rtol=0)
    assert len(seen["t"].unique()) > 0.99 * DRAWS  # every sample has its own


@pytest.mark.parametrize(("name", "value"), [("layers", 24), ("heads", 16), ("width", 1024), ("feed_forward", 4096)])
def test_24_layers_16_heads_1024_and_4096(name: str, value: int, network: JascoModel) -> None:
    assert MODEL["config"]["transformer"][name] == value
    layer = network.transformer.layers[0]
    built = {
        "layers": len(network.transformer.layers),
        "heads": layer.self_attention.heads,  # type: ignore[union-attr]
        "width": network.transformer.embed.out_features,
        "feed_forward": layer.feed_in.out_features,  # type: ignore[union-attr]
    }
    assert built[name] == value


def test_unet_skips_concatenate_channels_and_project(network: JascoModel) -> None:
    shapes = [tuple(projection.weight.shape) for projection in network.transformer.skip_projections]  # type: ignore[union-attr]
    assert shapes == [(1024, 2048)] * 12


def test_positions_are_convolutional_and_alibi_is_symmetric(network: JascoModel) -> None:
    positions = network.transformer.positions
    assert positions is not None
    assert (positions.convolution.kernel_size, positions.convolution.groups) == ((128,), 16)  # those of [23], wav2vec 2.0
    bias = network.transformer.attention_bias(5, torch.zeros(1))
    assert bias is not None
    assert bias.shape == (1, 16, 5, 5)
    assert torch.equal(bias, bias.transpose(2, 3))
    assert float(bias[0, 0, 0, 4]) == pytest.approx(-4 * 2**-0.5)  # [24]: slopes 2^(-8h/H)


def test_local_controls_are_concatenated_to_the_input_and_text_is_attended_to(network: JascoModel) -> None:
    """128 latents; chords 16, melody 16, audio 1, drums 2, in/outpainting 128."""
    assert network.transformer.embed.in_features == 128 + 16 + 16 + 1 + 2 + 128
    assert network.transformer.text_projection.in_features == 768  # T5-base
    assert MODEL["config"]["text_encoder"] == "t5-base"
    assert all(layer.cross_attention.query.weight.shape == (1024, 1024) for layer in network.transformer.layers)  # type: ignore[union-attr]


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_330m_parameters_as_we_count_them(network: JascoModel) -> None:
    """The README explains: 330M is what is left without cross-attention and what surrounds the layers."""
    assert count(network) == 444_890_515
    layers, skips = network.transformer.layers, network.transformer.skip_projections
    cross = sum(count(layer.cross_attention) + count(layer.cross_norm) for layer in layers)  # type: ignore[union-attr]
    assert cross == 100_712_448
    assert count(layers) - cross + count(skips) == 327_413_760
    with torch.device("meta"):
        assert count(JascoModel(paper_config(skips=False))) == 419_712_403
        three = {"chords": {}, "melody": {}, "drums": {}}
        assert count(JascoModel(replace(paper_config(), controls=three))) == 444_758_290
        released = paper_config(skips=False, alibi=False, positions="sinusoid", time="text", time_scale=1.0)
        assert count(JascoModel(replace(released, controls=three))) == 404_745_362


# section 3.3


def test_inference_uses_dopri5_from_noise_to_data_with_the_users_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    original = torchdiffeq.odeint

    def odeint(field: Callable[..., Tensor], start: Tensor, span: Tensor, **options: Any) -> Tensor:
        asked.update(options, span=span.tolist())
        return original(field, start, span, **options)

    monkeypatch.setattr(torchdiffeq, "odeint", odeint)
    solver.solve(lambda items: lambda z, t: -z, torch.ones(1, 2, 2), solver.SolverConfig("dopri5", tolerance=1e-3))
    assert (asked["method"], asked["rtol"], asked["atol"]) == ("dopri5", 1e-3, 1e-3)
    assert asked["span"] == pytest.approx([0.0, 1.0], abs=2e-5)


def test_equation_4_multi_source_guidance(network: JascoModel) -> None:
    """(1 - sum a) v(z, t) + sum a_c v(z, t | c) over local, text, and both, in one batch."""
    local = network.controls.names
    values = {frozenset(): 1.0, frozenset(["text"]): 10.0, frozenset(local): 100.0, frozenset(["text", *local]): 1000.0}
    guidance = parse_guidance("text=0.5 local=-0.5 all=1.5", local)

    def under(terms: tuple[Term, ...]) -> Callable[[Tensor, Tensor], Tensor]:
        said = torch.tensor([values[term.conditions] for term in terms])
        return lambda z, t: said[:, None, None].expand(len(z), 1, 1)

    out = float(guided_velocity(under, guidance)(torch.zeros(1, 1, 1), torch.tensor(0.3)))
    assert out == pytest.approx((1 - 1.5) * 1 + 0.5 * 10 - 0.5 * 100 + 1.5 * 1000)


def test_the_best_guidance_is_text_half_local_nothing_both_one_and_a_half() -> None:
    local = list(MODEL["config"]["controls"])
    for guidance in (MODEL["config"]["guidance"], ModelConfig().guidance):
        weights = {term.conditions: term.weight for term in parse_guidance(guidance, local).terms}
        assert weights == {frozenset(["text"]): 0.5, frozenset(["text", *local]): 1.5, frozenset(): -1.0}


# section 4


def test_the_guidance_grid_has_the_papers_eight_combinations() -> None:
    found = set()
    for guidance in guidance_grid():
        parts = dict(part.split("=") for part in guidance.split())
        found.add((float(parts["text"]), float(parts["local"]), float(parts["all"])))
    assert found == {(text, local, both) for text in (0.0, 0.5) for local in (0.0, -0.5) for both in (1.5, 2.0)}
    assert len(guidance_grid()) == 8


def test_dropout_of_20_percent_then_half_and_70_for_painting() -> None:
    dropout = ConditionDropout(**MODEL["dropout"])
    assert (dropout.everything, dropout.each, dropout.exceptions) == (0.2, 0.5, {"painting": 0.7})
    assert dropout == ConditionDropout.of_the_paper(list(MODEL["config"]["controls"]))


def test_500k_steps_of_336_clips_of_ten_seconds() -> None:
    assert TRAINER["max_steps"] == 500_000
    assert PAPER["data"]["batch_size"] == 336  # of an optimiser step, however it is split
    assert PAPER["data"]["seconds"] == 10.0
    assert "accumulate_grad_batches" not in TRAINER


def test_gradients_are_clipped_at_a_norm_of_0_2() -> None:
    assert TRAINER["gradient_clip_val"] == 0.2
    assert TRAINER.get("gradient_clip_algorithm", "norm") == "norm"


def test_precision_is_bf16_mixed() -> None:
    """Not said in the paper; what its hardware would have used."""
    assert TRAINER["precision"] == "bf16-mixed"


@pytest.mark.parametrize(
    ("step", "rate"), [(1, 2e-8), (2_500, 5e-5), (5_000, 1e-4), (250_000, 250_001 / 495_000 * 1e-4), (500_000, 1 / 495_000 * 1e-4)]
)
def test_adam_warms_up_to_1e_4_in_5k_steps_then_decays_linearly(step: int, rate: float, module: JascoModule) -> None:
    """The rate with which the step of that number is made."""
    options = module.configure_optimizers()
    scheduler = options["lr_scheduler"]["scheduler"]
    assert type(options["optimizer"]) is torch.optim.Adam
    assert options["lr_scheduler"]["interval"] == "step"
    assert scheduler.base_lrs[0] * scheduler.lr_lambdas[0](step - 1) == pytest.approx(rate)


# the whole of it


@pytest.mark.slow
def test_one_real_step_of_the_papers_model_at_batch_one_takes_less_than_12_gb() -> None:
    """In a process of its own, whose peak memory is measured: all weights, ten seconds, forward and backward."""
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loss, norm, gigabytes = map(float, done.stdout.split())
    assert 0 < loss < 20
    assert norm > 0
    assert gigabytes < 12


def _one_step() -> None:
    torch.manual_seed(0)
    model = JascoModel(paper_config())
    nn.init.normal_(model.transformer.output.weight, std=0.02)  # which starts at zero, and would keep gradients from all the rest
    nn.init.normal_(model.transformer.time_modulation.weight, std=0.02)  # type: ignore[union-attr]
    frames = round(PAPER["data"]["seconds"] * model.config.frame_rate)
    data, noise, t = torch.randn(1, frames, 128), torch.randn(1, frames, 128), torch.rand(1)
    local = {
        "chords": torch.randint(0, 194, (1, frames)),
        "melody": torch.randint(-1, 53, (1, frames)),
        "drumless": torch.randint(0, 2048, (1, frames)),
        "drums_bandpass": torch.randint(0, 2048, (1, frames)),
        "painting": data.masked_fill(torch.arange(frames)[None, :, None] > 200, float("nan")),
    }
    for control in model.controls.values():
        control.take_codec(torch.randn(2048, 128), torch.zeros(128))  # type: ignore[operator]
    conditions = Conditions(local, torch.randn(1, 24, 768), torch.ones(1, 24, dtype=torch.bool))
    predicted = model(model.path.point(noise, data, t), t, conditions)
    loss = ((1 + t) * flow_matching_loss(predicted, model.path.target(noise, data, t))).mean()
    loss.backward()
    missing = [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert missing == [], missing
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), TRAINER["gradient_clip_val"])
    print(loss.item(), norm.item(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


if __name__ == "__main__":
    _one_step()
