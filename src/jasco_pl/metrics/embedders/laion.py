"""LAION-CLAP's own checkpoints as transformers' model: `music_audioset_epoch_15_esc_90.14.pt` and its kin (HTS-AT and RoBERTa, no fusion).

Such a file is what a training left: `state_dict` with names of LAION's code, beside numbers of the training. It is read with weights only.
Names, sizes and mel filters come from it; the classifier of HTS-AT, its Fourier transform and the layers that only a training loss uses
are left behind, and anything else that is left over is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers import ClapConfig, ClapModel

from jasco_pl.system.errors import UserError
from jasco_pl.system.torch_file import read_torch_file

URL = "https://huggingface.co/lukewys/laion_clap/resolve/main/music_audioset_epoch_15_esc_90.14.pt"
"""The checkpoint of the paper, of audiocraft and of fadtk; 2.35 GB."""
FILTERS = "audio_branch.logmel_extractor.melW"
HEAD_DIM = 64  # of RoBERTa, whose heads shapes do not show
_SCALAR = np.float64(0).__reduce__()[0]  # makes a number of numpy's
_NUMBERS = [  # a training's figures beside the weights; numpy 2 renamed where they are made
    (_SCALAR, "numpy.core.multiarray.scalar"),
    _SCALAR,
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64")),
]
_LEFT = re.compile(
    r"(text|audio)_transform\..*|audio_branch\.(spectrogram_extractor|logmel_extractor|tscam_conv|head)\..*"
    r"|.*\.(attn_mask|relative_position_index|position_ids|token_type_ids)"
)
_RENAMED = (
    (r"^text_branch\.", "text_model."),
    (r"^audio_branch\.", "audio_model.audio_encoder."),
    (r"\.bn0\.", ".batch_norm."),
    (r"_projection\.0\.", "_projection.linear1."),
    (r"_projection\.2\.", "_projection.linear2."),
    (r"(blocks\.\d+)\.norm1\.", r"\1.layernorm_before."),
    (r"(blocks\.\d+)\.norm2\.", r"\1.layernorm_after."),
    (r"(blocks\.\d+)\.attn\.proj\.", r"\1.attention.output.dense."),
    (r"(blocks\.\d+)\.attn\.", r"\1.attention.self."),
    (r"(blocks\.\d+)\.mlp\.fc1\.", r"\1.intermediate.dense."),
    (r"(blocks\.\d+)\.mlp\.fc2\.", r"\1.output.dense."),
)


def read_laion(path: Path) -> tuple[ClapModel, NDArray[np.float64]]:
    """The model of a file and its mel filters [frequencies, 64].

    Raises:
        UserError: the file is damaged, asks for more than weights, or holds something else.
    """
    package = read_torch_file(path, _NUMBERS)
    try:
        state = {name.removeprefix("module."): value for name, value in package.get("state_dict", package).items()}
        filters = state[FILTERS].double().numpy()
        model = ClapModel(config_of(state))
        model.load_state_dict(_translated(state), strict=False)
        expected = {name for name, _ in model.named_parameters()} | {name for name in model.state_dict() if ".running_" in name}
        if different := sorted(expected ^ {name for name in _translated(state) if not name.endswith("num_batches_tracked")}):
            raise ValueError(f"{len(different)} of its weights are missing or left over, such as {different[0]}")
    except Exception as error:  # other content and other networks' shapes each raise their own
        reason = " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
        raise UserError(f"{str(path)!r} does not hold LAION's CLAP without fusion: {reason}.") from error
    return model.eval(), filters


def config_of(state: Mapping[str, Tensor]) -> ClapConfig:
    """Sizes from shapes."""
    words = state["text_branch.embeddings.word_embeddings.weight"]
    layers = 1 + max(int(match[1]) for name in state if (match := re.match(r"text_branch\.encoder\.layer\.(\d+)\.", name)))
    text: dict[str, Any] = {
        "vocab_size": len(words),
        "hidden_size": words.shape[1],
        "num_hidden_layers": layers,
        "num_attention_heads": words.shape[1] // HEAD_DIM,
        "intermediate_size": len(state["text_branch.encoder.layer.0.intermediate.dense.weight"]),
        "max_position_embeddings": len(state["text_branch.embeddings.position_embeddings.weight"]),
        "type_vocab_size": len(state["text_branch.embeddings.token_type_embeddings.weight"]),
        "layer_norm_eps": 1e-5,  # RoBERTa's; transformers' CLAP has another default
        "projection_hidden_act": "relu",
    }
    found = [match for name in state if (match := re.fullmatch(r"audio_branch\.layers\.(\d+)\.blocks\.(\d+)\.norm1\.weight", name))]
    stages = 1 + max(int(match[1]) for match in found)
    depths = [sum(int(match[1]) == stage for match in found) for stage in range(stages)]
    tables = [state[f"audio_branch.layers.{stage}.blocks.0.attn.relative_position_bias_table"] for stage in range(stages)]
    patches = state["audio_branch.patch_embed.proj.weight"]
    audio: dict[str, Any] = {
        "patch_embeds_hidden_size": len(patches),
        "patch_size": patches.shape[-1],
        "depths": depths,
        "num_hidden_layers": stages,
        "num_attention_heads": [table.shape[1] for table in tables],
        "window_size": (round(len(tables[0]) ** 0.5) + 1) // 2,
        "hidden_size": len(state["audio_branch.norm.weight"]),
        "enable_fusion": False,
    }
    return ClapConfig(text_config=text, audio_config=audio, projection_dim=len(state["audio_projection.2.weight"]))


def _translated(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """By transformers' names; queries, keys and values of HTS-AT apart."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        if _LEFT.fullmatch(name):
            continue
        for pattern, new in _RENAMED:
            name = re.sub(pattern, new, name)
        if ".qkv." in name:
            for part, rows in zip(("query", "key", "value"), value.float().chunk(3), strict=True):
                found[name.replace("qkv", part)] = rows
        else:
            found[name] = value.float() if value.is_floating_point() else value
    return found
