from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pooch import file_hash
from torch import Tensor

from jasco_pl.metrics import embedders
from jasco_pl.metrics.embedders import load_embedder
from jasco_pl.metrics.embedders.vggish import URL, VggishNetwork, mel_matrix, vggish_patches
from jasco_pl.system.errors import UserError

RATE = 16000


def sweep(seconds: float = 1.5) -> Tensor:
    time = torch.arange(int(seconds * RATE), dtype=torch.float64) / RATE
    return (0.3 * torch.sin(2 * math.pi * (200 + 1500 * time) * time) + 0.01 * torch.sin(2 * math.pi * 5000 * time))[None]


def random_weights(path: Path) -> Path:
    """A file with all of VGGish's names and shapes: small random convolutions, constants where 288 MB would be needed."""
    draw = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in VggishNetwork().state_dict().items()}
    torch.save(
        {
            name: torch.randn(shape, generator=draw) * 0.1 if name.startswith("features") else torch.full((1,), 1e-3).expand(shape)
            for name, shape in shapes.items()
        },
        path,
    )
    return path


def test_patches_are_those_of_the_official_code() -> None:
    """Recorded from mel_features.py of tensorflow/models on the same windows (audioset_model.py of google-research)."""
    patches = vggish_patches(sweep())[0]
    assert patches.shape == (2, 96, 64)
    golden = [
        [2.0836, -0.0451, -4.3129, -4.5879, -4.6001],
        [-4.5371, -4.5356, -3.9764, -4.2607, -4.5959],
        [-4.6036, -4.6025, -4.6015, -4.5177, -4.5446],
    ]
    found = [patches[window, frame, [0, 7, 20, 40, 63]].tolist() for window, frame in ((0, 0), (0, 50), (1, 95))]
    np.testing.assert_allclose(found, golden, atol=1e-4)


def test_loudness_does_not_matter_down_to_a_tenth() -> None:
    assert torch.allclose(vggish_patches(sweep() * 0.5), vggish_patches(sweep()), atol=1e-5)
    assert not torch.allclose(vggish_patches(sweep() * 0.1), vggish_patches(sweep()), atol=0.1)


def test_bands_are_triangles_between_the_edges() -> None:
    matrix = mel_matrix()
    assert matrix.shape == (257, 64)
    assert (matrix[0] == 0).all()
    assert matrix.max() <= 1
    inside = torch.arange(257) * RATE / 512
    assert (matrix[(inside < 125) | (inside > 7500)] == 0).all()


def test_embeds_batches_from_a_file_under_a_name_of_its_own(tmp_path: Path) -> None:
    embedder = load_embedder("vggish", str(random_weights(tmp_path / "mine.pth")))
    assert embedder.name == "vggish:mine"
    clips = torch.stack([sweep(2.0), sweep(2.0).flip(-1)]).float()
    both = embedder(clips, RATE)
    assert both.shape == (2, 3, 128)
    assert torch.allclose(both[1:], embedder(clips[1], RATE), atol=1e-4, rtol=1e-3)
    with pytest.raises(UserError, match="too short"):
        embedder(clips[..., : RATE // 2], RATE)


def test_missing_weights_are_one_sentence_with_the_remedies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("JASCO_VGGISH", raising=False)
    with pytest.raises(UserError) as caught:
        load_embedder("vggish")
    for part in (URL, str(tmp_path / "jasco_pl" / "metrics" / "vggish-10086976.pth"), "JASCO_VGGISH"):
        assert part in str(caught.value)
    monkeypatch.setenv("JASCO_VGGISH", str(tmp_path / "absent.pth"))
    with pytest.raises(UserError, match=r"absent\.pth.*from JASCO_VGGISH"):
        load_embedder("vggish")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="does not hold the weights of VGGish"):
        load_embedder("vggish", str(tmp_path / "other.pth"))
    (tmp_path / "torn.pth").write_bytes(b"no archive")
    with pytest.raises(UserError, match="does not hold the weights of VGGish"):
        load_embedder("vggish", str(tmp_path / "torn.pth"))


def test_a_cached_file_is_taken_and_a_fetched_one_checked(published: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    source = published.folder / "file.bin"
    source.write_bytes(b"weights")
    right, url = file_hash(str(source))[:8], f"{published.url}/file.bin"
    with pytest.raises(UserError, match="sha256"):
        embedders.find_file("thing", url, sha256="00000000")
    assert not list((tmp_path / "cache").rglob("*.bin"))
    found = embedders.find_file("thing", url, sha256=right)
    assert found == tmp_path / "cache" / "jasco_pl" / "metrics" / "file.bin"
    source.unlink()
    assert embedders.find_file("thing", url, sha256=right).read_bytes() == b"weights"
