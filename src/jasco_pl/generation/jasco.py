"""Requests in, music out: `Jasco.from_pretrained(path).generate(...)`. Needs none of the training packages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jasco_pl.codec import Codec, load_codec
from jasco_pl.controls import Painting
from jasco_pl.controls.conditions import Conditions
from jasco_pl.generation.batches import clips_at_once, in_batches, part_of
from jasco_pl.generation.loop import decode_circle, fit_circle, splice_circle
from jasco_pl.generation.outline import DEFAULT_CHECKPOINT, MAX_SECONDS, MAX_WHOLE_SECONDS, whole_frames
from jasco_pl.generation.painting import Made, splice
from jasco_pl.generation.reading import read_request
from jasco_pl.generation.request import Clip, Request
from jasco_pl.generation.sampler import Sampler, Student
from jasco_pl.generation.streaming import AudioStream, parts_of
from jasco_pl.generation.velocity import Velocity
from jasco_pl.generation.whole import clip_seconds
from jasco_pl.generation.windows import windows
from jasco_pl.interop.compat import Audiocraft, Compat, check_compat
from jasco_pl.interop.hub import checkpoint_folder, publish
from jasco_pl.interop.saving import read_card, save_whole
from jasco_pl.network.flow.guidance import OVER, parse_guidance
from jasco_pl.network.flow.solver import Progress, SolverConfig
from jasco_pl.network.model import JascoModel
from jasco_pl.network.text import TextEncoder
from jasco_pl.notation.timed_text import Prompt, is_timed, read_prompt
from jasco_pl.system.device import Precision, pick_device, pick_dtype
from jasco_pl.system.errors import UserError


def _way(clip: Clip) -> tuple[float | None, bool]:
    """How a clip is made, in which those of a batch agree."""
    return None if clip.source is None else clip.request.variation, bool(clip.request.loop)


class Jasco:
    """A model with its codec and text encoder.

    Args:
        model, codec, text_encoder: matching parts, on one device.
        graphs: evaluate the network through CUDA graphs (`Velocity`).
        compat: "audiocraft" makes clips as audiocraft does, its defects included; for models that were imported from there.
        card: text of the model card, for `save_pretrained`.
        folder: of the checkpoint, in which its student may lie.
    """

    def __init__(
        self,
        model: JascoModel,
        codec: Codec,
        text_encoder: TextEncoder,
        graphs: bool = False,
        compat: Compat | None = None,
        card: str | None = None,
        folder: str | Path | None = None,
    ) -> None:
        if codec.dim != model.config.latent_dim:
            raise UserError(f"the codec has {codec.dim} channels, the model wants {model.config.latent_dim}.")
        if len(codec.codebook) != model.config.codebook_size:
            raise UserError(f"the codec has {len(codec.codebook)} codebook entries, the model wants {model.config.codebook_size}.")
        if text_encoder.dim != model.config.text_dim:
            raise UserError(
                f"the text encoder {text_encoder.name!r} has {text_encoder.dim} channels, the model wants {model.config.text_dim}."
            )
        self.model, self.codec, self.text_encoder = model.eval(), codec.eval(), text_encoder
        self.velocity, self.card = Velocity(self.model, graphs), card
        self._folder = folder
        self.student = None if folder is None else Student.find(folder, self.model, graphs)
        self.compat = Audiocraft(self.model, self.codec) if check_compat(compat) else None

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str | Path = DEFAULT_CHECKPOINT,
        device: torch.device | str = "cpu",
        precision: Precision = "auto",
        compat: Compat | None = None,
        revision: str | None = None,
    ) -> Jasco:
        """Load a folder written by `save_pretrained` or `jasco export`, and the codec and text encoder that it names.

        Args:
            checkpoint: the folder, or a Hub id: of such a folder, or of one of Meta's released checkpoints (`facebook/jasco-...`), which is
                fetched and converted once and kept (`jasco_pl.interop.hub`).
            device: of all parts; "auto" is the NVIDIA GPU where there is one, else the CPU. On CUDA the network is replayed as CUDA graphs.
            precision: of the network's weights: fp32, bf16, or "auto", which is bf16 on CUDA and on CPUs that have instructions for it
                (AMX, AVX-512 BF16), else fp32. The flow itself, the codec and the text encoder are computed in float32 either way.
            compat: "audiocraft": clips of a released checkpoint as audiocraft makes them, its defects included (`jasco_pl.interop.compat`).
            revision: branch, tag or commit of a Hub id.

        Raises:
            UserError: a part is missing or does not fit, or there is no such device.
        """
        check_compat(compat)
        device, folder = pick_device(device), checkpoint_folder(checkpoint, revision)
        dtype = pick_dtype(precision, device)
        model = JascoModel.from_pretrained(folder).to(device).cast(dtype)
        codec = load_codec(model.config.codec, beside=folder).to(device)
        encoder = TextEncoder(model.config.text_encoder, device)
        return cls(model, codec, encoder, graphs=device.type == "cuda", compat=compat, card=read_card(folder), folder=folder)

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
        """Write a folder for `from_pretrained`: config.json, model.safetensors, the codec in `codec/`, and the model card.

        The text encoder is only named. The weights are readable by safetensors alone.

        Raises:
            UserError: it cannot be written.
        """
        save_whole(self.model, self.codec, folder, self.card, dtype, self._folder)

    def push_to_hub(self, repository: str, private: bool | None = None, dtype: torch.dtype = torch.float32) -> str:
        """Publish what `save_pretrained` writes in a repository on the Hub, such as `someone/model`; its address.

        Raises:
            UserError: there is no token that may write there, or the Hub cannot be reached.
        """
        with TemporaryDirectory() as folder:
            save_whole(self.model, self.codec, Path(folder) / repository.rpartition("/")[2], self.card, dtype, self._folder)
            return publish(Path(folder) / repository.rpartition("/")[2], repository, private)

    def sampler(self, guidance: str | None = None, solver: SolverConfig | None = None, varied: bool = False) -> Sampler:
        """What makes clips, or variations, under a guidance, by default the checkpoint's own: the model, or its student."""
        parsed = parse_guidance(guidance or self.model.config.guidance, self.model.controls.names)
        if self.compat and parsed.over:
            raise UserError(f"guidance {OVER}=... is nothing that audiocraft has: leave it or compat='audiocraft' out.")
        return Sampler.of(self.velocity, None if self.compat else self.student, parsed, solver or SolverConfig(), varied)

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return self.model.latent_mean.device

    def frames(self, seconds: float) -> int:
        """Latent frames of a clip."""
        return whole_frames(seconds, self.codec.frame_rate, MAX_WHOLE_SECONDS if self.compat else MAX_SECONDS)

    def read(self, request: Request, frames: int) -> Clip:
        """Take a request to frames; the clip that comes back has everything but sound.

        Raises:
            UserError: a control that the model lacks, or one that cannot be read.
        """
        return read_request(self, request, frames)

    @property
    def accepts(self) -> set[str]:
        """Options of a request that ask this model for something."""
        return {control.option.name for control in self.model.controls.by_name.values()}

    def conditions(self, texts: Sequence[Prompt], asked: Sequence[dict[str, np.ndarray]], frames: int) -> Conditions:
        """Raw conditions of a batch; what an item does not name is null."""
        spans = [read_prompt(text, frames, self.codec.frame_rate)[0] for text in texts]
        states, mask, seen = self.text_encoder.timed(spans)
        null = self.model.null_conditions(len(texts), frames)
        for index, given in enumerate(asked):
            for name, raw in given.items():
                null.local[name][index] = torch.as_tensor(raw).to(null.local[name].dtype)
        return Conditions(null.local, states, mask, seen if any(map(is_timed, texts)) else None).to(self.device)

    @torch.inference_mode()
    def sample(
        self,
        conditions: Conditions,
        seeds: Sequence[int],
        guidance: str | None = None,
        solver: SolverConfig | None = None,
        progress: Progress | None = None,
        frames: int | None = None,
        check: Callable[[], None] | None = None,
        sources: Tensor | None = None,
        variation: float = 1.0,
        loop: bool = False,
    ) -> Made:
        """Latents [B, T, C] in the codec's scale, and what they took.

        What the control `painting` keeps comes back as it is. Clips longer than those of the training are made window by window
        (`plan_windows`), but for `compat`. `frames` is needed by a model without local controls alone; otherwise the
        conditions tell it. `check` is called before every evaluation; what it raises ends the work. `sources` are normalised latents
        [B, T, C] to start from, as far on the way to noise as `variation` says. The end of a `loop` runs into its beginning.
        """
        *_, made = windows(self, conditions, seeds, guidance, solver, progress, frames, check, sources, variation, loop)
        return made

    def generate(
        self,
        requests: Request | Sequence[Request],
        seconds: float | None = None,
        guidance: str | None = None,
        solver: SolverConfig | None = None,
        progress: Progress | None = None,
        at_once: int | None = None,
        check: Callable[[], None] | None = None,
    ) -> list[Clip]:
        """Make one clip for every request.

        Args:
            requests: a clip depends on its own request and seed alone.
            seconds: length of the clips; None is that of the recording that they vary, else the one that the model was trained on.
            guidance: weighted sets of conditions, as in `all=1.5 text=0.5`; None is the checkpoint's own default.
            solver: method, steps, tolerance.
            progress: told the share that is done.
            at_once: clips that are made side by side; None is as many as fit (`clips_at_once`).
            check: called before every evaluation of the network; what it raises ends the work and comes out here.

        Raises:
            UserError: something in a request cannot be used; nothing has been computed then.
        """
        return list(self.stream(requests, seconds, guidance, solver, progress, at_once, check))

    def stream(
        self,
        requests: Request | Sequence[Request],
        seconds: float | None = None,
        guidance: str | None = None,
        solver: SolverConfig | None = None,
        progress: Progress | None = None,
        at_once: int | None = None,
        check: Callable[[], None] | None = None,
    ) -> Iterator[Clip]:
        """The same, each clip as soon as it is made; all requests are read first."""
        several = not isinstance(requests, Request) and isinstance(requests, Iterable)
        requests = list(requests) if several else [requests]  # type: ignore[arg-type, list-item]
        if not all(isinstance(request, Request) for request in requests):
            raise UserError("a clip is asked for by a Request, or by a list of them, as in Request('slow jazz', chords='Dm7 | G7').")
        seconds = self._seconds(requests, seconds)
        yield from self.make(self._read_all(requests, self.frames(seconds)), seconds, guidance, solver, progress, at_once, check)

    def make(
        self,
        clips: Sequence[Clip],
        seconds: float,
        guidance: str | None = None,
        solver: SolverConfig | None = None,
        progress: Progress | None = None,
        at_once: int | None = None,
        check: Callable[[], None] | None = None,
    ) -> Iterator[Clip]:
        """The same for clips as `read` gives them, of so many seconds."""
        frames, sampler = self.frames(seconds), self.sampler(guidance, solver)
        for clip in clips:
            clip.notes += filter(None, [self.sampler(guidance, solver, clip.source is not None).note])
        learnt = self.frames(self.model.config.seconds)
        if at_once is None:  # audiocraft draws the noise of a batch at once
            at_once = len(clips) if self.compat else clips_at_once(self.model, min(frames, learnt), len(sampler.guidance.terms))
        made, samples = 0, round(seconds * self.codec.sample_rate)
        for part in in_batches(clips, at_once, _way):
            share = part_of(progress, made / len(clips), len(part) / len(clips))
            for clip in self._make(part, frames, guidance, solver, share, check):
                yield replace(clip, audio=fit_circle(clip.audio, samples)) if clip.request.loop else clip
            made += len(part)

    def stream_audio(
        self,
        request: Request,
        seconds: float | None = None,
        guidance: str | None = None,
        solver: SolverConfig | None = None,
        progress: Progress | None = None,
        check: Callable[[], None] | None = None,
    ) -> AudioStream:
        """One clip, whose audio comes as its windows are finished: what `generate` would give, in parts [1, S].

        Raises:
            UserError: something in the request cannot be used; it paints over a recording, or asks for a loop, which are made as a whole.
        """
        frames = self.frames(self._seconds([request], seconds))
        clip = self.read(request, frames)
        clip.notes += filter(None, [self.sampler(guidance, solver, clip.source is not None).note])
        conditions, seeds, start = self._asked([clip], frames)
        return AudioStream(self, clip, frames, windows(self, conditions, seeds, guidance, solver, progress, frames, check, **start))

    def _asked(self, clips: Sequence[Clip], frames: int) -> tuple[Conditions, list[int], dict[str, Any]]:
        """Conditions and seeds of a batch, and where variations start."""
        conditions = self.conditions([clip.request.text for clip in clips], [clip.asked for clip in clips], frames)
        sources = [clip.source for clip in clips if clip.source is not None]
        start = {"sources": torch.stack(sources), "variation": clips[0].request.variation} if sources else {}
        return conditions, [clip.request.seed for clip in clips], start

    def _seconds(self, requests: Sequence[Request], seconds: float | None) -> float:
        """Length of all of them."""
        learnt, rate = self.model.config.seconds, self.codec.sample_rate
        lengths = list(dict.fromkeys(clip_seconds(vars(request), seconds, learnt, rate) for request in requests))
        if len(lengths) > 1:
            raise UserError(f"clips that are made together are equally long, and these are {lengths[0]:g} and {lengths[1]:g} s: say which.")
        return lengths[0] if lengths else learnt

    def _read_all(self, requests: Sequence[Request], frames: int) -> list[Clip]:
        """`read`, once for all that ask for the same but for the seed."""
        known: dict[tuple[Any, ...], Clip] = {}
        clips = []
        for request in requests:
            said = (value for name, value in sorted(vars(request).items()) if name != "seed")
            # by identity where a value may be large; the requests keep it
            key = tuple(value if isinstance(value, str | float | int | None) else id(value) for value in said)
            one = known[key] = known.get(key) or self.read(request, frames)
            clips.append(replace(one, request=request, asked=dict(one.asked), changes=list(one.changes), notes=list(one.notes)))
        return clips

    def _make(
        self,
        clips: Sequence[Clip],
        frames: int,
        guidance: str | None,
        solver: SolverConfig | None,
        progress: Progress | None,
        check: Callable[[], None] | None,
    ) -> Iterator[Clip]:
        """One batch; a clip is decoded when it is asked for."""
        conditions, seeds, start = self._asked(clips, frames)
        loop = bool(clips[0].request.loop)
        made = self.sample(conditions, seeds, guidance, solver, progress, frames, check, loop=loop, **start)
        for clip, item in zip(clips, made.latents, strict=True):
            hop, rate = self.codec.hop, self.codec.sample_rate
            audio = decode_circle(self.decode, item, hop, rate) if loop else self.decode(item[None])[0]
            if clip.recording is not None:
                kept = ~np.isnan(clip.asked[Painting.name]).any(axis=1)
                audio = (splice_circle if loop else splice)(audio, clip.recording, kept, hop, rate)
            yield replace(clip, audio=audio, latents=item.cpu(), evaluations=made.evaluations)

    @torch.inference_mode()
    def decode(self, latents: Tensor, around: int = 0) -> Tensor:
        """Latents [B, T, C] -> audio [B, 1, S] on the CPU, of long clips part by part; `around` as for `Codec.decode`."""
        if around:
            return self.codec.decode(latents.to(self.device), around).cpu()
        parts = parts_of(latents.shape[1], self.frames(self.model.config.seconds))
        return torch.cat([self.decode_part(latents, part, latents.shape[1]) for part in parts], dim=-1)

    @torch.inference_mode()
    def decode_part(self, latents: Tensor, part: slice, known: int) -> Tensor:
        """The same of some frames of a clip of which `known` are there: [B, 1, S]."""
        return self.codec.decode_part(latents.to(self.device), part.start, part.stop, known).cpu()

    def describe(self) -> dict[str, Any]:
        """What made a clip, for its metadata."""
        return {
            "codec": self.model.config.codec,
            "text_encoder": self.text_encoder.name,
            "controls": self.model.controls.names,
            "precision": self.model.precision,
            **({"compat": "audiocraft"} if self.compat else {}),
        }
