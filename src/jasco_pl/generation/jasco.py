"""Requests in, music out: `Jasco.from_pretrained(path).generate(...)`. Needs none of the training packages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jasco_pl.audio.files import read_audio
from jasco_pl.codec import Codec, load_codec
from jasco_pl.controls import CONTROLS, AudioControl
from jasco_pl.controls.conditions import Conditions
from jasco_pl.controls.melody_input import read_melody
from jasco_pl.controls.painting import LONGEST, SHORTEST, Painting
from jasco_pl.generation.painting import EDGE, Ranges, kept_frames, splice, stretches
from jasco_pl.generation.windows import paint
from jasco_pl.network.flow.guidance import guided_velocity, parse_guidance
from jasco_pl.network.flow.solver import Field, Progress, Solution, SolverConfig, solve
from jasco_pl.network.model import JascoModel
from jasco_pl.network.text import TextEncoder
from jasco_pl.notation import harmony
from jasco_pl.notation.chord_text import ChordChange, parse_chords
from jasco_pl.system.errors import UserError
from jasco_pl.system.resources import locate
from jasco_pl.system.seeding import item_noise, stable_hash

DEFAULT_CHECKPOINT = "checkpoints/jasco-mini"
MAX_SECONDS = 60.0  # in one piece
MAX_PAINTED_SECONDS = 600.0  # window by window


@dataclass
class Request:
    """What one clip shall be. Everything may be left out.

    Attributes:
        text: description of style, instruments, mood, tempo.
        chords: chords in any usual spelling (see `parse_chords`), or the path of a `.lab` file.
        bpm, meter: of a chord line that is written in bars.
        melody: MIDI, audio or array file, or an array (see `read_melody`).
        drums: audio file of a drum part, or a waveform [1, S] at the codec's rate; a shorter one is repeated.
        mix: likewise, music whose course is to be followed.
        drumless: likewise, music without drums.
        paint: likewise, a recording to go on from or to fill in; it begins where the clip begins and is not repeated.
        keep, redo: the seconds of `paint` to keep, or those to make anew, as in `0-4` (see `read_ranges`); neither: keep all, then go on.
        seed: of this clip's noise; the same request and seed give the same clip in any batch.
    """

    text: str = ""
    chords: str | None = None
    bpm: float | None = None
    meter: str = "4/4"
    melody: str | Path | np.ndarray | None = None
    drums: str | Path | Tensor | None = None
    seed: int = 0
    mix: str | Path | Tensor | None = None
    drumless: str | Path | Tensor | None = None
    paint: str | Path | Tensor | None = None
    keep: Ranges | None = None
    redo: Ranges | None = None


@dataclass
class Clip:
    """One generated clip.

    Attributes:
        audio: [1, S] at `sample_rate`, as the codec gave it (not loudness-normalised); kept stretches are the recording itself.
        asked: raw conditions by name, [T] or [T, C] each; only those that were given.
        changes: the chords as they were read.
        notes: what was done to the request on the way (spellings mapped, loops repeated).
        evaluations: times the network was evaluated.
        recording: what `paint` was read as, [1, S].
    """

    audio: Tensor
    sample_rate: int
    latents: Tensor
    request: Request
    asked: dict[str, np.ndarray]
    changes: list[ChordChange] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    evaluations: int = 0
    recording: Tensor | None = None


class Jasco:
    """A model with its codec and text encoder.

    Args:
        model, codec, text_encoder: matching parts, on one device.
    """

    def __init__(self, model: JascoModel, codec: Codec, text_encoder: TextEncoder) -> None:
        if codec.dim != model.config.latent_dim:
            raise UserError(f"the codec has {codec.dim} channels, the model wants {model.config.latent_dim}.")
        if len(codec.codebook) != model.config.codebook_size:
            raise UserError(f"the codec has {len(codec.codebook)} codebook entries, the model wants {model.config.codebook_size}.")
        if text_encoder.dim != model.config.text_dim:
            raise UserError(
                f"the text encoder {text_encoder.name!r} has {text_encoder.dim} channels, the model wants {model.config.text_dim}."
            )
        self.model, self.codec, self.text_encoder = model.eval(), codec.eval(), text_encoder

    @classmethod
    def from_pretrained(cls, checkpoint: str | Path = DEFAULT_CHECKPOINT, device: torch.device | str = "cpu") -> Jasco:
        """Load a folder written by `save_pretrained` or `jasco export`, and the codec and text encoder that it names.

        Raises:
            UserError: a part is missing or does not fit.
        """
        folder = locate(checkpoint)
        model = JascoModel.from_pretrained(folder).to(device)
        codec = load_codec(model.config.codec, beside=folder).to(device)
        return cls(model, codec, TextEncoder(model.config.text_encoder, device))

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return self.model.latent_mean.device

    def frames(self, seconds: float) -> int:
        """Latent frames of a clip."""
        painting = Painting.name in self.model.controls
        most = MAX_PAINTED_SECONDS if painting else MAX_SECONDS
        if not 0 < seconds <= most:
            more = "; only a model with the control 'painting' goes on after that" if seconds > most and not painting else ""
            raise UserError(f"a clip lasts up to {most:g} seconds, not {seconds:g}{more}.")
        return max(1, round(seconds * self.codec.frame_rate))

    def read(self, request: Request, frames: int) -> Clip:
        """Take a request to frames; the clip that comes back has everything but sound.

        Raises:
            UserError: a control that the model lacks, or one that cannot be read.
        """
        clip = Clip(torch.zeros(1, 0), self.codec.sample_rate, torch.zeros(0), request, {})
        seconds, rate = frames / self.codec.frame_rate, self.codec.frame_rate
        for kind in CONTROLS.values():
            if getattr(request, kind.asked_by) is not None and kind.asked_by not in self.accepts:
                raise UserError(f"this model has no control {kind.name!r}; it has: {', '.join(self.model.controls.names) or 'text only'}.")
        if request.paint is None and (request.keep is not None or request.redo is not None):
            raise UserError("seconds to keep or to redo were given, but no recording (paint) to take them from.")
        if request.chords is not None:
            clip.changes = parse_chords(request.chords, bpm=request.bpm, meter=request.meter, duration=seconds)
            clip.asked["chords"] = harmony.changes_to_frames([(change.label, change.start) for change in clip.changes], frames, rate)
            clip.notes += list(dict.fromkeys(change.note for change in clip.changes if change.note))
        if request.melody is not None:
            melody = read_melody(request.melody, frames, rate)
            clip.asked["melody"] = melody.bins
            clip.notes += melody.notes
        for name, control in self.model.controls.items():
            if isinstance(control, AudioControl) and getattr(request, control.asked_by) is not None:
                wav = self._waveform(getattr(request, control.asked_by), control.asked_by)
                clip.asked[name] = self._codes(wav, control, frames, clip.notes)
        if request.paint is not None:
            wav = self._waveform(request.paint, "paint")
            available = min(wav.shape[-1] // self.codec.hop, frames)
            kept = kept_frames(frames, wav.shape[-1] // self.codec.hop, rate, request.keep, request.redo)
            clip.asked[Painting.name] = self._painting(wav, kept, available)
            clip.recording = wav
            clip.notes.append(f"kept of the recording: {stretches(kept, rate)} s")
            if not SHORTEST <= (share := 1 - float(kept.mean())) <= LONGEST and frames <= self.frames(self.model.config.seconds):
                clip.notes.append(f"{share:.0%} of the clip are new, where the model has learnt to make {SHORTEST:.0%} to {LONGEST:.0%}")
        return clip

    @property
    def accepts(self) -> set[str]:
        """Fields of a request, besides text and seed, that this model can follow."""
        return {control.asked_by for control in self.model.controls.values()}  # type: ignore[misc]

    def _waveform(self, source: str | Path | Tensor, name: str) -> Tensor:
        wav = source if isinstance(source, Tensor) else read_audio(source, self.codec.sample_rate)
        if wav.ndim != 2 or wav.shape[0] != 1 or not wav.shape[1] or not torch.isfinite(wav).all():
            raise UserError(f"the {name} waveform has shape {list(wav.shape)}, where [1, samples] of finite numbers is accepted.")
        return wav.float().cpu()

    @torch.inference_mode()
    def _codes(self, wav: Tensor, control: AudioControl, frames: int, notes: list[str]) -> np.ndarray:
        length = frames * self.codec.hop
        if wav.shape[-1] < length:
            notes.append(f"{control.asked_by}: {wav.shape[-1] / self.codec.sample_rate:.2f} s of audio were repeated to fill the clip")
            wav = wav.repeat(1, -(-length // wav.shape[-1]))
        wav = control.filtered(wav[:, :length], self.codec.sample_rate)
        return self.codec.codes(self.codec.encode(wav[None].to(self.device)))[0, :frames].cpu().numpy()

    @torch.inference_mode()
    def _painting(self, wav: Tensor, kept: np.ndarray, available: int) -> np.ndarray:
        """Normalised latents of the kept frames, null elsewhere, [T, C]."""
        raw = self.model.controls[Painting.name].null_frames(1, len(kept))[0]  # type: ignore[operator]
        length = min(wav.shape[-1], (len(kept) + EDGE) * self.codec.hop)  # some more, so that the last frame hears what follows it
        latents = self.model.normalize(self.codec.encode(wav[None, :, :length].to(self.device)))[0].cpu()
        where = torch.from_numpy(kept[:available])
        raw[:available][where] = latents[:available][where]
        return raw.numpy()

    def conditions(self, texts: Sequence[str], asked: Sequence[dict[str, np.ndarray]], frames: int) -> Conditions:
        """Raw conditions of a batch; what an item does not name is null."""
        states, mask = self.text_encoder(texts)
        null = self.model.null_conditions(len(texts), frames)
        for index, given in enumerate(asked):
            for name, raw in given.items():
                null.local[name][index] = torch.as_tensor(raw).to(null.local[name].dtype)
        return Conditions(null.local, states, mask).to(self.device)

    @torch.inference_mode()
    def sample(
        self,
        conditions: Conditions,
        seeds: Sequence[int],
        guidance: str | None = None,
        solver: SolverConfig | None = None,
        progress: Progress | None = None,
        frames: int | None = None,
    ) -> tuple[Tensor, int]:
        """Latents [B, T, C] in the codec's scale, and the number of network evaluations (of the item that took most).

        What the control `painting` keeps comes back as it is. With that control, clips longer than those of the training are made window by
        window (`plan_windows`); without it, in one piece. `frames` is needed by a model without local controls alone; otherwise the
        conditions tell it.
        """
        terms = parse_guidance(guidance or self.model.config.guidance, self.model.controls.names)
        frames = next((raw.shape[1] for raw in conditions.local.values()), frames or self.frames(self.model.config.seconds))
        noise = item_noise([stable_hash("generate", seed) for seed in seeds], frames, self.model.config.latent_dim).to(self.device)

        def flow(seen: Conditions, noise: Tensor, progress: Progress | None) -> Solution:
            def field_of(items: slice) -> Field:
                projected, text, mask = self.model.guided_rows(seen.items(items), terms)
                return guided_velocity(lambda z, t, count: self.model.velocity(z, t, projected, text, mask), terms)

            solution = solve(field_of, noise, solver or SolverConfig(), progress, self.model.path)
            limit = self.model.config.latent_limit
            return solution if limit is None else replace(solution, latents=solution.latents.clamp(max=limit))

        if Painting.name in self.model.controls:
            solution = paint(conditions, noise, self.frames(self.model.config.seconds), flow, progress)
        else:
            solution = flow(conditions, noise, progress)
        return self.model.denormalize(solution.latents), solution.evaluations

    def generate(
        self,
        requests: Request | Sequence[Request],
        seconds: float | None = None,
        guidance: str | None = None,
        solver: SolverConfig | None = None,
        progress: Progress | None = None,
    ) -> list[Clip]:
        """Make one clip for every request.

        Args:
            requests: all are made in one batch; a clip depends on its own request and seed alone.
            seconds: length of the clips; None is the length that the model was trained on.
            guidance: weighted sets of conditions, as in `all=1.5 text=0.5`; None is the checkpoint's own default.
            solver: method, steps, tolerance.
            progress: told the share that is done.

        Raises:
            UserError: something in a request cannot be used; nothing has been computed then.
        """
        requests = [requests] if isinstance(requests, Request) else list(requests)
        frames = self.frames(self.model.config.seconds if seconds is None else seconds)
        parse_guidance(guidance or self.model.config.guidance, self.model.controls.names)
        clips = [self.read(request, frames) for request in requests]
        if not clips:
            return []
        learnt = self.model.config.seconds
        if frames > self.frames(learnt) and Painting.name not in self.model.controls:
            for clip in clips:
                clip.notes.append(
                    f"made in one piece beyond the {learnt:g} s that the model has learnt; with the control 'painting' it could go on"
                )
        conditions = self.conditions([request.text for request in requests], [clip.asked for clip in clips], frames)
        latents, evaluations = self.sample(conditions, [request.seed for request in requests], guidance, solver, progress, frames)
        for clip, item in zip(clips, latents, strict=True):
            clip.latents, clip.evaluations = item.cpu(), evaluations
            clip.audio = self.decode(item[None])[0]
            if clip.recording is not None:
                kept = ~np.isnan(clip.asked[Painting.name]).any(axis=1)
                clip.audio = splice(clip.audio, clip.recording, kept, self.codec.hop, self.codec.sample_rate)
        return clips

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents [B, T, C] -> audio [B, 1, S] on the CPU."""
        return self.codec.decode(latents.to(self.device)).cpu()

    def describe(self) -> dict[str, Any]:
        """What made a clip, for its metadata."""
        return {"codec": self.model.config.codec, "text_encoder": self.text_encoder.name, "controls": self.model.controls.names}
