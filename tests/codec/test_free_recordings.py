from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "data_prep" / "free_recordings.py"
pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb, which opens Debian packages, is not installed")


def package(folder: Path, name: str, recordings: list[str]) -> None:
    """A Debian package of empty-handed Ogg files; UFO keeps its own in an archive."""
    inside = folder / name / "usr" / "share" / "music"
    inside.mkdir(parents=True)
    control = folder / name / "DEBIAN" / "control"
    control.parent.mkdir()
    control.write_text(f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: music\n")
    if name == "ufoai-music":
        with zipfile.ZipFile(inside / "0music.pk3", "w") as archive:
            for recording in recordings:
                archive.writestr(f"music/{recording}.ogg", recording)
    else:
        for recording in recordings:
            (inside / f"{recording}.ogg").write_text(recording)
    subprocess.run(["dpkg-deb", "-b", folder / name, folder / f"{name}_1_all.deb"], check=True, capture_output=True)


def gather(packages: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--packages", str(packages), "--out", str(out)])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def test_only_what_may_be_trained_on_is_gathered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = runpy.run_path(str(SCRIPT))
    for name, sources in told["SOURCES"].items():
        package(tmp_path, name, [*(part for source in sources for part in source[2].split()), "under-share-alike"])
    out = tmp_path / "recordings"
    (out / "train").mkdir(parents=True)
    (out / "train" / "mine.ogg").write_text("mine")
    gather(tmp_path, out, monkeypatch)
    written = {path.name: path.read_text() for path in out.rglob("*.ogg")}
    assert len(written) == 48
    assert written.pop("mine.ogg") == "mine"
    assert {name.partition("-")[2].removesuffix(".ogg") for name in written} == {content.lstrip("@") for content in written.values()}
    assert {path.stem.partition("-")[2] for path in (out / "valid").iterdir()} == told["VALID"]
    authors = (out / "AUTHORS.md").read_text()
    assert authors.count("\n") == 47
    assert "CrushedIceCocktail (openclonk-data): K-Pone, CC BY 3.0" in authors


def test_another_version_of_a_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    package(tmp_path, "naev-data", ["ambient1"])
    with pytest.raises(SystemExit):
        gather(tmp_path, tmp_path / "out", monkeypatch)
    assert "naev-data_1_all.deb lacks ambient2, ambient2_5," in capsys.readouterr().err
    with pytest.raises(SystemExit):
        gather(tmp_path / "naev-data", tmp_path / "out", monkeypatch)
    assert "apt-get download naev-data" in capsys.readouterr().err
