"""The paper's codec: EnCodec at 32 kHz (50 Hz, 128-d, 4 x 2048) through transformers."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import EncodecModel, PretrainedConfig

from jasco_pl.codec.base import Codec
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path
from jasco_pl.system.resources import load_pretrained, unavailable

OFFICIAL = "facebook/encodec_32khz"
OFFICIAL_MEAN, OFFICIAL_STD = -0.0074, 4.0102  # of facebook/encodec_32khz over the released checkpoints' training set
_MEAN, _STD = "latent_mean", "latent_std"  # in config.json


class EncodecCodec(Codec):
    """EnCodec's encoder and decoder; latents are taken before quantisation and decoded without it, as JASCO does.

    Args:
        model: a loaded `transformers.EncodecModel` with one channel.
        mean, std: scalar latent statistics; the defaults belong to facebook/encodec_32khz.
    """

    def __init__(self, model: EncodecModel, mean: float = OFFICIAL_MEAN, std: float = OFFICIAL_STD) -> None:
        super().__init__()
        if model.config.audio_channels != 1:
            raise UserError(f"EnCodec with {model.config.audio_channels} channels is not supported; JASCO uses the mono 32 kHz model.")
        self.model = model.eval()
        self.sample_rate, self.dim = model.config.sampling_rate, model.config.hidden_size
        self.hop = int(torch.tensor(model.config.upsampling_ratios).prod())
        self.context = round(self.frame_rate)  # a second; approximate, because the memory of its LSTM has no end
        self.register_buffer("latent_mean", torch.full((self.dim,), mean), persistent=False)
        self.register_buffer("latent_std", torch.full((self.dim,), std), persistent=False)

    @classmethod
    def from_pretrained(cls, name: str | Path = OFFICIAL) -> EncodecCodec:
        """Load a Hub id or a local folder in transformers' layout.

        Raises:
            UserError: neither the Hub nor its cache nor a folder holds it, or what they hold is damaged or no EnCodec.
        """
        try:
            kind = PretrainedConfig.get_config_dict(name)[0].get("model_type")
            if kind != "encodec":  # transformers would go on with random weights
                raise ValueError(f"its config.json is of model type {kind!r}, not 'encodec'")
            model = load_pretrained(EncodecModel, name)
        except Exception as error:  # transformers raises whatever a config.json provokes
            raise unavailable("codec", name, error, "'checkpoints/codec-mini' works offline") from error
        told = vars(model.config)
        return cls(model, told.get(_MEAN, OFFICIAL_MEAN), told.get(_STD, OFFICIAL_STD)).eval()  # type: ignore[return-value]

    @property
    def codebook(self) -> Tensor:
        return self.model.quantizer.layers[0].codebook.embed

    def encode(self, wav: Tensor) -> Tensor:
        return self.model.encoder(self.padded(wav)).transpose(1, 2)

    def decode(self, latents: Tensor, around: int = 0) -> Tensor:
        return self.model.decoder(latents.transpose(1, 2))[..., : latents.shape[1] * self.hop]

    def codes(self, latents: Tensor) -> Tensor:
        return self.model.quantizer.layers[0].encode(latents.transpose(1, 2))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write transformers' layout, with the statistics of the latents in config.json."""
        with atomic_path(Path(folder) / "model.safetensors") as temporary:
            save_file({name: tensor.contiguous() for name, tensor in self.model.state_dict().items()}, temporary, {"format": "pt"})
        self.model.config.update({_MEAN: float(self.latent_mean[0]), _STD: float(self.latent_std[0])})
        self.model.config.save_pretrained(folder)
