"""What turns audio into the vectors that metrics compare. All run on pretrained weights that are not part of this package.

`load_embedder` and `load_classifier` take a name; where its weights cannot be had they raise UserError with one sentence that says what is
missing and where it may lie, which a report shows in place of the figure.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch

from jasco_pl.metrics.embedders.base import Classifier, Embedder
from jasco_pl.system.errors import UserError

EMBEDDERS = {
    "vggish": ("jasco_pl.metrics.embedders.vggish", "Vggish"),
    "clap": ("jasco_pl.metrics.embedders.clap", "Clap"),
    "musicnn": ("jasco_pl.metrics.embedders.musicnn", "Musicnn"),
}
CLASSIFIERS = {
    "passt": ("jasco_pl.metrics.embedders.passt", "Passt"),
    "musicnn": ("jasco_pl.metrics.embedders.musicnn", "Musicnn"),
}


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
    """A classifier by name (passt or musicnn): its `probabilities(audio, rate)` are [..., labels]; arguments as for `load_embedder`."""
    return _load(CLASSIFIERS, "classifier", name, source, device)


def _load(known: dict[str, tuple[str, str]], what: str, name: str, source: str | None, device: str | torch.device) -> Any:
    if name not in known:
        raise UserError(f"there is no {what} {name!r}; there are: {', '.join(known)}.")
    module, attribute = known[name]
    return getattr(importlib.import_module(module), attribute)(source, device)
