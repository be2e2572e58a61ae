"""Clips that begin at a recording which is partly noised."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from untrained import stir

from jasco_pl.audio.files import read_audio, write_audio
from jasco_pl.audio.levels import to_loudness
from jasco_pl.cli import main
from jasco_pl.codec import BandCodec
from jasco_pl.generation.jasco import Jasco, Request
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.network.text import TextEncoder
from jasco_pl.system.errors import UserError

RATE, HOP = 32000, 640
SOLVERS = [
    SolverConfig("euler", steps=4),
    SolverConfig("midpoint", steps=3, times="fitted"),
    SolverConfig("heun", steps=2),
    SolverConfig("dopri5", tolerance=1e-3),
]


@pytest.fixture
def jasco(tiny_model_config: ModelConfig, tiny_codec_folder: Path, offline_encoder: TextEncoder) -> Jasco:
    torch.manual_seed(0)
    tiny_model_config.times = (0.0, 0.1, 0.4, 1.0)
    codec = BandCodec.from_pretrained(tiny_codec_folder)
    model = JascoModel(tiny_model_config, codec.latent_mean, codec.latent_std, codec.normalized_codebook, codec.normalized_silence)
    stir(model)
    return Jasco(model, codec, offline_encoder)


def tone(hertz: float, seconds: float = 1.0, level: float = 0.3) -> torch.Tensor:
    return level * torch.sin(2 * torch.pi * hertz * torch.arange(round(seconds * RATE)) / RATE)[None]


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: solver.method)
def test_from_the_recording_itself_to_a_clip_of_its_own(jasco: Jasco, solver: SolverConfig) -> None:
    def latents(hertz: float, variation: float) -> torch.Tensor:
        return jasco.generate(Request("slow piano", vary=tone(hertz), variation=variation, seed=3), solver=solver)[0].latents

    heard = jasco.codec.encode(to_loudness(tone(440), RATE, -20.0)[0][None])[0]
    torch.testing.assert_close(latents(440, 0.0), heard, atol=1e-3, rtol=0)
    torch.testing.assert_close(latents(440, 1.0), latents(880, 1.0), atol=1e-4, rtol=0)
    distances = [float((latents(440, strength) - heard).square().mean()) for strength in (0.0, 0.2, 0.5, 1.0)]
    assert distances == sorted(distances)


def test_it_takes_the_steps_that_are_left(jasco: Jasco) -> None:
    def evaluations(variation: float) -> int:
        return jasco.generate(Request(vary=tone(440), variation=variation), solver=SolverConfig("midpoint", steps=10, times="uniform"))[
            0
        ].evaluations

    assert [evaluations(strength) for strength in (0.0, 0.3, 0.35, 1.0)] == [0, 6, 8, 20]


def test_a_variation_does_not_depend_on_its_batch(jasco: Jasco) -> None:
    requests = [
        Request("slow piano", seed=1),
        Request("slow piano", vary=tone(440), variation=0.5, seed=1),
        Request("slow piano", vary=tone(440), variation=0.5, seed=2),
        Request("slow piano", vary=tone(880), variation=0.5, seed=1),
        Request("slow piano", vary=tone(880), variation=0.2, seed=1),
    ]
    shares: list[float] = []
    together = jasco.generate(requests, solver=SOLVERS[0], progress=shares.append)
    assert [clip.request for clip in together] == requests
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    for request, clip in zip(requests, together, strict=True):
        torch.testing.assert_close(jasco.generate(request, solver=SOLVERS[0])[0].latents, clip.latents, atol=1e-4, rtol=0)
    apart = [float((one.latents - other.latents).abs().max()) for index, one in enumerate(together) for other in together[:index]]
    assert min(apart) > 1e-2


def test_the_noise_is_not_that_of_the_take_itself(jasco: Jasco) -> None:
    """Where the flow is straight, the take's own noise would lead back to the take."""
    with torch.no_grad():
        jasco.model.transformer.output.weight.zero_()  # the flow stands still: what comes out is where it began
    plain, varied = (
        jasco.model.normalize(jasco.generate(request)[0].latents)
        for request in (Request(seed=5), Request(vary=tone(440), variation=1, seed=5))
    )
    assert float(plain.flatten() @ varied.flatten()) / plain.numel() < 0.1


def test_the_clip_is_as_long_as_what_it_varies(jasco: Jasco, tmp_path: Path) -> None:
    write_audio(tmp_path / "short.flac", tone(440, 0.7), RATE)
    assert jasco.generate(Request(vary=tmp_path / "short.flac"), solver=SOLVERS[0])[0].audio.shape == (1, 35 * HOP)
    (long,) = jasco.generate(Request(vary=tone(440, 3.0)), solver=SOLVERS[0])
    assert long.audio.shape == (1, 50 * HOP)  # no longer than the model has learnt, unless that is asked for
    assert "varied from second 0 to 1 of the recording" in long.notes[0]
    with pytest.raises(UserError, match=r"made together are equally long, and these are 1 and 0.7 s"):
        jasco.generate([Request(vary=tone(440)), Request(vary=tone(440, 0.7))])


@pytest.mark.parametrize(
    ("asked", "seconds", "why"),
    [
        ({"vary": tone(440, 0.5)}, 1.0, "lasts 0.50 s and the clip 1 s"),
        ({"vary": 0 * tone(440)}, None, "to vary is silent"),
        ({"vary": tone(440), "variation": 1.5}, None, "between 0 .* and 1 .*, not at 1.5"),
        ({"variation": 0.3}, None, r"a variation \(0.3\) of nothing"),
        ({"vary": Path("absent.wav")}, None, "absent.wav' does not exist"),
    ],
)
def test_what_cannot_be_varied(jasco: Jasco, asked: dict[str, object], seconds: float | None, why: str) -> None:
    with pytest.raises(UserError, match=why):
        jasco.generate(Request(**asked), seconds=seconds)


def test_a_take_is_varied_with_its_settings(jasco: Jasco, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jasco.save_pretrained(tmp_path / "model")
    how = ["--device", "cpu", "--precision", "fp32", "-o", str(tmp_path / "out")]
    assert (
        main(
            [
                "generate",
                "--text",
                "calm",
                "--chords",
                "C G",
                "--checkpoint",
                str(tmp_path / "model"),
                "--steps",
                "2",
                "--seconds",
                "0.8",
                *how,
            ]
        )
        == 0
    )
    take = tmp_path / "out" / "calm-seed0.json"
    assert main(["generate", "--vary", str(take), "--variation", "0.5", "--chords", "Am F", "-n", "2", *how]) == 0
    told = [json.loads((tmp_path / "out" / name).read_text()) for name in ("calm-seed0-2.json", "calm-seed1.json")]
    for number, one in enumerate(told):
        assert {key: one["request"][key] for key in ("text", "chords", "variation", "seed")} == {
            "text": "calm",
            "chords": "Am F",
            "variation": 0.5,
            "seed": number,
        }
        assert one["request"]["vary"] == str(take.with_suffix(".wav"))
        assert one["seconds"] == 0.8
        assert "vary" in one["parts"]
    capsys.readouterr()
    assert main(["generate", "--from", str(take.with_name("calm-seed1.json")), "--device", "cpu", "-o", str(tmp_path / "again")]) == 0
    first, second = (read_audio(tmp_path / folder / "calm-seed1.wav", RATE) for folder in ("out", "again"))
    torch.testing.assert_close(first, second, atol=2e-4, rtol=0)
    take.with_suffix(".wav").unlink()
    assert main(["generate", "--vary", str(take), *how]) == 2
    assert "lies no sound of that take" in capsys.readouterr().err
