"""musicnn (Pons and Serra 2019): an embedding and fifty tags of music, with weights that a package on PyPI carries.

The package (ISC licence, optional) is never imported, because its code needs TensorFlow 1; its checkpoint is read as a file. A distance by
these embeddings is `FD[musicnn]`, a divergence of its tags `KL[musicnn]`: figures of their own, not to be compared with FAD or KL by PaSST.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import torch
from pooch import file_hash
from torch import Tensor

from jasco_pl.metrics.embedders.base import Classifier, Embedder
from jasco_pl.metrics.embedders.musicnn_network import BANDS, EMBEDDING, MusicnnNetwork, from_tensorflow, read_checkpoint
from jasco_pl.system import librosa
from jasco_pl.system.errors import UserError

VARIABLE = "JASCO_MUSICNN"
MODEL = "MTT_musicnn"  # trained on MagnaTagATune, whose tags name instruments
SHA256 = "041f3935e981a65cea739842d30c188d3a7d2adf4410955c8668eb3de4a5acab"
# fmt: off
LABELS = (
    "guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast", "piano", "ambient", "beat", "violin",
    "vocal", "synth", "female", "indian", "opera", "male", "singing", "vocals", "no vocals", "harpsichord", "loud", "quiet", "flute",
    "woman", "male vocal", "no vocal", "pop", "soft", "sitar", "solo", "man", "classic", "choir", "voice", "new age", "dance",
    "male voice", "female vocal", "beats", "harp", "cello", "no voice", "weird", "country", "metal", "female voice", "choral",
)
# fmt: on
FRAMES = 187  # 3 s
HOP_FRAMES = 94  # half a window, as FAD's windows overlap
_N_FFT, _HOP = 512, 256


def find_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """The folder of the checkpoint: the one given, that of JASCO_MUSICNN, or that of the installed package.

    Raises:
        UserError: it is nowhere.
    """
    named = given or os.environ.get(VARIABLE)
    if named:
        return Path(named)
    package = importlib.util.find_spec("musicnn")  # found, not imported
    if package is None or not package.submodule_search_locations:
        raise UserError(
            "the weights of musicnn are not installed: `pip install --no-deps musicnn==0.1.0` (29 MB) brings them, "
            f"or {VARIABLE} names the folder {MODEL} of that package."
        )
    return Path(next(iter(package.submodule_search_locations))) / MODEL


class Musicnn(Embedder, Classifier):
    """Embeddings (the penultimate layer, 200-d) and tag probabilities of windows of 3 s, every 1.5 s.

    Args:
        folder: of the checkpoint, see `find_folder`.
        device: where the network runs.

    Raises:
        UserError: there is no checkpoint, or it is not musicnn's.
    """

    name = "musicnn"
    dim = EMBEDDING
    sample_rate = 16000
    labels = LABELS

    def __init__(self, folder: str | os.PathLike[str] | None = None, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        found = find_folder(folder)
        try:
            if file_hash(str(found / ".data-00000-of-00001")) != SHA256:
                raise ValueError("its checksum is not that of the published model")
            state = from_tensorflow(read_checkpoint(f"{found}{os.sep}"))
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{str(found)!r} does not hold the checkpoint {MODEL} of musicnn 0.1.0: {error}.") from error
        self.network = MusicnnNetwork().eval().requires_grad_(False)
        self.network.load_state_dict(state)
        self.network.to(self.device)

    def __call__(self, wav: Tensor, sample_rate: int) -> Tensor:
        """Embeddings [B, N, 200] of [B, 1, S] or [1, S] of at least 3 s."""
        return self.analyse(wav, sample_rate)[0]

    def probabilities(self, wav: Tensor, sample_rate: int) -> Tensor:
        """Softmax over the 50 tags, the mean of a clip's windows: [B, 50]. musicnn's own tags are sigmoids, see `tags`."""
        return self.analyse(wav, sample_rate)[1].softmax(dim=-1).mean(dim=1)

    def tags(self, wav: Tensor, sample_rate: int, top: int = 5) -> list[list[tuple[str, float]]]:
        """The likeliest tags of every clip with their mean likelihoods, likeliest first."""
        means = self.analyse(wav, sample_rate)[1].sigmoid().mean(dim=1)
        values, indices = means.topk(top)
        pairs = zip(indices.tolist(), values.tolist(), strict=True)
        return [[(LABELS[index], value) for index, value in zip(*pair, strict=True)] for pair in pairs]

    @torch.inference_mode()
    def analyse(self, wav: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
        """Embeddings [B, N, 200] and tag logits [B, N, 50] of windows of 3 s, both from one pass."""
        clips = self.prepare(wav, sample_rate, least=3.0)
        patches = torch.stack([self._patches(clip) for clip in clips])
        embeddings, logits = zip(*(self.network(part.to(self.device)) for part in patches), strict=True)
        return torch.stack(embeddings), torch.stack(logits)

    def _patches(self, clip: Tensor) -> Tensor:
        """Log-mel windows [N, 187, 96] of one clip [S], as the package makes them.

        The package rounds the spectrogram to half precision before the logarithm, where loud bands overflow; that step is left out.
        """
        mel = librosa.feature.melspectrogram(
            y=clip.cpu().numpy(), sr=self.sample_rate, n_fft=_N_FFT, hop_length=_HOP, n_mels=BANDS, pad_mode="reflect"
        )
        frames = torch.log10(10000 * torch.from_numpy(mel.T) + 1)
        return frames.unfold(0, FRAMES, HOP_FRAMES).transpose(1, 2).contiguous()
