"""CLAP score (the paper, section 4.1): cosine of the embeddings of a description and of the audio made for it."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import cosine_similarity

from jasco_pl.errors import UserError
from jasco_pl.metrics.clip_mean import ClipMean


def clap_score(audio: Tensor, text: Tensor) -> Tensor:
    """Cosine [...] of audio embeddings [..., D] and text embeddings [..., D], pair by pair; -1 to 1.

    Raises:
        UserError: the shapes differ.
    """
    if audio.shape != text.shape or audio.ndim < 1:
        raise UserError(f"embeddings of shapes {tuple(audio.shape)} (audio) and {tuple(text.shape)} (text) are no pairs.")
    return cosine_similarity(audio.double(), text.double(), dim=-1, eps=1e-8)


class ClapScore(ClipMean):
    """Mean over clips of `clap_score`.

    Args:
        model: name of the model that gave both embeddings, as it is to be shown: figures of different checkpoints do not compare.
    """

    higher_is_better = True

    def __init__(self, model: str = "clap", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model

    @property
    def name(self) -> str:
        """`CLAP[clap]`."""
        return f"CLAP[{self.model}]"

    def update(self, audio: Tensor, text: Tensor) -> None:
        """Add embeddings [D] of one clip and its description, or [B, D] of some."""
        for value in clap_score(audio, text).reshape(-1).tolist():
            self.add(value)
