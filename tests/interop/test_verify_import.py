from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import audiocraft_files as files
import pytest
import torch
from audiocraft_files import Toy

from jasco_pl.cli import main
from jasco_pl.interop.released import read_released
from jasco_pl.interop.verify import verify
from jasco_pl.system.errors import UserError

GOLDEN = Path(__file__).resolve().parents[3] / "shared/reference/golden/audiocraft_tiny_chords_drums_melody.pt"
needs_golden = pytest.mark.skipif(not GOLDEN.is_file(), reason="the file that audiocraft itself made is not on this machine")
TOYS = {
    "text": Toy(conditions=()),
    "chords": Toy(conditions=("chords",), width=24, layers=3, heads=2, feed_forward=48, chords=7),
    "drums": Toy(conditions=("drums",), blur=5, features=64),
    "chords-drums, as 400M": Toy(conditions=("chords", "drums"), width=32, layers=24, heads=16, feed_forward=64),
    "chords-drums-melody, as 400M": Toy(width=32, layers=24, heads=16, feed_forward=64),
    "chords-drums-melody, as 1B": Toy(width=48, layers=16, heads=24, latent=24, text=48),
}


def without_solvers(anchor: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in anchor.items() if name not in ("euler10", "dopri5")}


def save(path: Path, toy: Toy, **more: Any) -> Path:
    package = files.package(toy)
    torch.save({**package, "anchor": files.anchor(toy, package["best_state"], **more)}, path)
    return path


@needs_golden
def test_the_files_algebra_is_audiocrafts() -> None:
    made = torch.load(GOLDEN, weights_only=True)
    toy = Toy(width=64, heads=4, latent=128, text=768)
    anchor, weights = made["anchor"], made["best_state"]
    local, text = files.rows(weights, toy, anchor, 500)
    for name, found in (("chords", local[0]), ("self_wav", local[1]), ("melody", local[2]), ("description", text)):
        torch.testing.assert_close(found, anchor["condition_tensors"][name], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(files.velocity(weights, 4, anchor["z"], anchor["t"].flatten(), local, text), anchor["v"], atol=1e-5, rtol=0)


def is_close(found: dict[str, float]) -> bool:
    """dopri5 chooses its steps by differences that are rounding: it alone has what `jasco import --verify` allows."""
    return all(difference < (1e-4 if name == "dopri5" else 3e-5) for name, difference in found.items())


@needs_golden
def test_audiocrafts_velocity_is_ours() -> None:
    released = read_released(GOLDEN)
    assert released.anchor is not None
    released.anchor = without_solvers(dict(released.anchor))
    found = verify(released)
    assert list(found) == ["velocity, all conditions", "velocity, text alone", "velocity, no condition", "guided velocity"]
    assert max(found.values()) < 2e-5


@needs_golden
@pytest.mark.slow
def test_audiocrafts_clips_are_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "--verify", str(GOLDEN)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^euler10 +\d\.\d\de-0[56]$", out, re.MULTILINE)
    assert re.search(r"^dopri5 +\d\.\d\de-0[56]$", out, re.MULTILINE)


@pytest.mark.parametrize("toy", TOYS.values(), ids=TOYS)
def test_every_variant_and_size_verifies(toy: Toy, tmp_path: Path) -> None:
    found = verify(read_released(save(tmp_path / "file.pt", toy)))
    assert list(found)[3:] == ["guided velocity", "euler10", "dopri5"]
    assert is_close(found)


@pytest.mark.parametrize(
    "change",
    [
        {"frame_chords": torch.tensor([-1])},  # the melody then stays in every row
        {"frame_chords": torch.tensor([-1]), "melody": torch.rand(53, 20)},
        {"drum_latents_by_id": {0: torch.randn(20, 16), 1: torch.randn(20, 16)}},  # null drums that are silence
        {"drum_latents_by_id": {}},
        {"text_hidden": torch.randn(1, 32)},
    ],
    ids=["no chords", "soft melody", "silent drums", "no drums", "one token"],
)
def test_what_audiocraft_was_given_may_vary(change: dict[str, Any], tmp_path: Path) -> None:
    toy = Toy()
    path = save(tmp_path / "file.pt", toy, inputs={**files.given(toy, 20), **change})
    assert is_close(verify(read_released(path)))


def test_conditions_of_another_length_are_cut_or_filled_up(tmp_path: Path) -> None:
    toy, package = Toy(conditions=("chords",)), files.package(Toy(conditions=("chords",)))
    weights = package["best_state"]
    for frames in (12, 30):
        inputs = files.given(toy, frames)
        (chords,), text = files.rows(weights, toy, inputs, frames)
        aligned = torch.zeros(3, 20, toy.chords)
        aligned[:, :frames] = chords[:, :20]
        z, t = torch.randn(3, 20, toy.latent), torch.rand(3, 1, 1)
        v = files.velocity(weights, toy.heads, z, t.flatten(), [aligned], text)
        anchor = {**inputs, "z": z, "t": t, "v": v, "term_weights": [1.0, 1.0, -1.0]}
        torch.save({**package, "anchor": anchor}, tmp_path / "file.pt")
        assert is_close(verify(read_released(tmp_path / "file.pt")))


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("transformer.layers.1.cross_attention.in_proj_weight", slice(32, 64)),
        (f"{files.CONDITIONERS}.chords.emb.weight", slice(0, 194)),
        (f"{files.CONDITIONERS}.description.output_proj.bias", slice(None)),
        ("temb.dense.1.bias", slice(None)),
    ],
)
def test_other_weights_are_noticed(name: str, row: slice, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "file.pt", Toy())
    package = torch.load(path, weights_only=True)
    package["best_state"][name][row] += 0.01
    torch.save(package, path)
    assert main(["import", "--verify", str(path)]) == 1
    out = capsys.readouterr().out
    assert "too large" in out
    assert "within 0.0001" in out


def test_a_result_that_is_no_number_is_not_within_bounds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "file.pt", Toy(conditions=()))
    assert main(["import", "--verify", str(path)]) == 0
    assert "all within 0.0001" in capsys.readouterr().out
    package = torch.load(path, weights_only=True)
    package["anchor"]["v"][1, 3, 2] = torch.nan
    torch.save(package, path)
    assert main(["import", "--verify", str(path)]) == 1
    assert re.search("velocity, text alone +nan  too large", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"z": None}, "not of the form"),
        ({"z": torch.zeros(2, 20, 16)}, "z has 2 rows"),
        ({"term_weights": [3.0, -2.0]}, "term_weights has 2 numbers"),
        ({"v": torch.zeros(3, 19, 16)}, r"a result is \[19, 16\], where \[20, 16\] is expected"),
        ({"text_hidden": torch.zeros(7, 9)}, "not of the form"),
    ],
)
def test_anchors_of_another_form_are_one_sentence(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    package = files.package(Toy())
    anchor = {**files.anchor(Toy(), package["best_state"]), **change}
    torch.save({**package, "anchor": {name: value for name, value in anchor.items() if value is not None}}, tmp_path / "file.pt")
    with pytest.raises(UserError, match=said) as caught:
        verify(read_released(tmp_path / "file.pt"))
    assert "\n" not in str(caught.value)


def test_a_file_without_an_anchor_and_one_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(files.package(dataclasses.replace(Toy(), conditions=())), tmp_path / "file.pt")
    for path, said in ((tmp_path / "file.pt", "holds no 'anchor'"), (tmp_path / "none.pt", "there is no file")):
        assert main(["import", "--verify", str(path)]) == 2
        assert said in capsys.readouterr().err
    assert main(["import", "--verify", "x", "-o", "y"]) == 2
    assert main(["import"]) == 2
    assert "name a SOURCE" in capsys.readouterr().err
