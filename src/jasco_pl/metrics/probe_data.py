"""What the probes learn from and are asked about: composed pieces through the codec, and the clips of an evaluation's folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from jasco_pl.codec import load_codec
from jasco_pl.data.stretch import read_stretch
from jasco_pl.errors import UserError
from jasco_pl.files import atomic_path
from jasco_pl.metrics.embedders.base import Embedder

EMBEDDER = "musicnn"
SECONDS = 10.0


@dataclass
class Clips:
    """A row of an evaluation: prompts and one embedding [D] a clip."""

    name: str
    prompts: list[str]
    features: NDArray[np.float64]


def piece_features(paths: Sequence[Path], codec: str, embedder: Embedder, cache: Path) -> NDArray[np.float64]:
    """Mean embeddings [N, D] of ten seconds of each piece after the codec, which all generated audio has gone through; kept in `cache`."""
    loaded, rows = load_codec(codec), []
    made_with = hashlib.blake2b(digest_size=8)
    for file in sorted(Path(codec).glob("*")):
        if file.suffix in (".json", ".safetensors"):
            made_with.update(file.read_bytes())
    for path in tqdm(paths, desc="probe", unit="piece"):
        digest = hashlib.blake2b(path.with_suffix(".mix.flac").read_bytes() + made_with.digest(), digest_size=8).hexdigest()
        kept = cache / f"{path.stem}-{digest}.npy"
        if not kept.exists():
            stretch = read_stretch(path, SECONDS, loaded.sample_rate, loaded.frame_rate, "probe")
            with torch.inference_mode():
                wav = loaded.decode(loaded.encode(stretch.mix[None]))
            with atomic_path(kept) as temporary, temporary.open("wb") as stored:
                np.save(stored, embedder(wav, loaded.sample_rate)[0].mean(dim=0).cpu().numpy())
        rows.append(np.load(kept).astype(np.float64))
    return np.stack(rows)


def evaluated_clips(folder: Path) -> Iterator[Clips]:
    """The rows of a folder that `jasco evaluate` wrote, whole clips that musicnn has heard; those of crossed pieces and painting are not.

    Raises:
        UserError: there is no such row.
    """
    try:
        rows = json.loads((folder / "results.json").read_text(encoding="utf-8"))["rows"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{str(folder)!r} holds no results.json of `jasco evaluate`.") from error
    found = 0
    for row in rows:
        features = []
        for clip in row["clips"] if "painting" not in row["given"] else ():
            heard = (folder / clip["audio"]).with_suffix(".npz")
            with np.load(heard, allow_pickle=False) as stored:
                features += [stored[EMBEDDER].mean(axis=0)] if EMBEDDER in stored else []
        if features and len(features) == len(row["clips"]):
            found += 1
            yield Clips(row["name"], [clip["caption"] for clip in row["clips"]], np.stack(features).astype(np.float64))
    if not found:
        raise UserError(f"musicnn has heard no clip in {str(folder)!r}: `jasco evaluate -o {folder}` hears with it where it is installed.")
