"""Gather the recordings that the vocoder of codec-mini is trained on: music of three free games, under CC BY 3.0 or in the public domain.

apt-get download naev-data openclonk-data ufoai-music    # Debian 12; dpkg-deb opens them
python data_prep/free_recordings.py --packages . --out data/recordings

Writes OUT/train, OUT/valid and OUT/AUTHORS.md. What is under GPL or share-alike licences in the same packages is left where it is.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

# package -> (author as its copyright file names them, licence, recordings); of "GPL-3 or CC-BY-3.0", as naev-data has it, CC BY is taken
SOURCES = {
    "naev-data": [
        (
            "Nikola Whallon",
            "CC BY 3.0",
            "ambient1 ambient2 ambient2_5 ambient3 automat battlesomething1 battlesomething2 collective1 collective2 empire1 "
            "empire2 flf_battle1 intrigue intro landing_sinister nebu_battle1 nebu_battle2 sirius1 tension upbeat zalek1 zalek2",
        ),
        ("Zeropage", "CC BY 3.0", "ambiphonic void_sensor"),
    ],
    "openclonk-data": [
        ("K-Pone", "CC BY 3.0", "@CrushedIceCocktail IslandDreams LucidDream Motorway Offshore TheSkylands UrbanBolero"),
    ],
    "ufoai-music": [
        (
            'Manuel "Vanethian" Marino, Gren, David Reeves (Destructavator), azrael1322, Karl Macklin',
            "CC BY 3.0",
            "David01 David02 David03 David04 David05 azrael1 karlmacklin_geoscape van_geoscape van_mission van_mission2 van_mission3 "
            "van_mission4 van_theme",
        ),
        ("Independent.nu, Golgotha", "public domain", "alBasrahM greecei turinItalyM"),
    ],
}
VALID = {"empire1", "upbeat", "van_theme", "David02", "UrbanBolero", "azrael1"}


def files_of(package: Path, scratch: Path) -> Iterator[tuple[str, bytes]]:
    """Name without suffix and content of every Ogg file of a package, those in its game's own archives too."""
    subprocess.run(["dpkg-deb", "-x", str(package), str(scratch)], check=True)
    for path in sorted(scratch.rglob("*")):
        if path.suffix == ".ogg":
            yield path.stem, path.read_bytes()
        elif path.suffix == ".pk3":
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if name.endswith(".ogg"):
                        yield PurePosixPath(name).stem, archive.read(name)


def main() -> None:
    """Write the folders; recordings that are there already are written again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", required=True, type=Path, metavar="DIR", help="where the three .deb files lie")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the recordings")
    args = parser.parse_args()
    lines = []
    for package, sources in SOURCES.items():
        found = sorted(args.packages.glob(f"{package}_*.deb"))
        if not found:
            parser.error(f"{str(args.packages)!r} holds no {package}_*.deb: `apt-get download {package}` gets it.")
        wanted = {name: (author, licence) for author, licence, names in sources for name in names.split()}
        with tempfile.TemporaryDirectory() as scratch:
            for name, content in files_of(found[-1], Path(scratch)):
                if name in wanted:
                    author, licence = wanted.pop(name)
                    folder = args.out / ("valid" if name in VALID else "train")
                    folder.mkdir(parents=True, exist_ok=True)
                    (folder / f"{package.split('-')[0]}-{name.lstrip('@')}.ogg").write_bytes(content)
                    lines.append(f"- {name.lstrip('@')} ({package}): {author}, {licence}\n")
        if wanted:
            parser.error(f"{found[-1].name} lacks {', '.join(sorted(wanted))}: another version of the package?")
    (args.out / "AUTHORS.md").write_text("".join(lines), encoding="utf-8")
    print(f"{len(lines)} recordings are in {args.out}")


if __name__ == "__main__":
    main()
