"""Random crops of audio files for the vocoder: a pure function of seed, epoch and position."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import soundfile
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from jasco_pl.audio.files import SAMPLE_RATE, audio_files, resample
from jasco_pl.data.datamodule import ResumableLoader
from jasco_pl.data.sampler import GlobalBatches
from jasco_pl.data.schema import Batch
from jasco_pl.system.errors import UserError
from jasco_pl.system.seeding import stable_hash


def read_crop(path: Path, seconds: float, place: float) -> Tensor:
    """A mono crop at 32 kHz, [S], without reading the rest of the file.

    Args:
        path: audio file of any rate and number of channels.
        seconds: length; a shorter file is padded with zeros.
        place: 0 the beginning, just under 1 the last possible start.

    Raises:
        UserError: the file cannot be read as audio, or holds NaN or infinity.
    """
    try:
        with soundfile.SoundFile(path) as file:
            wanted = round(seconds * file.samplerate)
            file.seek(int(place * (max(0, file.frames - wanted) + 1)))
            samples = torch.from_numpy(file.read(wanted, dtype="float32", always_2d=True)).mean(dim=1)
            rate = int(file.samplerate)
    except (OSError, RuntimeError) as error:  # libsndfile's own errors are RuntimeErrors
        raise UserError(f"{str(path)!r} is not an audio file that can be read: {str(error).rstrip('.')}.") from error
    if not bool(torch.isfinite(samples).all()):
        raise UserError(f"audio file {str(path)!r} holds NaN or infinity; only finite samples are accepted.")
    wav = resample(samples[None], rate, SAMPLE_RATE)[0] if len(samples) else samples
    length = round(seconds * SAMPLE_RATE)
    return functional.pad(wav[:length], (0, max(0, length - len(wav))))


class AudioCrops(Dataset[Batch]):
    """Map-style: (epoch, position) -> {"wav": [S], "id": name}; every file is there `crops_per_file` times an epoch.

    Args:
        files: audio.
        seconds: length of a crop.
        seed: of the places.
        crops_per_file: positions a file has; an epoch is that much longer.
        random_place: false takes every file's beginning.
    """

    def __init__(self, files: Sequence[Path], seconds: float, seed: int, crops_per_file: int = 1, random_place: bool = True) -> None:
        self.files, self.seconds, self.seed, self.crops_per_file, self.random_place = files, seconds, seed, crops_per_file, random_place

    def __len__(self) -> int:
        return len(self.files) * self.crops_per_file

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, position = key
        path = self.files[position // self.crops_per_file]
        place = stable_hash("crop", self.seed, epoch, position) / 2**63 if self.random_place else 0.0
        return {"wav": read_crop(path, self.seconds, place), "id": path.name}


class AudioDataModule(lightning.LightningDataModule):
    """Crops of audio folders; of composed pieces the mixes.

    Args:
        train: folders that are searched for audio, with what lies below them.
        valid: folders of the validation clips.
        batch_size: crops a step.
        seconds: length of a training crop.
        crops_per_file: crops a file gives an epoch.
        valid_clips: validation clips, spread evenly over the files.
        valid_seconds: their length, from the beginning of the file.
        workers: loader processes.
        seed: of order and crops.
    """

    def __init__(
        self,
        train: Sequence[str] = ("data/pieces/train",),
        valid: Sequence[str] = ("data/pieces/valid",),
        batch_size: int = 16,
        seconds: float = 1.28,
        crops_per_file: int = 16,
        valid_clips: int = 8,
        valid_seconds: float = 10.0,
        workers: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.train, self.valid, self.batch_size, self.seconds, self.crops_per_file = train, valid, batch_size, seconds, crops_per_file
        self.valid_clips, self.valid_seconds, self.workers, self.seed = valid_clips, valid_seconds, workers, seed

    def train_dataloader(self) -> Any:
        """Shuffled random crops; its state is two integers, so that a resumed run goes on with the next batch."""
        files = [path for folder in self.train for path in audio_files(folder)]
        dataset: Any = AudioCrops(files, self.seconds, self.seed, self.crops_per_file)
        return ResumableLoader(dataset, GlobalBatches(len(dataset), self.batch_size, self.seed), self.workers)

    def val_dataloader(self) -> Any:
        """The beginnings of some validation files, one a batch."""
        files = [path for folder in self.valid for path in audio_files(folder)]
        clips = min(self.valid_clips, len(files))
        dataset: Any = AudioCrops([files[index * len(files) // clips] for index in range(clips)], self.valid_seconds, 0, random_place=False)
        return ResumableLoader(dataset, GlobalBatches(len(dataset), 1, 0, shuffle=False), 0)
