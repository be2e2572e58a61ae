"""Find a General MIDI SoundFont, or fetch a freely licensed one."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path

from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path, user_cache

_NAMES = ("FluidR3Mono_GM.sf3", "FluidR3_GM.sf2", "FluidR3_GM.sf3")
_PLACES = ("/usr/share/sounds/sf3", "/usr/share/sounds/sf2", "/usr/share/soundfonts", "/usr/local/share/soundfonts", ".cache/soundfonts")
_PACKAGE = "fluidr3mono-gm-soundfont"


def find_soundfont(path: str | os.PathLike[str] | None = None) -> Path:
    """Return a GM SoundFont (.sf2 or .sf3).

    Looked for in this order: `path`, the environment variable JASCO_SOUNDFONT, the system's folders and the caches, Debian's
    FluidR3 Mono (MIT; fetched without root and unpacked into the user's cache), and last TimGM6mb of the pretty_midi package.

    Raises:
        UserError: a named file does not exist, or nothing was found and nothing could be fetched.
    """
    for name, source in ((path, "argument"), (os.environ.get("JASCO_SOUNDFONT"), "JASCO_SOUNDFONT")):
        if name:
            if not Path(name).is_file():
                raise UserError(f"there is no SoundFont {os.fspath(name)!r} (from {source}); an .sf2 or .sf3 file is accepted.")
            return Path(name)
    for place in (*map(Path, _PLACES), user_cache("soundfonts")):
        for font in _NAMES:
            if (place / font).is_file():
                return place / font
    return _fetch() or _fallback()


def _fetch() -> Path | None:
    """Download Debian's package and unpack it into the user's cache; None where that is not possible."""
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        return None
    with tempfile.TemporaryDirectory() as work:

        def call(*command: str) -> bool:
            try:
                return subprocess.run(command, cwd=work, capture_output=True, check=False, timeout=120).returncode == 0
            except subprocess.TimeoutExpired:
                return False

        fetch = ("apt-get", "-o", "APT::Sandbox::User=root", "download", _PACKAGE)
        if not (call(*fetch) or (os.geteuid() == 0 and call("apt-get", "update") and call(*fetch))):
            return None
        package = next(Path(work).glob("*.deb"), None)
        if package is None or not call("dpkg", "-x", str(package), "root"):
            return None
        font = next((f for f in Path(work, "root").rglob("*.sf3") if f.is_file() and not f.is_symlink()), None)
        if font is None:
            return None
        target = user_cache("soundfonts") / _NAMES[0]
        with atomic_path(target) as temporary:
            shutil.copyfile(font, temporary)
    return target


def _fallback() -> Path:
    spec = importlib.util.find_spec("pretty_midi")
    if spec is not None and spec.origin:
        font = next(Path(spec.origin).parent.glob("**/TimGM6mb.sf2"), None)
        if font is not None:
            warnings.warn(
                f"using {font.name} of pretty_midi (GPL-2 samples: for use at run time; ship nothing rendered with it); "
                "set JASCO_SOUNDFONT to choose another font.",
                stacklevel=3,
            )
            return font
    raise UserError(
        f"no SoundFont was found and Debian's {_PACKAGE} could not be fetched; "
        "give --soundfont FILE or set JASCO_SOUNDFONT to a General MIDI .sf2 or .sf3."
    )
