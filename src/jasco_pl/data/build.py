"""Composed pieces -> shards: encode every stem once, take the annotations to frames."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchaudio
from torch import Tensor
from tqdm import tqdm

from jasco_pl.audio import read_audio
from jasco_pl.codec import Codec, load_codec
from jasco_pl.controls import harmony
from jasco_pl.controls.melody import BINS, LOWEST_MIDI
from jasco_pl.data.schema import Sample
from jasco_pl.data.shards import finished, write_index, write_shard
from jasco_pl.errors import UserError
from jasco_pl.extract.chordino import chordino_frames

DRUM_BAND = (200.0, 800.0)  # Hz, paper section 5: drums of the multi-condition models


def bandpass(wav: Tensor, sample_rate: int) -> Tensor:
    """Keep 200-800 Hz (two second-order Butterworth sections a side)."""
    low, high = DRUM_BAND
    for _ in range(2):
        wav = torchaudio.functional.highpass_biquad(wav, sample_rate, low)
        wav = torchaudio.functional.lowpass_biquad(wav, sample_rate, high)
    return wav


def melody_frames(notes: Sequence[Sequence[float]], frames: int, frame_rate: float) -> np.ndarray:
    """[midi, onset, offset] notes -> int8 [T]: a note holds the frames k with onset <= k / rate < offset."""
    bins = np.full(frames, -1, dtype=np.int8)
    for midi, onset, offset in notes:
        first, last = (int(np.ceil(time * frame_rate - 1e-6)) for time in (onset, offset))
        if 0 <= midi - LOWEST_MIDI < BINS:
            bins[first:last] = int(midi) - LOWEST_MIDI
    return bins


@torch.inference_mode()
def encode_piece(path: Path, codec: Codec) -> Sample:
    """One composed piece (its JSON) -> sample with all fields."""
    note = json.loads(path.read_text(encoding="utf-8"))
    stems = {stem: read_audio(path.with_name(f"{note['id']}.{stem}.flac"), codec.sample_rate) for stem in ("mix", "drums", "drumless")}
    stems["drums_bandpass"] = bandpass(stems["drums"], codec.sample_rate)
    latents = {stem: codec.encode(wav[None]) for stem, wav in stems.items()}
    frames = latents["mix"].shape[1]
    tensors = {f"codes_{stem}": codec.codes(encoded)[0].to(torch.int16) for stem, encoded in latents.items()}
    tensors["latents"] = latents["mix"][0].half()
    tensors["chords"] = torch.from_numpy(harmony.changes_to_frames(note["chords"], frames, codec.frame_rate))
    tensors["chords_heard"] = torch.from_numpy(chordino_frames(stems["mix"], codec.sample_rate, frames))
    tensors["melody"] = torch.from_numpy(melody_frames(note["melody"], frames, codec.frame_rate))
    return Sample(note["id"], tensors, note["captions"])


@lru_cache(maxsize=1)
def _codec(name: str) -> Codec:
    torch.set_num_threads(1)
    return load_codec(name)


def _build_shard(task: tuple[str, str, list[str], str]) -> str:
    out, name, paths, codec_name = task
    write_shard(out, name, [encode_piece(Path(path), _codec(codec_name)) for path in paths])
    return name


def build_shards(pieces: str | Path, out: str | Path, codec_name: str, workers: int = 1, pieces_per_shard: int = 24) -> dict[str, Any]:
    """Encode a folder of composed pieces into shards; finished shards are kept, so that an interrupted run goes on.

    Returns:
        The index.

    Raises:
        UserError: the folder holds no pieces, or `out` cannot be written.
    """
    paths = sorted(Path(pieces).glob("*.json"))
    if not paths:
        raise UserError(f"{str(pieces)!r} holds no composed pieces (*.json); `jasco compose --out {pieces}` makes some.")
    codec = load_codec(codec_name)
    groups = [paths[start : start + pieces_per_shard] for start in range(0, len(paths), pieces_per_shard)]
    tasks = [
        (str(out), name, [str(path) for path in group], codec_name)
        for number, group in enumerate(groups)
        if not finished(out, name := f"shard-{number:05d}")
    ]
    bar = tqdm(total=len(groups), initial=len(groups) - len(tasks), desc=f"shards {Path(out).name}", unit="shard")
    if workers <= 1:
        for task in tasks:
            _build_shard(task)
            bar.update()
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for _ in pool.map(_build_shard, tasks):
                bar.update()
    bar.close()
    statistics = {"mean": codec.latent_mean.tolist(), "std": codec.latent_std.tolist()}
    return write_index(out, {"name": codec_name, "frame_rate": codec.frame_rate, "dim": codec.dim, **statistics})
