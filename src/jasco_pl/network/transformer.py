"""The velocity network: a pre-norm Transformer over latent frames (paper, section 3.2).

Shape legend: B batch, T latent frames, N = ceil(T / frames_per_token) tokens, L text tokens, D width, H heads.

Everything the paper names is here, and everything the released checkpoints do otherwise is a choice of `TransformerConfig`: convolutional
or sinusoidal positions, symmetric ALiBi or none, U-Net skips or none, time through adaptive layer norm or through the text tokens. So are
the three ways for local controls to enter that section 6 compares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from jasco_pl.network.blocks import Attention, ConvolutionalPositions, KeysAndValues, TimeEmbedding, alibi_bias, beside, sinusoid
from jasco_pl.network.implementations import ATTENTION, CONVOLUTION
from jasco_pl.system.intervals import require

KEY_MULTIPLE = {"cuda": 64}
"""Device -> multiple that the keys of self-attention are padded to: 500 to 512, whose bias rows are aligned as fused kernels want them."""

TEXT_MULTIPLE = {"cuda": 32}
"""Device -> multiple that the text of a generation is padded to, so that prompts of other lengths find the same CUDA graph."""


@dataclass
class TransformerConfig:
    """Size and variant of the velocity network."""

    width: int = 1024
    """Embedding dimension (paper: 1024)."""
    layers: int = 24
    """Number of Transformer layers (paper: 24)."""
    heads: int = 16
    """Attention heads (paper: 16)."""
    feed_forward: int = 4096
    """Hidden dimension of the feed-forward blocks (paper: 4096)."""
    frames_per_token: int = 1
    """Latent frames joined into one token; 1 in the paper, 2 halves the sequence for small machines."""
    positions: Literal["convolution", "sinusoid"] = "convolution"
    """Learned convolutional positions as in the paper, or fixed sinusoids as in the released checkpoints."""
    convolution_kernel: int = 128
    """Kernel of the convolutional positions in tokens (wav2vec 2.0: 128)."""
    convolution_groups: int = 16
    """Groups of the convolutional positions (wav2vec 2.0: 16)."""
    alibi: bool = True
    """Symmetric bidirectional ALiBi biases in self-attention."""
    skips: bool = True
    """U-Net skips: concatenate the mirrored layer's input along channels and project back."""
    time: Literal["adaptive_norm", "text"] = "adaptive_norm"
    """How flow time enters: modulating the layer norms, or added to every text token (released checkpoints)."""
    time_scale: float = 1000.0
    """Factor on t before the sinusoidal embedding (released checkpoints: 1)."""
    time_features: int = 128
    """Sinusoids of flow time; the hidden layers behind them have four times as many channels."""
    mask_text: bool = True
    """Keep padding out of cross-attention, so that a text's result does not depend on its batch (audiocraft: false)."""
    zero_null_text: bool = False
    """The null text is zero behind its projection, too, as released checkpoints learned it; otherwise it is the projection's bias."""
    dropout: float = 0.0
    """Dropout inside attention output and feed-forward during training."""
    injection: Literal["concatenation", "cross_attention", "zero_convolution"] = "concatenation"
    """How local controls enter: beside the latents (the paper's), as tokens that cross-attention sees beside the text (MusicGen), or
    through a trainable copy of the encoder half and zero-initialised layers into the frozen text-only network (Music ControlNet)."""

    def __post_init__(self) -> None:
        sizes = ("width", "heads", "feed_forward", "convolution_kernel", "convolution_groups")
        require("[1, 65536]", **{name: getattr(self, name) for name in sizes})
        require("[1, 1024]", layers=self.layers, frames_per_token=self.frames_per_token)
        require("(0, 1e6]", time_scale=self.time_scale)
        require("[0, 1)", dropout=self.dropout)
        require("[4, 65536]", time_features=self.time_features)
        if self.positions == "sinusoid":
            require("[4, 65536]", width=self.width)
        if self.time_features % 2:
            raise ValueError(f"time_features {self.time_features} must be even: half of them are sines.")
        if self.width % self.heads or self.width % 2:
            raise ValueError(f"width {self.width} must be even and a multiple of heads {self.heads}.")
        if self.positions == "convolution" and self.width % self.convolution_groups:
            raise ValueError(f"width {self.width} must be a multiple of convolution_groups {self.convolution_groups}.")
        if self.skips and self.layers % 2:
            raise ValueError(f"U-Net skips pair layers: layers must be even, not {self.layers}.")
        if self.injection not in ("concatenation", "cross_attention", "zero_convolution"):
            raise ValueError(f"injection {self.injection!r} is unknown: concatenation, cross_attention, zero_convolution are accepted.")
        if self.injection == "zero_convolution" and not self.skips:
            raise ValueError("zero_convolution enters through the U-Net skips: skips must be true.")


class Layer(nn.Module):
    """Self-attention, cross-attention to the text, feed-forward; each pre-normed and residual.

    Attributes:
        checkpointing: while training, keep only what enters the layer and compute the rest again for the backward pass.
        compiled: what training calls in place of `compute`.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.checkpointing = False
        self.compiled: Callable[..., Tensor] | None = None
        width = config.width
        self.self_norm, self.cross_norm, self.feed_norm = (nn.LayerNorm(width) for _ in range(3))
        self.self_attention = Attention(width, config.heads, config.dropout)
        self.cross_attention = Attention(width, config.heads, config.dropout)
        self.feed_in = nn.Linear(width, config.feed_forward, bias=False)
        self.feed_out = nn.Linear(config.feed_forward, width, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        self.modulation: nn.Parameter | None = None
        if config.time == "adaptive_norm":  # shift, scale, gate of the self-attention, then of the feed-forward
            table = torch.zeros(6, width)
            table[2], table[5] = 1.0, 1.0
            self.modulation = nn.Parameter(table)

    def forward(
        self, x: Tensor, text: Tensor | KeysAndValues, bias: Tensor | None, text_bias: Tensor | None, time: Tensor | None
    ) -> Tensor:
        """x [B, N, D], text [B, L, D] or its keys and values, time [B, 6, D] or None -> [B, N, D]."""
        compute = self.compiled if self.training and self.compiled is not None else self.compute
        if self.training and self.checkpointing and torch.is_grad_enabled():
            # without dropout nothing is drawn again, and a CUDA graph has no generator whose state could be kept
            return checkpoint(compute, x, text, bias, text_bias, time, use_reentrant=False, preserve_rng_state=self.dropout.p > 0)
        return compute(x, text, bias, text_bias, time)

    def compute(
        self, x: Tensor, text: Tensor | KeysAndValues, bias: Tensor | None, text_bias: Tensor | None, time: Tensor | None
    ) -> Tensor:
        """The layer itself."""
        if self.modulation is not None and time is not None:
            shift, scale, gate, feed_shift, feed_scale, feed_gate = (self.modulation + time)[:, :, None].unbind(1)
            normed = self.self_norm(x) * (1 + scale) + shift
            x = x + gate * self.dropout(self.self_attention(normed, normed, bias))
            x = x + self.dropout(self.cross_attention(self.cross_norm(x), text, text_bias))
            normed = self.feed_norm(x) * (1 + feed_scale) + feed_shift
            return x + feed_gate * self.dropout(self.feed_out(functional.gelu(self.feed_in(normed))))
        normed = self.self_norm(x)
        x = x + self.dropout(self.self_attention(normed, normed, bias))
        x = x + self.dropout(self.cross_attention(self.cross_norm(x), text, text_bias))
        return x + self.dropout(self.feed_out(functional.gelu(self.feed_in(self.feed_norm(x)))))


class ControlBranch(nn.Module):
    """A trainable copy of the encoder half that hears the controls and speaks through layers that start at zero (Music ControlNet).

    With one token a frame, a convolution of width one is a linear layer; ControlNet's zero convolutions are no more than that.
    """

    def __init__(self, config: TransformerConfig, channels: int) -> None:
        super().__init__()
        self.enter = nn.Linear(channels, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers // 2))
        self.leave = nn.ModuleList(nn.Linear(config.width, config.width) for _ in range(config.layers // 2 + 1))
        for linear in (self.enter, *self.leave):
            nn.init.zeros_(linear.weight)  # type: ignore[arg-type]
            nn.init.zeros_(linear.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, controls: Tensor, texts: Sequence[Tensor | KeysAndValues], *context: Tensor | None) -> list[Tensor]:
        """Tokens [B, N, D] and controls [B, N, channels] -> what is added to every skip, then to the middle, [B, N, D] each.

        `texts` has a layer's text as `Layer` takes it, `context` what comes after it.
        """
        x = x + self.enter(controls)
        added = [self.leave[0](x)]
        for layer, text, leave in zip(self.layers, texts, list(self.leave)[1:], strict=True):
            x = layer(x, text, *context)
            added.append(leave(x))
        return added


@dataclass(frozen=True)
class Context:
    """What conditions say to the network, the same at every point of a flow.

    Attributes:
        memory: what cross-attention sees, [B, M, D]; flow time is added to it where it enters through the text.
        memory_bias: of cross-attention, broadcastable to [B, H, N, M], or None.
        bias: of self-attention, [1, H, N, keys], or None.
        controls: frames of the controls [B, T, channels], or None.
        heard: the memory's keys and values for every layer, those of the branch behind; None where each layer computes its own.
        weight: of the guidance, [B], for a student (`network.student`); None: not asked for.
    """

    memory: Tensor
    memory_bias: Tensor | None
    bias: Tensor | None
    controls: Tensor | None
    heard: tuple[KeysAndValues, ...] | None = None
    weight: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> Context:
        """The same with every tensor changed."""
        rest = (self.memory_bias, self.bias, self.controls, self.weight)
        memory_bias, bias, controls, weight = (None if it is None else change(it) for it in rest)
        heard = None if self.heard is None else tuple((change(key), change(value)) for key, value in self.heard)
        return Context(change(self.memory), memory_bias, bias, controls, heard, weight)

    def tensors(self) -> list[Tensor]:
        """All of them, in an order that `map` keeps."""
        found: list[Tensor] = []
        self.map(lambda tensor: found.append(tensor) or tensor)  # type: ignore[func-returns-value]
        return found


class Transformer(nn.Module):
    """Velocity of the latents given the noisy latents, the local controls, flow time, and text states.

    Args:
        config: size and variant.
        in_channels: channels of a frame: the latents', and those of the controls where these are concatenated.
        out_channels: channels of a latent frame.
        text_dim: channels of the text encoder's states.
        control_channels: channels of the controls where they enter otherwise; 0 for a network of text alone.
    """

    def __init__(self, config: TransformerConfig, in_channels: int, out_channels: int, text_dim: int, control_channels: int = 0) -> None:
        super().__init__()
        self.config, self.out_channels = config, out_channels
        width, patch = config.width, config.frames_per_token
        self.embed = nn.Linear(in_channels * patch, width, bias=False)
        self.text_projection = nn.Linear(text_dim, width)
        self.time_embedding = TimeEmbedding(width, config.time_scale, config.time_features, 4 * config.time_features)
        self.time_modulation = nn.Linear(width, 6 * width) if config.time == "adaptive_norm" else None
        self.guidance: nn.Module | None = None  # of a student: guidance weight [B] -> [B, width]
        self.positions = (
            ConvolutionalPositions(width, config.convolution_kernel, config.convolution_groups)
            if config.positions == "convolution"
            else None
        )
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.skip_projections = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(config.layers // 2 if config.skips else 0))
        apart = config.injection if control_channels else None
        self.control_tokens = nn.Linear(control_channels * patch, width) if apart == "cross_attention" else None
        self.branch = ControlBranch(config, control_channels * patch) if apart == "zero_convolution" else None
        self.output_norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, out_channels * patch, bias=False)
        self._biases: dict[tuple[torch.device, torch.dtype], Tensor] = {}  # one for training may be read by a captured step
        self.implementations = (next(iter(ATTENTION)), next(iter(ATTENTION)), next(iter(CONVOLUTION)))
        self._initialise()

    def speed_up(self, compiled: bool = False, checkpointing: bool = False) -> None:
        """Compile each layer (one graph serves all that are alike), or let it keep less for the backward pass.

        Both hold in training mode alone: lengths and batches of generation vary, and each would be compiled anew. Neither adds a name to
        the state, and hooks on the layers (FSDP) stay outside of what is compiled.
        """
        for layer in self.modules():
            if isinstance(layer, Layer):
                layer.checkpointing = checkpointing
                layer.compiled = torch.compile(layer.compute) if compiled else None

    def compute_by(self, attention: str, text_attention: str, convolution: str) -> None:
        """Name the implementations (`network.implementations`) of both attentions and of the positions' convolution that training uses."""
        self.implementations = (attention, text_attention, convolution)
        for module in self.modules():
            if isinstance(module, Layer):
                module.self_attention.mix, module.cross_attention.mix = ATTENTION[attention], ATTENTION[text_attention]
            elif isinstance(module, ConvolutionalPositions):
                module.convolve = CONVOLUTION[convolution]

    def _initialise(self) -> None:
        """Truncated normal of std 1 / sqrt(fan_in), layers damped by depth; modulation and output start at zero."""
        _truncated(self.embed, 1.0)
        for stack in [self.layers] if self.branch is None else [self.layers, self.branch.layers]:
            for depth, layer in enumerate(stack):
                for module in layer.modules():
                    if isinstance(module, nn.Linear):
                        _truncated(module, 1.0 / math.sqrt(2 * (depth + 1)))
        for projection in self.skip_projections:  # start as "keep x": the skip grows as training finds a use for it
            width = self.config.width
            with torch.no_grad():
                projection.weight.copy_(torch.cat([torch.eye(width), torch.zeros(width, width)], dim=1))  # type: ignore[union-attr,operator]
            nn.init.zeros_(projection.bias)  # type: ignore[arg-type]
        if self.time_modulation is not None:
            nn.init.zeros_(self.time_modulation.weight)
            nn.init.zeros_(self.time_modulation.bias)
        nn.init.zeros_(self.output.weight)

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        text: Tensor | Context,
        text_mask: Tensor | None = None,
        controls: Tensor | None = None,
        text_frames: Tensor | None = None,
    ) -> Tensor:
        """Velocity [B, T, out_channels] of x [B, T, in_channels] at t [B] in [0, 1].

        Args:
            x, t: noisy latents, with the controls beside them if these are concatenated, and their flow time.
            text: [B, L, text_dim]; or what `context` made of it, its mask and the controls, with which every bit of the result is the same.
            text_mask: [B, L], true where there is a token.
            controls: [B, T, control_channels] where they enter otherwise.
            text_frames: frames [first, last) in which a text token is seen, [B, L, 2]; None: all.
        """
        tokens = self.embed(self._joined(x))
        if isinstance(text, Tensor):
            assert text_mask is not None
            text = self._context(text, text_mask, tokens.shape[1], tokens, controls, text_frames)
        return self._velocity(tokens, t, text)[:, : x.shape[1]]

    def context(
        self, text: Tensor, text_mask: Tensor, frames: int, controls: Tensor | None = None, text_frames: Tensor | None = None
    ) -> Context:
        """What `forward` makes of everything but x and t, once for the many evaluations of a generation, in the precision of the weights.

        Args:
            text, text_mask: as for `forward`.
            frames: T.
            controls: [B, T, channels]; those that are concatenated are only kept.
            text_frames: as for `forward`.
        """
        like, tokens = self.embed.weight, -(-frames // self.config.frames_per_token)
        text = text.to(like.dtype)
        if self.config.mask_text and (spare := -text.shape[1] % TEXT_MULTIPLE.get(like.device.type, 1)):
            text, text_mask = functional.pad(text, (0, 0, 0, spare)), functional.pad(text_mask, (0, spare))
            text_frames = None if text_frames is None else functional.pad(text_frames, (0, 0, 0, spare))
        context = self._context(text, text_mask, tokens, like, None if controls is None else controls.to(like.dtype), text_frames)
        if self.time_modulation is None:  # flow time changes the memory
            return context
        layers = [*self.layers, *([] if self.branch is None else self.branch.layers)]
        heard = tuple(layer.cross_attention.keys_and_values(context.memory) for layer in layers)  # type: ignore[union-attr,operator]
        return replace(context, heard=heard)

    def _context(
        self, text: Tensor, text_mask: Tensor, tokens: int, like: Tensor, controls: Tensor | None, text_frames: Tensor | None
    ) -> Context:
        """`like` has the device and type of the tokens."""
        bias = self.attention_bias(tokens, like)
        said = text_mask & text.any(dim=-1) if self.config.zero_null_text else text_mask  # no encoder's state is exactly zero
        memory = self.text_projection(text) * said[..., None]
        text_bias = text_mask[:, None, None, :].expand(-1, 1, tokens, -1) if self.config.mask_text else None
        if text_frames is not None:
            seen = self._in_time(text_frames, tokens)
            text_bias = seen if text_bias is None else seen & text_bias
        if self.control_tokens is not None and controls is not None:
            places = sinusoid(torch.arange(tokens, device=like.device), self.config.width).to(like.dtype)
            memory = torch.cat([memory, self.control_tokens(self._joined(controls)) + places], dim=1)
            text_bias = beside(text_bias, bias[..., :tokens] if bias is not None else None, text_mask, tokens)
        return Context(memory, text_bias, bias, controls)

    def _velocity(self, x: Tensor, t: Tensor, context: Context) -> Tensor:
        """Embedded tokens [B, N, D] -> velocity of all their frames, [B, N * frames_per_token, out_channels]."""
        if self.positions is not None:
            x = self.positions(x)
        else:
            x = x + sinusoid(torch.arange(x.shape[1], device=x.device), self.config.width).to(x.dtype)
        memory, time, modulation = context.memory, self.time_embedding(t), None
        if self.guidance is not None and context.weight is not None:
            time = time + self.guidance(context.weight)
        if self.time_modulation is None:
            memory = memory + time[:, None]
        else:
            modulation = self.time_modulation(functional.silu(time)).unflatten(-1, (6, -1))
        depth = len(self.layers)
        texts: Sequence[Tensor | KeysAndValues] = context.heard or [memory] * (2 * depth)
        rest = (context.bias, context.memory_bias, modulation)

        half, kept, added = depth // 2, [], None
        if self.branch is not None and context.controls is not None:
            added = self.branch(x, self._joined(context.controls), texts[depth : depth + half], *rest)
        for index, layer in enumerate(self.layers):
            if self.config.skips:
                if index < half:
                    kept.append(x if added is None else x + added[index])
                else:
                    if index == half and added is not None:
                        x = x + added[half]
                    x = self.skip_projections[index - half](torch.cat([x, kept.pop()], dim=-1))
            x = layer(x, texts[index], *rest)
        velocity = self.output(self.output_norm(x)).unflatten(-1, (self.config.frames_per_token, self.out_channels))
        return velocity.flatten(1, 2)

    def _in_time(self, text_frames: Tensor, tokens: int) -> Tensor:
        """Whether a text token is seen at a token's first frame: [B, L, 2] -> [B, 1, N, L]."""
        places = torch.arange(tokens, device=text_frames.device)[:, None] * self.config.frames_per_token
        first, last = text_frames[:, None, None].unbind(-1)
        return (places >= first) & (places < last)

    def _joined(self, frames: Tensor) -> Tensor:
        """Frames [B, T, C] -> those of one token side by side [B, N, C * frames_per_token]; an odd end is filled with zeros."""
        patch = self.config.frames_per_token
        if spare := -frames.shape[1] % patch:
            frames = functional.pad(frames, (0, 0, 0, spare))
        return frames.unflatten(1, (-1, patch)).flatten(2)

    def attention_bias(self, tokens: int, like: Tensor) -> Tensor | None:
        """The ALiBi bias [1, H, tokens, keys] for `tokens`, built once a length and broadcast over the batch.

        There are more keys than tokens where `KEY_MULTIPLE` asks for it; those are hidden.
        """
        if not self.config.alibi:
            return None
        bias = self._biases.get((like.device, like.dtype))
        if bias is None or bias.shape[-2] != tokens:
            spare = -tokens % KEY_MULTIPLE.get(like.device.type, 1)
            with torch.inference_mode(False):  # generating between training steps must not leave a bias that autograd refuses
                bias = alibi_bias(self.config.heads, tokens, like.device).to(like.dtype)
                bias = functional.pad(bias, (0, spare), value=-torch.inf)
            self._biases[like.device, like.dtype] = bias
        return bias


def _truncated(linear: nn.Linear, factor: float) -> None:
    std = factor / math.sqrt(linear.in_features)
    nn.init.trunc_normal_(linear.weight, std=std, a=-3 * std, b=3 * std)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
