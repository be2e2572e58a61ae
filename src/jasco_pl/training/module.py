"""The LightningModule: one loss, one optimiser, weights averaged on the way."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Literal, cast

import lightning
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from tqdm import tqdm

from jasco_pl.codec import load_codec
from jasco_pl.controls.conditions import ConditionDropout, Conditions
from jasco_pl.data.schema import Batch
from jasco_pl.interop.hub import checkpoint_folder
from jasco_pl.network.flow.guidance import parse_guidance
from jasco_pl.network.flow.path import Weighting, flow_matching_loss, loss_weight, make_path
from jasco_pl.network.model import JascoModel, ModelConfig, check_state, start_from
from jasco_pl.network.text import TextEncoder
from jasco_pl.system.draws import normal, uniform
from jasco_pl.system.errors import UserError
from jasco_pl.system.intervals import require
from jasco_pl.system.seeding import stable_hash
from jasco_pl.training.checkpoint_io import network_weights
from jasco_pl.training.distill import Distillation, DistillConfig, check_distillation
from jasco_pl.training.ema import WeightAverage
from jasco_pl.training.guard import GradientGuard, listed
from jasco_pl.training.only import train_only
from jasco_pl.training.sharded import is_sharded, shard
from jasco_pl.training.tuning import Sizes, tune
from jasco_pl.training.whole_step import StepAdam, WholeStep, what_forbids

TIME_BUCKETS = 4
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


class JascoModule(lightning.LightningModule):
    """Trains a JascoModel by weighted conditional flow matching (paper, section 3.2), or by v-diffusion if its config says so.

    Everything random about a sample (flow time, noise, dropped conditions) comes from the sample's own key, so that losses do not depend on
    batch, ranks or resumption (those of `distill` do: a student's steps are drawn by batch, and asked again a few times).

    Args:
        config: the network and its controls.
        dropout: which conditions a sample loses; null: as often as in the paper, for as many controls as the model has.
        weighting: of the loss over flow time: 1 + t (the paper's), 1, or 2 - t.
        sigma_min: width of the path's end in flow matching.
        lr: peak learning rate.
        betas: of Adam.
        warmup_steps: linear warm-up.
        decay_steps: the step at which the linear decay reaches zero.
        ema_decay: of the weight average; 0 turns it off.
        start_from: folder of a checkpoint whose weights training begins with: of the same controls or others, or of none, which
            zero_convolution needs.
        train_only: controls that alone are trained, of a model that otherwise stays bit for bit what `start_from` names.
        distill: teach a student of what `start_from` names (`config.student`), which stays as it is, too (conf/distill.yaml).
        compile: compile the layers by torch.compile while training: the first steps take a minute. Dropout in the network draws otherwise.
        checkpointing: keep only what enters each layer and compute the rest again in the backward pass: less memory, a third more work.
        graph: take every optimiser step as one function of its batch, on a GPU as one CUDA graph: auto, where there is a GPU and nothing
            forbids it (accumulation, several processes, scaled gradients, data through a loader); true: on a CPU too; false: never.
        tune: before the first step, try all implementations of attention and of the positions' convolution at this training's sizes, and
            use the fastest: auto, on a GPU; true: on a CPU too; false: PyTorch's own choice. They are equal up to rounding.
        fused: Adam as one kernel; null: on CUDA. Never where gradients are scaled (precision 16-mixed): it could not be clipped there.
        matmul_precision: of float32 products, see torch.set_float32_matmul_precision: highest, high (TF32 on CUDA) or medium.
    """

    def __init__(
        self,
        config: ModelConfig,
        dropout: ConditionDropout | None = None,
        weighting: Weighting = "increasing",
        sigma_min: float = 1e-5,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        warmup_steps: int = 5000,
        decay_steps: int = 500_000,
        ema_decay: float = 0.999,
        start_from: str | None = None,
        train_only: Sequence[str] = (),
        distill: DistillConfig | None = None,
        compile: bool = False,
        checkpointing: bool = False,
        graph: Literal["auto"] | bool = "auto",
        tune: Literal["auto"] | bool = "auto",
        fused: bool | None = None,
        matmul_precision: Literal["highest", "high", "medium"] = "highest",
    ) -> None:
        super().__init__()
        require("(0, 1]", lr=lr)
        require("[0, 1)", sigma_min=sigma_min, ema_decay=ema_decay, first__of__betas=betas[0], second__of__betas=betas[1])
        require("[0, inf)", warmup_steps=warmup_steps)
        require("[1, inf)", decay_steps=decay_steps)
        if not any(term.conditions for term in parse_guidance(config.guidance, config.controls).terms):
            raise UserError(
                f"model.config.guidance is {config.guidance!r}, under which no condition counts: all=1.5 text=0.5 is the paper's."
            )
        if train_only and start_from is None:
            raise UserError("model.train_only leaves all else as it is: name what it is by model.start_from.")
        if distill is not None or config.student is not None:
            check_distillation(config, start_from, distill)
        self.config, self.weighting, self.start_from, self.train_only = config, weighting, start_from, train_only
        self.distill, self.distillation = distill, cast(Distillation | None, None)
        self.compiled, self.checkpointing, self.fused, self.matmul_precision = compile, checkpointing, fused, matmul_precision
        self.condition_dropout = ConditionDropout.of_the_paper(list(config.controls)) if dropout is None else dropout
        self.condition_dropout.check(["text", *config.controls])
        self.path = make_path(config.objective, sigma_min)
        self.graph, self.tune = graph, tune
        self.lr, self.betas, self.warmup_steps, self.decay_steps, self.ema_decay = lr, betas, warmup_steps, decay_steps, ema_decay
        codec = load_codec(config.codec)
        has, says = (codec.dim, len(codec.codebook), codec.frame_rate), (config.latent_dim, config.codebook_size, config.frame_rate)
        if has != says:
            told = "{} channels, {} codebook entries and {:g} frames a second"
            raise UserError(f"the codec {config.codec!r} has {told.format(*has)}, the model's config says {told.format(*says)}.")
        self.model = JascoModel(config, codec.latent_mean, codec.latent_std, codec.normalized_codebook, codec.normalized_silence)
        self.ema: WeightAverage | None = None
        self._stored_average: dict[str, Any] | None = None
        self.last_losses: Tensor | None = None
        self.gradient_norm: Tensor | None = None
        self.whole_step: WholeStep | None = None
        self._text_encoder: TextEncoder | None = None
        self._validation = contextlib.ExitStack()

    @property
    def text_encoder(self) -> TextEncoder:
        """The frozen text encoder, loaded when it is first needed, on this module's device."""
        if self._text_encoder is None:
            encoder = TextEncoder(self.config.text_encoder, self.device)
            if encoder.dim != self.config.text_dim:
                raise UserError(f"the text encoder {encoder.name!r} has {encoder.dim} channels, the config says {self.config.text_dim}.")
            self._text_encoder = encoder
        return self._text_encoder

    def conditions(self, batch: Batch, latents: Tensor) -> Conditions:
        """All conditions of a batch with these normalised latents, nothing dropped."""
        if "text" in batch:
            text = (batch["text"], batch["text_mask"], batch.get("text_frames"))
        else:
            text = self.text_encoder.timed(batch["spans"]) if "spans" in batch else (*self.text_encoder(batch["caption"]), None)
        local = {name: control.from_batch(batch, latents) for name, control in self.model.controls.items()}  # type: ignore[operator]
        return Conditions(local, *text)

    def item_losses(self, batch: Batch, dropout: ConditionDropout | None) -> tuple[Tensor, Tensor]:
        """Unweighted loss [B] and flow time [B] of every sample; `dropout` None keeps all conditions."""
        teaching = self.distillation if dropout is not None else None
        if teaching is not None and (asked := teaching.repeated()) is not None:
            return teaching.losses(self.model, asked, training=True)
        latents = self.model.normalize(batch["latents"])
        keys = batch["key"]
        t = uniform(keys, "flow time")[:, 0]
        noise = normal(keys, "noise", *latents.shape[1:])
        conditions = self.conditions(batch, latents)
        if dropout is not None:
            conditions = self.model.controls.keep(conditions, dropout.draw(["text", *self.model.controls.names], keys, batch["mask"]))
        if self.distillation is not None:
            asked = self.distillation.ask(self.model, self.path, latents, noise, conditions, keys, batch["mask"])
            if teaching is not None:
                teaching.keep(asked)
            return self.distillation.losses(self.model, asked, training=teaching is not None)
        predicted = self.model(self.path.point(noise, latents, t), t, conditions)
        return flow_matching_loss(predicted, self.path.target(noise, latents, t), batch["mask"]), t

    def weighted_loss(self, batch: Batch, dropout: ConditionDropout | None) -> tuple[Tensor, Tensor, Tensor]:
        """What is trained on: the mean weighted loss; and what `item_losses` gives."""
        losses, t = self.item_losses(batch, dropout)
        return (loss_weight(t, self.weighting) * losses).mean(), losses, t

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """The network's own dropout, if it has any, must not depend on what ran before in this process either."""
        parts = self.trainer.accumulate_grad_batches
        torch.manual_seed(stable_hash("step", self.global_step, self.global_rank * parts + batch_idx % parts))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean weighted loss of the batch; where steps are taken whole, the step itself."""
        if self.whole_step is not None:
            return self._take_whole(batch)
        loss, losses, t = self.weighted_loss(batch, self.condition_dropout)
        self.last_losses = losses.detach()
        size = len(losses)
        self.log("train/loss", loss.detach(), batch_size=size)  # of this process's (last) part of the step
        if (self.trainer.global_step + 1) % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]  # else nothing is written
            self._log_buckets("train", losses.detach(), t, size)
        return loss

    def _take_whole(self, batch: Batch) -> Tensor:
        taken = self.whole_step(batch)  # type: ignore[misc]
        self.last_losses = taken.losses
        if (self.trainer.global_step + 1) % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]  # looking waits for the device
            self.log("train/loss", taken.loss, batch_size=len(taken.losses))
            self._log_buckets("train", taken.losses, taken.t, len(taken.losses))
        return taken.loss

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Nothing where steps are taken whole: it is done."""
        if self.whole_step is None:
            super().backward(loss, *args, **kwargs)

    def optimizer_zero_grad(self, *args: Any) -> None:
        """Nothing where steps are taken whole: a graph's gradients stay where they are."""
        if self.whole_step is None:
            super().optimizer_zero_grad(*args)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss with all conditions, by the averaged weights."""
        self._evaluate("valid", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """The same on the test set."""
        self._evaluate("test", batch)

    def _evaluate(self, stage: str, batch: Batch) -> None:
        loss, losses, t = self.weighted_loss(batch, None)
        finite = losses.isfinite()
        if not finite.all():  # named as in training, and no part of the mean
            names = [name for name, one in zip(batch["id"], finite.tolist(), strict=True) if not one]
            told = f"{stage} after step {self.global_step}: the loss is not finite, and left out of the mean; samples: {listed(names)}."
            tqdm.write(told, file=sys.stderr)
            loss = (loss_weight(t, self.weighting) * losses)[finite].sum() / finite.sum().clamp(min=1)
        self.log(f"{stage}/loss", loss, sync_dist=True, batch_size=int(finite.sum()))

    def _log_buckets(self, stage: str, losses: Tensor, t: Tensor, size: int) -> None:
        for bucket in range(TIME_BUCKETS):
            inside = (t * TIME_BUCKETS).long() == bucket
            if inside.any():
                self.log(f"{stage}/loss_t{bucket}of{TIME_BUCKETS}", losses[inside].mean(), batch_size=size)

    def setup(self, stage: str) -> None:
        """Take the weights to begin with, before they are spread over processes and before a resumed run reads its own.

        Raises:
            UserError: the checkpoint is missing or does not fit; zero_convolution without one.
        """
        if self.distill is not None and self.start_from is not None:
            self.distillation = Distillation(self.distill, self.config, checkpoint_folder(self.start_from))
            self.config.seconds = self.distillation.teacher.config.seconds  # crops may be shorter
        if stage != "fit":
            return
        self._check_machine()
        if self.start_from is not None:
            start_from(self.model, checkpoint_folder(self.start_from))
        elif self.model.transformer.branch is not None:
            raise UserError("zero_convolution trains beside a frozen text-only model: name its folder with model.start_from.")
        if self.train_only:
            train_only(self.model, self.train_only)

    def _check_machine(self) -> None:
        """Refuse what fails at the first step: weights in half precision, which draws do not have, and devices without float64."""
        if self._trainer is None:
            return
        precision, device = str(self.trainer.precision), self.trainer.strategy.root_device.type
        if precision not in PRECISIONS:
            raise UserError(f"trainer.precision {precision!r} cannot be trained with here: {', '.join(PRECISIONS)} can.")
        if device not in ("cpu", "cuda"):
            raise UserError(
                f"trainer.accelerator is {device!r} on this machine, where cpu or cuda can be trained on: say --trainer.accelerator cpu."
            )

    def configure_model(self) -> None:
        """Compile and checkpoint as asked; spread the weights over the processes where the strategy does so."""
        self.model.transformer.speed_up(self.compiled, self.checkpointing)
        if self.device_mesh is not None and (self.train_only or self.distill is not None):
            raise UserError("model.train_only and model.distill do not go with sharded weights: leave out the strategy, or take ddp.")
        if self.device_mesh is not None and not is_sharded(self.model):
            # not self.device: the strategy moves the module there only after this hook
            shard(self.model, self.device_mesh["data_parallel"], self.trainer.strategy.root_device)

    def configure_optimizers(self) -> Any:
        """Adam, linear warm-up to `lr`, then linear decay to zero at `decay_steps` (paper, section 4)."""
        options: dict[str, Any] = {"lr": self.lr, "betas": self.betas, "fused": self.fuses, "capturable": self.captures}
        optimizer = (StepAdam if self.wants_graph else torch.optim.Adam)(self.model.parameters(), **options)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self.schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    @property
    def kind(self) -> str:
        """Of the device that trains: where the module will lie, too, while a checkpoint is read, which is before it is moved there."""
        return (self.device if self._trainer is None else self.trainer.strategy.root_device).type

    @property
    def fuses(self) -> bool:
        """Whether Adam is fused. It undoes a loss scale inside its step, too late for clipping; bfloat16 has none."""
        scaled = self._trainer is not None and getattr(self.trainer.precision_plugin, "scaler", None) is not None
        return not scaled and (self.kind == "cuda" or self.wants_graph if self.fused is None else self.fused)

    @property
    def wants_graph(self) -> bool:
        """Whether steps are to be taken whole, if nothing forbids it."""
        return not self.train_only and self.distill is None and (self.graph is True or (self.graph == "auto" and self.kind == "cuda"))

    @property
    def captures(self) -> bool:
        """Whether Adam counts its steps on the GPU, as a CUDA graph needs it."""
        return self.wants_graph and self.kind == "cuda"

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """By the norm that the guard has measured already, or one measured here.

        Lightning would measure again, and refuses beside a fused optimiser under mixed precision, scaled gradients or not.
        """
        norm, self.gradient_norm = self.gradient_norm, None
        if self.whole_step is not None:
            return
        if gradient_clip_val and gradient_clip_algorithm in (None, "norm") and norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.model.parameters(), gradient_clip_val, norm)
        elif gradient_clip_val and gradient_clip_algorithm in (None, "norm") and self.fuses:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def schedule(self, step: int) -> float:
        """Share of the peak learning rate at a step."""
        warmup = (step + 1) / max(1, self.warmup_steps)
        decay = (self.decay_steps - step) / max(1, self.decay_steps - self.warmup_steps)
        return max(0.0, min(1.0, warmup, decay))

    def on_fit_start(self) -> None:
        """Find out about a missing text encoder, and about the fastest implementations, before the first step."""
        torch.set_float32_matmul_precision(self.matmul_precision)
        _ = self.text_encoder
        if self.tune is True or (self.tune == "auto" and self.device.type == "cuda"):
            self._choose_implementations()

    def _choose_implementations(self) -> None:
        """By trying them at the sizes of this training."""
        trainer, kind = self.trainer, self.device.type
        batch = trainer.datamodule.batch_size // (trainer.world_size * trainer.accumulate_grad_batches)  # type: ignore[attr-defined]
        with trainer.precision_plugin.forward_context():
            dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
        frames = round(self.config.seconds * self.config.frame_rate)
        told = tune(self.model.transformer, Sizes(batch, frames, self.device, dtype, self.compiled))
        if trainer.is_global_zero:
            print(f"the fastest here for batches of {batch}: {told}.", file=sys.stderr)

    def on_train_start(self) -> None:
        """Start the average from the weights as they are now, or as the checkpoint left it (not sooner: here they are on their device)."""
        if self.ema_decay and self.ema is None:
            self.ema = WeightAverage(self.model, self.ema_decay)
        if self.ema is not None and self._stored_average is not None:
            self.ema.load_state_dict(self._stored_average)
        self._stored_average = None
        self.whole_step = self._whole_step() if self._trainer is not None and self.trainer.training and self.wants_graph else None

    def _whole_step(self) -> WholeStep | None:
        """The step as one function; None, and a sentence, where that cannot be."""
        trainer, optimizer = self.trainer, cast(StepAdam, self.trainer.optimizers[0])
        guards = [callback for callback in trainer.callbacks if isinstance(callback, GradientGuard)]  # type: ignore[attr-defined]
        spike = next((guard.spike for guard in guards), None)
        dropout, sharded = self.config.transformer.dropout, is_sharded(self.model)
        forbidden = what_forbids(trainer, spike, dropout, self.captures, fused=self.fuses, sharded=sharded)
        if forbidden is not None:
            if trainer.is_global_zero:
                print(f"a step is not taken as one graph (model.graph): {forbidden}.", file=sys.stderr)
            return None
        clip, context = trainer.gradient_clip_val, trainer.precision_plugin.forward_context
        compute = partial(self.weighted_loss, dropout=self.condition_dropout)
        return WholeStep(list(self.model.parameters()), compute, optimizer, clip, self.ema, context, self.device)

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Inside, the model computes with its averaged weights, if there is an average."""
        with self.ema.applied() if self.ema is not None else contextlib.nullcontext():
            yield

    @contextlib.contextmanager
    def averaged_model(self, wanted: bool) -> Iterator[JascoModel | None]:
        """The model with its averaged weights to make music with where `wanted`, None elsewhere; leaves training mode as it was.

        Sharded weights are gathered for it, to which all processes have to come here.
        """
        if is_sharded(self.model):
            average = self.ema.average if self.ema is not None else {}
            state = {}
            for name, tensor in self.model.state_dict().items():
                value = average.get(name, tensor)
                whole = value.full_tensor() if isinstance(value, DTensor) else value
                if wanted:
                    state[name] = whole
            if not wanted:
                yield None
                return
            yield JascoModel.from_state(self.config, state, "the averaged weights").to(self.device)
        elif wanted:
            try:
                with self.averaged_weights():
                    yield self.model
            finally:
                self.model.train()
        else:
            yield None

    def on_validation_epoch_start(self) -> None:
        """Validate what will be exported: the average."""
        if self.ema is None and self._stored_average is not None:  # validation alone, of a checkpoint
            self.on_train_start()
        self._validation = contextlib.ExitStack()
        self._validation.enter_context(self.averaged_weights())

    def on_validation_epoch_end(self) -> None:
        """Go on with the live weights."""
        self._validation.close()

    on_test_epoch_start, on_test_epoch_end = on_validation_epoch_start, on_validation_epoch_end

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then move the average."""
        super().optimizer_step(*args, **kwargs)
        if self.ema is not None and self.whole_step is None:
            self.ema.update()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The average and the network's configuration travel with the checkpoint."""
        checkpoint["model_config"] = asdict(self.config)
        checkpoint["accumulated"] = self.trainer.accumulate_grad_batches
        if self.ema is not None:
            checkpoint["ema"] = self.ema.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the average back; refuse a checkpoint of another network."""
        had = checkpoint.get("model_config", {}).get("controls", self.config.controls)
        if set(had) != set(self.config.controls):
            raise UserError(
                f"{str(self.trainer.ckpt_path)!r} was trained with the controls {', '.join(had) or 'none'}; now there are "
                f"{', '.join(self.config.controls) or 'none'}: name another run (--trainer.logger.init_args.name), or those controls."
            )
        if "state_dict" in checkpoint:  # shards are compared before they are read, and read into place
            check_state(network_weights(checkpoint["state_dict"]), self.model, str(self.trainer.ckpt_path))
        self._stored_average = checkpoint.get("ema")
        if "loops" in checkpoint:
            _recount(checkpoint, self.trainer.accumulate_grad_batches)
        # the configuration, not the checkpoint, says how to go on: `--model.lr` holds on resume too
        for schedule in checkpoint.get("lr_schedulers", []):
            rate = self.lr * self.schedule(schedule["last_epoch"])
            schedule |= {"base_lrs": [self.lr], "_last_lr": [rate]}
            stored = [group for optimizer in checkpoint.get("optimizer_states", []) for group in optimizer["param_groups"]]
            # what was sharded is in the optimiser by now
            loaded = [group for optimizer in self.trainer.optimizers for group in optimizer.param_groups]
            for group in [*stored, *loaded]:
                group |= {"lr": rate, "initial_lr": self.lr, "betas": self.betas, "fused": self.fuses, "capturable": self.captures}


def _recount(checkpoint: dict[str, Any], parts: int) -> None:
    """Lightning counts batches handed to it, of which a step has `accumulate_grad_batches`: count anew if that number has changed.

    Half a step is not counted: its gradients are gone, and the loader begins with all of it again.
    """
    before = checkpoint.get("accumulated", 1)
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    for counts in (progress["current"], progress["total"]):
        steps, rest = divmod(counts["processed"], before)
        if parts != before or rest:
            running = counts["processed"] - counts["completed"]  # 1 in the hook that saves
            counts |= dict.fromkeys(("ready", "started", "processed"), steps * parts) | {"completed": max(steps * parts - running, 0)}
