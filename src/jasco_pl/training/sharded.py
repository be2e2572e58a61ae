"""Training with the weights spread over all processes (FSDP2): each holds a share of every tensor and of its optimiser state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from jasco_pl.network.model import JascoModel, check_state
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import explain_os_error
from jasco_pl.training.checkpoint_io import (
    damaged,
    network_weights,
    put_in_place,
    read_average,
    read_into,
    temporary_folder,
    weight_shapes,
    write_folder,
)


def shard(model: JascoModel, mesh: DeviceMesh, device: torch.device) -> None:
    """Spread a model that every process holds whole over the mesh, layer by layer; rank 0's weights count."""
    model.to(device)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            torch.distributed.broadcast(tensor, src=0)
    for layer in model.transformer.layers:
        fully_shard(layer, mesh=mesh)
    # the root would keep its weights gathered after a forward pass without a backward one; the averaged weights are written into shards
    fully_shard(model, mesh=mesh, reshard_after_forward=True)


def is_sharded(module: nn.Module) -> bool:
    """Whether `shard` was applied."""
    return isinstance(module, FSDPModule)


class ShardedStrategy(ModelParallelStrategy):
    """FSDP2 over all devices of all nodes; works on CPUs too, where Lightning's FSDPStrategy (FSDP1) refuses.

    Checkpoints are folders with a file a process; another number of processes can go on from them, and so can one process or DDP. In turn
    a file that one process or DDP wrote can be gone on from here.
    """

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1)

    def setup_environment(self) -> None:
        """All processes are one data-parallel group (Lightning's default would be tensor parallelism inside a node)."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any | None = None) -> None:
        """Every process writes its share into a folder that gets its name when all are done.

        Raises:
            UserError: the folder cannot be written or the disk is full; a former checkpoint of that name is left.
        """
        target = Path(self.broadcast(filepath))
        outcome: Path | UserError | None = None
        if self.is_global_zero:
            try:
                outcome = temporary_folder(target)
            except UserError as error:
                outcome = error
        temporary = self._agreed(outcome)
        try:
            write_folder(temporary, checkpoint, self.is_global_zero)
        except OSError as error:
            raise explain_os_error(error, target) from error
        self.barrier("written")
        if self.is_global_zero:
            try:
                put_in_place(temporary, target)
            except OSError as error:
                outcome = explain_os_error(error, target)
        self._agreed(outcome)

    def _agreed(self, outcome: Path | UserError | None) -> Path:
        """What rank 0 has to say, on every rank."""
        answer = self.broadcast(outcome)
        if isinstance(answer, UserError):
            raise answer
        assert isinstance(answer, Path)
        return answer

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Weights and optimiser go straight to their places, every process reads what it holds; the rest is returned.

        Raises:
            UserError: the checkpoint is missing, damaged, or of another network.
        """
        path = Path(self.broadcast(checkpoint_path))
        module: Any = self.lightning_module
        if not path.is_dir():
            check_state(network_weights(self.checkpoint_io.load_checkpoint(path)["state_dict"]), module.model, path)
            return super().load_checkpoint(path, weights_only=True)
        try:
            shapes = weight_shapes(path)
        except Exception as error:
            raise damaged(path, error) from error
        check_state(network_weights(shapes), module.model, path)
        try:
            checkpoint = read_into(path, module, self.optimizers)
            if "ema" in checkpoint:
                live = {name: parameter for name, parameter in module.model.named_parameters() if parameter.requires_grad}
                checkpoint["ema"]["average"] = read_average(path, live)
        except Exception as error:
            raise damaged(path, error) from error
        return checkpoint
