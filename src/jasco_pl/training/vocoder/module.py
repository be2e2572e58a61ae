"""Trains the vocoder of the embedded codec: first its spectrum alone, then what is heard of it, against a discriminator.

The latents are fixed, so the codec's statistics, its codebooks and every model trained on it stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning
import torch
from encodec.msstftd import MultiScaleSTFTDiscriminator
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn

from jasco_pl.codec import BandCodec, BandCodecConfig, load_codec
from jasco_pl.codec.vocoder import Vocoder
from jasco_pl.data.schema import Batch
from jasco_pl.evaluation.codec_report import compare
from jasco_pl.system.errors import UserError
from jasco_pl.system.intervals import require
from jasco_pl.training.ema import WeightAverage
from jasco_pl.training.vocoder.losses import LossBalancer, MelDistance

MAGNITUDE_FLOOR = 2e-3  # what lies under it is the rounding of 16-bit audio
VALID_METRICS = ("chord_iou_exact", "chord_iou_triad", "onset_f1", "mel_distance", "pitch_distance", "hum_excess_db")


class CodecModule(lightning.LightningModule):
    """The vocoder's losses, with manual optimisation: generator and discriminator take turns.

    Always: the distance of its magnitudes to the recording's (`magnitude_loss`). After `warmup_steps` also, on the waveform, with shares of
    the gradient by `LossBalancer`: multi-scale mel distance, the MS-STFT discriminator's judgement and feature matching (EnCodec,
    section 3.4).

    Args:
        codec: folder of a fitted embedded codec; its statistics and codebooks are kept. If it has a vocoder of this size already, training
            starts from its weights.
        width, layers, iterations: of the vocoder, see `BandCodecConfig`.
        warmup_steps: steps without waveform and discriminator; they cost a small part of the others.
        decay_steps: the step at which the learning rates, falling linearly from half of it on, reach zero.
        lr: of the vocoder.
        discriminator_lr: of the discriminator.
        discriminator_filters: its channels.
        discriminator_ffts: its scales; the hop is a quarter.
        mel, adversarial, features: shares of the waveform's gradient; 0 leaves a loss out, both of the last two 0 the discriminator.
        waveform: norm of that gradient against the magnitude loss's.
        corruption: greatest spread of errors added to the latents that the vocoder hears, in standard deviations; what it decodes in use
            is a model's guess, not a recording's latents.
        ema_decay: of the weight average, which is what is validated and exported.
    """

    def __init__(
        self,
        codec: str = "checkpoints/codec-mini",
        width: int = 256,
        layers: int = 6,
        iterations: int = 32,
        warmup_steps: int = 2000,
        decay_steps: int = 10_000,
        lr: float = 1e-3,
        discriminator_lr: float = 3e-4,
        discriminator_filters: int = 16,
        discriminator_ffts: Sequence[int] = (4096, 2048, 1024, 512),
        mel: float = 2.0,
        adversarial: float = 1.0,
        features: float = 1.0,
        waveform: float = 1.0,
        corruption: float = 0.0,
        ema_decay: float = 0.999,
    ) -> None:
        super().__init__()
        require("[1, 4096]", width=width, layers=layers, discriminator_filters=discriminator_filters)
        require("[0, 4096]", iterations=iterations)
        require("[0, inf)", warmup_steps=warmup_steps, mel=mel, adversarial=adversarial, features=features)
        require("[0, inf)", waveform=waveform, corruption=corruption)
        require("[1, inf)", decay_steps=decay_steps)
        require("(0, inf)", lr=lr, discriminator_lr=discriminator_lr)
        require("[0, 1)", ema_decay=ema_decay)
        self.automatic_optimization = False
        self.warmup_steps, self.decay_steps, self.lr, self.discriminator_lr = warmup_steps, decay_steps, lr, discriminator_lr
        self.codec = with_vocoder(codec, width, layers, iterations)
        self.corruption = corruption
        self.adversary: nn.Module | None = None
        if adversarial or features:
            ffts = list(discriminator_ffts)
            self.adversary = MultiScaleSTFTDiscriminator(
                discriminator_filters, n_ffts=ffts, win_lengths=ffts, hop_lengths=[n // 4 for n in ffts]
            )
        rate = self.codec.sample_rate
        self.mel = MelDistance(rate)
        shares = {"mel": mel, "adversarial": adversarial, "features": features}
        self.balancer = LossBalancer({name: share for name, share in shares.items() if share}, total_norm=waveform)
        self.average = WeightAverage(self.vocoder, ema_decay)
        self._originals: set[int] = set()  # validation clips that the logger has

    @property
    def vocoder(self) -> Vocoder:
        """The part that is trained."""
        assert isinstance(self.codec.decoder, Vocoder)
        return self.codec.decoder

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One step of the discriminator, when it is on, and one of the vocoder."""
        wav = batch["wav"]
        latents = self.codec.encode(wav[:, None])
        wav = nn.functional.pad(wav, (0, latents.shape[1] * self.codec.hop - wav.shape[1]))
        heard = torch.where(batch["given"][:, None, None], batch["latents"], latents) if "given" in batch else latents
        if self.corruption:
            heard = corrupted(heard, self.codec.latent_std, self.corruption)
        magnitudes = self.vocoder.magnitudes(heard)
        loss, parts = self.magnitude_loss(magnitudes, wav)
        optimizers: Any = self.optimizers(use_pl_optimizer=True)
        optimizer = optimizers[0] if isinstance(optimizers, list) else optimizers
        share = self.schedule(self.global_step)
        if self.global_step < self.warmup_steps:
            optimizer.zero_grad()
            self.manual_backward(loss)
        else:
            output = self.vocoder.griffin_lim.join(magnitudes, self.vocoder.griffin_lim.gains(magnitudes, heard))
            if self.adversary is not None:
                parts |= self.discriminator_step(wav, output.detach(), share)
            waveform = self.waveform_losses(output, wav)
            gradient = self.balancer.gradient({name: waveform[name] for name in self.balancer.weights}, output)
            optimizer.zero_grad()
            torch.autograd.backward([loss, output], [torch.ones_like(loss), gradient])
            parts |= waveform
        for group in optimizer.param_groups:
            group["lr"] = self.lr * share
        nn.utils.clip_grad_norm_(self.vocoder.parameters(), 1.0)
        optimizer.step()
        self.average.update()
        self.log_dict({f"train/{name}": value.detach() for name, value in parts.items()}, batch_size=len(wav))
        self.log("train/loss", loss.detach(), batch_size=len(wav))

    def magnitude_loss(self, magnitudes: tuple[Tensor, Tensor], wav: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Distance of the bins from the recording's: their logarithms, which weigh soft and loud alike, and their square roots, which weigh
        what is loud, so what decides about chords. Both windows count equally."""
        target = self.vocoder.griffin_lim.measured(wav)
        parts: dict[str, Tensor] = {}
        edge = self.codec.context  # frames whose windows reach out of the crop, where latents of more than the crop know better
        for name, *pair in zip(("low", "high"), magnitudes, target, strict=True):
            one, other = (bins[:, :, edge:-edge] for bins in pair)
            parts[f"log_{name}"] = ((one + MAGNITUDE_FLOOR).log() - (other + MAGNITUDE_FLOOR).log()).abs().mean()
            parts[f"root_{name}"] = (one.sqrt() - other.sqrt()).abs().mean() / other.sqrt().mean().clamp(min=1e-3)
        return torch.stack(list(parts.values())).sum(), parts

    def waveform_losses(self, output: Tensor, wav: Tensor) -> dict[str, Tensor]:
        """What is judged by ear: output and recording [B, S]."""
        losses = {"mel": self.mel(output, wav)}
        if self.adversary is not None:
            self.adversary.requires_grad_(False)
            judged, inside = self.adversary(output[:, None])
            with torch.no_grad():
                _, wanted = self.adversary(wav[:, None])
            self.adversary.requires_grad_(True)
            losses["adversarial"] = torch.stack([(1 - logits).relu().mean() for logits in judged]).mean()
            pairs = [(one, other) for maps, wants in zip(inside, wanted, strict=True) for one, other in zip(maps, wants, strict=True)]
            losses["features"] = torch.stack([(one - other).abs().mean() / other.abs().mean() for one, other in pairs]).mean()
        return losses

    def discriminator_step(self, wav: Tensor, output: Tensor, share: float) -> dict[str, Tensor]:
        """Hinge loss on recordings and outputs [B, S]."""
        assert self.adversary is not None
        # Lightning's wrapper would count this step too, and max_steps would mean half as many batches
        optimizer: Any = self.optimizers(use_pl_optimizer=False)[1]  # type: ignore[index]
        for group in optimizer.param_groups:
            group["lr"] = self.discriminator_lr * share
        real, fake = self.adversary(wav[:, None])[0], self.adversary(output[:, None])[0]
        terms = [(1 - one).relu().mean() + (1 + other).relu().mean() for one, other in zip(real, fake, strict=True)]
        loss = torch.stack(terms).mean()
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return {"discriminator": loss}

    def schedule(self, step: int) -> float:
        """Share of the peak learning rates: a hundred steps of warm-up, linear decay in the second half."""
        return max(0.0, min(1.0, (step + 1) / 100, 2 * (1 - step / self.decay_steps)))

    def configure_optimizers(self) -> Any:
        """Adam for both; their learning rates follow `schedule`."""
        optimizers = [torch.optim.AdamW(self.vocoder.parameters(), self.lr, betas=(0.8, 0.99), weight_decay=0.01)]
        if self.adversary is not None:
            optimizers.append(torch.optim.AdamW(self.adversary.parameters(), self.discriminator_lr, betas=(0.5, 0.9), weight_decay=0.01))
        return optimizers

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The acceptance figures of one clip, decoded by the averaged weights, and its sound."""
        wav = batch["wav"][:, : batch["wav"].shape[1] // self.codec.hop * self.codec.hop]
        with self.average.applied():
            output = self.codec.decode(self.codec.encode(wav[:, None]))[0].float().cpu()
        original, rate = wav.float().cpu(), self.codec.sample_rate
        figures = compare(original, output, self.codec)
        for name in VALID_METRICS:
            if figures[name] == figures[name]:  # an undefined figure counts as no clip
                self.log(f"valid/{name}", figures[name], batch_size=1)
        if isinstance(self.logger, TensorBoardLogger):
            writer = self.logger.experiment
            if batch_idx not in self._originals:
                writer.add_audio(f"original/{batch_idx}", original[0], self.global_step, rate)
                self._originals.add(batch_idx)
            writer.add_audio(f"decoded/{batch_idx}", output[0].clamp(-1, 1), self.global_step, rate)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Average and balance travel with the checkpoint."""
        checkpoint["average"], checkpoint["balancer"] = self.average.state_dict(), self.balancer.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them back."""
        self.average.load_state_dict(checkpoint["average"])
        self.balancer.load_state_dict(checkpoint["balancer"])

    def export(self, folder: str | Path) -> None:
        """Write the codec with the averaged vocoder."""
        with self.average.applied():
            self.codec.save_pretrained(folder)


def corrupted(latents: Tensor, std: Tensor, greatest: float) -> Tensor:
    """Latents [B, T, C] as a model might have made them: an error for every frame and one that lasts (0.2 s), each with a spread up to
    `greatest` standard deviations that is drawn for every item."""
    single = torch.randn_like(latents)
    lasting = nn.functional.avg_pool1d(torch.randn_like(latents).transpose(1, 2), 9, stride=1, padding=4).transpose(1, 2) * 3  # spread 1
    spread = greatest * torch.rand(2, len(latents), 1, 1, device=latents.device)
    return latents + std * (spread[0] * single + spread[1] * lasting)


def with_vocoder(folder: str, width: int, layers: int, iterations: int) -> BandCodec:
    """A fitted codec with a vocoder in place of its decoder; one of the same size that it has already is kept.

    Raises:
        UserError: the folder holds no embedded codec.
    """
    fitted = load_codec(folder)
    if not isinstance(fitted, BandCodec):
        raise UserError(f"{folder!r} is no embedded codec; a vocoder is trained for one that `jasco codec fit` made.")
    size = {"width": width, "layers": layers, "iterations": iterations}
    settings = {**asdict(fitted.config), "decoder": "vocoder", **size}
    codec = BandCodec(BandCodecConfig(**settings), fitted.latent_mean, fitted.latent_std, fitted.codebooks)
    if isinstance(fitted.decoder, Vocoder) and (fitted.config.width, fitted.config.layers) == (width, layers):
        codec.decoder.load_state_dict(fitted.decoder.state_dict())
    return codec
