"""Reading the files of a released checkpoint: `state_dict.bin` and `compression_state_dict.bin`, as audiocraft's `export` writes them.

Only tensors, plain containers, texts and numbers are read (`weights_only`): a file that asks for anything else is refused, and nothing in
it is executed.
"""

from __future__ import annotations

import pickletools
import re
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from jasco_pl.interop.xp_config import XpConfig
from jasco_pl.system.errors import UserError

MODEL_FILE = "state_dict.bin"
CODEC_FILE = "compression_state_dict.bin"
_POINTER = "//pretrained/"  # before a Hub id in audiocraft's configurations


@dataclass
class Released:
    """What the files say.

    Attributes:
        path: the file of the model.
        state: its weights by audiocraft's names; those that lie in a file are mapped, not read, until they are used.
        config: its configuration.
        codec: Hub id of the codec that is pointed to; None where the pointer is missing.
        native_codec: whether a codec of audiocraft's own kind lies beside.
        version: of the audiocraft that wrote it.
        anchor: inputs and results for `jasco import --verify`, where the file has them.
    """

    path: Path
    state: dict[str, Tensor]
    config: XpConfig
    codec: str | None = None
    native_codec: bool = False
    version: str = "unknown"
    anchor: Mapping[str, Any] | None = None


def is_released(folder: Path) -> bool:
    """Whether a folder holds a checkpoint in audiocraft's layout."""
    return (folder / MODEL_FILE).is_file()


def read_released(source: str | Path) -> Released:
    """Read a folder with both files, or a single file of the model's form.

    Raises:
        UserError: a file is missing, cut off, of another kind, or asks for a class.
    """
    path = Path(source)
    if path.is_dir():
        if not is_released(path):
            raise UserError(f"the folder {str(source)!r} holds no {MODEL_FILE}, which is the file of a released checkpoint's weights.")
        path = path / MODEL_FILE
    package = read_package(path)
    state = package.get("best_state")
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{str(path)!r} holds no weights under 'best_state', as audiocraft's exported models do.")
    config = XpConfig(package.get("xp.cfg"), str(path))
    anchor = package.get("anchor")
    found = Released(
        path,
        dict(state),
        config,
        version=str(package.get("version", "unknown")),
        anchor=anchor if isinstance(anchor, Mapping) else None,
    )
    beside = path.with_name(CODEC_FILE)
    codec = read_package(beside) if path.name == MODEL_FILE and beside.is_file() else {}
    found.native_codec = "best_state" in codec
    configured = str(config.get("compression_model_checkpoint", ""))
    if "pretrained" in codec:
        found.codec = str(codec["pretrained"])
    elif configured.startswith(_POINTER):
        found.codec = configured.removeprefix(_POINTER)
    return found


def read_package(path: Path) -> Mapping[str, Any]:
    """The mapping in a file of `torch.save`.

    Raises:
        UserError: as for `read_released`.
    """
    where = str(path)
    try:
        zipped = zipfile.is_zipfile(path)
        with path.open("rb") as file:
            if file.read(2) == b"PK" and not zipped:
                raise UserError(f"{where!r} is cut off: its end is missing.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols: what cannot be read is an error here
            package = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"there is no file {where!r}.") from None
    except OSError as error:
        raise UserError(f"{where!r} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # torch and pickle raise whatever the bytes provoke
        raise UserError(_why(path, error)) from error
    if not isinstance(package, Mapping):
        kind = type(package).__name__
        raise UserError(f"{where!r} holds a {kind}, where audiocraft's mapping of 'best_state' and 'xp.cfg' is accepted.")
    return package


def _why(path: Path, error: Exception) -> str:
    """The sentence for a file that torch does not read."""
    text = " ".join(str(error).split())
    asked = re.search(r"GLOBAL ([\w.]+)", text)
    if name := asked[1] if asked else _first_class(path):
        return f"{str(path)!r} asks for the pickled class {name}, which could run anything; only tensors and plain values are read."
    reason = text.partition(" Check the documentation")[0].rpartition(": ")[2].rstrip(".")[:160] or type(error).__name__
    return f"{str(path)!r} is cut off, damaged or no file of torch.save ({reason})."


def _first_class(path: Path) -> str | None:
    """The first class or function that a pickle asks for, found without running it; torch does not say it of newer pickle protocols."""
    with suppress(Exception):  # whatever the bytes provoke: there is nothing to name then
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.endswith("data.pkl")]
                with archive.open(names[0]) as inside:
                    return _asked(inside)
        with path.open("rb") as file:
            return _asked(file)
    return None


def _asked(file: IO[bytes]) -> str | None:
    texts: list[str] = []
    for operation, argument, _ in pickletools.genops(file):
        if isinstance(argument, str) and operation.name != "GLOBAL":
            texts.append(argument)
        elif operation.name in ("GLOBAL", "STACK_GLOBAL"):
            name = str(argument).replace(" ", ".") if argument else ".".join(texts[-2:])
            if not name.startswith(("torch.", "collections.OrderedDict")):  # what tensors are made of
                return name
    return None
