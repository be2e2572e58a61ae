"""Three systems and originals of a few short clips."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tones import NAMES, SYSTEMS, tone

from jasco_pl.audio.files import SAMPLE_RATE, write_audio


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders alpha, beta, gamma, reference: unequal levels and lengths; captions beside alpha's, as an evaluation writes them."""
    root = tmp_path_factory.mktemp("recordings")
    for number, system in enumerate((*SYSTEMS, "reference")):
        for index, name in enumerate(NAMES):
            wav = tone(220 * (number + 1), 1.1 + 0.05 * number, 0.05 * (number + 1), 10 * number + index)
            write_audio(root / system / f"{name}.flac", wav, SAMPLE_RATE)
            if system == "alpha":
                (root / system / f"{name}.json").write_text(json.dumps({"id": name, "caption": f"a tone for the {name}"}))
    return root
