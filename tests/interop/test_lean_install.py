"""Making music where nothing is installed that only training, separation or measuring need, and quickly where it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import audiocraft_files as files
from audiocraft_files import Toy

from jasco_pl.network.model import JascoModel, ModelConfig

ABSENT = ("lightning", "pytorch_lightning", "lightning_fabric", "demucs", "librosa", "tensorboard")
PROGRAM = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
import torch
from jasco_pl import Jasco, Request

for source in sys.argv[1:]:
    jasco = Jasco.from_pretrained(source)
    request = Request("piano", chords="C | G7", bpm=120, melody=torch.arange(20), drums=torch.sin(torch.arange(6400.0))[None])
    (clip,) = jasco.generate(request, seconds=0.4)
    assert torch.isfinite(clip.audio).all() and set(clip.asked) == {{"chords", "melody", "drums"}}
print(sorted(name for name in {ABSENT!r} if name in sys.modules))
"""


def test_no_package_of_training_is_needed_to_make_music(tmp_path: Path, tiny_model_config: ModelConfig, tiny_text_folder: Path) -> None:
    tiny_model_config.text_encoder, tiny_model_config.text_dim = str(tiny_text_folder), 32
    JascoModel(tiny_model_config).save_pretrained(tmp_path / "own")
    files.write(tmp_path / "released", Toy(text_encoder=str(tiny_text_folder)))  # as Meta releases it: converted on the way
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "own"), str(tmp_path / "released")]
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, env=surroundings)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    assert list((tmp_path / "cache" / "jasco_pl" / "released").glob("*/config.json"))


def test_a_plain_clip_imports_nothing_that_takes_seconds(tmp_path: Path, tiny_model_config: ModelConfig, tiny_text_folder: Path) -> None:
    tiny_model_config.text_encoder, tiny_model_config.text_dim = str(tiny_text_folder), 32
    JascoModel(tiny_model_config).save_pretrained(tmp_path / "own")
    slow = (
        "transformers",
        "scipy",
        "sympy",
        "librosa",
        "mir_eval",
        "matplotlib",
        "torchaudio",
        "torchdiffeq",
        "huggingface_hub",
        "lightning",
    )
    program = f"""
import sys
from jasco_pl.cli import main

assert main(sys.argv[1:]) == 0
print(sorted(name for name in (*{slow!r}, "torch._dynamo") if name in sys.modules))
"""
    asked = ["generate", "--checkpoint", str(tmp_path / "own"), "--text", "piano", "--chords", "C G", "--bpm", "120", "--seconds", "0.5"]
    command = [sys.executable, "-c", program, *asked, "-o", str(tmp_path / "clip.wav")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert (tmp_path / "clip.wav").is_file()
