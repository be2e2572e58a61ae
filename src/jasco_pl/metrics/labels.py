"""KL divergence over a classifier's labels (the paper, section 4.1): does the generated music hold the concepts of its reference?

The definition is AudioCraft's: softmax probabilities p of the reference and q of the generated clip, sum of p log(p / (q + 1e-6)), the mean
over clips. There the classifier is PaSST; any other gives another figure, so that the name always says which: `KL[passt]`, `KL[musicnn]`.

CLAP score (the paper, section 4.1): cosine of the embeddings of a description and of the audio made for it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from jasco_pl.metrics.base import ClipMean
from jasco_pl.system.errors import UserError

EPSILON = 1e-6


def label_kl(generated: Tensor, reference: Tensor) -> Tensor:
    """Divergence [...] of label probabilities [..., C] of generated clips from those of their references.

    Raises:
        UserError: the shapes differ, or a row is no distribution.
    """
    if generated.shape != reference.shape or generated.ndim < 1:
        shapes = f"{tuple(generated.shape)} and {tuple(reference.shape)}"
        raise UserError(f"label probabilities of shapes {shapes} cannot be compared: both must be [..., labels].")
    for probabilities in (generated, reference):
        total = probabilities.sum(dim=-1)
        if bool((probabilities < 0).any()) or not torch.allclose(total, torch.ones_like(total), atol=1e-3):
            raise UserError("label probabilities must not be negative and must sum to 1 over the labels: use softmax.")
    return torch.nn.functional.kl_div((generated.double() + EPSILON).log(), reference.double(), reduction="none").sum(dim=-1)


class LabelKL(ClipMean):
    """Mean over clips of `label_kl`.

    Args:
        classifier: name of what gave the probabilities, as it is to be shown.
    """

    higher_is_better = False

    def __init__(self, classifier: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classifier = classifier

    @property
    def name(self) -> str:
        """`KL[passt]`."""
        return f"KL[{self.classifier}]"

    def update(self, generated: Tensor, reference: Tensor) -> None:
        """Add label probabilities [C] of one clip, [B, C] of some, or [B, N, C] of N parts each, which count one by one."""
        for value in label_kl(generated, reference).reshape(-1).tolist():
            self.add(value)


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
