"""Reading a sharded checkpoint without executing anything that is in it.

PyTorch's own reader unpickles `.metadata`, and every value that is no tensor, with all that pickles can do. Here the first may name the
classes of the format alone, and the second are read as `torch.load(weights_only=True)` reads.
"""

from __future__ import annotations

import io
import pathlib
import pickle
from pathlib import Path
from typing import IO, Any

import torch
import torch.distributed.checkpoint as sharded
from torch.distributed.checkpoint import metadata as layout
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta
from torch.distributed.checkpoint.planner import ReadItem

from jasco_pl.system.checksums import check_zip
from jasco_pl.system.files import is_bare

METADATA = ".metadata"
_CLASSES = (
    *(layout.Metadata, layout.MetadataIndex, layout.StorageMeta, layout.BytesStorageMetadata, layout.TensorStorageMetadata),
    *(layout.ChunkStorageMetadata, layout.TensorProperties, layout._MEM_FORMAT_ENCODING, _StorageInfo, torch.Size),
    *(pathlib.PosixPath, pathlib.PurePosixPath),
)
_ALLOWED: dict[tuple[str, str], Any] = {
    **{(kind.__module__, kind.__qualname__): kind for kind in _CLASSES},
    ("torch.serialization", "_get_layout"): torch.serialization._get_layout,
    **{("torch", name): value for name, value in vars(torch).items() if isinstance(value, torch.dtype)},
}


class _Unpickler(pickle._Unpickler):  # type: ignore[name-defined,misc]  # the one in C makes room for as many objects as the file claims
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"its index names {module}.{name}, which is no part of a checkpoint") from None


def read_metadata(folder: Path) -> Metadata:
    """Where every tensor of a folder lies; nothing is executed, and no file outside of the folder is named.

    Raises:
        OSError: it cannot be read. Exception: it is damaged, or holds something else.
    """
    found = _Unpickler(io.BytesIO((folder / METADATA).read_bytes())).load()
    if not isinstance(found, Metadata) or not isinstance(found.storage_data, dict):
        raise ValueError("its index is none")
    for place in found.storage_data.values():
        if not is_bare(place.relative_path):
            raise ValueError(f"its index names {place.relative_path!r}, which is no file of the folder")
    return found


class FolderReader(sharded.FileSystemReader):
    """PyTorch's reader of a folder, by `read_metadata`."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Of the whole folder."""
        found = read_metadata(Path(self.path))
        found.storage_meta = found.storage_meta or StorageMeta()
        found.storage_meta.load_id = self.load_id
        return found

    def _slice_file(self, file: Any, sinfo: _StorageInfo) -> IO[bytes]:
        """What is stored of one tensor, after its checksum was compared, which PyTorch does not."""
        content = io.BytesIO(super()._slice_file(file, sinfo).read())
        check_zip(content)
        return content


class _Planner(sharded.DefaultLoadPlanner):
    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        harmless = io.BytesIO()  # PyTorch's own would unpickle whatever comes
        torch.save(torch.load(value, weights_only=True), harmless)
        harmless.seek(0)
        super().load_bytes(read_item, harmless)


def load(state: dict[str, Any], folder: Path, alone: bool = False) -> None:
    """`torch.distributed.checkpoint.load` into `state` in place; every process has to come here, unless one reads `alone`.

    Raises:
        Exception: in all processes, whatever went wrong in the first that failed.
    """
    try:
        sharded.load(state, storage_reader=FolderReader(folder), planner=_Planner(), no_dist=alone)
    except CheckpointException as error:  # which is no Exception
        raise first_failure(error) from error


def first_failure(error: CheckpointException) -> Exception:
    """What went wrong, of all that went wrong in several processes."""
    failure = next(iter(error.failures.values()))[0]
    return failure if isinstance(failure, Exception) else RuntimeError(str(failure))
