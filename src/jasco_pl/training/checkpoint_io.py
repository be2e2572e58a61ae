"""Checkpoints as a folder: one .distcp file a process, `.metadata` that says where every tensor lies, `meta.pt` with everything else.

It is the layout of torch.distributed.checkpoint as Lightning writes it, with the averaged weights sharded too. The index is a pickle, as
PyTorch writes it; it is read so that nothing in it is executed (`folder_reader`).

Checkpoints that are whole or absent: a kill during a save leaves the former one.

A checkpoint is a file (one process, DDP) or a folder of shards (`ShardedStrategy`); both go by the same names and are read alike.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fsspec
import torch
import torch.distributed.checkpoint as sharded
from lightning.fabric.plugins import TorchCheckpointIO
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from jasco_pl.network.model import JascoModel, ModelConfig
from jasco_pl.system.checksums import check_zip
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path, explain_os_error, remove_leftovers
from jasco_pl.training.folder_reader import METADATA, first_failure, load, read_metadata

INDEX_CRC32 = "index_crc32"
META = "meta.pt"  # Lightning's name: it takes a folder that holds this for a sharded checkpoint
WEIGHTS, OPTIMIZER, AVERAGE = "state_dict", "optimizer_0", "average"


def write_folder(folder: Path, checkpoint: dict[str, Any], is_first: bool) -> None:
    """Write this process's shards of a checkpoint; every process has to come here.

    Args:
        folder: exists, empty, the same for all.
        checkpoint: as Lightning hands it to a strategy, tensors sharded.
        is_first: whether this process writes what is not sharded.

    Raises:
        OSError: a process could not write.
    """
    rest = dict(checkpoint)
    tensors = {WEIGHTS: rest.pop("state_dict")}
    if optimizers := rest.pop("optimizer_states", []):
        (tensors[OPTIMIZER],) = optimizers
    if "ema" in rest:
        tensors[AVERAGE] = rest["ema"]["average"]
        rest["ema"] = {"updates": rest["ema"]["updates"]}
    try:
        sharded.save(tensors, storage_writer=sharded.FileSystemWriter(folder))  # flushes to disk
    except CheckpointException as error:
        failure = first_failure(error)
        raise failure if isinstance(failure, OSError) else OSError(str(failure)) from None
    if is_first:
        rest[INDEX_CRC32] = zlib.crc32((folder / METADATA).read_bytes())
        with open(folder / META, "wb") as out:
            torch.save(rest, out)
            out.flush()
            os.fsync(out.fileno())


def weight_shapes(folder: Path) -> dict[str, torch.Tensor]:
    """Names of the weights in a folder, with tensors of their shapes that hold nothing."""
    prefix = f"{WEIGHTS}."
    return {
        name.removeprefix(prefix): torch.empty(entry.size, device="meta")
        for name, entry in read_metadata(folder).state_dict_metadata.items()
        if name.startswith(prefix) and isinstance(entry, TensorStorageMetadata)
    }


def read_average(folder: Path, like: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The averaged weights, sharded as the tensors of `like` are; every process has to come here."""
    state = {AVERAGE: {name: torch.empty_like(tensor) for name, tensor in like.items()}}
    load(state, folder)
    return state[AVERAGE]


def read_into(folder: Path, module: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Any]:
    """Weights and optimiser states go to their places, sharded as they are there; returns what was not sharded. Every process has to come
    here.
    """
    weights = {WEIGHTS: get_model_state_dict(module)}
    load(weights, folder)
    module.load_state_dict(weights[WEIGHTS])
    for optimizer in optimizers:
        state = {OPTIMIZER: get_optimizer_state_dict(module, optimizer)}
        load(state, folder)
        set_optimizer_state_dict(module, optimizer, optim_state_dict=state[OPTIMIZER], options=StateDictOptions(cpu_offload=True))
    return read_rest(folder)


def read_rest(folder: Path) -> dict[str, Any]:
    """What is not sharded, after the index was compared with the checksum in it; folders of former versions have none."""
    with open(folder / META, "rb") as file:
        check_zip(file)
        rest = torch.load(file, map_location="cpu", weights_only=True)
    if rest.pop(INDEX_CRC32, None) not in (None, zlib.crc32((folder / METADATA).read_bytes())):
        raise ValueError("its index fails its checksum")
    return rest


def read_folder(folder: Path) -> dict[str, Any]:
    """All shards put together by one process, on the CPU, laid out as a checkpoint of one process (optimiser state keyed by number)."""
    index = read_metadata(folder)
    flat: dict[str, Any] = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype) if isinstance(entry, TensorStorageMetadata) else None
        for name, entry in index.state_dict_metadata.items()
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # one process is what is meant
        load(flat, folder, alone=True)
    nested: dict[Any, Any] = {}
    for name, value in flat.items():
        *parents, last = index.planner_data[name]
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    checkpoint = read_rest(folder)
    checkpoint["state_dict"] = nested[WEIGHTS]
    if OPTIMIZER in nested:
        checkpoint["optimizer_states"] = [_numbered(nested[OPTIMIZER])]
    if AVERAGE in nested:
        checkpoint["ema"]["average"] = nested[AVERAGE]
    return checkpoint


def _numbered(state: dict[str, Any]) -> dict[str, Any]:
    """State of an optimiser keyed by parameter names -> keyed by their places in the groups, as Optimizer.load_state_dict wants it."""
    named = [state["param_groups"][number] for number in sorted(state["param_groups"])]
    places = {name: place for place, name in enumerate(name for group in named for name in group["params"])}
    groups = [{**group, "params": [places[name] for name in group["params"]]} for group in named]
    return {"state": {places[name]: value for name, value in state["state"].items()}, "param_groups": groups}


def temporary_folder(target: Path) -> Path:
    """A new folder beside `target`, hidden, under a name that `remove_leftovers` knows."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target.parent)
        return Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.stem}.", suffix=".part" + target.suffix))
    except OSError as error:
        raise explain_os_error(error, target) from error


def put_in_place(temporary: Path, target: Path) -> None:
    """Let the finished file or folder `temporary` stand at `target`.

    A folder cannot be replaced in one step. What stood there before is called `<name>-former` meanwhile: whole, and found by
    `ckpt_path: last` too, which takes the newest of `last*`. So whenever the process is killed, a whole one stands under a visible name.
    """
    former = target.with_name(f"{target.stem}-former{target.suffix}")
    if target.exists():
        discard(former)
        os.rename(target, former)
    os.rename(temporary, target)
    _sync(target.parent)
    discard(former)


def discard(path: Path) -> None:
    """Delete a file or folder, if it is there; half deleted it never stands under its name."""
    if not path.exists():
        return
    hidden = path.with_name(f".{path.stem}.gone.part{path.suffix}")
    shutil.rmtree(hidden, ignore_errors=True)
    os.rename(path, hidden)
    if hidden.is_dir():
        shutil.rmtree(hidden)
    else:
        hidden.unlink()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the target, flush to disk, rename. Lightning's own goes through $TMPDIR, which may be another file system."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Save `checkpoint` at `path`.

        Raises:
            UserError: the folder cannot be written or the disk is full; a former checkpoint of that name is left.
        """
        target = Path(path)
        remove_leftovers(target.parent)
        replaces_folder = target.is_dir()
        with atomic_path(target.with_name(f".{target.stem}.part{target.suffix}") if replaces_folder else target) as temporary:
            torch.save(checkpoint, temporary)
        if replaces_folder:
            put_in_place(target.with_name(f".{target.stem}.part{target.suffix}"), target)

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Read what `save_checkpoint` or `ShardedStrategy` wrote; shards are put together, so that any strategy can go on from them.

        Raises:
            UserError: the checkpoint is missing, damaged or something else.
        """
        try:
            checkpoint = read_folder(Path(path)) if Path(path).is_dir() else _read_file(path)
            checkpoint["state_dict"]
        except FileNotFoundError as error:
            if not Path(path).exists():
                raise UserError(f"there is no checkpoint {str(path)!r}.") from error
            raise damaged(path, error) from error
        except Exception as error:
            raise damaged(path, error) from error
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete it as a whole."""
        discard(Path(path))


def _read_file(path: str | Path) -> dict[str, Any]:
    """What `torch.save` wrote, on the CPU; here or at a URL."""
    filesystem, place = fsspec.core.url_to_fs(str(path))
    with filesystem.open(place, "rb") as file:
        check_zip(file)
        return torch.load(file, map_location="cpu", weights_only=True)


def network_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a training module as its network, `JascoModel`, names them."""
    return {name.removeprefix("model."): tensor for name, tensor in state.items()}


def load_checkpoint(path: str, live: bool = False) -> JascoModel:
    """The model in a training checkpoint, with its averaged weights unless `live`.

    Raises:
        UserError: the file is missing, damaged or no checkpoint of ours.
    """
    state = AtomicCheckpointIO().load_checkpoint(path, map_location="cpu", weights_only=True)
    try:
        config = ModelConfig.from_dict(state["model_config"])
        weights = network_weights(state["state_dict"])
    except Exception as error:
        raise damaged(path, error) from error
    if not live and "ema" in state:
        weights |= state["ema"]["average"]
    return JascoModel.from_state(config, weights, path)


def damaged(path: str | Path, error: BaseException) -> UserError:
    """The sentence for a checkpoint that cannot be read."""
    reason = str(error) if type(error) is ValueError else type(error).__name__  # of our own making; PyTorch's are paragraphs
    return UserError(f"{str(path)!r} is not a checkpoint of `jasco fit`, or it is damaged ({reason.rstrip('.')}).")
