from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from jasco_pl.cli import main
from jasco_pl.codec import BandCodec, load_codec
from jasco_pl.data import show
from jasco_pl.data.schema import Sample
from jasco_pl.data.shards import ShardReader, write_index, write_shard
from jasco_pl.data.summary import spread, summarize
from jasco_pl.extract.latents import fingerprint
from jasco_pl.notation import harmony
from jasco_pl.system.errors import UserError

RATE = 32000


def tone(seconds: float, hertz: float, clicks: bool = False) -> torch.Tensor:
    time = torch.arange(round(seconds * RATE)) / RATE
    wav = 0.2 * torch.sin(2 * torch.pi * hertz * time)
    return (wav * torch.exp(-12 * (time % 0.5)) if clicks else wav)[None]


@pytest.fixture
def shown(tmp_path, tiny_codec_folder) -> tuple[Path, BandCodec]:
    """Two recordings of three seconds with different fields, and a composed piece with all of them."""
    codec = load_codec(tiny_codec_folder)
    folder = tmp_path / "set"
    samples = []
    with torch.inference_mode():
        for name, hertz in (("song-0a1b2c3d-000", 440.0), ("song-0a1b2c3d-001", 660.0), ("train-1-000007", 220.0)):
            latents = codec.encode(tone(3, hertz)[None])[0]
            codes = codec.codes(codec.encode(tone(3, 150, clicks=True)[None]))[0].short()
            tensors = {"latents": latents.half(), "chords_heard": torch.full((150,), 16).short(), "codes_drums": codes}
            if name.startswith("train"):
                chords = harmony.changes_to_frames([("C", 0.0), ("N", 2.25)], 150)
                tensors |= {"chords": torch.from_numpy(chords).short(), "melody": torch.full((150,), -1).to(torch.int8)}
                tensors["melody"][:60] = 20
            samples.append(Sample(name, tensors, ["a tone", "of three seconds"] if name.startswith("train") else []))
    write_shard(folder, "shard-00000", samples, fingerprint(codec))
    description = {"name": str(tiny_codec_folder), "frame_rate": 50.0, "dim": 128}
    write_index(folder, {**description, "mean": codec.latent_mean.tolist(), "std": codec.latent_std.tolist()}, ["shard-00000"])
    return folder, codec


def test_what_is_shown_is_the_sound_and_the_fields_of_that_stretch(shown, tmp_path, capsys):
    folder, codec = shown
    out = tmp_path / "out"
    arguments = ["shards", "show", str(folder), "train", "--start", "1", "--seconds", "1.5", "-o", str(out), "--stems", "--format", "wav"]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    for words in (
        "train-1-000007",
        "3.00 s, 150 frames",
        "of three seconds",
        "[150, 128]",
        "25 % without a chord; C@0.0  N@2.3",
        "40 % of the",
    ):
        assert words in text
    assert "note:" not in text
    assert sorted(path.name for path in out.iterdir()) == ["train-1-000007.drums.wav", "train-1-000007.png", "train-1-000007.wav"]
    heard, rate = soundfile.read(out / "train-1-000007.wav")
    assert (len(heard), rate) == (1.5 * RATE, RATE)
    spectrum = np.abs(np.fft.rfft(heard[8000:40000]))
    assert abs(np.argmax(spectrum) - 220) < 8  # its own latents, not a neighbour's
    drums, _ = soundfile.read(out / "train-1-000007.drums.wav")
    stored = ShardReader(folder).read(2).tensors["codes_drums"][50:125].long()
    with torch.inference_mode():
        expected = codec.decode(codec.codebook[stored][None])[0, 0]
    gain = min(1.0, 1 / float(expected.abs().max()))
    assert np.abs(drums - gain * expected.numpy()).max() < 1e-3


def sides(given: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What is asked for and what is heard in the lanes of a picture, by name."""
    return {lane.name: (asked, heard) for lane, asked, heard in given["lanes"]}


def test_the_picture_has_a_lane_for_every_field_that_says_something(shown, monkeypatch, tmp_path):
    folder, codec = shown
    drawn = []
    monkeypatch.setattr(show, "draw_clip", lambda path, **given: drawn.append(given | {"sides": sides(given)}))
    for position in (0, 2):
        show.picture(tmp_path / "x.png", show.decode(ShardReader(folder).read(position), codec, 0.0, 2.0), codec)
    recorded, composed = drawn
    assert recorded["sides"]["chords"][0] is None
    assert recorded["sides"]["chords"][1].tolist() == [16] * 100
    assert recorded["sides"]["melody"] == (None, None)
    assert composed["sides"]["chords"][0].tolist() == [0] * 100
    assert composed["sides"]["melody"][0].tolist() == [20] * 60 + [-1] * 40
    assert recorded["parts"]["drums"].shape == recorded["wav"].shape == (1, 2 * RATE)
    assert "no caption" in recorded["title"]
    assert "0–2 of 3 s" in composed["title"]


def test_sections_are_a_lane_and_lines_of_text(shown, monkeypatch, tmp_path):
    folder, codec = shown
    excerpt = show.decode(ShardReader(folder).read(2), codec, 1.0, 1.5)
    excerpt.sample.sections = [(10, ["soft organ", "organ"]), (80, ["full band"]), (140, [])]
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(show, "draw_clip", lambda path, **options: drawn.update(options))
    show.picture(tmp_path / "a.png", excerpt, codec)
    lane, side, heard = drawn["lanes"][0]
    assert (lane.name, lane.labels, heard) == ("text", ["soft organ", "full band"], None)
    assert side.tolist() == [0] * 30 + [1] * 45
    text = show.describe(excerpt, 50.0)
    assert "sections    0.20 s  soft organ / organ\n            1.60 s  full band\n            2.80 s  no caption" in text


def test_silent_drums_have_no_onsets(shown, monkeypatch, tmp_path):
    folder, codec = shown
    drawn = []
    monkeypatch.setattr(show, "draw_clip", lambda path, **given: drawn.append(sides(given)))
    excerpt = show.decode(ShardReader(folder).read(0), codec)
    excerpt.audio = tone(3, 220)
    for level in (0.2, 1e-4):
        excerpt.parts["codes_drums"] = level * tone(3, 300, clicks=True)
        show.picture(tmp_path / "x.png", excerpt, codec)
    assert 4 <= len(drawn[0]["onsets"][0]) <= 7
    assert len(drawn[1]["onsets"][0]) == 0


def test_a_sample_is_found_by_a_beginning_that_only_it_has(shown):
    reader = ShardReader(shown[0])
    assert show.find(reader, "song-0a1b2c3d-001") == 1
    assert show.find(reader, "tr") == 2
    with pytest.raises(UserError, match=r"^2 samples in .* begin with 'song', 'song-0a1b2c3d-000', 'song-0a1b2c3d-001' among them"):
        show.find(reader, "song")
    with pytest.raises(UserError, match=r"no sample 'tain-1-7'.*nearest of its 3 are 'train-1-000007'"):
        show.find(reader, "tain-1-7")


def test_an_id_that_begins_another_is_that_sample(tmp_path):
    samples = [Sample(name, {"latents": torch.zeros(5, 128).half()}, []) for name in ("a1", "a")]
    write_shard(tmp_path, "shard-00000", samples)
    write_index(tmp_path, {"name": "none", "frame_rate": 50.0, "dim": 128}, ["shard-00000"])
    assert show.find(ShardReader(tmp_path), "a") == 1


def test_chance_is_repeatable_and_reaches_every_sample(shown):
    reader = ShardReader(shown[0])
    assert {show.draw_position(reader, seed) for seed in range(30)} == {0, 1, 2}
    assert len({show.draw_position(reader, 5) for _ in range(10)}) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--start", "3"], "lasts 3.00 s: start must lie within it"),
        (["--seconds", "0"], "seconds must be positive"),
        (["song-0a1b2c3d-000", "--random"], "not both"),
        (["--seed", "3"], "--seed belongs to --random"),
        (["--codec", "nowhere/at-all"], "nowhere/at-all"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence_and_leaves_nothing(shown, tmp_path, capsys, arguments, words):
    assert main(["shards", "show", str(shown[0]), *arguments, "-o", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_codec_that_was_fitted_anew_is_told(shown, tmp_path, capsys):
    folder, codec = shown
    codec.latent_mean += 0.5
    codec.save_pretrained(tmp_path / "refitted")
    arguments = ["shards", "show", str(folder), "--seconds", "1", "-o", str(tmp_path / "out"), "--codec", str(tmp_path / "refitted")]
    assert main(arguments) == 0
    assert "refitted is not the one that made the set" in capsys.readouterr().out


def test_a_sample_of_a_url_is_shown(shown, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main(["shards", "show", f"file://{shown[0]}", "song-0a1b2c3d-001", "--seconds", "1", "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "song-0a1b2c3d-001.flac").exists()


def test_the_figures_of_a_set(shown, capsys):
    folder, codec = shown
    assert main(["shards", "info", str(folder), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["hours"] == pytest.approx(9 / 3600)
    assert summary["bytes"] == (folder / "shard-00000.safetensors").stat().st_size
    assert summary["fields"] == {"latents": 3, "codes_drums": 3, "chords": 1, "chords_heard": 3, "melody": 1}
    assert (summary["captions"], summary["without_caption"]) == (2, 2)
    assert summary["codec"]["fingerprints"] == [f"{fingerprint(codec):08x}"]
    heard = summary["heard"]
    assert heard["complete"]
    assert heard["chords_from"] == {"chords": 1, "chords_heard": 2}
    assert heard["chords"] == pytest.approx({"C#": 300 / 450, "C": 113 / 450, "N": 37 / 450})
    assert (heard["melody"], heard["melody_samples"]) == (0.4, 1)
    assert main(["shards", "info", str(folder)]) == 0
    text = capsys.readouterr().out
    for words in (
        "chords                1 of 3 samples (33.3 %)",
        "latents               all samples",
        "2 samples have none",
        "C#       66.7 %",
    ):
        assert words in text


def test_a_part_of_the_set_is_looked_at_and_told(tmp_path, write_tiny_shards, monkeypatch, capsys):
    write_tiny_shards(tmp_path / "train")
    local = ShardReader(tmp_path / "train")
    assert spread(local, 5) == [0, 4, 8, 12, 16]
    assert spread(local, 100) == list(range(20))
    heard = summarize(local, 5)["heard"]
    assert (heard["samples"], heard["complete"], heard["chords_from"]) == (5, False, {"chords": 5})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url = f"file://{tmp_path}/train"
    assert main(["shards", "info", url]) == 0
    assert "were not looked at" in capsys.readouterr().out
    assert not list((tmp_path / "cache").rglob("shard-*"))
    assert main(["shards", "info", url, "--read", "7"]) == 0
    assert "a spread of 7 samples" in capsys.readouterr().out
    assert len(list((tmp_path / "cache").rglob("shard-*"))) == 1  # eight lie in one shard: no more is fetched
    assert main(["shards", "info", url, "--read", "all"]) == 0
    assert "in all samples" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["shards", "info", url, "--read", "-1"])
