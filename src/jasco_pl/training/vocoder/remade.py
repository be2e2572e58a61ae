"""What a model makes of recordings it knows, for the vocoder to learn from: its own latents beside the recording that they should become.

A recording's latents are noised to a late flow time, and the model finishes them under the recording's own conditions. So much of the
recording is left in them that they still stand for it, frame by frame, and so much is the model's that they have its errors
(HiFi-GAN is fine-tuned on the spectra of its acoustic model for the same reason: Kong et al. 2020, section 4.4).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from jasco_pl.controls import stored_fields
from jasco_pl.controls.conditions import Conditions
from jasco_pl.data.datamodule import ShardDataModule
from jasco_pl.data.schema import Batch
from jasco_pl.network.flow.guidance import Term, guided_velocity, parse_guidance
from jasco_pl.network.flow.solver import Field
from jasco_pl.network.model import JascoModel
from jasco_pl.network.text import TextEncoder
from jasco_pl.system.draws import normal, uniform
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path

SUFFIX = ".remade.npz"
SOUND = {"mix", "drumless", "painting"}  # the recording itself, or most of it: they would leave nothing to guess
GREATEST = 0.9  # from here on hardly anything of the model's own is left


def remake(
    model: JascoModel,
    shards: str,
    out: str | Path,
    crops: int,
    steps: int = 3,
    earliest: float = 0.6,
    batch: int = 8,
    seed: int = 0,
    half: bool = False,
) -> None:
    """Write `ID@START.remade.npz` for crops of a set of shards: latents float16 [T, C] of the model's length, and the frame they begin at.

    Args:
        model: with the guidance of its config.
        shards: a folder that `jasco shards build` or `jasco prepare` made.
        out: where the files go, beside those that are there.
        crops: how many, drawn as in training, over as many epochs as it takes.
        steps: of Euler from the flow time on.
        earliest: flow times are uniform from here to 0.9.
        batch: crops at a time.
        seed: of crops and noise.
        half: compute in bfloat16.

    Raises:
        UserError: the set lacks what the model's controls need, or is smaller than a batch.
    """
    if not 0 <= earliest < GREATEST:
        raise UserError(f"--earliest {earliest:g} is no flow time to begin at: from 0 to below {GREATEST:g}.")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    names = model.controls.names
    fields = [field for field in stored_fields(names) if field != "latents"]
    data = ShardDataModule(
        train=shards, batch_size=batch, seconds=model.config.seconds, fields=fields, section_captions=0.0, seed=seed, workers=0
    )
    given = frozenset({"text", *names} - SOUND)
    encoder = TextEncoder(model.config.text_encoder, "cpu")
    guidance = parse_guidance(model.config.guidance, model.controls.names)
    loader = data.train_dataloader()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, half), tqdm(total=crops, desc="remaking", unit="crop") as bar:
        for each in _endless(loader):
            if bar.n >= crops:
                return
            latents = model.normalize(each["latents"])
            local = {name: control.from_batch(each, latents) for name, control in model.controls.by_name.items()}
            conditions = model.controls.only(Conditions(local, *encoder(each["caption"]), None), given)
            field = guided_velocity(partial(_velocity_under, model, conditions, latents.shape[1]), guidance, latents.device)
            begin = float(earliest + (GREATEST - earliest) * uniform(each["key"][:1], "remade from")[0, 0])
            z = model.path.point(normal(each["key"], "noise", *latents.shape[1:]), latents, torch.full((len(latents),), begin))
            for index in range(steps):
                t = begin + (1 - begin) * index / steps
                z = z + (1 - begin) / steps * field(z, torch.tensor(t))
            if model.config.latent_limit is not None:
                z = z.clamp(max=model.config.latent_limit)
            for name, start, made in zip(each["id"], each["start"].tolist(), model.denormalize(z).half().numpy(), strict=True):
                with atomic_path(out / f"{name}@{start}{SUFFIX}") as temporary, open(temporary, "wb") as file:
                    np.savez(file, latents=made, start=start)
            bar.update(len(latents))


def _velocity_under(model: JascoModel, conditions: Conditions, frames: int, terms: tuple[Term, ...]) -> Field:
    context = model.context(conditions, terms, frames)
    return lambda z, t: model.velocity(z, t, context)


def _endless(loader: Iterable[Batch]) -> Iterator[Batch]:
    while True:
        yield from loader


class Remade:
    """The crops that `remake` wrote, by the recording they are of."""

    def __init__(self, folder: str | Path) -> None:
        self.by_id: dict[str, list[Path]] = {}
        for path in sorted(Path(folder).glob(f"*{SUFFIX}")):
            self.by_id.setdefault(path.name.rpartition("@")[0], []).append(path)
        if not self.by_id:
            raise UserError(f"{os.fspath(folder)!r} holds no *{SUFFIX}, as `jasco codec remake` writes them.")

    def knows(self, recording: Path) -> bool:
        """Whether there is a crop of it."""
        return _id(recording) in self.by_id

    def read(self, recording: Path, choice: float) -> tuple[NDArray[np.float32], int] | None:
        """Latents [T, C] and the frame at which they begin of one of its crops (choice 0 to 1); None where there is none."""
        paths = self.by_id.get(_id(recording))
        if not paths:
            return None
        with np.load(paths[int(choice * len(paths))]) as stored:
            return stored["latents"].astype(np.float32), int(stored["start"])


def _id(recording: Path) -> str:
    return recording.name.removesuffix(recording.suffix).removesuffix(".mix")
