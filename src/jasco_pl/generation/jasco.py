"""Requests in, music out: `Jasco.from_pretrained(path).generate(...)`. Needs none of the training packages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jasco_pl.codec import Codec, load_codec
from jasco_pl.controls import CONTROLS, Adherence, Control, Painting, all_options
from jasco_pl.controls.base import FrameGrid, Option
from jasco_pl.controls.conditions import Conditions
from jasco_pl.controls.contradictions import contradictions
from jasco_pl.controls.during import read_during, said
from jasco_pl.controls.options import DURING
from jasco_pl.extract.heard import Part
from jasco_pl.generation.batches import clips_at_once, part_of
from jasco_pl.generation.outline import DEFAULT_CHECKPOINT, lacking, whole_frames
from jasco_pl.generation.painting import paint, splice
from jasco_pl.generation.velocity import Velocity
from jasco_pl.interop.compat import Audiocraft, Compat, check_compat
from jasco_pl.interop.hub import checkpoint_folder, publish
from jasco_pl.interop.saving import read_card, save_whole
from jasco_pl.network.flow.guidance import guided_velocity, parse_guidance
from jasco_pl.network.flow.solver import Field, Progress, Solution, SolverConfig, solve
from jasco_pl.network.model import JascoModel
from jasco_pl.network.text import TextEncoder
from jasco_pl.notation.chord_text import ChordChange
from jasco_pl.notation.timed_text import Prompt, is_timed, read_prompt
from jasco_pl.system.device import Precision, pick_device, pick_dtype
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import is_unicode
from jasco_pl.system.seeding import item_noise, stable_hash


class Request(SimpleNamespace):
    """What one clip shall be. Everything may be left out.

    `Request("slow jazz", chords="Dm7 | G7", bpm=80, drums="loop.wav", seed=3)`: each argument is an attribute too; what was left out has
    its default.

    Args:
        text: description of style, instruments, mood, tempo; or several with the seconds in which they hold, as in
            "0-5: calm piano; 5-: full band" or [(0, 5, "calm piano"), (5, None, "full band")].
        seed: of this clip's noise; the same request and seed give the same clip in any batch.
        asked: what the controls shall follow, by the names of their options: those of `jasco generate` and of `all_options()`. A control's
            `read` says what it takes besides what can be written on a command line, as arrays and waveforms. None is not asked for.
            `during` says for which seconds they hold: `chords=0-6,melody=4-`, or {"chords": [(0, 6)]}; elsewhere they say nothing.

    Raises:
        UserError: no control has an option of such a name.
    """

    text: Prompt
    seed: int

    def __init__(self, text: Prompt = "", *, seed: int = 0, **asked: Any) -> None:
        options = all_options()
        if unknown := [name for name in asked if name not in options]:
            raise UserError(f"a request has nothing called {unknown[0]!r}; it may have: {', '.join(['text', *options, 'seed'])}.")
        if isinstance(text, str) and not is_unicode(text):  # what a shell hands over may be bytes of any kind
            raise UserError(f"the text {text!r} is not UTF-8: write it in that encoding.")
        super().__init__(text=text, **{name: asked.get(name, option.default) for name, option in options.items()}, seed=seed)


@dataclass
class Clip:
    """One generated clip.

    Attributes:
        audio: [1, S] at `sample_rate`, as the codec gave it (not loudness-normalised); kept stretches are the recording itself.
        asked: raw conditions by name, [T] or [T, C] each; only those that were given, null outside of `during`.
        during: frames in which a condition holds by its control's name, [T] each; those that are not here hold throughout.
        changes: the chords as they were read.
        notes: what was done to the request on the way (spellings mapped, loops repeated).
        evaluations: times the network was evaluated.
        recording: what was read to lay over the clip (`paint`), [1, S].
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
    during: dict[str, np.ndarray] = field(default_factory=dict)

    def part(self, adherence: Adherence) -> Part | None:
        """The frames in which the clip was to follow what an adherence measures, by all controls that ask for it; None is all of them."""
        masks = [mask for name, mask in self.during.items() if CONTROLS[name].adherence is adherence]
        return Part.of(np.logical_and.reduce(masks)) if masks else None


def _noise(seeds: Sequence[int], frames: int, channels: int) -> Tensor:
    """Noise [B, T, C], each item's of its own seed."""
    return item_noise([stable_hash("generate", seed) for seed in seeds], frames, channels)


def _asked_of(request: Request, control: Control | type[Control]) -> dict[str, Any]:
    """What a request says to a control: the values of its options, and of those that it heeds, by name."""
    return {option.name: getattr(request, option.name) for option in (*control.options(), *control.heeds)}


def _said(request: Request, option: Option) -> bool:
    """Whether a request says something of its own."""
    value = getattr(request, option.name)
    return value is not None and (option.default is None or value != option.default)


def _followers(options: Sequence[str]) -> str:
    """Which controls would follow some options of a request, in words."""
    return ", ".join(kind.name for kind in CONTROLS.values() if {option.name for option in kind.options()} & set(options)) + " would"


class Jasco:
    """A model with its codec and text encoder.

    Args:
        model, codec, text_encoder: matching parts, on one device.
        graphs: evaluate the network through CUDA graphs (`Velocity`).
        compat: "audiocraft" makes clips as audiocraft does, its defects included; for models that were imported from there.
        card: text of the model card, for `save_pretrained`.
    """

    def __init__(
        self,
        model: JascoModel,
        codec: Codec,
        text_encoder: TextEncoder,
        graphs: bool = False,
        compat: Compat | None = None,
        card: str | None = None,
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
        return cls(model, codec, encoder, graphs=device.type == "cuda", compat=compat, card=read_card(folder))

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
        """Write a folder for `from_pretrained`: config.json, model.safetensors, the codec in `codec/`, and the model card.

        The text encoder is only named. The weights are readable by safetensors alone.

        Raises:
            UserError: it cannot be written.
        """
        save_whole(self.model, self.codec, folder, self.card, dtype)

    def push_to_hub(self, repository: str, private: bool | None = None, dtype: torch.dtype = torch.float32) -> str:
        """Publish what `save_pretrained` writes in a repository on the Hub, such as `someone/model`; its address.

        Raises:
            UserError: there is no token that may write there, or the Hub cannot be reached.
        """
        with TemporaryDirectory() as folder:
            save_whole(self.model, self.codec, Path(folder) / repository.rpartition("/")[2], self.card, dtype)
            return publish(Path(folder) / repository.rpartition("/")[2], repository, private)

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return self.model.latent_mean.device

    def frames(self, seconds: float) -> int:
        """Latent frames of a clip."""
        return whole_frames(seconds, self.codec.frame_rate, self.model.controls.names)

    def read(self, request: Request, frames: int) -> Clip:
        """Take a request to frames; the clip that comes back has everything but sound.

        Raises:
            UserError: a control that the model lacks, or one that cannot be read.
        """
        clip = Clip(torch.zeros(1, 0), self.codec.sample_rate, torch.zeros(0), request, {})
        spans, told = read_prompt(request.text, frames, self.codec.frame_rate)
        clip.notes += [*told, *self.text_encoder.remarks(spans), *contradictions(request.text, vars(request))]
        grid = FrameGrid(frames, self.codec, self.model.normalize, self.frames(self.model.config.seconds), levels=self.compat is None)
        for kind in CONTROLS.values():
            asked = _asked_of(request, kind)
            shared = any(kind.option in other.details for other in CONTROLS.values())
            if asked[kind.option.name] is not None and kind.option.name not in self.accepts and not shared:
                raise lacking(kind.name, self.model.controls.names)
            kind.check(asked)
        used = {DURING.name}
        options = list(dict.fromkeys(kind.option.name for kind in CONTROLS.values()))
        asking = [name for name in options if name in self.accepts and getattr(request, name) is not None]
        written = getattr(request, DURING.name)
        during = {} if written is None else read_during(written, options, asking, grid)
        for name, control in self.model.controls.by_name.items():
            asked = _asked_of(request, control)
            if asked[control.option.name] is not None:
                used |= asked.keys() if asked.get("fit_loop") else {option.name for option in control.options()}
                reading = control.read(asked, grid)
                clip.asked[name] = reading.raw
                if (mask := during.get(control.option.name)) is not None:
                    clip.during[name] = mask
                    clip.asked[name] = control.drop(torch.as_tensor(reading.raw)[None], torch.from_numpy(mask)[None])[0].numpy()
                clip.notes += reading.notes
                clip.changes += reading.changes
                clip.recording = clip.recording if reading.recording is None else reading.recording
        if idle := [name for name, option in all_options().items() if name not in used and _said(request, option)]:
            clip.notes.append(f"nothing in this model follows {' and '.join(idle)} here: {_followers(idle)}")
        clip.notes += [said(during, asking, grid.frame_rate)] if during else []
        if frames > grid.learnt and Painting.name not in self.model.controls:
            learnt = f"{self.model.config.seconds:g} s that the model has learnt"
            clip.notes.append(f"made in one piece beyond the {learnt}; with the control 'painting' it could go on")
        return clip

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
    ) -> tuple[Tensor, int]:
        """Latents [B, T, C] in the codec's scale, and the number of network evaluations (of the item that took most).

        What the control `painting` keeps comes back as it is. With that control, clips longer than those of the training are made window by
        window (`plan_windows`); without it, in one piece. `frames` is needed by a model without local controls alone; otherwise the
        conditions tell it. `check` is called before every evaluation; what it raises ends the work.
        """
        terms = parse_guidance(guidance or self.model.config.guidance, self.model.controls.names)
        frames = next((raw.shape[1] for raw in conditions.local.values()), frames or self.frames(self.model.config.seconds))
        draw = self.compat.noise if self.compat else _noise
        noise = draw(seeds, frames, self.model.config.latent_dim).to(self.device)

        def flow(seen: Conditions, noise: Tensor, progress: Progress | None) -> Solution:
            def field_of(items: slice) -> Field:
                only = self.compat.only if self.compat else None
                velocity = self.velocity.under(self.model.context(seen.items(items), terms, noise.shape[1], only))

                def evaluated(z: Tensor, t: Tensor, count: int) -> Tensor:
                    if check is not None:
                        check()
                    return velocity(z, t)

                return guided_velocity(evaluated, terms, noise.device)

            integrate = self.compat.solve if self.compat else solve
            solution = integrate(field_of, noise, solver or SolverConfig(), progress, self.model.path, self.model.config.times)
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
        at_once: int | None = None,
        check: Callable[[], None] | None = None,
    ) -> list[Clip]:
        """Make one clip for every request.

        Args:
            requests: a clip depends on its own request and seed alone.
            seconds: length of the clips; None is the length that the model was trained on.
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
        requests = [requests] if isinstance(requests, Request) else list(requests)
        frames = self.frames(self.model.config.seconds if seconds is None else seconds)
        terms = parse_guidance(guidance or self.model.config.guidance, self.model.controls.names)
        clips = self._read_all(requests, frames)
        learnt = self.frames(self.model.config.seconds)
        painting = Painting.name in self.model.controls
        if at_once is None:  # audiocraft draws the noise of a batch at once
            at_once = len(clips) if self.compat else clips_at_once(self.model, min(frames, learnt) if painting else frames, len(terms))
        for start in range(0, len(clips), max(at_once, 1)):
            part = clips[start : start + at_once]
            share = part_of(progress, start / len(clips), len(part) / len(clips))
            yield from self._make(part, frames, guidance, solver, share, check)

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
        conditions = self.conditions([clip.request.text for clip in clips], [clip.asked for clip in clips], frames)
        latents, evaluations = self.sample(conditions, [clip.request.seed for clip in clips], guidance, solver, progress, frames, check)
        for clip, item in zip(clips, latents, strict=True):
            audio = self.decode(item[None])[0]
            if clip.recording is not None:
                kept = ~np.isnan(clip.asked[Painting.name]).any(axis=1)
                audio = splice(audio, clip.recording, kept, self.codec.hop, self.codec.sample_rate)
            yield replace(clip, audio=audio, latents=item.cpu(), evaluations=evaluations)

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents [B, T, C] -> audio [B, 1, S] on the CPU."""
        return self.codec.decode(latents.to(self.device)).cpu()

    def describe(self) -> dict[str, Any]:
        """What made a clip, for its metadata."""
        return {
            "codec": self.model.config.codec,
            "text_encoder": self.text_encoder.name,
            "controls": self.model.controls.names,
            "precision": self.model.precision,
            **({"compat": "audiocraft"} if self.compat else {}),
        }
