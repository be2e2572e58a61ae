"""The EnCodec that a released checkpoint with drums carries inside: its weights tell its sizes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor
from transformers import EncodecConfig, EncodecModel

from jasco_pl.codec.encodec import OFFICIAL_MEAN, OFFICIAL_STD, EncodecCodec
from jasco_pl.system.errors import UserError

_KERNEL = re.compile(r"(.+)\.conv\.(?:parametrizations\.weight\.original1|weight_v)")  # of a weight norm, new and old name


def codec_of(weights: Mapping[str, Tensor], sample_rate: int, mean: float = OFFICIAL_MEAN, std: float = OFFICIAL_STD) -> EncodecCodec:
    """Build transformers' EnCodec from its weights.

    What leaves no trace in shapes is that of facebook/encodec_32khz: not causal, not normalised, padded by reflection.

    Args:
        weights: by transformers' names.
        sample_rate: Hz.
        mean, std: of the latents.

    Raises:
        UserError: they are those of no EnCodec of that kind.
    """
    try:
        config = config_of(weights, sample_rate)
        model = EncodecModel(config)
        model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")[:200]
        raise UserError(f"the EnCodec inside the checkpoint is not of the kind of facebook/encodec_32khz: {reason}.") from error
    return EncodecCodec(model, mean, std)


def config_of(weights: Mapping[str, Tensor], sample_rate: int) -> EncodecConfig:
    """Its configuration, from shapes.

    Raises:
        KeyError, IndexError, ValueError: a part is missing.
    """
    kernels = {match[1]: tensor.shape for name, tensor in weights.items() if (match := _KERNEL.fullmatch(name))}
    # layers 0, one a ratio, and the last: straight convolutions; between them residual blocks, in front of the last an LSTM
    straight = sorted(int(match[1]) for name in kernels if (match := re.fullmatch(r"encoder\.layers\.(\d+)", name)))
    if len(straight) < 3:
        raise ValueError(f"its encoder has {len(straight)} convolutions")
    first, last = (kernels[f"encoder.layers.{index}"] for index in (straight[0], straight[-1]))
    blocks = {match[1] for name in kernels if (match := re.fullmatch(r"encoder\.layers\.(\d+)\.block\.1", name))}
    ratios = [kernels[f"encoder.layers.{index}"][2] // 2 for index in straight[1:-1]]
    residual = kernels["encoder.layers.1.block.1"]
    decoder = max(int(match[1]) for name in kernels if (match := re.fullmatch(r"decoder\.layers\.(\d+)", name)))
    books = sum(name.endswith(".codebook.embed") for name in weights)
    entries, dim = weights["quantizer.layers.0.codebook.embed"].shape
    config = EncodecConfig(
        sampling_rate=sample_rate,
        audio_channels=first[1],
        num_filters=first[0],
        kernel_size=first[2],
        last_kernel_size=last[2],
        hidden_size=last[0],
        upsampling_ratios=ratios[::-1],
        num_residual_layers=len(blocks) // len(ratios),
        residual_kernel_size=residual[2],
        compress=first[0] // residual[0],
        num_lstm_layers=sum(bool(re.fullmatch(r"encoder\.layers\.\d+\.lstm\.weight_ih_l\d+", name)) for name in weights),
        use_conv_shortcut=any(".shortcut." in name for name in weights),
        codebook_size=entries,
        codebook_dim=dim,
        use_causal_conv=False,
        normalize=False,
    )
    if kernels[f"decoder.layers.{decoder}"][0] != first[1]:
        raise ValueError("its decoder has other channels than its encoder")
    config.target_bandwidths = [books * config.frame_rate * config.codebook_nbits / 1000]
    return config
