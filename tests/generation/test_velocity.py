from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from recorded_graph import RecordedGraph
from untrained import stir

from jasco_pl.codec import BandCodec
from jasco_pl.generation import velocity as module
from jasco_pl.generation.jasco import Jasco, Request
from jasco_pl.generation.velocity import KEPT, Velocity
from jasco_pl.network.flow.guidance import parse_guidance
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.network.text import TextEncoder
from jasco_pl.network.transformer import Context

SOLVERS = [SolverConfig("midpoint", steps=3), SolverConfig("heun", steps=2), SolverConfig("dopri5", tolerance=1e-2)]
REQUESTS = [Request("slow piano", chords="C G", seed=1), Request("driving rock with heavy drums in E minor", chords="Am F", seed=2)]


@pytest.fixture
def checkpoint(tiny_model_config: ModelConfig, tiny_codec_folder: Path, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    codec = BandCodec.from_pretrained(tiny_codec_folder)
    model = JascoModel(tiny_model_config, codec.latent_mean, codec.latent_std, codec.normalized_codebook, codec.normalized_silence)
    stir(model)
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def contexts(model: JascoModel, frames: int, count: int) -> list[Context]:
    terms, made = parse_guidance("all=2", model.controls.names).terms, []
    for number in range(count):
        conditions = model.null_conditions(1, frames)
        conditions.local["chords"][:] = number
        made.append(model.context(replace(conditions, text=torch.full_like(conditions.text, number)), terms, frames))
    return made


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """The shapes that were captured, in turn."""
    found: list[torch.Size] = []

    class Counted(module._Replayed):
        def __init__(self, model: JascoModel, z: torch.Tensor, *rest: Any) -> None:
            found.append(z.shape)
            super().__init__(model, z, *rest)

    monkeypatch.setattr(module, "_Replayed", Counted)
    return found


@torch.inference_mode()
def test_fields_of_one_shape_take_turns_in_the_same_buffers(checkpoint: Path, captured: list[torch.Size]) -> None:
    model = JascoModel.from_pretrained(checkpoint)
    replayed, plain = Velocity(model, graphs=True), Velocity(model)
    first, second = contexts(model, 10, 2)
    points = [(torch.randn(2, 10, 128), torch.full((2,), time)) for time in (0.0, 0.3, 0.9)]
    under = [(replayed.under(context), plain.under(context)) for context in (first, second)]
    results = [(ours(*point), theirs(*point)) for point in points for ours, theirs in under]
    for ours, theirs in results:  # compared when all have been computed: none was overwritten
        assert torch.equal(ours, theirs)
    assert not torch.equal(results[0][0], results[1][0])
    assert captured == [(2, 10, 128)]


@torch.inference_mode()
def test_nothing_that_changes_is_baked_into_a_graph(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Captured as on a GPU, on the CPU: z, flow time and conditions are read anew at every replay."""
    graphs: list[RecordedGraph] = []

    class Captured(module._Replayed):
        def __init__(self, *rest: Any) -> None:
            super().__init__(*rest)
            self._graph = RecordedGraph(self._evaluate)  # type: ignore[assignment]
            graphs.append(self._graph)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_Replayed", Captured)
    model = JascoModel.from_pretrained(checkpoint)
    velocity = Velocity(model, graphs=True)
    for context in contexts(model, 10, 3):
        under = velocity.under(context)
        for time in (0.0, 0.3, 0.9):
            z, t = torch.randn(2, 10, 128), torch.full((2,), time)
            torch.testing.assert_close(under(z, t), model.velocity(z, t, context))
    assert [graph.replays for graph in graphs] == [9]


@torch.inference_mode()
def test_the_last_few_shapes_are_kept(checkpoint: Path, captured: list[torch.Size]) -> None:
    model = JascoModel.from_pretrained(checkpoint)
    velocity = Velocity(model, graphs=True)
    lengths = [*range(10, 10 + 2 * KEPT, 2), 10, 30, 10, 12]  # 30 takes the place of 12, which was used longest ago
    for frames in lengths:
        (context,) = contexts(model, frames, 1)
        z, t = torch.randn(2, frames, 128), torch.zeros(2)
        assert torch.equal(velocity.under(context)(z, t), model.velocity(z, t, context))
    assert [shape[1] for shape in captured] == [*range(10, 10 + 2 * KEPT, 2), 30, 12]


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: solver.method)
def test_clips_are_the_same_through_buffers_that_stay(
    checkpoint: Path, solver: SolverConfig, captured: list[torch.Size], offline_encoder: TextEncoder, tiny_codec_folder: Path
) -> None:
    model, codec = JascoModel.from_pretrained(checkpoint), BandCodec.from_pretrained(tiny_codec_folder)
    plain, replayed = (Jasco(model, codec, offline_encoder, graphs) for graphs in (False, True))
    for _ in range(2):  # the second time other requests' conditions are in the buffers
        for request in REQUESTS:
            (expected,), (clip,) = plain.generate(request, solver=solver), replayed.generate(request, solver=solver)
            assert torch.equal(clip.latents, expected.latents)
            assert clip.evaluations == expected.evaluations
    assert len(captured) == 2  # two lengths of text


def test_the_flow_is_float32_whatever_the_weights(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[torch.dtype] = set()
    original = JascoModel.velocity

    def watch(self: JascoModel, z: torch.Tensor, t: torch.Tensor, context: Context) -> torch.Tensor:
        out = original(self, z, t, context)
        seen.update({z.dtype, t.dtype, out.dtype})
        return out

    monkeypatch.setattr(JascoModel, "velocity", watch)
    exact, half = (Jasco.from_pretrained(checkpoint, precision=precision) for precision in ("fp32", "bf16"))
    assert (exact.describe()["precision"], half.describe()["precision"]) == ("fp32", "bf16")
    for solver in SOLVERS:
        (expected,), (clip,) = exact.generate(REQUESTS[0], solver=solver), half.generate(REQUESTS[0], solver=solver)
        assert clip.latents.dtype == torch.float32
        difference = float((clip.latents - expected.latents).norm() / expected.latents.norm())
        assert 1e-5 < difference < 0.02
    assert seen == {torch.float32}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need an NVIDIA GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: solver.method)
def test_a_graph_computes_what_its_kernels_do_one_by_one(
    checkpoint: Path, solver: SolverConfig, precision: Any, captured: list[torch.Size]
) -> None:
    jasco = Jasco.from_pretrained(checkpoint, "cuda", precision)
    assert jasco.velocity.graphs
    plain = Jasco(jasco.model, jasco.codec, jasco.text_encoder)
    for requests in (REQUESTS[:1], REQUESTS[1:], REQUESTS, REQUESTS[:1]):
        for expected, clip in zip(plain.generate(requests, solver=solver), jasco.generate(requests, solver=solver), strict=True):
            torch.testing.assert_close(clip.latents, expected.latents, atol=1e-4, rtol=1e-4)
    alone, both = 3, 6  # rows of one clip and of two, under the guidance of two sets and nothing
    assert {shape[0] for shape in captured} == ({alone} if solver.method == "dopri5" else {alone, both})
    assert len(captured) == len(set(captured))  # prompts of other lengths found the same graph
