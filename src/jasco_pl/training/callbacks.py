"""What a run shows of itself: speed every step, sound and pictures at every validation."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from jasco_pl.audio.files import loudness_normalize
from jasco_pl.codec import load_codec
from jasco_pl.controls import ADHERENCES
from jasco_pl.controls.adherence import main_figure
from jasco_pl.extract.heard import Heard
from jasco_pl.generation.jasco import Clip, Jasco, Request
from jasco_pl.network.flow.guidance import parse_guidance
from jasco_pl.network.flow.solver import SolverConfig
from jasco_pl.notation.timed_text import written
from jasco_pl.pages.pictures import draw_clip, figure_to_image
from jasco_pl.pages.texts import texts_lane
from jasco_pl.system.intervals import require
from jasco_pl.training.flops import TEXT_TOKENS, TRAINING, flops_per_sample, peak_flops
from jasco_pl.training.module import JascoModule
from jasco_pl.training.sharded import is_sharded


class Speed(Callback):
    """Logs what training makes of the machine, as means since it last logged, over the whole training process group.

    `speed/samples_per_s`; `speed/step_s`, seconds of an optimiser step; `speed/data_wait`, the share of them that passes waiting for data;
    for the velocity network `speed/gflops`, GFLOP/s of a device, and `speed/mfu`, their share of what its data sheet promises, where that
    is known. Logs every `trainer.log_every_n_steps`.
    """

    def __init__(self) -> None:
        self._ended: float | None = None
        self._started = 0.0
        self._forward: dict[int, int] = {}
        self._parts, self._samples, self._seconds, self._waited, self._flops = 0, 0, 0.0, 0.0, 0

    def on_train_batch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule, batch: Any, batch_idx: int) -> None:
        """Data has arrived."""
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The step, or one of the parts that it is accumulated from, is done."""
        now = time.perf_counter()
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if self._ended is not None:
            size = len(batch["id"])
            self._parts += 1
            self._samples += size
            self._seconds += now - self._ended
            self._waited += self._started - self._ended
            if isinstance(module, JascoModule):
                frames = batch["latents"].shape[1]
                if frames not in self._forward:
                    self._forward[frames] = flops_per_sample(module.config, frames, TEXT_TOKENS)
                self._flops += size * TRAINING * self._forward[frames]
        if self._parts and stepped and trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._log(trainer, module)
        self._ended = now

    def _log(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        rate = self._flops / self._seconds
        module.log("speed/samples_per_s", self._samples * trainer.world_size / self._seconds, batch_size=1)
        module.log("speed/step_s", self._seconds / self._parts * trainer.accumulate_grad_batches, batch_size=1)
        module.log("speed/data_wait", self._waited / self._seconds, batch_size=1)
        if rate:
            module.log("speed/gflops", rate / 1e9, batch_size=1)
            peak = peak_flops(module.device, half="16" in str(trainer.precision))
            if peak is not None:
                module.log("speed/mfu", rate / peak, batch_size=1)
        self._parts, self._samples, self._seconds, self._waited, self._flops = 0, 0, 0.0, 0.0, 0

    def on_validation_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """A validation is no training step."""
        self._ended = None


class EarlyValidation(Callback):
    """Validates, with whatever listens then, after a few steps that are sooner than `trainer.val_check_interval`: what is wrong with data,
    conditions or a checkpoint that the training starts from can be heard before an hour has passed.

    Args:
        steps: after which of them; 0 is before the first.
    """

    def __init__(self, steps: Sequence[int] = (0, 50)) -> None:
        for step in steps:
            require("[0, inf)", steps__of__the__early__validation=step)
        self.steps = frozenset(steps)
        self._interval: int | float | None = None

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Before the first step, and of a run that goes on no more; callbacks behind this one and the module start after it."""
        if 0 in self.steps and trainer.global_step == 0 and trainer.enable_validation:
            trainer.validating = True
            trainer.fit_loop.epoch_loop.val_loop.run()
            trainer.training = True

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Let Lightning, which asks itself behind this hook, find that it is time."""
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if stepped and trainer.global_step in self.steps and trainer.val_check_batch is not None:
            loop = trainer.fit_loop.epoch_loop
            self._interval = trainer.val_check_batch
            trainer.val_check_batch = 1 + (loop.total_batch_idx if trainer.check_val_every_n_epoch is None else loop.batch_idx)

    def on_train_batch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule, batch: Any, batch_idx: int) -> None:
        """From here on it is the interval's turn again."""
        if self._interval is not None:
            trainer.val_check_batch, self._interval = self._interval, None


class Listen(Callback):
    """At every validation, on rank 0: audio of fixed requests by the averaged weights, with asked for and heard drawn over each other.

    Args:
        requests: texts and chord lines; seed is the position in the list.
        guidance: as for `jasco generate`; None is the model's own.
        solver: how the clips are integrated.
        bpm: of the chord lines.
    """

    def __init__(
        self,
        requests: list[dict[str, str]] | None = None,
        guidance: str | None = None,
        solver: SolverConfig | None = None,
        bpm: float = 96.0,
    ) -> None:
        require("(0, 1000]", bpm=bpm)
        requests = requests or [{"text": "calm pop ballad with piano and strings", "chords": "C G Am F"}]
        self.requests = [Request(bpm=bpm, seed=seed, **request) for seed, request in enumerate(requests)]
        self.guidance, self.solver = guidance, solver or SolverConfig(steps=10)

    def on_fit_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Read what is asked for before anything is trained; raises UserError as `jasco generate` does."""
        if trainer.is_global_zero and trainer.enable_validation and isinstance(module, JascoModule) and not is_sharded(module.model):
            jasco = Jasco(module.model, load_codec(module.config.codec).to(module.device), module.text_encoder)
            for request in self.requests:
                jasco.read(request, jasco.frames(module.config.seconds))
            parse_guidance(self.guidance or module.config.guidance, module.model.controls.names)
            module.model.train()

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Generate, listen, draw, log."""
        if trainer.sanity_checking or not isinstance(module, JascoModule):
            return
        with module.averaged_model(wanted=trainer.is_global_zero) as model:
            if model is None:
                return
            jasco = Jasco(model, load_codec(module.config.codec).to(module.device), module.text_encoder)
            clips = jasco.generate(self.requests, guidance=self.guidance, solver=self.solver)
        boards = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        for number, clip in enumerate(clips):
            heard = Heard(clip.audio, clip.sample_rate)
            for board in boards:
                self._show(board, f"clip{number}", clip, heard, trainer.global_step)

    def _show(self, board: TensorBoardLogger, name: str, clip: Clip, heard: Heard, step: int) -> None:
        writer = board.experiment  # a tag of its own for every kind: TensorBoard shows only the first kind that it meets under a tag
        audio, _ = loudness_normalize(clip.audio, clip.sample_rate)
        writer.add_audio(f"listen/{name}_audio", audio, step, sample_rate=clip.sample_rate)
        asked = {adherence: adherence.asked(clip.asked, None) for adherence in ADHERENCES}
        lanes: list[Any] = [(adherence.lane, side, adherence.heard(heard, side)) for adherence, side in asked.items()]
        lanes = [*texts_lane(clip.request.text, clip.audio.shape[-1] / clip.sample_rate), *lanes]
        figure = draw_clip(None, wav=audio, sample_rate=clip.sample_rate, title=written(clip.request.text), lanes=lanes)
        writer.add_image(f"listen/{name}_picture", figure_to_image(figure), step, dataformats="HWC")
        for adherence, side in asked.items():
            figure_of = main_figure(adherence, heard, side, clip.part(adherence))
            if not math.isnan(figure_of):
                writer.add_scalar(f"listen/{name}_{adherence.columns[0].key}", figure_of, step)
