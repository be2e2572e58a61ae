from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jasco_pl.codec import BandCodec
from jasco_pl.controls import CONTROLS
from jasco_pl.controls.adherence import MELODY, ONSETS
from jasco_pl.data.schema import Sample
from jasco_pl.data.shards import write_index, write_shard
from jasco_pl.evaluation.clips import Task
from jasco_pl.evaluation.engine import evaluate
from jasco_pl.evaluation.pretrained import Listeners
from jasco_pl.evaluation.references import PURPOSE, ComposedPieces, PreparedSet, recalled
from jasco_pl.evaluation.report import as_json
from jasco_pl.evaluation.settings import MIDDLE, PAINTED, Settings
from jasco_pl.extract import chordino
from jasco_pl.extract.heard import Heard
from jasco_pl.notation import harmony
from jasco_pl.system.errors import UserError
from jasco_pl.system.seeding import stable_hash

needs_chordino = pytest.mark.skipif(not chordino.available(), reason="Chordino is not installed")


@pytest.fixture(scope="module")
def codec(tiny_codec_folder: Path) -> BandCodec:
    return BandCodec.from_pretrained(tiny_codec_folder)


@pytest.fixture
def prepared(tmp_path: Path, codec: BandCodec) -> Path:
    """Real latents of three tunes of one note each, and a short one; without a melody, without drums in the second."""
    samples = []
    silence = int(codec.codes(codec.silence[None, None])[0, 0])
    for number, seconds in enumerate((3, 4, 5, 1)):
        time = torch.arange(seconds * codec.sample_rate) / codec.sample_rate
        wav = 0.3 * torch.sin(2 * torch.pi * 220 * 2 ** (number / 3) * time)[None, None]
        with torch.inference_mode():
            latents = codec.encode(wav)[0]
        frames = len(latents)
        codes = torch.full((frames,), silence, dtype=torch.int16) if number == 1 else torch.arange(frames).remainder(16).short()
        chords = torch.full((frames,), 16 * number, dtype=torch.int16)
        tensors = {"latents": latents.half(), "codes_drums": codes, "chords": chords, "chords_heard": chords + 1}
        samples.append(Sample(f"tune-{number}", tensors, [f"tune {number}"]))
    write_shard(tmp_path / "set", "shard-00000", samples)
    about = {"name": "tiny", "frame_rate": 50.0, "dim": codec.dim, "mean": codec.latent_mean.tolist(), "std": codec.latent_std.tolist()}
    write_index(tmp_path / "set", about, ["shard-00000"])
    return tmp_path / "set"


def test_a_prepared_set_gives_its_fields_and_the_codecs_reconstruction(prepared: Path, codec: BandCodec) -> None:
    source = pickle.loads(pickle.dumps(PreparedSet(prepared)))  # as a worker gets it
    assert source.ids == ["tune-0", "tune-1", "tune-2", "tune-3"]
    assert [source.long_enough(name, 2.0) for name in source.ids] == [True, True, True, False]
    found = source.reference("tune-2", 2.0, codec)
    first = stable_hash(PURPOSE, "tune-2") % (250 - 100 + 1)
    assert found.conditions["chords"].tolist() == [33] * 100  # what Chordino heard comes before what was composed
    control = CONTROLS["drums"](16, codec.dim)
    assert found.codes(control).tolist() == [(first + frame) % 16 for frame in range(100)]
    assert found.audio.shape == (1, 2 * codec.sample_rate)
    assert found.caption == "tune 2"
    assert found.target(MELODY) is None
    assert found.target(ONSETS) is not None
    assert source.reference("tune-1", 2.0, codec).target(ONSETS) is None
    assert source.lacks(CONTROLS["melody"])
    assert not source.lacks(CONTROLS["drums"])
    assert not source.lacks(CONTROLS["painting"])


def test_a_set_of_another_codec_is_refused(prepared: Path, codec: BandCodec) -> None:
    other = BandCodec(codec.config, codec.latent_mean + 1, codec.latent_std, torch.randn(2, 16, 128))
    with pytest.raises(UserError, match="was prepared with the codec 'tiny', and the checkpoint has another"):
        PreparedSet(prepared).reference("tune-0", 2.0, other)


@needs_chordino
def test_rows_of_a_prepared_set(prepared: Path, tiny_settings: Settings, tmp_path: Path) -> None:
    results = evaluate(PreparedSet(prepared), [tiny_settings], tmp_path / "out", limit=1)
    rows = ["codec ceiling", "no control", "chords", "drums", "all controls", "painting", PAINTED, MIDDLE]
    assert [row.name for row in results.rows] == rows
    assert results.rows[4].given == ("chords", "drums")
    assert results.names == ["tune-0"]
    assert any("nothing to feed melody with" in note for note in results.notes)
    assert any("1 of 4 are shorter than 2 s" in note for note in results.notes)
    about = as_json(results, tmp_path / "out", "Evaluation", False)["settings"]["about"]
    assert "the codec's reconstructions of its stored latents" in about


def test_another_piece_is_the_same_whatever_else_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        (tmp_path / f"p{number:02}.json").touch()
    before = ComposedPieces(tmp_path)
    chosen = {name: before.other(name) for name in before.ids}
    assert all(name != other for name, other in chosen.items())
    assert len(set(chosen.values())) > 10
    monkeypatch.setattr(ComposedPieces, "long_enough", lambda self, name, seconds: int(name[1:]) % 2 == 0)
    long = {name: before.other(name, seconds=10.0) for name in before.ids}
    assert all(int(other[1:]) % 2 == 0 for other in long.values())
    assert all(long[name] == other for name, other in chosen.items() if int(other[1:]) % 2 == 0)
    gone = "p07"
    (tmp_path / f"{gone}.json").unlink()
    after = ComposedPieces(tmp_path)
    assert {name: after.other(name) for name in after.ids if chosen[name] != gone} == {
        name: other for name, other in chosen.items() if name != gone and other != gone
    }
    with pytest.raises(UserError, match="holds no composed pieces"):
        ComposedPieces(tmp_path / "absent")


@needs_chordino
def test_what_is_kept_of_a_piece_is_what_was_heard(pieces: Path, tmp_path: Path, codec: BandCodec, calls: list[int]) -> None:
    source = ComposedPieces(pieces)
    name = source.ids[0]
    first, again = (source.reference(name, 2.0, codec, tmp_path) for _ in range(2))
    assert len(calls) == 1
    assert np.array_equal(first.conditions["chords"], again.conditions["chords"])
    assert "chords" not in source.reference(name, 2.0, codec).conditions  # good for its audio alone: Chordino need not listen
    source.reference(name, 3.0, codec, tmp_path)  # another stretch of the same piece
    assert len(calls) == 1
    assert (first.conditions["chords"] <= harmony.NULL).all()


def test_other_captions_conditions_or_chords_are_other_references(prepared: Path, pieces: Path, tmp_path: Path, codec: BandCodec) -> None:
    def digests(change: str, **tensors: torch.Tensor) -> str:
        latents = torch.zeros(60, 128, dtype=torch.float16)
        write_shard(tmp_path / change, "shard-00000", [Sample("a", {"latents": latents, **tensors}, [f"caption{change == 'captions'}"])])
        about = {"name": "x", "frame_rate": 50.0, "dim": 128, "mean": [0.0], "std": [1.0]}
        write_index(tmp_path / change, about, ["shard-00000"])
        return PreparedSet(tmp_path / change).digest("a")

    chords = torch.zeros(60, dtype=torch.int16)
    found = [digests("plain"), digests("captions"), digests("chords", chords=chords), digests("others", chords=chords + 1)]
    assert len(set(found)) == 4
    assert digests("again") == found[0]
    composed = tmp_path / "pieces"
    shutil.copytree(pieces, composed)
    name = ComposedPieces(composed).ids[0]
    before = ComposedPieces(composed).digest(name)
    note = json.loads((composed / f"{name}.json").read_text())
    (composed / f"{name}.json").write_text(json.dumps({**note, "captions": ["another"]}))
    assert before == ComposedPieces(pieces).digest(name) != ComposedPieces(composed).digest(name)


def test_what_one_decoder_sounds_like_is_not_taken_for_another(
    prepared: Path, pieces: Path, tiny_settings: Settings, tiny_codec_folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "jasco-other"
    shutil.copytree(tiny_settings.checkpoint, other)
    shutil.copytree(tiny_codec_folder, tmp_path / "codec-other")
    for config, change in ((other, {"codec": str(tmp_path / "codec-other")}), (tmp_path / "codec-other", {"iterations": 1})):
        (config / "config.json").write_text(json.dumps({**json.loads((config / "config.json").read_text()), **change}))
    both = [tiny_settings, replace(tiny_settings, checkpoint=str(other))]
    assert len({settings.codec_digest for settings in both}) == 2
    tasks = {}
    for source in (PreparedSet(prepared), ComposedPieces(pieces)):
        name = source.ids[0]
        rows = [Task(settings, source, Listeners(), "", (), False, (name,), tmp_path, tmp_path) for settings in both]
        tasks[source.decoded] = len({task.reference_path(name) for task in rows})
    assert tasks == {True: 2, False: 1}
    ceilings = evaluate(ComposedPieces(pieces), both, tmp_path / "out", rows=["ceiling"], limit=1).rows
    assert len(ceilings) == 2


def test_what_was_heard_is_heard_again_where_its_file_is_damaged(tmp_path: Path) -> None:
    tone = 0.3 * torch.sin(torch.arange(64000) * 0.05)[None]
    levels = recalled(Heard(tone, 32000), tmp_path / "a.npz", ["levels"]).levels
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-40])
    assert np.array_equal(recalled(Heard(tone, 32000), tmp_path / "a.npz", ["levels"]).levels, levels)
    assert recalled(Heard(torch.zeros(1, 64000), 32000), tmp_path / "a.npz", ["levels"]).levels.max() == levels.max()  # it was written anew


@pytest.mark.parametrize("name", ["../../x", "/x", "a/b", ""])
def test_a_sample_whose_id_names_another_folder_is_refused(prepared: Path, tmp_path: Path, name: str) -> None:
    sample = Sample(name, {"latents": torch.zeros(60, 128, dtype=torch.float16)}, [])
    write_shard(prepared, "shard-00009", [sample])
    write_index(prepared, {"name": "x", "frame_rate": 50.0, "dim": 128, "mean": [0.0], "std": [1.0]}, ["shard-00009"])
    with pytest.raises(UserError, match="cannot name a clip: its id is no bare name"):
        PreparedSet(prepared)
