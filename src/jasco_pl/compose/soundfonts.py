"""General MIDI SoundFonts: found on the machine, or fetched where their licence is free."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path, user_cache


@dataclass(frozen=True)
class Font:
    """A font that Debian has: the package to fetch, the names that its file may have where it is installed, the licence of its samples."""

    package: str
    files: tuple[str, ...]
    licence: str


FONTS = {
    "fluidr3": Font("fluidr3mono-gm-soundfont", ("FluidR3Mono_GM.sf3", "FluidR3_GM.sf2", "FluidR3_GM.sf3"), "MIT"),
    "gmbank": Font("csound-soundfont", ("sf_GMbank.sf2",), "public domain"),
    "musescore": Font("musescore-general-soundfont-small", ("MuseScore_General_Lite.sf3", "MuseScore_General.sf3"), "MIT"),
}
DEFAULT = "fluidr3"
_PLACES = ("/usr/share/sounds/sf3", "/usr/share/sounds/sf2", "/usr/share/soundfonts", "/usr/local/share/soundfonts", ".cache/soundfonts")


def find_soundfont(path: str | os.PathLike[str] | None = None) -> Path:
    """Return a GM SoundFont (.sf2 or .sf3).

    Looked for in this order: `path`, the environment variable JASCO_SOUNDFONT, and `DEFAULT`. Each may be a file or a name in `FONTS`,
    whose file is looked for in the folders of the system and the caches, and fetched from Debian without root into the user's cache.
    Last, where nothing is named, comes TimGM6mb of the pretty_midi package.

    Raises:
        UserError: a named file does not exist, or nothing was found and nothing could be fetched.
    """
    for name, source in ((path, "argument"), (os.environ.get("JASCO_SOUNDFONT"), "JASCO_SOUNDFONT")):
        if not name:
            continue
        if Path(name).is_file():
            return Path(name)
        font = FONTS.get(os.fspath(name))
        if font is None:
            raise UserError(
                f"there is no SoundFont {os.fspath(name)!r} (from {source}); an .sf2 or .sf3 file is accepted, or {', '.join(FONTS)}."
            )
        if found := _installed(font) or _fetch(font):
            return found
        raise UserError(f"the SoundFont {os.fspath(name)!r} (from {source}) is not here, and Debian's {font.package} could not be fetched.")
    return _installed(FONTS[DEFAULT]) or _fetch(FONTS[DEFAULT]) or _fallback()


def _installed(font: Font) -> Path | None:
    for place in (*map(Path, _PLACES), user_cache("soundfonts")):
        for file in font.files:
            if (place / file).is_file():
                return place / file
    return None


def _fetch(font: Font) -> Path | None:
    """Download Debian's package and unpack it into the user's cache; None where that is not possible."""
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        return None
    with tempfile.TemporaryDirectory() as work:

        def call(*command: str) -> bool:
            try:
                return subprocess.run(command, cwd=work, capture_output=True, check=False, timeout=120).returncode == 0
            except subprocess.TimeoutExpired:
                return False

        fetch = ("apt-get", "-o", "APT::Sandbox::User=root", "download", font.package)
        if not (call(*fetch) or (os.geteuid() == 0 and call("apt-get", "update") and call(*fetch))):
            return None
        package = next(Path(work).glob("*.deb"), None)
        if package is None or not call("dpkg", "-x", str(package), "root"):
            return None
        found = next((f for f in Path(work, "root").rglob("*") if f.name in font.files and f.is_file() and not f.is_symlink()), None)
        if found is None:
            return None
        target = user_cache("soundfonts") / found.name
        with atomic_path(target) as temporary:
            shutil.copyfile(found, temporary)
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
        f"no SoundFont was found and Debian's {FONTS[DEFAULT].package} could not be fetched; "
        "give --soundfont FILE or set JASCO_SOUNDFONT to a General MIDI .sf2 or .sf3."
    )
