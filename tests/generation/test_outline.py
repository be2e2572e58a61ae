from __future__ import annotations

import json
from pathlib import Path

import pytest

from jasco_pl.generation.outline import Outline
from jasco_pl.system.errors import UserError


def test_a_checkpoints_outline_is_that_of_the_model() -> None:
    outline = Outline.of("checkpoints/jasco-mini")
    assert outline is not None
    assert outline.controls == ("chords", "melody", "drums", "mix", "painting", "beat", "dynamics")
    assert (outline.length(None).seconds, outline.length(1.234).seconds) == (10.0, 1.24)
    assert outline.accepts == {"chords", "melody", "drums", "mix", "paint", "bpm", "dynamics"}


@pytest.mark.parametrize("content", ["", "[]", "null", '{"controls": 3}', '{"controls": [], "seconds": "x"}', "[" * 100_000])
def test_a_damaged_configuration_has_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    assert Outline.of(tmp_path) is None


def test_what_the_model_cannot_do(tmp_path: Path) -> None:
    assert Outline.of("someone/model") is None  # on the Hub, perhaps
    with pytest.raises(UserError, match="no JASCO checkpoint in"):
        Outline.of("checkpoints/nowhere")
    (tmp_path / "config.json").write_text(json.dumps({"controls": {"chords": {}}, "seconds": 2.0, "frame_rate": 50.0}))
    outline = Outline.of(tmp_path)
    assert outline is not None
    with pytest.raises(UserError, match="up to 600 seconds, not 601"):
        outline.length(601.0)
    with pytest.raises(UserError, match="no control 'drums'; it has: chords"):
        outline.check({"drums": "loop.wav"}, None, outline.length(None))
    with pytest.raises(UserError, match="the condition 'drums'"):
        outline.check({}, "drums=2", outline.length(None))
    with pytest.raises(UserError, match="during names melody, which is not asked for"):
        outline.check({"chords": "C", "during": "melody=0-1"}, None, outline.length(None))
    outline.check({"chords": "C", "bpm": 90.0, "during": "chords=0-1"}, None, outline.length(None))  # bpm is the chords' too
