"""Requests whose text changes in the course of a clip."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from untrained import stir

from jasco_pl.cli import main
from jasco_pl.codec import BandCodec
from jasco_pl.generation.jasco import Jasco, Request
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.network.text import TextEncoder
from jasco_pl.system.errors import UserError

EULER = SolverConfig("euler", steps=3)
TIMED = "0-0.4: slow piano; 0.4-: driving rock with heavy drums"


@pytest.fixture
def painter(tiny_model_config: ModelConfig, tiny_codec_folder: Path, offline_encoder: TextEncoder) -> Jasco:
    """An untrained model of one second that goes on window by window."""
    torch.manual_seed(0)
    codec = BandCodec.from_pretrained(tiny_codec_folder)
    config = replace(tiny_model_config, controls={"chords": {}, "painting": {}})
    model = JascoModel(config, codec.latent_mean, codec.latent_std, codec.normalized_codebook, codec.normalized_silence)
    stir(model)
    return Jasco(model, codec, offline_encoder)


def test_a_text_for_the_whole_clip_is_an_ordinary_one_bit_for_bit(painter: Jasco) -> None:
    plain, whole = (painter.generate(Request(text, seed=1), solver=EULER)[0] for text in ("slow piano", "0-: slow piano"))
    assert torch.equal(plain.latents, whole.latents)
    assert (plain.notes, whole.notes) == ([], ["text over time: 0-1 s 'slow piano'"])


def test_it_does_not_depend_on_the_batch_nor_the_batch_on_it(painter: Jasco) -> None:
    requests = [
        Request("slow piano", chords="C G", seed=1),
        Request(TIMED, seed=2),
        Request(seed=3),
        Request([(0.5, None, "flute")], seed=4),
    ]
    together = painter.generate(requests, seconds=1.3, solver=EULER)
    for request, clip in zip(requests, together, strict=True):
        torch.testing.assert_close(painter.generate(request, seconds=1.3, solver=EULER)[0].latents, clip.latents, atol=1e-4, rtol=0)
    assert together[3].notes == ["text over time: 0-0.5 s none, 0.5-1.3 s 'flute'"]
    other = painter.generate(replace_text(requests[1], TIMED.replace("slow piano", "flute")), seconds=1.3, solver=EULER)[0]
    assert float((other.latents - together[1].latents).abs().max()) > 1e-2


def replace_text(request: Request, text: str) -> Request:
    return Request(**{**vars(request), "text": text})


def test_each_window_of_a_long_clip_is_told_what_holds_in_it(painter: Jasco) -> None:
    """One second has 25 tokens of two frames; a text of 2.2 s has windows from frames 0, 30 and 60 on."""
    seen: list[Tensor] = []
    painter.model.transformer.layers[0].cross_attention.register_forward_pre_hook(  # type: ignore[union-attr]
        lambda module, args: seen.append(args[2][:, 0])
    )
    painter.generate(Request("0-0.8: piano; 1-: band", seed=1), 2.2, "all=1", SolverConfig("euler", steps=1))
    assert len(seen) == 3
    words = seen[0].shape[-1] - 1  # [CLS] piano [SEP], nothing, [CLS] band [SEP]
    assert words == 6
    for first, bias in zip((0, 30, 60), seen, strict=True):
        frames = first + 2 * torch.arange(25)
        told = [bias[0, :, :3].all(dim=1), bias[0, :, 3], bias[0, :, 4:].all(dim=1)]
        for found, expected in zip(told, (frames < 40, (frames >= 40) & (frames < 50), frames >= 50), strict=True):
            assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0-0.5: piano; 0.4-: band", "'0-0.5: piano' and '0.4-: band' both hold at 0.4 s"),
        ("0-0.5: piano; band", "the part 'band' of a text over time does not say when it holds"),
        ("1980-1989: synths", "'1980-1989: synths' holds for none of the clip's 1 seconds; one for the whole clip must not begin"),
        ([(0, "piano")], r"list of \(start, end, text without ';'\) in seconds"),
    ],
)
def test_what_cannot_be_read_is_said_before_anything_is_computed(painter: Jasco, text: str, message: str) -> None:
    painter.model.transformer.register_forward_pre_hook(lambda module, args: pytest.fail("the network was evaluated"))
    with pytest.raises(UserError, match=message) as caught:
        painter.generate([Request(), Request(text)])
    assert "\n" not in str(caught.value)


def test_the_command_line_names_files_and_writes_down_how_it_was_read(
    painter: Jasco, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    painter.model.save_pretrained(tmp_path / "model")
    common = ["generate", "--checkpoint", str(tmp_path / "model"), "--solver", "euler", "--steps", "1", "-o", str(tmp_path / "out")]
    assert main([*common, "--text", TIMED]) == 0
    assert "note: text over time: 0-0.4 s 'slow piano', 0.4-1 s 'driving rock with heavy drums'" in capsys.readouterr().out
    settings = json.loads((tmp_path / "out" / "0-0-4-slow-piano-0-4-driving-rock-with-h-seed0.json").read_text())
    assert settings["request"]["text"] == TIMED
    assert main([*common, "--text", "0-0.5: piano; 0.2-: band"]) == 2
    assert "stretches must not overlap" in capsys.readouterr().err
