"""What the velocity network is built of: positions, flow time, attention. Shapes as in `network.transformer`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from jasco_pl.network.implementations import Convolve, Mix, convolve, mix


def sinusoid(position: Tensor, dim: int) -> Tensor:
    """[cos, sin] features of `position` [...] at dim / 2 geometric frequencies from 1 to 1/10000 -> [..., dim]."""
    half = dim // 2
    # a quotient, as audiocraft has it: 1e-5 of its velocity after 500 positions depends on how this is rounded
    angle = position.float()[..., None] / 10000.0 ** (torch.arange(half, device=position.device) / (half - 1))
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def alibi_bias(heads: int, length: int, device: torch.device | None = None) -> Tensor:
    """Symmetric ALiBi: -slope_h |i - j| with slopes 2^(-8h/H), h = 1..H -> [1, heads, length, length] (paper's [24])."""
    slopes = 2.0 ** (-8.0 * torch.arange(1, heads + 1, device=device) / heads)
    position = torch.arange(length, device=device)
    distance = (position[:, None] - position[None, :]).abs()
    return (-slopes[:, None, None] * distance)[None]


def beside(text_bias: Tensor | None, bias: Tensor | None, text_mask: Tensor, tokens: int) -> Tensor | None:
    """Bias of cross-attention to text and control tokens [B, H or 1, N, L + N]: the text's own, then nearness as in self-attention."""
    if bias is None:
        return None if text_bias is None else functional.pad(text_bias, (0, tokens), value=True)
    batch, heads, length = len(text_mask), bias.shape[1], text_mask.shape[1]
    text = torch.zeros(batch, 1, tokens, length, dtype=bias.dtype, device=bias.device)
    if text_bias is not None:
        text = text.masked_fill(~text_bias, -torch.inf)
    return torch.cat([text.expand(-1, heads, -1, -1), bias.expand(batch, -1, -1, -1)], dim=-1)


class TimeEmbedding(nn.Module):
    """Flow time t [B] in [0, 1] -> [B, width]."""

    def __init__(self, width: int, scale: float, features: int = 128, hidden: int = 512) -> None:
        super().__init__()
        self.scale, self.features = scale, features
        self.hidden = nn.Linear(features, hidden)
        self.middle = nn.Linear(hidden, hidden)
        self.output = nn.Linear(hidden, width)

    def forward(self, t: Tensor) -> Tensor:
        cosine, sine = sinusoid(t * self.scale, self.features).chunk(2, dim=-1)
        embedded = torch.cat([sine, cosine], dim=-1).to(self.hidden.weight.dtype)
        return self.output(self.middle(functional.silu(self.hidden(embedded))))


class ConvolutionalPositions(nn.Module):
    """Positions from a wide grouped convolution, added to the tokens [B, N, D] (wav2vec 2.0, the paper's [23])."""

    def __init__(self, width: int, kernel: int, groups: int) -> None:
        super().__init__()
        convolution = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=groups)
        nn.init.normal_(convolution.weight, std=math.sqrt(4.0 / (kernel * width)))
        nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
        self.convolution = nn.utils.parametrizations.weight_norm(convolution, dim=2)
        self.convolve: Convolve = convolve  # in training

    def forward(self, x: Tensor) -> Tensor:
        channels_first = x.transpose(1, 2)
        convolution, compute = self.convolution, self.convolve if self.training else convolve
        if x.device.type == "cpu":  # oneDNN's grouped convolutions in bfloat16 are wrong at some sizes where the CPU has AMX (PyTorch 2.13)
            with torch.autocast("cpu", enabled=False):
                channels_first = channels_first.to(convolution.bias.dtype)
                positions = compute(channels_first, convolution.weight, convolution.bias, convolution.groups)
        else:
            positions = compute(channels_first, convolution.weight, convolution.bias, convolution.groups)
        positions = functional.gelu(positions).transpose(1, 2)
        return x + (positions if torch.is_autocast_enabled("cpu") else positions.to(x.dtype))


KeysAndValues = tuple[Tensor, Tensor]


class Attention(nn.Module):
    """Multi-head scaled dot-product attention without biases in its projections."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.mix: Mix = mix  # in training

    def keys_and_values(self, source: Tensor) -> KeysAndValues:
        """What is attended to of a source [B, M, D]: two of [B, H, M, D / H]."""
        key, value = self.key_value(source).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return key, value

    def forward(self, x: Tensor, source: Tensor | KeysAndValues, bias: Tensor | None) -> Tensor:
        """x [B, N, D] attends to source [B, M, D], or to its keys and values; bias broadcastable to [B, H, N, M] (additive float or boolean
        keep).

        A bias of more than M columns hides the rest, and the source is filled up with zeros to them.
        """
        query = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        if isinstance(source, Tensor):
            if bias is not None and (spare := bias.shape[-1] - source.shape[1]):
                source = functional.pad(source, (0, 0, 0, spare))
            source = self.keys_and_values(source)
        key, value = source
        mixed = self.mix(query, key, value, bias, self.dropout) if self.training else mix(query, key, value, bias, 0.0)
        return self.output(mixed.transpose(1, 2).flatten(2))
