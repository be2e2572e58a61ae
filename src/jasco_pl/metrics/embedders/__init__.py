"""What turns audio into the vectors that metrics compare. All run on pretrained weights that are not part of this package.

`load_embedder` and `load_classifier` take a name; where its weights cannot be had they raise UserError with one sentence that says what is
missing and where it may lie, which a report shows in place of the figure.
"""

from __future__ import annotations

import importlib
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jasco_pl.audio.files import resample
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import user_cache
from jasco_pl.system.resources import fetch, load_weights, named_file

EMBEDDERS = {
    "vggish": ("jasco_pl.metrics.embedders.vggish", "Vggish"),
    "clap": ("jasco_pl.metrics.embedders.clap", "Clap"),
    "musicnn": ("jasco_pl.metrics.embedders.musicnn", "Musicnn"),
}
CLASSIFIERS = {"passt": ("jasco_pl.metrics.embedders.passt", "Passt")}


def load_embedder(name: str, source: str | None = None, device: str | torch.device = "cpu") -> Embedder:
    """An embedder by name: called with audio and its rate it gives embeddings [B, N, D].

    Args:
        name: vggish, clap or musicnn.
        source: file or folder of the weights (for clap also a Hub id); by default they are looked for.
        device: where the network runs.

    Raises:
        UserError: the name is not known, or the weights cannot be had.
    """
    return _load(EMBEDDERS, "embedder", name, source, device)


def load_classifier(name: str, source: str | None = None, device: str | torch.device = "cpu") -> Classifier:
    """A classifier by name (passt): its `probabilities(audio, rate)` are [..., labels]; arguments as for `load_embedder`."""
    return _load(CLASSIFIERS, "classifier", name, source, device)


def _load(known: dict[str, tuple[str, str]], what: str, name: str, source: str | None, device: str | torch.device) -> Any:
    if name not in known:
        raise UserError(f"there is no {what} {name!r}; there are: {', '.join(known)}.")
    module, attribute = known[name]
    return getattr(importlib.import_module(module), attribute)(source, device)


class Listener:
    """What an embedder and a classifier share: a name to show, a rate, and how audio is brought to it.

    The name of weights that are not known to be the published ones goes on after a colon, as in `vggish:mine`.
    """

    name: str
    sample_rate: int
    device: torch.device

    def prepare(self, wav: Tensor, sample_rate: int, least: float = 0.0) -> Tensor:
        """Audio [B, 1, S] or [1, S] as [B, S'] at its own rate; UserError unless it has that shape and lasts `least` seconds."""
        if wav.ndim not in (2, 3) or wav.shape[-2] != 1 or wav.numel() == 0:
            raise UserError(f"audio of shape {tuple(wav.shape)} cannot be embedded: [B, 1, S] or [1, S] is needed.")
        if not bool(torch.isfinite(wav).all()):
            raise UserError("audio that holds NaN or infinity cannot be embedded.")
        if wav.shape[-1] < least * sample_rate:
            raise UserError(f"audio of {wav.shape[-1] / sample_rate:.2f} s is too short for {self.name}: {least:g} s are needed.")
        clips = wav.reshape(-1, 1, wav.shape[-1])
        return torch.cat([resample(clip, sample_rate, self.sample_rate) for clip in clips]).to(self.device)


class Embedder(Listener, ABC):
    """Turns clips into embeddings, one a window; a metric takes its name and dimension: `FrechetDistance(embedder.name, embedder.dim)`."""

    dim: int

    @abstractmethod
    def __call__(self, wav: Tensor, sample_rate: int) -> Tensor:
        """Embeddings [B, N, D] of a batch [B, 1, S] or of one clip [1, S] (B = 1), N windows each.

        Raises:
            UserError: the audio has another shape, holds NaN, or is shorter than a window.
        """


class Classifier(Listener, ABC):
    """Gives clips probabilities of labels; a metric is told by its name: `KL[passt]`."""

    @abstractmethod
    def probabilities(self, wav: Tensor, sample_rate: int) -> Tensor:
        """Probabilities [B, C] of a batch [B, 1, S] or of one clip [1, S], or [B, N, C] of N parts each, that sum to 1.

        Raises:
            UserError: the audio has another shape, holds NaN, or is too short.
        """


def find_file(name: str, url: str, given: str | os.PathLike[str] | None = None, sha256: str = "") -> Path:
    """A file of weights: the one given, else from the environment, the caches or the web.

    Args:
        name: the embedder's, as in JASCO_VGGISH, the variable that may hold the path.
        url: where it is published; its last part is the file's name in the caches.
        given: the path, if the user named one.
        sha256: how the checksum of a fetched file must begin.

    Raises:
        UserError: a named file does not exist, or there is none and it cannot be fetched.
    """
    variable = f"JASCO_{name.upper()}"
    if named := named_file(name, given, variable):
        return named
    file = url.rpartition("/")[2]
    ours = user_cache("metrics") / file
    hub = Path(torch.hub.get_dir()) / "checkpoints" / file
    for place in (ours, hub):
        if place.is_file():
            return place
    return fetch(url, ours, sha256, f"the weights of {name} are not here", f"save it as {str(ours)!r}, or name the file by {variable}")


def load_state(path: Path, network: torch.nn.Module, name: str) -> None:
    """Fill a network from a .safetensors or PyTorch file of exactly its weights; UserError if it holds something else."""
    load_weights(path, network, name, lambda file: torch.load(file, map_location="cpu", weights_only=True))
