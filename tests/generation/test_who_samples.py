from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from untrained import stir

from jasco_pl.cli import main
from jasco_pl.codec import BandCodec
from jasco_pl.generation.jasco import Jasco, Request
from jasco_pl.generation.painting import Made
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.network.student import StudentConfig, is_student_weight
from jasco_pl.network.student_file import save_student
from jasco_pl.network.text import TextEncoder
from jasco_pl.system.errors import UserError

FAST = SolverConfig.of("fast", fitted=True)
STUDENT = StudentConfig(times=[0.0, 0.1, 0.4, 1.0], rank=2, weights=(1.0, 4.0))


@pytest.fixture
def folder(tiny_model_config: ModelConfig, tiny_codec_folder: Path, offline_encoder: TextEncoder, tmp_path: Path) -> Path:
    """A checkpoint with a student that says something else than its teacher."""
    torch.manual_seed(0)
    codec = BandCodec.from_pretrained(tiny_codec_folder)
    config = replace(
        tiny_model_config, guidance="all=2.5", text_encoder=offline_encoder.name, text_dim=offline_encoder.dim, student=STUDENT
    )
    model = JascoModel(config, codec.latent_mean, codec.latent_std, codec.normalized_codebook, codec.normalized_silence)
    stir(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if is_student_weight(name):
                parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path / "checkpoint")
    save_student(model, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_fast_takes_the_student_in_its_own_steps_and_one_row(folder: Path) -> None:
    jasco = Jasco.from_pretrained(folder, precision="fp32")
    asked = Request("piano", chords="C G", seed=1)
    rows = []

    def counted(model: JascoModel):
        inner = model.velocity

        def velocity(z, t, context):
            rows.append(len(z))
            return inner(z, t, context)

        model.velocity = velocity

    counted(jasco.student.velocity.model)
    (clip,) = jasco.generate(asked, solver=FAST)
    assert (clip.evaluations, rows) == (3, [1, 1, 1])
    (stronger,) = jasco.generate(asked, solver=FAST, guidance="all=4")
    (usual,) = jasco.generate(asked, solver=SolverConfig(steps=4))
    assert len(rows) == 6
    assert not any("student" in note for one in (clip, stronger, usual) for note in one.notes)
    assert (clip.latents - stronger.latents).abs().max() > 1e-3
    assert (clip.latents - usual.latents).abs().max() > 1e-3
    together = jasco.generate([asked, Request(seed=2)], solver=FAST)
    torch.testing.assert_close(together[0].latents, clip.latents, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("guidance", ["all=2 text=1", "all=7", "text=2"])
def test_under_another_guidance_fast_is_what_it_was_with_a_note(folder: Path, guidance: str) -> None:
    jasco = Jasco.from_pretrained(folder, precision="fp32")
    (clip,) = jasco.generate(Request(seed=1), solver=FAST, guidance=guidance)
    assert [note for note in clip.notes if "student knows all=W alone, with W from 1 to 4" in note]
    assert clip.evaluations == 8
    (expected,) = jasco.generate(Request(seed=1), solver=replace(FAST, student=False), guidance=guidance)
    assert torch.equal(clip.latents, expected.latents)
    assert not expected.notes


def test_a_variation_begins_where_no_student_does(folder: Path) -> None:
    jasco = Jasco.from_pretrained(folder, precision="fp32")
    sound = 0.3 * torch.sin(2 * torch.pi * 440 * torch.arange(32000) / 32000)[None]
    asked = Request("piano", seed=1, vary=sound, variation=0.5)
    (clip,) = jasco.generate(asked, solver=FAST)
    assert any("student begins at noise alone" in note for note in clip.notes)
    (expected,) = jasco.generate(asked, solver=replace(FAST, student=False))
    assert torch.equal(clip.latents, expected.latents)


def test_a_checkpoint_without_a_student_is_fast_as_before(folder: Path) -> None:
    (folder / "student.json").unlink()
    jasco = Jasco.from_pretrained(folder, precision="fp32")
    (clip,) = jasco.generate(Request(seed=1), solver=FAST)
    assert (clip.evaluations, clip.notes) == (8, [])


def test_a_damaged_student_is_a_sentence_when_it_is_asked_for(folder: Path) -> None:
    (folder / "student.safetensors").write_bytes(b"not weights")
    jasco = Jasco.from_pretrained(folder, precision="fp32")
    assert len(jasco.generate(Request(seed=1), solver=SolverConfig(steps=2))) == 1
    with pytest.raises(UserError, match=r"cannot read the weights '.*student.safetensors'"):
        jasco.generate(Request(seed=1), solver=FAST)


def test_the_student_is_saved_with_its_model(folder: Path, tmp_path: Path) -> None:
    jasco = Jasco.from_pretrained(folder, precision="fp32")
    jasco.save_pretrained(tmp_path / "copy")
    copy = Jasco.from_pretrained(tmp_path / "copy", precision="fp32")
    one, other = (each.generate(Request(seed=1), solver=FAST)[0].latents for each in (jasco, copy))
    assert torch.equal(one, other)


def test_a_clip_of_the_student_is_made_again(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["generate", "--checkpoint", str(folder), "--precision", "fp32", "--device", "cpu"]
    assert main([*words, "--quality", "fast", "--chords", "C G", "-o", str(tmp_path / "one")]) == 0
    (told,) = (tmp_path / "one").glob("*.json")
    data = json.loads(told.read_text())
    assert data["solver"] == {"method": "euler", "steps": 3, "tolerance": 1e-5, "times": "fitted", "student": True}
    assert data["evaluations"] == 3
    assert main(["generate", "--from", str(told), "--device", "cpu", "-o", str(tmp_path / "two")]) == 0
    assert "the sound is the same" in capsys.readouterr().out
    assert main([*words, "--quality", "fast", "--guidance", "all=2", "text=1", "-o", str(tmp_path / "three")]) == 0
    (told,) = (tmp_path / "three").glob("*.json")
    assert json.loads(told.read_text())["solver"]["student"] is False
    assert "student knows all=W alone" in capsys.readouterr().out


def test_passes_count_the_rows_that_were_evaluated(folder: Path) -> None:
    jasco, euler = Jasco.from_pretrained(folder, precision="fp32"), SolverConfig("euler", steps=4, times="uniform")
    conditions = jasco.conditions(["piano", "drums"], [{}, {}], jasco.frames(1.0))

    def sampled(guidance: str, solver: SolverConfig = euler) -> Made:
        return jasco.sample(conditions, [1, 2], guidance, solver)

    whole, later, never = sampled("all=3"), sampled("all=3 from=0.5"), sampled("all=1")
    assert (whole.evaluations, whole.passes) == (4, 8)
    assert (later.evaluations, later.passes) == (4, 1 + 1 + 2 + 2)
    assert (never.evaluations, never.passes) == (4, 4)
    assert torch.equal(sampled("all=3 from=0").latents, whole.latents)
    assert torch.equal(sampled("all=1 from=0.5").latents, never.latents)
    assert (later.latents - whole.latents).abs().max() > 1e-3
    adaptive = sampled("all=3", SolverConfig("dopri5", tolerance=1e-2))
    assert adaptive.evaluations < adaptive.passes <= 2 * adaptive.evaluations


def test_a_student_is_for_the_guidance_that_it_has_learnt(folder: Path) -> None:
    written = json.loads((folder / "student.json").read_text())
    (folder / "student.json").write_text(json.dumps(written | {"over": "text", "start": 0.05}))
    jasco = Jasco.from_pretrained(folder, precision="fp32")
    assert jasco.sampler("all=2.5 over=text from=0.05", FAST).weight == 2.5
    assert jasco.sampler("all=3 over=text from=0.05", FAST).weight == 3
    assert jasco.sampler("all=1", FAST).weight == 1  # which is the same over and from whatever
    for other in ("all=2.5", "all=2.5 over=text", "all=2.5 from=0.05", "all=5 over=text from=0.05"):
        sampler = jasco.sampler(other, FAST)
        assert sampler.weight is None
        assert "knows all=W over=text from=0.05 alone, with W from 1 to 4" in str(sampler.note)


def test_over_the_text_controls_alone_are_exaggerated_and_a_text_alone_over_nothing(folder: Path) -> None:
    jasco, euler = Jasco.from_pretrained(folder, precision="fp32"), SolverConfig("euler", steps=3)
    frames = jasco.frames(1.0)
    chords = np.full(frames, 7)
    chords[: frames // 2] = jasco.model.controls.by_name["chords"].null
    both = jasco.conditions(["piano", "drums"], [{"chords": chords}, {}], frames)
    latents = jasco.sample(both, [1, 2], "all=2.5 over=text", euler).latents

    def alone(item: int, guidance: str) -> torch.Tensor:
        return jasco.sample(both.items(slice(item, item + 1)), [item + 1], guidance, euler).latents[0]

    torch.testing.assert_close(latents[0], alone(0, "all=2.5 text=-1.5"), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(latents[1], alone(1, "all=2.5"), atol=1e-4, rtol=1e-4)
    assert (latents[0] - alone(0, "all=2.5")).abs().max() > 1e-3
    assert (latents[1] - alone(1, "all=2.5 text=-1.5")).abs().max() > 1e-3


def test_what_is_kept_of_a_recording_and_no_text_are_nothing_that_is_asked_for(folder: Path) -> None:
    jasco = Jasco.from_pretrained(folder, precision="fp32")
    frames, controls = jasco.frames(1.0), jasco.model.controls
    melody = np.full(frames, 20)
    silent, told = jasco.conditions(["", "piano"], [{"melody": melody}] * 2, frames), jasco.conditions(["piano"], [{}], frames)
    seen = controls.reference(silent, frozenset({"melody"}))
    assert controls["melody"].given(seen.local["melody"]).tolist() == [False, True]
    assert not controls.reference(told, frozenset({"text"})).text.any()
