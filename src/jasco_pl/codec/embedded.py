"""The codec that ships: log-frequency bands as latents, codes by k-means, an exchangeable decoder.

It is fitted to a folder of composed pieces without a gradient: statistics of the latents, and residual codebooks.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from tqdm import tqdm

from jasco_pl.audio.files import read_audio
from jasco_pl.codec.bands import BANDS, HIGHEST_HZ, SHORT_WINDOW, BandAnalysis
from jasco_pl.codec.base import Codec, nearest
from jasco_pl.codec.griffin_lim import DECIMATION, GriffinLim
from jasco_pl.codec.vocoder import Vocoder
from jasco_pl.system.checksums import load_tensors, save_tensors
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import loads, write_json
from jasco_pl.system.intervals import require
from jasco_pl.system.typed import typed

WEIGHTS_NAME = "codec.safetensors"
FORMAT = "jasco-pl-bands/1"
DECODERS = ("griffin_lim", "vocoder")
STEMS = ("mix", "drums", "drumless")  # the codes must describe drums alone as well as whole mixes


@dataclass
class BandCodecConfig:
    """What is needed besides the weights."""

    sample_rate: int = 32000
    """Hz."""
    hop: int = 640
    """Samples a latent frame: 50 Hz."""
    codebook_size: int = 1024
    """Entries a codebook."""
    codebooks: int = 4
    """Levels of residual quantisation."""
    decoder: Literal["griffin_lim", "vocoder"] = "griffin_lim"
    """How bands become sound."""
    iterations: int = 32
    """Rounds of Griffin-Lim below the split of the bands, 3.1 kHz; a quarter of them above. It gives the vocoder its phases too."""
    width: int = 256
    """Channels of the vocoder."""
    layers: int = 6
    """Blocks of the vocoder."""

    def __post_init__(self) -> None:
        require(f"[{round(2 * HIGHEST_HZ)}, 1e6]", sample_rate=self.sample_rate)
        require("[1, 1e6]", codebook_size=self.codebook_size)
        require("[1, 4096]", codebooks=self.codebooks, width=self.width, layers=self.layers)
        require("[0, 4096]", iterations=self.iterations)
        if self.hop % DECIMATION or not 0 < self.hop <= SHORT_WINDOW // 2:
            raise UserError(f"hop is {self.hop}: a multiple of {DECIMATION} samples up to {SHORT_WINDOW // 2} is accepted.")
        if self.decoder not in DECODERS:
            raise UserError(f"the codec's decoder {self.decoder!r} is unknown: it is one of {', '.join(DECODERS)}.")


class BandCodec(Codec):
    """Latents are 128 log-frequency bands at 50 Hz: the encoder has nothing to learn, the decoder changes without touching the latents.

    Args:
        config: see `BandCodecConfig`.
        mean, std: statistics of the latents, [128].
        codebooks: residual codebooks on normalised latents, [levels, size, 128].
    """

    codebooks: Tensor

    def __init__(
        self, config: BandCodecConfig, mean: Tensor | None = None, std: Tensor | None = None, codebooks: Tensor | None = None
    ) -> None:
        super().__init__()
        self.config, self.sample_rate, self.hop, self.dim = config, config.sample_rate, config.hop, BANDS
        self.analysis = BandAnalysis(config.sample_rate, config.hop)
        self.context = self.analysis.context
        self.decoder: GriffinLim | Vocoder
        if config.decoder == "vocoder":
            self.decoder = Vocoder(self.analysis, config.iterations, config.width, config.layers)
        else:
            self.decoder = GriffinLim(self.analysis, config.iterations)
        self.register_buffer("latent_mean", torch.zeros(BANDS) if mean is None else mean.float().clone())
        self.register_buffer("latent_std", torch.ones(BANDS) if std is None else std.float().clone())
        shape = (config.codebooks, config.codebook_size, BANDS)
        self.register_buffer("codebooks", torch.zeros(shape) if codebooks is None else codebooks.float().clone())

    @property
    def codebook(self) -> Tensor:
        return self.codebooks[0] * self.latent_std + self.latent_mean

    def encode(self, wav: Tensor) -> Tensor:
        return self.analysis(self.padded(wav)[:, 0])

    def decode(self, latents: Tensor, around: int = 0) -> Tensor:
        return self.decoder(latents, around)[:, None]

    def _decode_from(self, latents: Tensor, first: int) -> Tensor:
        return self.decoder(latents, first=first)[:, None]

    def codes(self, latents: Tensor) -> Tensor:
        return nearest((latents - self.latent_mean) / self.latent_std, self.codebooks[0])

    def save_pretrained(self, folder: str | Path) -> None:
        folder = Path(folder)
        exact = ("latent_mean", "latent_std")  # half precision is enough for the rest
        tensors = {name: tensor if name in exact else tensor.half() for name, tensor in self.state_dict().items()}
        save_tensors(folder / WEIGHTS_NAME, tensors)
        write_json(folder / "config.json", {"format": FORMAT, **asdict(self.config)})

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> BandCodec:
        """Read what `save_pretrained` wrote.

        Raises:
            UserError: a file is missing or damaged.
        """
        folder = Path(folder)
        try:
            data = loads((folder / "config.json").read_bytes())
            if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
                raise ValueError(f'its config.json lacks "format": "{FORMAT}"')
            data.pop("below", None)  # of vocoders whose correction was taken in part
            codec = cls(typed(data, BandCodecConfig))
            found = load_tensors(folder / WEIGHTS_NAME)
            if codec.config.decoder == "griffin_lim":  # needs no weights: those of a vocoder that lies there may stay
                found = {name: tensor for name, tensor in found.items() if not name.startswith("decoder.")}
            codec.load_state_dict({name: tensor.float() for name, tensor in found.items()})
        except Exception as error:
            raise UserError(f"cannot read the codec in {str(folder)!r}: {' '.join(str(error).split()).rstrip('.')}.") from error
        return codec.eval()


def is_band_codec(folder: Path) -> bool:
    """Whether a folder holds this kind of codec."""
    try:
        return loads((folder / "config.json").read_bytes()).get("format") == FORMAT
    except (OSError, ValueError, AttributeError):
        return False


@torch.inference_mode()
def fit_band_codec(
    pieces: str | Path, config: BandCodecConfig, max_frames: int = 100_000, max_pieces: int = 96, seed: int = 0
) -> BandCodec:
    """Statistics come from the mixes (what the flow models), codebooks from mixes, drums and drumless mixes together.

    Raises:
        UserError: the folder holds too few pieces.
    """
    paths = sorted(Path(pieces).glob("*.mix.flac"))
    paths = paths[:: -(-len(paths) // max_pieces)] if paths else []
    unfitted = BandCodec(config)
    frames: dict[str, list[torch.Tensor]] = {stem: [] for stem in STEMS}
    generator = torch.Generator().manual_seed(seed)
    share = max_frames // max(1, len(paths) * len(STEMS))
    for path in tqdm(paths, desc="codec statistics", unit="piece"):
        for stem in STEMS:
            latents = unfitted.encode(read_audio(path.with_name(path.name.replace(".mix.", f".{stem}.")), config.sample_rate)[None])[0]
            frames[stem].append(latents[torch.randperm(len(latents), generator=generator)[: max(share, 1)]])
    if sum(len(part) for parts in frames.values() for part in parts) < 4 * config.codebook_size:
        raise UserError(f"{str(pieces)!r} holds too little audio to fit {config.codebook_size} codebook entries; compose more.")
    mixes = torch.cat(frames["mix"])
    mean, std = mixes.mean(0), mixes.std(0).clamp(min=0.1)
    normalised = (torch.cat([torch.cat(parts) for parts in frames.values()]) - mean) / std
    codebooks = fit_codebooks(normalised, config.codebook_size, config.codebooks, seed)
    return BandCodec(config, mean, std, codebooks)


def fit_codebooks(frames: Tensor, size: int, levels: int, seed: int = 0) -> Tensor:
    """Fit codebooks to frames [N, C], each level to what the former leaves over -> [levels, size, C].

    Raises:
        ValueError: fewer frames than entries.
    """
    if len(frames) < size:
        raise ValueError(f"{len(frames)} frames cannot fit {size} codebook entries.")
    from sklearn.cluster import MiniBatchKMeans  # here: it takes seconds to import, in every process that only reads codes

    residual = frames.clone()
    books = []
    for level in range(levels):
        means = MiniBatchKMeans(size, init="random", batch_size=4096, max_iter=8, n_init=1, random_state=seed + level)
        means.fit(residual.numpy())
        book = torch.as_tensor(means.cluster_centers_, dtype=torch.float32)
        books.append(book)
        residual = residual - book[nearest(residual, book)]
    return torch.stack(books)
