from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from jasco_pl.audio.files import read_audio
from jasco_pl.cli import main
from jasco_pl.studies.demo import PREPARED, read_requests

pytestmark = pytest.mark.slow


def test_the_demo_follows_what_is_asked_for_and_its_page_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    requests = read_requests(PREPARED).requests
    assert main(["demo", "--out", str(tmp_path), "--steps", "4"]) == 0
    names = {f"{name}{end}" for name in requests for end in (".wav", ".json", ".png", "-without.wav", "-without.json")}
    assert {path.name for path in tmp_path.iterdir()} == names | {"index.html", "README.md"}
    assert "index.html" in capsys.readouterr().out
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', (tmp_path / "index.html").read_text(encoding="utf-8"))
    assert found
    data = json.loads(found[1])
    with_controls, without = data["rows"]
    for kept, bare, request in zip(with_controls["clips"], without["clips"], requests.values(), strict=True):
        audio = [read_audio(tmp_path / clip["audio"], 32000) for clip in (kept, bare)]
        assert audio[0].shape == audio[1].shape == (1, 320000)
        wanted = {"chords": request.chords, "melody": request.melody, "onsets": request.drums, "beat": request.bpm}
        assert kept["given"] == [kind for kind, value in wanted.items() if value is not None]
        assert bare["given"] == []
        assert bare["lanes"]["chords"]["asked"] == kept["lanes"]["chords"]["asked"]
        assert kept["figures"][0] > bare["figures"][0]
        assert data["pieces"][kept["id"]]["caption"] == f"{request.text} · {request.chords}"
