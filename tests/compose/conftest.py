from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from jasco_pl.compose.composer import compose
from jasco_pl.compose.render import Renderer
from jasco_pl.compose.song import Song
from jasco_pl.compose.soundfonts import find_soundfont


@pytest.fixture(scope="session")
def songs() -> list[Song]:
    """Composed, not rendered: about ten milliseconds each."""
    return [compose(1, "train", index) for index in range(400)]


@pytest.fixture(scope="session")
def renderer() -> Renderer:
    return Renderer(find_soundfont())


@pytest.fixture(scope="session")
def small_font() -> Path:
    """The font that loads fastest, for tests of files and processes rather than of sound."""
    spec = importlib.util.find_spec("pretty_midi")
    if spec is not None and spec.origin:
        for font in Path(spec.origin).parent.glob("**/TimGM6mb.sf2"):
            return font
    return find_soundfont()
