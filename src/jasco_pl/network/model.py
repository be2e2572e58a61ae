"""The network with its controls, a velocity field over latents given conditions; and how a model begins as another one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast, get_args

import torch
from torch import Tensor, nn

from jasco_pl.controls import CONTROLS, Control
from jasco_pl.controls.conditions import Conditions, ControlSet
from jasco_pl.network.flow import path as flow
from jasco_pl.network.flow.guidance import Term
from jasco_pl.network.student import STUDENT_FILES, StudentConfig, add_student, check_times, is_student_weight
from jasco_pl.network.text import OFFLINE_ENCODER
from jasco_pl.network.transformer import Context, Transformer, TransformerConfig
from jasco_pl.system.checksums import has_checksum, load_tensors, save_tensors
from jasco_pl.system.device import Precision, precision_name
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import loads, write_json
from jasco_pl.system.intervals import require
from jasco_pl.system.typed import typed
from jasco_pl.system.undrawn import Undrawn

log = logging.getLogger(__name__)

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"


@dataclass
class ModelConfig:
    """Everything that is needed to build the network again and to make music with it."""

    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    """Size and variant of the velocity network."""
    controls: dict[str, dict[str, Any]] = field(default_factory=lambda: {"chords": {}, "melody": {}, "drums": {}})
    """Local controls by name, with their options (dim, window, ...), in the order in which they are concatenated."""
    codec: str = "checkpoints/codec-mini"
    """Folder or Hub id of the codec whose latents are modelled."""
    text_encoder: str = OFFLINE_ENCODER
    """Name of the frozen text encoder."""
    text_dim: int = 384
    """Dimension of its states."""
    latent_dim: int = 128
    """Channels of a latent frame."""
    codebook_size: int = 2048
    """Entries of the codec's first codebook."""
    frame_rate: float = 50.0
    """Latent frames a second."""
    seconds: float = 10.0
    """Length of the clips it is trained on."""
    objective: flow.Objective = "flow_matching"
    """What the network was trained to say, and with it the sampler: flow matching, or v-diffusion, to which the paper compares it."""
    preconditioning: bool = False
    """Add `skip_coefficient(t)` z to the network's output, so that a narrow network need not carry the noise through its width (no part of
    the paper; docs/decisions.md)."""
    control_gain: float = 1.0
    """Factor on the first weights of the projected controls: a few channels beside 128 of noisy latents, which a short run would learn late
    (no part of the paper; docs/decisions.md)."""
    latent_limit: float | None = None
    """Highest normalised latent that generation lets through; null: any. Where latents are logarithms of energy, as the embedded codec's, a
    small model's overshoot is a note that is far too loud (docs/decisions.md)."""
    times: list[float] | None = None
    """Flow times from 0 to 1 between which the velocity bends equally much, for solvers that take fitted steps (`jasco bench solvers --fit`
    finds them); null: none were fitted."""
    guidance: str = "all=1.5 text=0.5"
    """Guidance when none is asked for; the default is the paper's best, a checkpoint may know better."""
    student: StudentConfig | None = None
    """What makes it the student of a model that is all the rest (`network.student`); null: it is no student."""

    def __post_init__(self) -> None:
        require("[1, 65536]", text_dim=self.text_dim, latent_dim=self.latent_dim)
        require("[1, 1e6]", codebook_size=self.codebook_size)
        require("(0, 1e4]", frame_rate=self.frame_rate, seconds=self.seconds)
        require("(0, 1e6]", control_gain=self.control_gain)
        require("[0.1, 1e6]", latent_limit=self.latent_limit)
        if self.times is not None:
            check_times(self.times)
        if self.objective not in get_args(flow.Objective):
            raise UserError(f"the objective {self.objective!r} is unknown: {', '.join(get_args(flow.Objective))} are accepted.")
        if self.preconditioning and self.objective != "flow_matching":
            raise UserError("preconditioning belongs to flow_matching: under v_diffusion the noisy point alone says nothing of the target.")

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ModelConfig:
        """The inverse of `dataclasses.asdict`; raises ValueError where something in it is of another kind, or unknown."""
        if "transformer" not in data:
            raise ValueError("it lacks 'transformer'")
        return typed(data, cls)


class JascoModel(nn.Module):
    """Velocity v(z, t | conditions) over normalised latents.

    Args:
        config: see `ModelConfig`.
        latent_mean, latent_std: the codec's statistics, [latent_dim] (or scalars); kept in the checkpoint.
        codebook: vectors of the codec's first codebook, [codebook_size, latent_dim], for the audio controls.
        silence: the codec's latent frame of silence, [latent_dim], normalised as the codebook is, for in/outpainting.
    """

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(
        self,
        config: ModelConfig,
        latent_mean: Tensor | float = 0.0,
        latent_std: Tensor | float = 1.0,
        codebook: Tensor | None = None,
        silence: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.controls = ControlSet({name: self._control(name, options) for name, options in config.controls.items()})
        beside = self.controls.channels if config.transformer.injection == "concatenation" else 0
        apart = self.controls.channels - beside
        self.transformer = Transformer(config.transformer, config.latent_dim + beside, config.latent_dim, config.text_dim, apart)
        if beside:
            gains = torch.cat([torch.ones(config.latent_dim), *map(self._first_gain, self.controls.by_name.values())])
            with torch.no_grad():
                self.transformer.embed.weight.unflatten(1, (-1, len(gains))).mul_(gains)
        if self.transformer.branch is not None:  # the text-only network stays as it is; the copy and the controls learn
            self.transformer.requires_grad_(False)
            self.transformer.branch.requires_grad_(True)
        if config.student is not None:
            self.requires_grad_(False)
            add_student(self.transformer, config.student)
        shape = (config.latent_dim,)
        self.register_buffer("latent_mean", torch.as_tensor(latent_mean, dtype=torch.float32).expand(shape).clone())
        self.register_buffer("latent_std", torch.as_tensor(latent_std, dtype=torch.float32).expand(shape).clone())
        for control in self.controls.by_name.values():
            control.take_codec(codebook, silence)

    def _first_gain(self, control: Control) -> Tensor:
        return torch.full((control.channels,), self.config.control_gain if control.takes_gain else 1.0)

    def _control(self, name: str, options: dict[str, Any]) -> Control:
        if name not in CONTROLS:
            raise UserError(f"the control {name!r} is unknown: {', '.join(CONTROLS)} are accepted.")
        kind = CONTROLS[name]
        for option, value in options.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                if not isinstance(value, int):
                    raise UserError(f"{option} of the control {name} is {value}, where a whole number is accepted.")
                require("[1, 4096]", **{f"{option}__of__the__control__{name}": value})
        sizes = kind.sizes(self.config.latent_dim, self.config.codebook_size)
        try:
            return kind(**sizes, **options)
        except TypeError as error:
            raise UserError(f"the control {name!r} does not take these options: {error}.") from error

    @property
    def path(self) -> flow.Path:
        """How noise becomes data for this model: what a solver must know of its objective."""
        return flow.make_path(self.config.objective)

    def normalize(self, latents: Tensor) -> Tensor:
        """The codec's latents [B, T, C] -> zero mean and unit variance a channel."""
        return (latents - self.latent_mean) / self.latent_std

    def denormalize(self, latents: Tensor) -> Tensor:
        """The inverse of `normalize`."""
        return latents * self.latent_std + self.latent_mean

    @property
    def precision(self) -> Precision:
        """Of the network's weights: fp32 or bf16."""
        return precision_name(self.transformer.embed.weight.dtype)

    def cast(self, dtype: torch.dtype) -> JascoModel:
        """Hold the network's weights in another type, in place and for generation. Statistics and the controls' projections, which
        are computed once a request, stay in float32; on a CPU the convolutional positions do, too (see `ConvolutionalPositions`).
        """
        self.transformer.to(dtype)
        if self.transformer.positions is not None and self.latent_mean.device.type == "cpu":
            self.transformer.positions.float()
        return self

    def forward(self, z: Tensor, t: Tensor, conditions: Conditions) -> Tensor:
        """z [B, T, C] at flow time t [B] -> velocity [B, T, C]."""
        projected = self.controls(conditions).to(z.dtype).expand(-1, z.shape[1], -1)
        beside = self.config.transformer.injection == "concatenation"
        x, apart = (torch.cat([z, projected], dim=-1), None) if beside else (z, projected)
        return self._preconditioned(self.transformer(x, t, conditions.text, conditions.text_mask, apart, conditions.text_frames), z, t)

    def context(
        self,
        conditions: Conditions,
        terms: Sequence[Term],
        frames: int,
        only: Callable[[Conditions, frozenset[str]], Conditions] | None = None,
        weight: Tensor | None = None,
    ) -> Context:
        """What the conditions say, for every term of the guidance, rows stacked along the batch: constant over a solver's steps.

        `only` gives the batch as a term sees it, where that is not `ControlSet.only`; `weight` [rows] is a student's guidance.
        """
        only = only or self.controls.only
        rows = [(self.controls.reference if term.reference else only)(conditions, term.conditions) for term in terms]
        projected = torch.cat([self.controls(row) for row in rows]).expand(-1, frames, -1)
        text, mask = torch.cat([row.text for row in rows]), torch.cat([row.text_mask for row in rows])
        seen = [row.text_frames for row in rows if row.text_frames is not None]
        return replace(self.transformer.context(text, mask, frames, projected, torch.cat(seen) if seen else None), weight=weight)

    def velocity(self, z: Tensor, t: Tensor, context: Context) -> Tensor:
        """`forward` with what `context` gave, in the type of z [B, T, C] whatever that of the weights."""
        x = z.to(self.transformer.embed.weight.dtype)
        if self.config.transformer.injection == "concatenation":
            assert context.controls is not None
            x = torch.cat([x, context.controls], dim=-1)
        return self._preconditioned(self.transformer(x, t, context).to(z.dtype), z, t)

    def _preconditioned(self, velocity: Tensor, z: Tensor, t: Tensor) -> Tensor:
        return velocity + flow.skip_coefficient(t).to(z.dtype)[:, None, None] * z if self.config.preconditioning else velocity

    def null_conditions(self, batch: int, frames: int) -> Conditions:
        """Conditions that say nothing."""
        local = {name: control.null_frames(batch, frames) for name, control in self.controls.by_name.items()}
        return Conditions(local, torch.zeros(batch, 1, self.config.text_dim), torch.ones(batch, 1, dtype=torch.bool))

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
        """Write config.json and model.safetensors, each whole or not at all; of a student its teacher (`student_file` writes the rest).

        A student that lies in the folder is of other weights, and is taken away.
        """
        folder = Path(folder)
        tensors = {
            name: tensor.to(dtype) if tensor.is_floating_point() and not name.startswith("latent_") else tensor
            for name, tensor in self.state_dict().items()
            if not is_student_weight(name)
        }
        save_tensors(folder / WEIGHTS_NAME, tensors)
        for name in STUDENT_FILES:
            (folder / name).unlink(missing_ok=True)
        config = {name: value for name, value in asdict(self.config).items() if name != "student"}
        write_json(folder / CONFIG_NAME, {"format": "jasco-pl/1", **config})

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> JascoModel:
        """Read what `save_pretrained` wrote.

        Raises:
            UserError: a file is missing, damaged, or belongs to another configuration.
        """
        folder = Path(folder)
        config = read_config(folder)
        path = folder / WEIGHTS_NAME
        try:
            tensors = load_tensors(path)
        except Exception as error:
            raise UserError(f"cannot read the weights {str(path)!r}: {error}.") from error
        return cls.from_state(config, tensors, path)

    @classmethod
    def from_state(cls, config: ModelConfig, tensors: Mapping[str, Tensor], path: str | Path) -> JascoModel:
        """A model of this configuration with copies of these weights in float32, ready to compute with.

        Nothing is initialised first: to draw the paper's network takes a hundred times as long as to copy it.

        Args:
            config: of the network.
            tensors: all of its `state_dict`; floating-point ones in any precision.
            path: where they come from, for messages.

        Raises:
            UserError: they belong to another configuration.
        """
        with Undrawn():
            model = cls(config)
        check_state(tensors, model, path)
        kinds = {name: torch.float32 if tensor.is_floating_point() else tensor.dtype for name, tensor in tensors.items()}
        model.load_state_dict({name: tensor.to(kinds[name], copy=True) for name, tensor in tensors.items()}, assign=True)
        return model.eval()


def read_config(folder: Path) -> ModelConfig:
    """The ModelConfig in a checkpoint folder."""
    path = folder / CONFIG_NAME
    try:
        data = loads(path.read_bytes())
        if not isinstance(data, dict) or data.pop("format", None) != "jasco-pl/1":
            raise ValueError('it lacks "format": "jasco-pl/1"')
        return ModelConfig.from_dict(data)
    except OSError as error:
        raise UserError(f"no JASCO checkpoint in {str(folder)!r}: {path.name} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise UserError(f"{str(path)!r} is not the config of a JASCO checkpoint: {str(error).rstrip('.')}.") from error


def check_state(tensors: Mapping[str, Tensor], model: nn.Module, path: str | Path) -> None:
    """Compare names and shapes with the model's; the first difference becomes a sentence."""
    expected = model.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        have = "absent" if name not in tensors else list(tensors[name].shape)
        want = "absent" if name not in expected else list(expected[name].shape)
        if have != want:
            raise UserError(f"the weights {str(path)!r} belong to another configuration: {name} is {have}, the model wants {want}.")


MAY_DIFFER = {
    *("controls", "control_gain", "guidance", "times", "latent_limit", "codec", "seconds", "transformer", "injection", "dropout"),
    "student",
}


@torch.no_grad()
def start_from(model: JascoModel, folder: str | Path) -> None:
    """Copy the weights of a checkpoint into a model of the same size.

    Controls that both have, concatenated, go on as they are. Concatenated controls that are new begin with zero columns in the embedding;
    where controls enter through zero convolutions, the trainable copy takes the encoder's weights. Either way the model says what the
    checkpoint says without them, until they are trained. So do channels that a control has gained by an option of its `grows`.

    Args:
        model: newly built.
        folder: what `jasco export` wrote. For a model with controls that are not concatenated one without controls.

    Raises:
        UserError: the checkpoint's controls cannot go on in this model, or it has another size, objective or codec.
    """
    source = JascoModel.from_pretrained(folder)
    if not has_checksum(path := Path(folder) / WEIGHTS_NAME):
        log.warning("%s is of a version that gave weights no checksum: whether they are as they were written is not known", path)
    _compare(source.config, model.config, folder)
    for name in ("latent_mean", "latent_std"):
        if not torch.allclose(getattr(source, name), getattr(model, name)):
            raise UserError(f"the checkpoint {str(folder)!r} was trained on another codec: its {name} differs.")
    for name, control in source.controls.by_name.items():
        if name in model.controls and control.channels > model.controls.by_name[name].channels:
            raise UserError(f"the checkpoint {str(folder)!r} has more channels of the control {name!r} than this model.")
    state = source.transformer.state_dict()
    own = model.transformer
    if own.config.injection == "concatenation":
        state["embed.weight"] = _rearranged(state["embed.weight"], columns(source), columns(model), own.config.frames_per_token)
    own.load_state_dict(state, strict=False)  # what is missing is new: control tokens or the branch
    for name in model.controls.names:
        if name in source.controls:
            model.controls[name].load_state_dict(source.controls[name].state_dict())
    if own.branch is not None:
        for copy, layer in zip(own.branch.layers, source.transformer.layers, strict=False):
            copy.load_state_dict(layer.state_dict())


def columns(model: JascoModel) -> dict[str, slice]:
    """Where the latents and every concatenated control lie in a frame."""
    columns = {"": slice(0, model.config.latent_dim)}
    for name in model.controls.names:
        first = max(part.stop for part in columns.values())
        columns[name] = slice(first, first + cast(Control, model.controls[name]).channels)
    return columns


def _rearranged(weight: Tensor, source: dict[str, slice], own: dict[str, slice], patch: int) -> Tensor:
    """Embedding [D, patch * channels of the source] -> [D, patch * own channels]: zero for parts, and channels of parts, that are new."""
    frames = weight.unflatten(1, (patch, -1))
    out = frames.new_zeros(len(weight), patch, max(part.stop for part in own.values()))
    for name, part in own.items():
        if name in source:
            have = frames[..., source[name]]
            out[..., part.start : part.start + have.shape[-1]] = have
    return out.flatten(1)


def _compare(source: ModelConfig, config: ModelConfig, folder: str | Path) -> None:
    if source.controls and not source.transformer.injection == config.transformer.injection == "concatenation":
        controls = ", ".join(source.controls)
        raise UserError(
            f"the checkpoint {str(folder)!r} has the controls {controls}; only concatenated ones can go on in a concatenated model."
        )
    for name in source.controls.keys() & config.controls.keys():
        have, want = (
            {key: value for key, value in given.items() if key not in CONTROLS[name].grows}
            for given in (source.controls[name], config.controls[name])
        )
        if have != want:
            raise UserError(
                f"the checkpoint {str(folder)!r} has the control {name!r} with {source.controls[name]}, "
                f"this model with {config.controls[name]}."
            )
    have, want = ({**asdict(entry), **asdict(entry.transformer)} for entry in (source, config))
    for name in want:
        if name not in MAY_DIFFER and have[name] != want[name]:
            raise UserError(f"the checkpoint {str(folder)!r} has {name} {have[name]!r}, this model {want[name]!r}.")
