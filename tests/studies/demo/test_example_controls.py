"""The requests of docs/examples: controls that can be read and are what their recipe makes, prompts that are nobody's captions."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from jasco_pl.audio.files import read_audio
from jasco_pl.compose.tables import INSTRUMENTS
from jasco_pl.controls.melody import read_melody
from jasco_pl.extract.classical import onset_times
from jasco_pl.metrics.following import onset_f1
from jasco_pl.notation.chord_text import read_chords
from jasco_pl.notation.timed_text import read_passages
from jasco_pl.studies.demo import read_requests

CHECKOUT = Path(__file__).parents[3]
EXAMPLES = CHECKOUT / "docs" / "examples"
REQUESTS = read_requests(EXAMPLES / "requests.yaml").requests


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    """data_prep/example_controls.py"""
    spec = importlib.util.spec_from_file_location("example_controls", CHECKOUT / "data_prep" / "example_controls.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", REQUESTS)
def test_every_control_can_be_read(name: str) -> None:
    request = REQUESTS[name]
    if request.chords is not None:
        changes = read_chords(request.chords, bpm=request.bpm, meter=request.meter).changes
        assert len(changes) >= 4
        assert not any(change.note for change in changes)
    if request.melody is not None:
        melody = read_melody(str(request.melody), 500)
        assert not any("moved" in note for note in melody.notes)
        assert (melody.bins >= 0).mean() > 0.8
    if request.drums is not None:
        assert len(onset_times(read_audio(str(request.drums)), 32000)) > 10


def test_all_kinds_of_controls_are_there_alone_and_together() -> None:
    kinds = {frozenset(kind for kind in ("chords", "melody", "drums") if getattr(one, kind) is not None) for one in REQUESTS.values()}
    assert {frozenset({kind}) for kind in ("chords", "melody", "drums")} <= kinds
    assert frozenset({"chords", "melody", "drums"}) in kinds
    assert all(one.seed == 0 for one in REQUESTS.values())  # none was chosen for its figures


def test_controls_are_what_their_recipe_makes(recipe: ModuleType, tmp_path: Path) -> None:
    recipe.write_tune(tmp_path / "twinkle.mid", recipe.TWINKLE)
    recipe.write_tune(tmp_path / "frere-jacques-in-e-flat.mid", recipe.FRERE_JACQUES, 3)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (EXAMPLES / "controls" / path.name).read_bytes()
    recipe.write_loop(tmp_path / "beatbox.ogg")
    made, shipped = (read_audio(folder / "beatbox.ogg", 44100) for folder in (tmp_path, EXAMPLES / "controls"))
    assert made.shape == shipped.shape
    assert float(torch.corrcoef(torch.cat([made, shipped]))[0, 1]) > 0.99
    times = [time for time, _ in recipe.loop_times()]
    assert onset_f1(onset_times(shipped, 44100), times) > 0.9
    grid = np.array(times) / recipe.BEAT * 4
    assert 0.004 < np.std((grid - np.round(grid)) * recipe.BEAT / 4) < 0.02  # a mouth, no machine


def test_prompts_are_no_captions_of_the_composed_set() -> None:
    """Free English: of what is said at a time at most one of its instruments is named, and no tempo or key."""
    words = {word.lower() for instrument in INSTRUMENTS.values() for word in instrument.words}
    for request in REQUESTS.values():
        for text in map(str.lower, [passage.text for passage in read_passages(request.text, 10.0)] or [request.text]):
            assert sum(re.search(rf"\b{re.escape(word)}\b", text) is not None for word in words) <= 1
            assert not re.search(r"bpm|\b(major|minor)\b|\d", text)
