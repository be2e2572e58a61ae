from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from jasco_pl.evaluation.settings import Settings, chosen_rows, remade, rows_of, takes_audio
from jasco_pl.generation.outline import DEFAULT_CHECKPOINT
from jasco_pl.network.flow.config import SolverConfig
from jasco_pl.system.errors import UserError


def test_painting_alone_and_with_the_controls() -> None:
    """What it leaves is measured alone, beside the same seconds of clips that are made whole."""
    assert list(rows_of(["painting"])) == ["codec ceiling", "no control", "text by section", "painting"]
    rows = rows_of(["chords", "melody", "painting"])
    assert rows["all controls"] == rows["all controls in the middle"] == ("chords", "melody")
    assert rows["painting"] == ("painting",)
    assert rows["painting with controls"] == ("painting", "chords", "melody")
    assert [name for name, given in rows.items() if remade(name, given)] == list(rows)[-3:]
    chosen = chosen_rows(["painting+all", "middle", "painting+chords"], ["chords", "melody", "painting"])
    assert chosen == {
        "painting with controls": ("painting", "chords", "melody"),
        "all controls in the middle": ("chords", "melody"),
        "painting+chords": ("painting", "chords"),
    }
    assert chosen_rows(["painting+all", "middle", "painting+chords"], ["chords", "melody"]) == {}


def test_rows_by_name() -> None:
    controls = ["chords", "melody", "drums", "painting"]
    chosen = chosen_rows(["none", "drums+chords", "all", "crossed", "mix", "ceiling"], controls)
    assert chosen == {  # this model has no mix
        "no control": (),
        "drums+chords": ("drums", "chords"),
        "all controls": ("chords", "melody", "drums"),
        "crossed": ("chords", "drums", "melody"),
        "codec ceiling": (),
    }
    assert chosen_rows(["all"], ["chords", "painting"]) == {"all controls": ("chords",)}
    assert chosen_rows(["all"], []) == {}
    assert chosen_rows(["crossed"], ["chords", "melody", "mix"]) == {}  # all that is heard in a mix comes from one piece
    with pytest.raises(UserError, match=r"ceiling, none, form, all, crossed, painting\+all, middle, chords.*not 'chrods'"):
        chosen_rows(["chrods"], controls)


def test_three_pieces_are_crossed_where_there_are_three_controls() -> None:
    assert list(rows_of(["chords", "melody", "drums", "mix"]))[-2:] == ["all controls", "crossed"]
    assert "crossed" not in rows_of(["chords", "drums", "mix", "painting"])


def test_rows_that_give_audio() -> None:
    assert takes_audio(("chords", "drums"))
    assert takes_audio(("drumless",))
    assert not takes_audio(("chords", "melody"))
    assert not takes_audio(("painting",))


def test_clips_of_another_codec_are_not_taken_for_these(tiny_settings: Settings, tmp_path: Path) -> None:
    checkpoint, codec = Path(tiny_settings.checkpoint), tmp_path / "its-codec"
    config = json.loads((checkpoint / "config.json").read_text())
    shutil.copytree(config["codec"], codec)
    (checkpoint / "config.json").write_text(json.dumps({**config, "codec": str(codec)}))
    before = tiny_settings.key()
    assert tiny_settings.key() == before
    described = json.loads((codec / "config.json").read_text())
    (codec / "config.json").write_text(json.dumps({**described, "iterations": described["iterations"] + 1}))
    assert tiny_settings.key() != before


def test_results_of_another_precision_are_kept_apart_and_those_of_before_are_found(tiny_settings: Settings) -> None:
    written = asdict(tiny_settings)
    assert (written.pop("precision"), written["solver"].pop("times"), written["solver"].pop("student")) == ("fp32", "uniform", False)
    digest = hashlib.blake2b(json.dumps(written, sort_keys=True).encode(), digest_size=4)  # as it was when there was none of them
    folder = Path(tiny_settings.checkpoint)
    for part in (folder, Path(json.loads((folder / "config.json").read_text())["codec"])):
        for path in sorted(file for file in part.iterdir() if file.suffix in (".json", ".safetensors")):
            digest.update(path.read_bytes())
    assert tiny_settings.key() == digest.hexdigest()
    assert replace(tiny_settings, precision="bf16").key() != tiny_settings.key()


def test_fitted_times_are_told_apart() -> None:
    even, fitted = (Settings(DEFAULT_CHECKPOINT, "all=2.5", SolverConfig("midpoint", 6, times=times)) for times in ("uniform", "fitted"))  # type: ignore[arg-type]
    assert (even.solver_name, fitted.solver_name) == ("midpoint 6", "midpoint 6, fitted")
    assert even.key() != fitted.key()
