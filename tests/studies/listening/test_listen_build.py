"""A test that is blind: nothing in what is handed out tells the systems apart."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tones import NAMES, SYSTEMS, tone

from jasco_pl.audio.files import SAMPLE_RATE, measure_loudness, read_audio, write_audio
from jasco_pl.cli import main
from jasco_pl.studies.listening.build import build, low_anchor, read_captions
from jasco_pl.studies.listening.study import Key
from jasco_pl.system.errors import UserError


def study_of(folder: Path) -> dict:
    page = (folder / "site/index.html").read_text()
    return json.loads(re.search(r'id="study">(.*?)</script>', page, re.DOTALL)[1])


@pytest.fixture(scope="module")
def built(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "test"
    systems = [f"{name}={recordings / name}" for name in SYSTEMS]
    arguments = ["--reference", str(recordings / "reference"), "--questions", "quality,text,melody", "--anchor", "--seed", "314159265"]
    assert main(["listen", "build", "--systems", *systems, *arguments, "--out", str(out)]) == 0
    return out


def test_what_is_handed_out_tells_nothing(built: Path):
    key = Key.load(built / "key.json")
    assert {clip.name for clip in key.clips.values()} == set(NAMES)
    files = sorted((built / "site").rglob("*"))
    told = " ".join(str(path.relative_to(built)) for path in files) + (built / "site/index.html").read_text().split('id="study"')[1]
    for clip in key.clips.values():
        for stimulus in clip.stimuli.values():
            assert stimulus.source not in told
    for word in (*SYSTEMS, "anchor", str(key.seed)):
        assert word not in told.lower().replace("description", "")
    sounds = [path for path in files if path.suffix == ".wav"]
    assert len(sounds) == 3 * (3 + 1 + 1 + 1)
    assert all(re.fullmatch(r"[0-9a-f]{10}\.wav", path.name) for path in sounds)
    for clip in key.clips.values():  # neither sizes nor dates nor formats differ
        paths = [built / f"site/audio/{name}.wav" for name in clip.stimuli]
        assert len({(path.stat().st_size, path.stat().st_mtime, str(soundfile.info(path)).split("\n", 1)[1]) for path in paths}) == 1
    assert not [path for path in files if "key" in path.name]


def test_mp3_is_a_third_of_the_size_and_tells_as_little(recordings: Path, tmp_path: Path):
    systems = [f"{name}={recordings / name}" for name in SYSTEMS]
    arguments = ["--reference", str(recordings / "reference"), "--anchor", "--mp3", "--seed", "1"]
    assert main(["listen", "build", "--systems", *systems, *arguments, "--out", str(tmp_path / "test")]) == 0
    key = Key.load(tmp_path / "test/key.json")
    assert study_of(tmp_path / "test")["suffix"] == ".mp3"
    for clip in key.clips.values():
        paths = [tmp_path / f"test/site/audio/{name}.mp3" for name in clip.stimuli]
        assert len({(path.stat().st_size, path.stat().st_mtime) for path in paths}) == 1
        assert {read_audio(path).shape[-1] for path in paths} == {round(clip.seconds * SAMPLE_RATE)}


def test_versions_are_equally_long_and_loud_and_sounds_are_what_the_key_says(built: Path, recordings: Path):
    key = Key.load(built / "key.json")
    references = {clip["id"]: clip["reference"] for clip in study_of(built)["clips"]}
    for number, clip in key.clips.items():
        assert clip.seconds == 1.1  # the shortest of them
        sounds = {s.system: read_audio(built / f"site/audio/{name}.wav") for name, s in clip.stimuli.items()}
        assert set(sounds) == {*SYSTEMS, "reference", "anchor"}
        for system, wav in sounds.items():
            assert wav.shape == (1, round(1.1 * SAMPLE_RATE))
            assert measure_loudness(wav, SAMPLE_RATE) == pytest.approx(-14, abs=0.1)
            if system != "anchor":
                source = read_audio(recordings / system / f"{clip.name}.flac")[:, : wav.shape[-1]]
                assert np.corrcoef(source[0, 1000:-1000], wav[0, 1000:-1000])[0, 1] > 0.999
        assert torch.equal(sounds["reference"], read_audio(built / f"site/audio/{references[number]}.wav"))
        assert references[number] not in clip.stimuli


def test_the_page_knows_clips_captions_and_questions(built: Path):
    study, key = study_of(built), Key.load(built / "key.json")
    assert study["version"] == key.version
    assert [question["key"] for question in study["questions"]] == ["quality", "text", "melody"]
    for clip in study["clips"]:
        assert clip["caption"] == f"a tone for the {key.clips[clip['id']].name}"
        assert clip["stimuli"] == sorted(key.clips[clip["id"]].stimuli)
    order = [[key.clips[clip["id"]].stimuli[name].system for name in clip["stimuli"]] for clip in study["clips"]]
    assert len({tuple(systems) for systems in order}) > 1  # names are no order of systems


def test_a_seed_repeats_a_test_and_another_one_does_not(recordings: Path, tmp_path: Path):
    def keyed(seed: int | None, name: str) -> Key:
        return build({"alpha": recordings / "alpha"}, recordings / "reference", tmp_path / name, clips=2, seed=seed)[0]

    first, again, other, drawn = keyed(1, "a"), keyed(1, "b"), keyed(2, "c"), keyed(None, "d")
    assert first == again
    assert len({first.version, other.version, drawn.version}) == 3
    assert len(first.clips) == 2


def test_peaky_recordings_take_the_others_down_with_them(recordings: Path, tmp_path: Path):
    clicks = torch.zeros(1, round(1.1 * SAMPLE_RATE))
    clicks[0, ::4000] = 0.9
    write_audio(tmp_path / "peaky/night-12.wav", clicks, SAMPLE_RATE)
    key, notes = build({"peaky": tmp_path / "peaky"}, recordings / "reference", tmp_path / "out")
    (clip,) = key.clips.values()
    levels = [stimulus.loudness for stimulus in clip.stimuli.values()]
    assert max(levels) < -16
    assert max(levels) - min(levels) < 0.2
    assert any("LUFS instead of -14" in note for note in notes)
    assert any("reference: 2 recordings left out" in note for note in notes)


def test_the_anchor_has_the_slopes_of_the_recommendation():
    noise = torch.randn(1, 4 * SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    kept, given = (np.abs(np.fft.rfft(wav[0].numpy())) for wav in (low_anchor(noise), noise))
    frequencies = np.fft.rfftfreq(noise.shape[-1], 1 / SAMPLE_RATE)

    def level(low: float, high: float) -> float:
        band = (frequencies >= low) & (frequencies < high)
        return 10 * np.log10((kept[band] ** 2).mean() / (given[band] ** 2).mean())

    assert abs(level(50, 3500)) < 0.1
    assert level(4000, 4500) < -25
    assert level(4500, 16000) < -50


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"systems": {}}, "at least one system"),
        ({"systems": {"reference": "alpha"}}, "cannot be called 'reference'"),
        ({"questions": ("quality", "groove")}, "no question 'groove'; there are quality, text, melody, rhythm"),
        ({"questions": ("melody", "rhythm")}, "only one of melody and rhythm"),
        ({"clips": 4}, "--clips 4 is more than the 3 clips"),
        ({"clips": 0}, "--clips must be at least 1"),
        ({"per_rater": 0}, "--per-rater must be at least 1"),
        ({"post": "ftp://x"}, "no web address"),
        ({"seconds": 5}, "lasts only 1.10 s, where 5 s are wanted"),
        ({"seconds": 0.2}, "--seconds must be at least 1, not 0.2"),
        ({"captions": {"night-12": "a tone"}, "questions": ("text",)}, "has no caption in the captions"),
        ({"systems": {"x": "nowhere"}}, "there is no folder"),
    ],
)
def test_bad_input_is_told_in_a_sentence_and_leaves_nothing(change: dict, message: str, recordings: Path, tmp_path: Path):
    arguments = {"systems": {"alpha": "alpha"}, "questions": ("quality",), **change}
    arguments["systems"] = {name: recordings / folder for name, folder in arguments["systems"].items()}
    with pytest.raises(UserError, match=re.escape(message)):
        build(reference=recordings / "reference", out=tmp_path / "out", **arguments)
    assert not list(tmp_path.iterdir())


def test_stretches_of_different_length_are_refused_unless_they_are_cut(recordings: Path, tmp_path: Path):
    for name in NAMES:
        write_audio(tmp_path / f"long/{name}.wav", tone(300, 3, 0.1, 0), SAMPLE_RATE)
    with pytest.raises(UserError, match=r"lasts 3\.0 s and .* 1\.2 s: versions of one piece must be the same stretch"):
        build({"long": tmp_path / "long"}, recordings / "reference", tmp_path / "out")
    key, _ = build({"long": tmp_path / "long"}, recordings / "reference", tmp_path / "out", seconds=1.0)
    assert {clip.seconds for clip in key.clips.values()} == {1.0}
    with pytest.raises(UserError, match="holds something already"):
        build({"long": tmp_path / "long"}, recordings / "reference", tmp_path / "out", seconds=1.0)
    assert Key.load(tmp_path / "out/key.json") == key


def test_a_folder_without_common_clips_or_with_damaged_audio(recordings: Path, tmp_path: Path):
    shutil.copy(recordings / "alpha/night-12.flac", tmp_path / "other.flac")
    with pytest.raises(UserError, match="no clip is in all folders"):
        build({"x": tmp_path}, recordings / "reference", tmp_path / "out")
    (tmp_path / "other.flac").rename(tmp_path / "night-12.flac")
    (tmp_path / "night-12.wav").write_bytes(b"RIFF")
    with pytest.raises(UserError, match="one recording of a name"):
        build({"x": tmp_path}, recordings / "reference", tmp_path / "out")
    (tmp_path / "night-12.flac").unlink()
    with pytest.raises(UserError, match="is not an audio file"):
        build({"x": tmp_path}, recordings / "reference", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_references_may_be_those_of_an_evaluation(recordings: Path, tmp_path: Path):
    shutil.copytree(recordings / "reference", tmp_path / "references/set")
    audio = {name: {"audio": f"references/set/{name}.flac", "heard": {}} for name in NAMES}
    (tmp_path / "results.json").write_text(json.dumps({"references": audio}))
    folders = (tmp_path / "results.json", recordings / "reference")
    one, other = (build({"alpha": recordings / "alpha"}, path, tmp_path / str(i), seed=1)[0] for i, path in enumerate(folders))
    assert one.version == other.version
    (tmp_path / "references/set/night-12.flac").unlink()
    with pytest.raises(UserError, match=r"night-12\.flac', which is not there"):
        build({"alpha": recordings / "alpha"}, tmp_path / "results.json", tmp_path / "out")
    for elsewhere in ("../reference/night-12.flac", "references/../../x.flac", str(recordings / "reference/night-12.flac")):
        (tmp_path / "results.json").write_text(json.dumps({"references": {"night-12": {"audio": elsewhere}}}))
        with pytest.raises(UserError, match="which lies outside of its folder"):
            build({"alpha": recordings / "alpha"}, tmp_path / "results.json", tmp_path / "out")
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(UserError, match=r"is no results\.json of an evaluation"):
        build({"alpha": recordings / "alpha"}, tmp_path / "results.json", tmp_path / "out")


def test_captions_from_files(tmp_path: Path):
    (tmp_path / "c.csv").write_text('clip,caption\na,"slow, sad"\n')
    (tmp_path / "c.json").write_text('{"a": "slow, sad"}')
    assert read_captions(tmp_path / "c.csv") == read_captions(tmp_path / "c.json") == {"a": "slow, sad"}
    for name, text in (("d.csv", "name,text\na,b\n"), ("d.json", '{"a": 3}'), ("e.json", "[1]"), ("f.json", "{")):
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match="cannot be understood"):
            read_captions(tmp_path / name)
    with pytest.raises(UserError, match="No such file"):
        read_captions(tmp_path / "absent.json")
