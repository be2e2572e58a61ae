"""What was written before the packages were put in order (November 2026) still generates, trains on, resumes and grows.

The folder `former` was made by the code of that day: a model of all controls at tiny size (`checkpoint`), its run at step 6 of 10 with the
ids and losses of the four steps that followed (`losses.json`), the latents that the model made of one request (`latents.npy`), shards of
composed pieces (`built`), and a set that `jasco prepare` made (`prepared`) of the `recordings`. What is random about a sample is drawn
otherwise since training has drawn it by counters; crops, captions and losses of the four steps are as they have been from then on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from recorder import jasco, read, recording
from safetensors.torch import load_file

FORMER = Path(__file__).parent / "former"
MINI = Path(__file__).parents[2] / "conf" / "mini.yaml"


@pytest.fixture
def former(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the folder, as the working directory."""
    shutil.copytree(FORMER, tmp_path / "former")
    monkeypatch.chdir(tmp_path / "former")
    return tmp_path / "former"


def content(folder: Path) -> dict[str, bytes]:
    """Of shards and the list of what was rejected; and the index, in whatever way it is written."""
    found = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name.startswith(("shard-", "rejected"))}
    index = json.loads((folder / "index.json").read_text())
    return found | {"index.json": json.dumps({name: value for name, value in index.items() if name != "crc32"}).encode()}


def tensors(folder: Path) -> dict[str, bytes]:
    """Everything that shards hold."""
    stored = {name: tensor for path in folder.glob("shard-*.safetensors") for name, tensor in load_file(path).items()}
    return {name: tensor.contiguous().view(torch.uint8).numpy().tobytes() for name, tensor in stored.items()}


def test_a_run_goes_on_with_the_losses_that_it_would_have_had(former):
    """From a checkpoint with its optimiser, average and place in the shards, by the same command."""
    log = former / "log.txt"
    assert jasco(["fit", "-c", str(MINI), "-c", "tiny.yaml", recording(former / "steps")], log) == 0, log.read_text()
    expected, lines = json.loads((former / "losses.json").read_text()), read(former / "steps")
    assert [line["step"] for line in expected] == [7, 8, 9, 10]
    for line, other in zip(lines, expected, strict=True):
        assert {**line, "loss": None} == {**other, "loss": None}
        assert line["loss"] == pytest.approx(other["loss"], rel=1e-4)


def test_a_checkpoint_makes_the_same_latents(former):
    from jasco_pl import Jasco
    from jasco_pl.generation.jasco import Request
    from jasco_pl.network.flow.solver import SolverConfig

    wav = 0.3 * torch.randn(1, 32000, generator=torch.Generator().manual_seed(1))
    controls = {"chords": "Dm7 | G7", "bpm": 240, "drums": wav, "mix": wav.flip(1), "paint": 0.5 * wav, "keep": "0-0.4"}
    model = Jasco.from_pretrained("checkpoint")
    (clip,) = model.generate(Request("slow jazz", seed=5, **controls), guidance="all=2 text=0.5", solver=SolverConfig("midpoint", 4))
    made, then, kept = clip.latents.numpy(), np.load("latents.npy"), 20
    np.testing.assert_allclose(made[kept:], then[kept:], rtol=1e-2, atol=1e-2)
    level = made[:kept] - then[:kept]  # recordings to go on from are brought to the loudness of training since
    np.testing.assert_allclose(level, level.mean(), atol=1e-2)


def test_shards_of_composed_pieces_are_kept(former):
    """Fields that came since, and need no more than the mix, are added to what there is."""
    before, log = tensors(former / "built"), former / "log.txt"
    assert jasco(["shards", "build", "--pieces", "pieces", "--out", "built", "--codec", "codec", "--workers", "1"], log) == 0, (
        log.read_text()
    )
    after = tensors(former / "built")
    assert {name: after[name] for name in before} == before
    assert {name.partition("/")[2] for name in set(after) - set(before)} == {"dynamics"}


def test_a_prepared_set_is_kept_and_grows(former):
    before, log = content(former / "prepared"), former / "log.txt"
    command = ["prepare", "recordings", "--out", "prepared", "--codec", "codec", "--stages", "codec, chords", "--workers", "0"]
    command += ["--segment-seconds", "2", "--rules.min_seconds", "1"]
    assert jasco(command, log) == 0, log.read_text()
    assert content(former / "prepared") == before
    shutil.copy("pieces/piece-001.mix.flac", "recordings/More.flac")
    assert jasco(command, log) == 0, log.read_text()
    after = content(former / "prepared")
    assert set(before) < set(after)
    assert {name: after[name] for name in before if name.startswith("shard-")} == {
        name: data for name, data in before.items() if name.startswith("shard-")
    }
