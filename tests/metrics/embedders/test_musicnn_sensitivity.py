"""The distance that works without a hub does what such a distance is for: small between halves of one set, growing with damage."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from jasco_pl.compose import compose_set
from jasco_pl.compose.soundfonts import find_soundfont
from jasco_pl.metrics.embedders import load_embedder
from jasco_pl.studies.metrics import degradations, sensitivity
from jasco_pl.system.errors import UserError
from jasco_pl.system.resources import locate


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("musicnn") is None, reason="the optional package musicnn is not installed")
def test_distance_grows_with_every_kind_of_damage(tmp_path: Path) -> None:
    try:
        find_soundfont()
    except UserError as error:
        pytest.skip(str(error))
    compose_set(tmp_path, hours=0.45, seed=7, split="test", progress=False)
    kinds = degradations(locate("checkpoints/codec-mini"))
    found = dict(sensitivity(sorted(tmp_path.glob("*.mix.flac")), load_embedder("musicnn"), kinds))
    for name in ("FD[musicnn]", "KAD[musicnn]"):
        distance = {kind: figures[name] for kind, figures in found.items()}
        clean = distance.pop("clean")
        assert clean < 0.5 * min(distance[kind] for kind in ("noise 10 dB", "low-pass 1000 Hz", "shuffled 0.1 s", "codec")), distance
        assert clean < distance["noise 20 dB"] < distance["noise 10 dB"]
        assert clean < distance["low-pass 4000 Hz"] < distance["low-pass 1000 Hz"]
        assert clean < distance["shuffled 0.5 s"] < distance["shuffled 0.1 s"]
