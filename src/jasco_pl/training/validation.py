"""Validation that listens: the figures of an evaluation on a few fixed clips, made by the averaged weights while a model trains.

Beside them stands how much a model heeds each control, by its loss alone: how far the loss rises when a sample gets another sample's
control. It is cheap (a forward pass a control), and it moves long before anything can be heard: a control that is not used raises
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from jasco_pl.audio.files import loudness_normalize
from jasco_pl.codec import Codec, load_codec
from jasco_pl.controls import ADHERENCES, CONTROLS, Painting
from jasco_pl.data.crops import CropDataset, collate
from jasco_pl.data.datamodule import ShardDataModule
from jasco_pl.data.schema import Batch
from jasco_pl.evaluation.clips import conditions_of
from jasco_pl.evaluation.measure import FOLLOWS, measure
from jasco_pl.evaluation.pretrained import Listeners, find_listeners
from jasco_pl.evaluation.references import PreparedSet, Reference, check_codec
from jasco_pl.evaluation.table import RowFigures
from jasco_pl.extract.heard import Heard
from jasco_pl.generation.jasco import Jasco
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.pages.pictures import draw_clip, draw_lane, figure_to_image
from jasco_pl.system.errors import UserError
from jasco_pl.system.intervals import require
from jasco_pl.system.seeding import stable_hash
from jasco_pl.training.guard import gathered
from jasco_pl.training.module import JascoModule


@dataclass
class _Known:
    """A clip's reference, and what was heard in it when it was first needed."""

    reference: Reference
    arrays: dict[str, np.ndarray]


class ValidationMetrics(Callback):
    """Makes fixed clips of the validation set at a validation, hears them and logs what a checkpoint can be chosen by.

    `val/chord_iou`, `val/onset_f1`, `val/melody_accuracy` and the other figures of `jasco evaluate` that are means over clips;
    `val/kad_...`, `val/fd_...`, `val/fad_...`, `val/kl_...` and `val/clap` by those networks whose weights are here (nothing is fetched;
    a Frechet distance wants more embeddings than it has dimensions, for FD[musicnn] 41 clips of ten seconds); `val/clips`, how many
    there were; `val/swap_rise_CONTROL`, by what share the loss rises with another sample's control, and `val/swap_rise`, their mean.
    References are the codec's reconstructions. Every process makes its part of the clips, and all log the same. TensorBoard also gets
    sound and pictures.

    Args:
        clips: how many, spread evenly over the validation set.
        every: validations from one to the next that listens.
        max_seconds: after so long a process makes no further clip; `val/clips` tells how many were counted.
        given: the controls; null: all that the model has, but painting.
        guidance: as for `jasco generate`; null is the model's own.
        solver: how the clips are integrated.
        batch: clips that are made together; their number does not change them.
        show: clips that are shown in TensorBoard.
        swaps: samples for `val/swap_rise`; 0 leaves it out.
        networks: of musicnn, vggish, passt and clap, those to listen with where they are here.
    """

    def __init__(
        self,
        clips: int = 16,
        every: int = 1,
        max_seconds: float = 300.0,
        given: list[str] | None = None,
        guidance: str | None = None,
        solver: SolverConfig | None = None,
        batch: int = 4,
        show: int = 2,
        swaps: int = 32,
        networks: Sequence[str] = ("musicnn", "vggish", "clap"),
    ) -> None:
        require("[1, inf)", clips=clips, every=every)
        require("[1, 4096]", batch=batch)
        require("(0, inf]", max_seconds=max_seconds)
        require("[0, inf)", show=show, swaps=swaps)
        self.clips, self.every, self.max_seconds, self.given, self.guidance = clips, every, max_seconds, given, guidance
        self.solver, self.batch, self.show, self.swaps, self.networks = solver or SolverConfig(steps=10), batch, show, swaps, networks
        self._validations = 0
        self._known: dict[str, _Known] = {}
        self._codec: Codec
        self._source: PreparedSet
        self._listeners: Listeners | None = None
        self._chosen: list[str] = []
        self._given: list[str] = []

    def state_dict(self) -> dict[str, Any]:
        """How many validations there have been."""
        return {"validations": self._validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self._validations = state_dict["validations"]

    def setup(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        """Choose the clips, before the run writes anything.

        Raises:
            UserError: the validation set has none of that length, is another codec's, or lacks a control.
        """
        if stage not in ("fit", "validate") or not isinstance(module, JascoModule):
            return
        data: ShardDataModule = trainer.datamodule  # type: ignore[attr-defined]
        source, codec = PreparedSet(data.valid_folder), load_codec(module.config.codec)
        check_codec(source.reader, codec)
        usable = [name for name in source.ids if source.long_enough(name, data.seconds)]
        if not usable:
            raise UserError(f"{data.valid_folder!r} holds nothing that lasts {data.seconds:g} seconds to make clips of.")
        controls = [name for name in module.model.controls.names if not source.lacks(CONTROLS[name])]
        self._given = [name for name in controls if name != Painting.name] if self.given is None else self.given
        if lacking := [name for name in self._given if name not in controls]:
            raise UserError(f"clips cannot be given {lacking[0]!r}: the model or its validation set has no such control.")
        self._source, self._codec, self._known = source, codec, {}
        self._chosen = [usable[position] for position in spread(len(usable), self.clips)]

    def on_validation_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Make, hear, gather, log; here, where the averaged weights are in place and figures can still be monitored."""
        if trainer.sanity_checking or not isinstance(module, JascoModule):
            return
        turn, self._validations = self._validations, self._validations + 1
        if turn % self.every:
            return
        data: ShardDataModule = trainer.datamodule  # type: ignore[attr-defined]
        figures = {**self._swaps(trainer, module, data), **self._clips(trainer, module, data.seconds)}
        for name, value in figures.items():
            if not np.isnan(value):
                module.log(f"val/{name}", value, sync_dist=True)

    def _swaps(self, trainer: Trainer, module: JascoModule, data: ShardDataModule) -> dict[str, float]:
        if not self.swaps or not len(module.model.controls):
            return {}
        dataset = CropDataset(
            data.valid_folder, round(module.config.seconds * module.config.frame_rate), data.seed, data.fields, random_crop=False
        )
        positions = spread(len(dataset), self.swaps)
        found = dict(gathered(trainer, list(swap_losses(trainer, module, dataset, positions, self.batch))))
        rises = swap_rises([found[position] for position in positions])
        return {"swap_rise" if name == "all" else f"swap_rise_{name}": rise for name, rise in rises.items()}

    def _clips(self, trainer: Trainer, module: JascoModule, seconds: float) -> dict[str, float]:
        """Figures of all clips, the same in all processes."""
        if self._listeners is None:
            self._listeners = find_listeners(device=str(module.device), wanted=self.networks, fetch=False)
        listeners, codec = self._listeners, self._codec.to(module.device)
        mine = range(len(self._chosen))[trainer.global_rank :: trainer.world_size]
        gathering = "cpu" if trainer.world_size == 1 else trainer.strategy.root_device
        made = RowFigures([column.key for column in FOLLOWS], listeners, device=gathering)
        started, training = time.monotonic(), module.model.training
        with module.averaged_model(wanted=True) as model:
            assert model is not None
            jasco = Jasco(model, codec, module.text_encoder)
            for first in range(0, len(mine), self.batch):
                if first and time.monotonic() - started > self.max_seconds:
                    break
                part = mine[first : first + self.batch]
                known = [self._hear_reference(self._chosen[position], seconds, codec, listeners) for position in part]
                audios = self._generate(trainer, jasco, [item.reference for item in known])
                for number, (position, item, audio) in enumerate(zip(part, known, audios, strict=True), first):
                    clip = Heard(audio, codec.sample_rate)
                    clip.melody = listeners.melody(audio, codec.sample_rate, clip.frames)
                    heard = listeners.hear(audio, codec.sample_rate, item.reference.caption)
                    made.add(position, measure(clip, item.reference), heard, item.arrays)
                    if number < self.show and trainer.is_global_zero:
                        for logger in trainer.loggers:
                            if isinstance(logger, TensorBoardLogger):
                                show_clip(logger.experiment, f"val_clip{number}", item.reference, clip, trainer.global_step)
        module.model.train(training)
        return summary(made)

    def _hear_reference(self, name: str, seconds: float, codec: Codec, listeners: Listeners) -> _Known:
        if name not in self._known:
            reference = self._source.reference(name, seconds, codec)
            arrays = listeners.hear(reference.audio, reference.sample_rate, reference.caption)
            reference.heard.melody = listeners.melody(reference.audio, reference.sample_rate, reference.heard.frames)
            self._known[name] = _Known(reference, arrays)
        return self._known[name]

    def _generate(self, trainer: Trainer, jasco: Jasco, references: Sequence[Reference]) -> list[Tensor]:
        """Clips [1, S] on the CPU, computed in the precision of the training."""
        frames = references[0].audio.shape[-1] // jasco.codec.hop
        asked = [conditions_of(reference, self._given, jasco, frames) for reference in references]
        conditions = jasco.conditions([reference.caption for reference in references], asked, frames)
        seeds = [stable_hash("validation", reference.id) for reference in references]
        with trainer.precision_plugin.forward_context():
            latents = jasco.sample(conditions, seeds, self.guidance, self.solver, frames=frames).latents
        return list(jasco.decode(latents.float()))


def show_clip(writer: Any, name: str, reference: Reference, clip: Heard, step: int) -> None:
    """Sound, spectra and lanes; the reference's sound again at every step, so that both stand side by side.

    Every kind gets a tag of its own: TensorBoard shows only the first that it meets under a tag.

    Args:
        writer: TensorBoard's.
        name: what the tags begin with.
        reference: whose conditions were given.
        clip: what was made of them.
        step: of the training.
    """
    rate, seconds = clip.sample_rate, clip.audio.shape[-1] / clip.sample_rate
    sounds = {side: loudness_normalize(wav, rate)[0] for side, wav in (("clip", clip.audio), ("reference", reference.audio))}
    title = reference.caption or reference.id
    spectra = []
    for side, wav in sounds.items():
        writer.add_audio(f"{name}/{side}_audio", wav, step, sample_rate=rate)
        spectra.append(figure_to_image(draw_clip(None, wav=wav, sample_rate=rate, title=f"{side}: {title}" if side == "clip" else side)))
    writer.add_image(f"{name}/spectrogram", np.concatenate(spectra), step, dataformats="HWC")
    for adherence in ADHERENCES:
        target, heard = reference.target(adherence), adherence.heard(clip)
        if target is not None or heard is not None:
            figure = draw_lane(adherence.lane, target, heard, seconds=seconds, title=title, names=("reference", "clip"))
            writer.add_image(f"{name}/{adherence.name}", figure_to_image(figure), step, dataformats="HWC")


def summary(made: RowFigures) -> dict[str, float]:
    """Figures of a validation by the names they are logged under; NaN for what was not heard."""
    found = {"clips": float(made.clips)}
    for key, figure in made.figures().items():
        kind, _, network = key.partition("_")
        if metric := made.distances.get(key):
            key = f"{metric.kind.lower()}_{metric.embedding}"
        elif kind == "kl":
            key = f"kl_{made.listeners.names.get(network, network)}"
        found[key] = figure.mean
    return found


def spread(total: int, wanted: int) -> list[int]:
    """Up to `wanted` positions of `total`, at equal distances."""
    count = min(total, wanted)
    return [number * total // count for number in range(count)]


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
