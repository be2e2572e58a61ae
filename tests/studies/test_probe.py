from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jasco_pl.cli import main
from jasco_pl.compose.captions import captions
from jasco_pl.compose.composer import compose
from jasco_pl.compose.edition import EDITIONS
from jasco_pl.compose.song import generator
from jasco_pl.studies.probe import Named, Probe, agreement, evaluated_clips, family, named
from jasco_pl.system.errors import UserError

STYLES = ("pop", "rock", "waltz")
FAMILIES = ("organ", "brass")


def synthetic(count: int, seed: int, shift: float = 0.0) -> tuple[np.ndarray, list[str], list[frozenset[str]]]:
    """Features that hold a style and two families in noise, moved as generated clips lie apart from rendered ones."""
    draw = np.random.default_rng(seed)
    style, has = draw.integers(3, size=count), draw.random((count, 2)) < 0.25
    features = 0.5 * draw.normal(size=(count, 20)) + shift * draw.normal(size=20)
    features[:, :3] += 2 * np.eye(3)[style]
    features[:, 3:5] += 2 * has
    return features, [STYLES[k] for k in style], [frozenset(np.array(FAMILIES)[row]) for row in has]


@pytest.fixture(scope="module")
def probe() -> Probe:
    features, styles, families = synthetic(150, 0)
    return Probe(features, styles, [of | {"drums"} for of in families])


def test_named_and_heard_agree_where_they_should(probe: Probe) -> None:
    features, styles, families = synthetic(80, 1, shift=0.0)
    prompts = [Named(style, of) for style, of in zip(styles, families, strict=True)]
    assert probe.families == sorted(FAMILIES)
    assert probe.common == ["drums"]  # in every piece: nothing to tell apart
    for wanted, heard in zip(probe.wanted(prompts), probe.hear(features, among_each_other=False), strict=True):
        found = agreement(wanted, heard)
        assert found
        assert found.low <= found.share <= found.high
        assert found.share > 0.85
        assert found.times > 1.5  # of three styles and of two families, which leave chance a third and a half
        assert found.p < 0.001


def test_shuffled_prompts_are_at_chance(probe: Probe) -> None:
    features, styles, _ = synthetic(80, 2)
    styles = [str(style) for style in np.random.default_rng(3).permutation(styles)]
    wanted, _ = probe.wanted([Named(style, frozenset()) for style in styles])
    found = agreement(wanted, probe.hear(features, among_each_other=False)[0])
    assert found
    assert 0.6 < found.times < 1.5
    assert found.p > 0.02


def test_clips_that_lie_apart_are_told_from_each_other(probe: Probe) -> None:
    features, styles, families = synthetic(80, 4, shift=8.0)
    wanted, _ = probe.wanted([Named(style, of) for style, of in zip(styles, families, strict=True)])
    alone, among = (agreement(wanted, probe.hear(features, among_each_other=how)[0]) for how in (False, True))
    assert alone
    assert among
    assert among.share > 0.85 > 0.6 > alone.share


def test_one_answer_for_all_is_at_chance_and_prompts_that_name_nothing_are_left_out() -> None:
    wanted = np.array([[True, False]] * 6 + [[False, True]] * 2 + [[False, False]] * 4)
    heard = np.array([[True, False]] * 12)
    found = agreement(wanted, heard)
    assert found
    assert (found.clips, found.share, found.chance, found.times, found.p) == (8, 0.75, 0.75, 1, 1)
    assert agreement(np.zeros((3, 2), dtype=bool), heard[:3]) is None


def test_prompts_name_what_sounds_and_not_what_is_absent() -> None:
    assert named("warm jazz guitar and brushes, no drums") == Named(None, frozenset({"guitar", "drums"}))
    assert named("just harp: accompaniment chords without melody or drums") == Named(None, frozenset({"solo strings"}))
    assert named("Chicago blues with rock organ") == Named("blues shuffle", frozenset({"organ"}))
    assert named("pop meets reggae").style is None
    assert named("poppy harpsichordist") == Named(None, frozenset())
    for index in range(40):
        song = compose(5, "test", index)
        families = {family(part.name) for part in song.parts}
        for caption in captions(song, generator(5, "test", index, "captions")):
            found = named(caption)
            assert found.style in (None, song.style), caption
            assert found.families <= families, caption


def test_folders_without_what_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="needs at least 50"):
        Probe(np.zeros((9, 4)), ["pop"] * 9, [frozenset()] * 9)
    assert main(["metrics", "probe", str(tmp_path), "--clips", str(tmp_path)]) == 2
    assert "holds no results.json" in capsys.readouterr().err
    np.savez(tmp_path / "a.npz", other=np.zeros(3))
    rows = [{"name": "crossed", "given": [], "clips": [{"audio": "a.flac", "caption": "pop"}]}]
    (tmp_path / "results.json").write_text(json.dumps({"rows": rows}))
    with pytest.raises(UserError, match="musicnn has heard no clip"):
        list(evaluated_clips(tmp_path))
    np.savez(tmp_path / "a.npz", musicnn=np.array([[1.0, 3.0], [3.0, 5.0]]))
    (clips,) = evaluated_clips(tmp_path)
    assert clips.features.tolist() == [[2.0, 4.0]]


def test_captions_of_every_edition_name_their_own_style_and_families() -> None:
    for edition in EDITIONS:
        for index in range(60):
            song = compose(4, "test", index, edition=edition)
            playing = {family(part.name) for part in song.parts}
            for caption in captions(song, generator(4, "test", index, "captions")):
                assert named(caption).style in (None, song.style)
                assert named(caption).families <= playing
