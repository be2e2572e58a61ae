"""`jasco generate --from clip.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import smf_tune
import torch
from untrained import stir

from jasco_pl.audio.files import write_audio
from jasco_pl.cli import main
from jasco_pl.codec import BandCodec
from jasco_pl.network.model import JascoModel, ModelConfig

Said = pytest.CaptureFixture[str]


@pytest.fixture
def made(tiny_model_config: ModelConfig, tiny_codec_folder: Path, offline_encoder: Any, tmp_path: Path, capsys: Said) -> Path:
    """The JSON of a clip of a tiny model with a tune and a drum loop."""
    torch.manual_seed(0)
    codec = BandCodec.from_pretrained(tiny_codec_folder)
    model = JascoModel(tiny_model_config, codec.latent_mean, codec.latent_std, codec.normalized_codebook, codec.normalized_silence)
    stir(model)
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "tune.mid").write_bytes(smf_tune.TUNE)
    write_audio(tmp_path / "loop.wav", 0.3 * torch.randn(1, 16000), 32000)
    asked = ["--chords", "C G", "--melody", str(tmp_path / "tune.mid"), "--drums", str(tmp_path / "loop.wav"), "--bpm", "120"]
    how = ["--checkpoint", str(tmp_path / "model"), "--steps", "2", "--seed", "4", "--guidance", "all=2", "text=0.5"]
    how += ["--seconds", "0.6"]
    assert main(["generate", "--text", "静かな", *asked, *how, "--precision", "fp32", "--device", "cpu", "-o", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    return tmp_path / "out" / "静かな-seed4.json"


def again(path: Path, *more: str) -> int:
    return main(["generate", "--from", str(path), "--device", "cpu", "-o", str(path.parent), *more])


def test_a_clip_is_made_again_until_a_part_is_another(made: Path, tmp_path: Path, capsys: Said) -> None:
    assert again(made) == 0
    assert "the sound is the same, sample by sample" in capsys.readouterr().out
    assert made.with_suffix(".wav").read_bytes() == made.with_name("静かな-seed4-2.wav").read_bytes()
    first, second = (json.loads(path.read_text()) for path in (made, made.with_name("静かな-seed4-2.json")))
    assert first == second
    assert first["solver"]["times"] == "uniform"  # what the model has
    assert {"checkpoint", "codec", "text encoder", "melody", "drums"} == set(first["parts"])
    # the tune lies beside the settings by now; the clip itself may be named
    (tmp_path / "tune.mid").rename(made.parent / "tune.mid")
    assert again(made.with_suffix(".wav"), "--midi") == 0
    assert made.with_name("静かな-seed4-3.mid").exists()
    written = sorted(tmp_path.rglob("*"))
    for name, path, content in (
        ("melody", made.parent / "tune.mid", smf_tune.TUNE[:-9] + b"\x00\xff\x2f\x00"),
        ("drums", tmp_path / "loop.wav", None),
        ("checkpoint", tmp_path / "model" / "config.json", (tmp_path / "model" / "config.json").read_bytes() + b" "),
    ):
        before = path.read_bytes()
        if content is None:
            path.write_bytes(before[:-2] + b"\x01\x02")
        else:
            path.write_bytes(content)
        capsys.readouterr()
        assert again(made) == 2
        assert f"the clip cannot be made again: its {name} is not what it was" in capsys.readouterr().err
        path.write_bytes(before)
    assert sorted(tmp_path.rglob("*")) == written


def test_another_sound_is_said(made: Path, capsys: Said) -> None:
    told = json.loads(made.read_text())
    made.write_text(json.dumps({**told, "sound": "00000000", "device": "cuda"}))
    assert again(made) == 0
    assert "note: the sound is not the same sample by sample (device cuda then, cpu now)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--chords", "C"], "leave out --chords"),
        (["--melody-from", "3"], "leave out --melody-from"),
        (["-n", "2"], "leave out -n"),
        (["--seed", "9"], "leave out --seed"),
        (["--steps", "4"], "leave out --steps"),
    ],
)
def test_nothing_else_may_be_asked_for(tmp_path: Path, flags: list[str], words: str, capsys: Said) -> None:
    assert again(tmp_path / "clip.json", *flags) == 2
    assert f"--from makes a clip again as it was made: {words}." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file"),
        (b"", "is not the JSON that `jasco generate` or `jasco edit` writes"),
        (b"[]", "is not the JSON"),
        (b" " * 9_000_000 + b"{}", "is not the JSON"),
        (b'{"request": {}}', "is not the JSON"),
        ({"request": {"tempo": 3}}, "was asked for 'tempo', which this version does not know"),
        ({"request": {"text": 3}}, "say 3 for text"),
        ({"request": {"bpm": "fast"}}, "say 'fast' for bpm"),
        ({"request": {"melody": ["tune"]}}, "for melody, which it cannot be"),
        ({"request": {"seed": 1e300}}, "for seed, which it cannot be"),
        ({"seconds": True}, "say True for seconds"),
        ({"solver": {"method": "magic"}}, "solver 'magic' is unknown"),
        ({"solver": {"times": "late"}}, "times 'late' are unknown"),
        ({"request": {"melody": "nowhere.mid"}}, "'nowhere.mid' does not exist"),
    ],
)
def test_settings_that_are_none_are_refused(tmp_path: Path, content: Any, words: str, capsys: Said) -> None:
    whole = {"request": {}, "checkpoint": "checkpoints/jasco-mini", "seconds": 1.0, "guidance": "all=2", "solver": {}, "precision": "fp32"}
    if content is not None:
        (tmp_path / "clip.json").write_bytes(content if isinstance(content, bytes) else json.dumps({**whole, **content}).encode())
    assert again(tmp_path / "clip.json") == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1
