"""How much a model heeds each control, by its loss alone: how far the loss rises when a sample gets another sample's control.

Cheap (a forward pass a control), and it moves long before anything can be heard: a control that is not used raises nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from lightning import Trainer
from torch import Tensor

from jasco_pl.data.datamodule import CropDataset, collate
from jasco_pl.data.schema import Batch
from jasco_pl.training.module import JascoModule

Losses = dict[str, float]


def swapped_fields(module: JascoModule) -> dict[str, str]:
    """Control -> the stored field that feeds it; painting, which is the music itself, cannot be swapped."""
    return {name: str(control.field) for name, control in module.model.controls.items() if control.field != "latents"}


@torch.no_grad()
def swap_losses(
    trainer: Trainer, module: JascoModule, dataset: CropDataset, positions: Sequence[int], batch: int
) -> Iterator[tuple[int, Losses]]:
    """Losses of this process's share of some samples, each with its own conditions and with those of the next.

    All processes take as many steps, since sharded weights are gathered together; samples that only fill up come twice.

    Args:
        dataset: crops that do not change.
        positions: of the samples; the partner of each is the next of them, however they are spread.
        batch: samples that are computed together.

    Yields:
        A position, and its losses by control; "kept" is that of its own conditions.
    """
    share = -(-len(positions) // trainer.world_size)
    mine = [(trainer.global_rank + step * trainer.world_size) % len(positions) for step in range(share)]
    for start in range(0, share, batch):
        part = mine[start : start + batch]
        own = _crops(trainer, dataset, [positions[index] for index in part])
        other = _crops(trainer, dataset, [positions[(index + 1) % len(positions)] for index in part])
        losses = {"kept": _losses(trainer, module, own)}
        for name, field in swapped_fields(module).items():
            losses[name] = _losses(trainer, module, {**own, field: other[field]})
        for number, index in enumerate(part):
            yield positions[index], {name: float(values[number]) for name, values in losses.items()}


def swap_rises(losses: Sequence[Losses]) -> dict[str, float]:
    """Share by which the mean loss rises, by control, and its mean over the controls as "all"; nothing without samples or controls."""
    names = [name for name in losses[0] if name != "kept"] if losses else []
    kept = sum(each["kept"] for each in losses)
    rises = {name: sum(each[name] for each in losses) / kept - 1 for name in names}
    return {**rises, "all": sum(rises.values()) / len(rises)} if rises else {}


def _crops(trainer: Trainer, dataset: CropDataset, positions: Sequence[int]) -> Batch:
    batch: Batch = trainer.strategy.batch_to_device(collate([dataset[0, position] for position in positions]))
    return batch


def _losses(trainer: Trainer, module: JascoModule, batch: Batch) -> Tensor:
    with trainer.precision_plugin.forward_context():
        return module.item_losses(batch, None)[0]
