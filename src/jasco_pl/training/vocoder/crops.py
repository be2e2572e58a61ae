"""What the vocoder is trained on: crops of audio files, as they are, detuned, softer, or heard as a model makes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from jasco_pl.audio.decoding import AudioFile
from jasco_pl.audio.files import SAMPLE_RATE, audio_files, resample
from jasco_pl.codec import BandCodecConfig
from jasco_pl.codec.bands import BANDS
from jasco_pl.data.loader import ResumableLoader
from jasco_pl.data.sampler import GlobalBatches
from jasco_pl.data.schema import Batch
from jasco_pl.system.errors import UserError
from jasco_pl.system.intervals import require
from jasco_pl.system.seeding import stable_hash
from jasco_pl.training.vocoder.remade import Remade

FRAME_RATE = SAMPLE_RATE // BandCodecConfig.hop


def read_crop(path: Path, seconds: float, place: float = 0.0, from_second: float | None = None, speed: float = 1.0) -> Tensor:
    """A mono crop at 32 kHz, [S], without reading the rest of the file.

    Args:
        path: audio file of any rate and number of channels.
        seconds: length; a shorter file is padded with zeros.
        place: 0 the beginning, just under 1 the last possible start.
        from_second: or where it begins.
        speed: how much faster it is played, and higher.

    Raises:
        UserError: the file cannot be read as audio, holds NaN or infinity, or nothing from there on.
    """
    file = AudioFile(path)
    there, wanted = round(file.claimed_seconds * file.rate), round(seconds * speed * file.rate)
    start = int(place * (max(0, there - wanted) + 1)) if from_second is None else round(from_second * file.rate)
    samples = torch.from_numpy(np.concatenate([block.mean(axis=1) for block in file.blocks(start, start + wanted)]))
    wav, length = resample(samples[None], file.rate * speed, SAMPLE_RATE)[0], round(seconds * SAMPLE_RATE)
    return functional.pad(wav[:length], (0, max(0, length - len(wav))))


def frames_of(seconds: float) -> int:
    """Latent frames of a crop."""
    return -(-round(seconds * SAMPLE_RATE) // BandCodecConfig.hop)


class AudioCrops(Dataset[Batch]):
    """Map-style: (epoch, position) -> {"wav": [S], "id": name}; every file is there `crops_per_file` times an epoch.

    With `remade` also {"latents": [T, C], "given": bool}: latents that stand for the crop where they are given, else zeros.

    Args:
        files: audio.
        seconds: length of a crop.
        seed: of the places.
        crops_per_file: positions a file has; an epoch is that much longer.
        random_place: false takes every file's beginning.
        remade: latents of a model's for some of the files, which half of their crops are of.
        detune: half of the other crops are played faster or slower, by so many cents at most.
        quieter: and half of them, drawn apart, softer by so many dB at most.
    """

    def __init__(
        self,
        files: Sequence[Path],
        seconds: float,
        seed: int,
        crops_per_file: int = 1,
        random_place: bool = True,
        remade: Remade | None = None,
        detune: float = 0.0,
        quieter: float = 0.0,
    ) -> None:
        self.files, self.seconds, self.seed, self.crops_per_file, self.random_place = files, seconds, seed, crops_per_file, random_place
        self.remade, self.detune, self.quieter = remade, detune, quieter

    def __len__(self) -> int:
        return len(self.files) * self.crops_per_file

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, position = key
        path = self.files[position // self.crops_per_file]

        def draw(what: str) -> float:
            return stable_hash(what, self.seed, epoch, position) / 2**63

        frames = frames_of(self.seconds)
        found = self.remade.read(path, draw("which")) if self.remade and draw("remade") < 0.5 else None
        if found is None:
            cents = self.detune * (2 * draw("cents") - 1) if draw("detune") < 0.5 else 0.0
            softer = self.quieter * draw("decibels") if draw("quieter") < 0.5 else 0.0
            wav = read_crop(path, self.seconds, draw("crop") if self.random_place else 0.0, speed=2 ** (cents / 1200))
            item = {"wav": wav * 10 ** (-softer / 20), "id": path.name}
            if self.remade is None:
                return item
            return {**item, "latents": torch.zeros(frames, BANDS), "given": torch.tensor(False)}
        latents, start = found
        if len(latents) < frames:
            raise UserError(
                f"crops of {self.seconds:g} s are longer than the {len(latents) / FRAME_RATE:g} s that a model made of {path.name!r}."
            )
        first = int(draw("crop") * (len(latents) - frames + 1))
        wav = read_crop(path, self.seconds, from_second=(start + first) / FRAME_RATE)
        return {"wav": wav, "id": path.name, "latents": torch.from_numpy(latents[first : first + frames]), "given": torch.tensor(True)}


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
        remade: folder of `jasco codec remake`: half of the crops of what it knows are heard as a model made them.
        detune: half of the other crops are played faster or slower, by so many cents at most: recordings are not all tuned to 440 Hz.
        quieter: half of them, drawn apart, are softer by so many dB at most, so that more of them lies under the codec's floor.
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
        remade: str | None = None,
        detune: float = 0.0,
        quieter: float = 0.0,
    ) -> None:
        super().__init__()
        require("[1, 65536]", batch_size=batch_size, crops_per_file=crops_per_file, valid_clips=valid_clips)
        require("[0.2, 600]", seconds=seconds, valid_seconds=valid_seconds)  # the edges of a crop count for nothing
        require("[0, 1024]", workers=workers)
        require("[0, 1200]", detune=detune)
        require("[0, 96]", quieter=quieter)
        self.train, self.valid, self.batch_size, self.seconds, self.crops_per_file = train, valid, batch_size, seconds, crops_per_file
        self.valid_clips, self.valid_seconds, self.workers, self.seed = valid_clips, valid_seconds, workers, seed
        self.remade, self.detune, self.quieter = remade, detune, quieter

    def train_dataloader(self) -> Any:
        """Shuffled random crops; its state is two integers, so that a resumed run goes on with the next batch."""
        files = [path for folder in self.train for path in audio_files(folder)]
        remade = Remade(self.remade) if self.remade else None
        if remade and not any(map(remade.knows, files)):
            raise UserError(f"{self.remade!r} has crops of none of the {len(files)} recordings that are trained on.")
        dataset: Any = AudioCrops(
            files, self.seconds, self.seed, self.crops_per_file, remade=remade, detune=self.detune, quieter=self.quieter
        )
        return ResumableLoader(dataset, GlobalBatches(len(dataset), self.batch_size, self.seed), self.workers)

    def val_dataloader(self) -> Any:
        """The beginnings of some validation files, one a batch."""
        files = [path for folder in self.valid for path in audio_files(folder)]
        clips = min(self.valid_clips, len(files))
        dataset: Any = AudioCrops([files[index * len(files) // clips] for index in range(clips)], self.valid_seconds, 0, random_place=False)
        return ResumableLoader(dataset, GlobalBatches(len(dataset), 1, 0, shuffle=False), 0)
