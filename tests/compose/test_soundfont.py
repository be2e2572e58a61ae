from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from jasco_pl.compose import soundfonts
from jasco_pl.compose.soundfonts import find_soundfont
from jasco_pl.system.errors import UserError


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without fonts, caches and apt."""
    monkeypatch.delenv("JASCO_SOUNDFONT", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(soundfonts, "_PLACES", (str(tmp_path / "place"),))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    return tmp_path


def test_argument_comes_before_the_environment(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = bare / "mine.sf2", bare / "other.sf2"
    mine.touch()
    other.touch()
    monkeypatch.setenv("JASCO_SOUNDFONT", str(other))
    assert find_soundfont(mine) == mine
    assert find_soundfont() == other


def test_a_missing_file_is_named_with_where_it_came_from(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"nowhere\.sf2.*argument"):
        find_soundfont("nowhere.sf2")
    monkeypatch.setenv("JASCO_SOUNDFONT", "gone.sf3")
    with pytest.raises(UserError, match=r"gone\.sf3.*JASCO_SOUNDFONT"):
        find_soundfont()


def test_system_folder_then_cache(bare: Path) -> None:
    cached = bare / "cache" / "jasco_pl" / "soundfonts" / "FluidR3Mono_GM.sf3"
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert find_soundfont() == cached
    system = bare / "place" / "FluidR3_GM.sf2"
    system.parent.mkdir()
    system.touch()
    assert find_soundfont() == system


def test_last_resort_is_the_font_of_pretty_midi_with_a_warning(bare: Path) -> None:
    pytest.importorskip("pretty_midi")
    with pytest.warns(UserWarning, match="GPL-2"):
        assert find_soundfont().name == "TimGM6mb.sf2"


def test_nothing_at_all_is_one_sentence(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soundfonts.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="--soundfont FILE"):
        find_soundfont()


def test_fetching_that_fails_leaves_nothing(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(soundfonts.os, "geteuid", lambda: 1000)

    class Failed:
        returncode = 100

    commands = []
    monkeypatch.setattr(soundfonts.subprocess, "run", lambda command, **_: commands.append(command) or Failed())
    monkeypatch.setattr(soundfonts.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError):
        find_soundfont()
    assert [command[0] for command in commands] == ["apt-get"]
    assert not (bare / "cache").exists()


def test_a_font_is_found_by_name_and_fetched_by_its_package(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = bare / "cache" / "jasco_pl" / "soundfonts" / "sf_GMbank.sf2"
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert find_soundfont("gmbank") == cached
    with pytest.raises(UserError, match=r"'musescore' \(from argument\).*musescore-general-soundfont-small"):
        find_soundfont("musescore")
    monkeypatch.setenv("JASCO_SOUNDFONT", "gmbank")
    assert find_soundfont() == cached


def test_a_fetched_package_leaves_its_font_in_the_cache(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")

    class Done:
        returncode = 0

    def run(command: tuple[str, ...], cwd: str, **_: object) -> Done:
        if "download" in command:
            assert command[-1] == "csound-soundfont"
            Path(cwd, "csound-soundfont_1_all.deb").touch()
        else:
            font = Path(cwd, "root", "usr", "share", "sounds", "sf2", "sf_GMbank.sf2")
            font.parent.mkdir(parents=True)
            font.write_bytes(b"RIFF")
        return Done()

    monkeypatch.setattr(soundfonts.subprocess, "run", run)
    assert find_soundfont("gmbank").read_bytes() == b"RIFF"
    assert [path.name for path in (bare / "cache" / "jasco_pl" / "soundfonts").iterdir()] == ["sf_GMbank.sf2"]
