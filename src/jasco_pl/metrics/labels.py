"""KL divergence over a classifier's labels (the paper, section 4.1): does the generated music hold the concepts of its reference?

The definition is AudioCraft's: softmax probabilities p of the reference and q of the generated clip, sum of p log(p / (q + 1e-6)), the mean
over clips. There the classifier is PaSST; any other gives another figure, so that the name always says which: `KL[passt]`, `KL[musicnn]`.

CLAP score (the paper, section 4.1): cosine of the embeddings of a description and of the audio made for it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

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


def clap_score(audio: Tensor, text: Tensor) -> Tensor:
    """Cosine [...] of audio embeddings [..., D] and text embeddings [..., D], pair by pair; -1 to 1.

    Raises:
        UserError: the shapes differ.
    """
    if audio.shape != text.shape or audio.ndim < 1:
        raise UserError(f"embeddings of shapes {tuple(audio.shape)} (audio) and {tuple(text.shape)} (text) are no pairs.")
    return cosine_similarity(audio.double(), text.double(), dim=-1, eps=1e-8)
