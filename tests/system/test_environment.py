from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

import jasco_pl
from jasco_pl.commands import doctor
from jasco_pl.system import environment
from jasco_pl.system.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package named torchaudio in a folder of its own that, as the real one, fails to import while its extension file is there."""
    package = tmp_path / "environment" / "torchaudio"
    (package / "lib").mkdir(parents=True)
    for name in ("_torchaudio.abi3.so", "libtorchaudio.abi3.so"):
        (package / "lib" / name).write_bytes(b"not a library")
    (package / "__init__.py").write_text(
        "from pathlib import Path\n"
        "if list(Path(__file__).with_name('lib').glob('*.so')):\n"
        "    raise OSError('libc10_cuda.so: cannot open shared object file')\n"
    )
    monkeypatch.setattr(environment, "torchaudio_folder", lambda: package)
    monkeypatch.setattr(environment.torch.version, "cuda", None)  # a build for CPUs, whatever runs this
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    return package


def test_extension_that_does_not_load_is_set_aside_once(broken: Path) -> None:
    line = environment.mend_torchaudio(broken.parent)
    assert line is not None
    assert "\n" not in line
    assert "2 extension files" in line
    assert environment.import_error("torchaudio") is None
    assert environment.mend_torchaudio(broken.parent) is None


def test_torchaudio_outside_the_environment_is_left_alone(broken: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="outside the project's own environment"):
        environment.mend_torchaudio(tmp_path / "elsewhere")
    assert len(list((broken / "lib").glob("*.so"))) == 2


def test_files_are_put_back_when_that_did_not_help(broken: Path) -> None:
    (broken / "__init__.py").write_text("import a_module_that_is_nowhere\n")
    with pytest.raises(UserError, match="a_module_that_is_nowhere"):
        environment.mend_torchaudio(broken.parent)
    assert len(list((broken / "lib").glob("*.so"))) == 2
    assert not list((broken / "lib").glob(f"*{environment.SET_ASIDE}"))


def test_parts_of_torchaudio_that_are_used_work_here() -> None:
    import torch
    import torchaudio

    tone = torch.sin(torch.arange(44100) * (2 * torch.pi * 440 / 44100))
    resampled = torchaudio.functional.resample(tone, 44100, 32000)
    assert resampled.shape == (32000,)
    peak = torch.fft.rfft(resampled).abs().argmax().item()
    assert peak == 440
    low = torchaudio.functional.bandpass_biquad(resampled, 32000, 4000.0, 4.0)
    assert low.square().mean() < 0.01 * resampled.square().mean()


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, jasco_pl; assert 'torch' not in sys.modules; print(jasco_pl.__version__)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == jasco_pl.__version__


def test_unknown_attribute_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nowhere"):
        _ = jasco_pl.nowhere


def test_doctor_names_a_remedy_for_what_is_missing_and_survives_a_broken_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_check() -> doctor.Check:
        raise OSError("libc10_cuda.so: cannot open shared object file")

    def no_soundfont() -> Path:
        raise UserError("no SoundFont was found.")

    monkeypatch.setattr(doctor, "_audio_files", broken_check)
    monkeypatch.setattr("jasco_pl.extract.chordino.available", lambda: False)
    monkeypatch.setattr("jasco_pl.compose.soundfonts.find_soundfont", no_soundfont)
    checks = {check.name: check for check in doctor.report()}
    assert checks["python"].ok
    assert checks["torch"].ok
    assert not checks["broken check"].ok
    assert "libc10_cuda.so" in checks["broken check"].found
    assert not checks["chord recogniser"].ok
    assert not checks["soundfont"].ok
    assert all(check.remedy for check in checks.values() if not check.ok)


@pytest.mark.parametrize(("needed", "status"), [(True, 1), (False, 0)])
def test_doctor_fails_only_for_what_is_needed(
    needed: bool, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "report", lambda: [doctor.Check("a part", False, "nothing", "install it", needed)])
    assert doctor.run(argparse.Namespace()) == status
    assert "-> install it" in capsys.readouterr().out


def test_every_pin_is_exact_and_every_requirement_is_pinned() -> None:
    import configparser
    import re

    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", pin) for pin in pins)
    names = {re.sub(r"[-_.]+", "-", pin.split("==")[0]).lower() for pin in pins}
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    required = setup["options"]["install_requires"] + "".join(setup["options.extras_require"].values())
    wanted = {re.sub(r"[-_.]+", "-", re.split(r"[=<>\[]", line.strip())[0]).lower() for line in required.splitlines() if line.strip()}
    wanted |= {"tinysoundfont", "chord-extractor"}
    assert wanted - names == set()


def test_make_lists_every_target_it_has() -> None:
    listed = subprocess.run(["make", "--no-print-directory", "-C", str(ROOT)], capture_output=True, text=True, check=True).stdout
    for target in ("setup", "demo", "test", "test-slow", "data", "train", "eval", "tensorboard", "lint", "format", "clean"):
        assert f"make {target} " in listed
