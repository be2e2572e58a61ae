"""The pretrained networks that an evaluation hears with: which of them can be had, and what they make of a clip.

Each is tried once a run, by the main process; the others are told what was found. Where nothing answers at the address of the weights,
nothing is fetched, so that a machine without a network loses no time.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from jasco_pl.controls import ADHERENCES
from jasco_pl.extract.salience import Salience
from jasco_pl.extract.salience_network import VARIABLE, find_weights
from jasco_pl.metrics.embedders import load_classifier, load_embedder
from jasco_pl.system.errors import UserError
from jasco_pl.system.resources import offline

LISTENERS: dict[str, Callable[..., Any]] = {
    "musicnn": load_embedder,
    "vggish": load_embedder,
    "passt": load_classifier,
    "clap": load_embedder,
}
SALIENCE = "salience"
SHORTEST = {"musicnn": 3.0, "vggish": 1.0, "passt": 0.15}  # seconds that a network needs to hear
_TOLD = "HF_HUB_OFFLINE is set"  # what our loaders say
_WAIT = 4.0  # seconds for a name to be resolved and a connection to stand


@dataclass(frozen=True)
class Listeners:
    """What can be heard with in this run.

    Attributes:
        names: of those that were found: what to load -> the name to show, which says whose weights they are.
        missing: of the others: why, in one sentence each.
        salience: file of deep salience's weights, if there is one.
        device: where they run.
        online: whether the Hub answers.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    salience: str | None = None
    device: str = "cpu"
    online: bool = False

    @property
    def marks(self) -> list[str]:
        """What a clip that was heard with all of these is marked with."""
        return sorted([*self.names.values(), *([f"{SALIENCE} {_digest(self.salience)}"] if self.salience else [])])

    @property
    def heard_with(self) -> list[str]:
        """The same, and the extractors that are here."""
        extractors = (name for adherence in ADHERENCES if adherence.missing() is None for name in adherence.extracted)
        return sorted({*self.marks, *extractors})

    def hear(self, audio: Tensor, sample_rate: int, caption: str) -> dict[str, NDArray[np.float32]]:
        """Embeddings and label probabilities of one clip [1, S]: `musicnn` [N, 200], `musicnn labels` [50], `vggish` [N, 128],
        `passt labels` [N, 527], `clap` [512] and `clap text` [512]. A network for which the clip is too short is left out.
        """
        found: dict[str, Tensor] = {}
        for name in self.names:
            network = _loaded(name, self.device, self.online)
            if audio.shape[-1] < SHORTEST.get(name, 0) * sample_rate:
                continue
            if name == "musicnn":  # one pass for both
                embeddings, logits = network.analyse(audio, sample_rate)
                found |= {name: embeddings[0], f"{name} labels": logits.softmax(dim=-1).mean(dim=1)[0]}
            elif name == "passt":
                found[f"{name} labels"] = network.probabilities(audio, sample_rate)[0]
            elif name == "clap":
                found |= {name: network.clips(audio, sample_rate)[0], f"{name} text": network.text([caption])[0]}
            else:
                found[name] = network(audio, sample_rate)[0]
        return {name: np.asarray(value.cpu(), dtype=np.float32) for name, value in found.items()}

    def melody(self, audio: Tensor, sample_rate: int, frames: int) -> NDArray[np.int8] | None:
        """Melody bins [T] by deep salience, None without its weights."""
        return None if self.salience is None else _salience(self.salience, self.device)(audio, sample_rate, frames)


@lru_cache(maxsize=1)
def _digest(path: str) -> str:
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=4).hexdigest()


def find_listeners(
    salience: str | None = None, device: str = "cpu", wanted: Collection[str] = tuple(LISTENERS), fetch: bool = True
) -> Listeners:
    """Load what can be had, once, to see that it works; what is missing is fetched where its address answers.

    Args:
        salience: file of deep salience's weights; None takes them from where they may lie and fetches nothing, "none" leaves them out.
        device: where the networks shall run.
        wanted: names of `LISTENERS`.
        fetch: whether weights may be fetched.

    Raises:
        UserError: a file that was named is not there.
    """
    from huggingface_hub import constants  # here, because the import takes a moment

    hub, github = urlsplit(constants.ENDPOINT).hostname or "", "github.com"
    answers = {host: fetch and reachable(host) for host in (hub, github)}
    names, missing = {}, {}
    for name in wanted:
        host = hub if name == "clap" else github
        try:
            names[name] = _loaded(name, device, answers[host]).name
        except UserError as error:
            missing[name] = (
                str(error) if offline() else str(error).replace(_TOLD, f"{host} does not answer" if fetch else "nothing is fetched here")
            )
    weights = None if salience == "none" else find_weights(salience, fetch=False)
    if weights is None:
        how = f"--salience FILE or {VARIABLE} names them, or `jasco extract melody` fetches them once"
        missing[SALIENCE] = "deep salience was left out." if salience == "none" else f"the weights of deep salience are not here: {how}."
    return Listeners(names, missing, None if weights is None else str(weights), device, answers[hub])


def reachable(host: str, port: int = 443) -> bool:
    """Whether a host can be connected to within seconds; behind a proxy, whose business that is, yes."""
    if offline():
        return False
    if urllib.request.getproxies():
        return True
    answers: list[bool] = []

    def connect() -> None:
        with suppress(OSError), socket.create_connection((host, port), timeout=_WAIT):
            answers.append(True)

    attempt = threading.Thread(target=connect, daemon=True)  # resolving a name has no time limit of its own
    attempt.start()
    attempt.join(_WAIT)
    return bool(answers)


@contextmanager
def _offline(wanted: bool) -> Iterator[None]:
    """The Hub's library asks six times, for half a minute, where nothing answers; and reads its variable only when it is imported."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, os.environ.get("HF_HUB_OFFLINE")
    if wanted:
        constants.HF_HUB_OFFLINE = True
        os.environ["HF_HUB_OFFLINE"] = "1"  # our own loaders read it every time
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before[0]
        if before[1] is None:
            os.environ.pop("HF_HUB_OFFLINE", None)
        else:
            os.environ["HF_HUB_OFFLINE"] = before[1]


def _loaded(name: str, device: str, online: bool) -> Any:
    with _offline(not online):
        return _load(name, device)


@lru_cache(maxsize=len(LISTENERS))
def _load(name: str, device: str) -> Any:
    return LISTENERS[name](name, device=device)


@lru_cache(maxsize=1)
def _salience(weights: str, device: str) -> Salience:
    return Salience(weights, device)
