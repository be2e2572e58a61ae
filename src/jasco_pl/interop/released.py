"""Reading the files of a released checkpoint: `state_dict.bin` and `compression_state_dict.bin`, as audiocraft's `export` writes them.

A file that asks for more than tensors and plain values is refused, and nothing in it is executed (`system.torch_file`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from jasco_pl.interop.xp_config import XpConfig
from jasco_pl.system.errors import UserError
from jasco_pl.system.torch_file import read_torch_file

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
    if not isinstance(state, Mapping) or not state or not all(isinstance(n, str) and isinstance(v, Tensor) for n, v in state.items()):
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
    """The mapping in one of the files.

    Raises:
        UserError: as for `read_released`.
    """
    package = read_torch_file(path)
    if not isinstance(package, Mapping):
        kind = type(package).__name__
        raise UserError(f"{str(path)!r} holds a {kind}, where audiocraft's mapping of 'best_state' and 'xp.cfg' is accepted.")
    return package
