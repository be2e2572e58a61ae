"""Does each section of a clip have the instruments that its own text names, and the other sections not?

Within a clip one section is compared with another, so that a row in which one text holds for all is at zero whatever instruments it has,
and so is a generator that always plays the same ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from jasco_pl.audio.files import read_audio
from jasco_pl.metrics.embedders import Embedder
from jasco_pl.metrics.report import aligned_table
from jasco_pl.studies.probe import Probe, named
from jasco_pl.system.files import atomic_path, loads

SHORTEST = 3.0  # seconds that musicnn needs
_RESAMPLES = 2000


@dataclass
class Parts:
    """The sections of a row's clips: of each the clip that it is a part of, its text, and one embedding [D]."""

    name: str
    clips: list[str]
    prompts: list[str]
    features: NDArray[np.float64]


def evaluated_sections(folder: Path, embedder: Embedder, cache: Path) -> Iterator[Parts]:
    """Sections of at least three seconds in the rows of `jasco evaluate` that were given no control, cut as the row `form` was told.

    Nothing where there is no such row. Embeddings are kept in `cache`.
    """
    rows = loads((folder / "results.json").read_bytes())["rows"]
    told = {clip["id"]: clip["told"] for row in rows for clip in row["clips"] if clip.get("told")}
    long = {name: [part for part in parts if part[1] - part[0] >= SHORTEST] for name, parts in told.items()}
    long = {name: parts for name, parts in long.items() if len(parts) > 1}
    plain = [row for row in rows if not row["given"] and not row.get("crossed")] if long else []
    for row in plain:
        clips = [clip for clip in row["clips"] if clip["id"] in long]
        found = Parts(row["name"], [], [], np.zeros((0, embedder.dim)))
        features = []
        for clip in tqdm(clips, desc=f"sections of {row['name']}", unit="clip"):
            of = _features(folder / clip["audio"], long[clip["id"]], embedder, cache)
            features += list(of)
            found.clips += [clip["id"]] * len(of)
            found.prompts += [text for _, _, text in long[clip["id"]]]
        if features:
            found.features = np.stack(features).astype(np.float64)
            yield found


def _features(path: Path, parts: Sequence[Sequence[Any]], embedder: Embedder, cache: Path) -> NDArray[np.float32]:
    """Mean embeddings [S, D] of stretches of a file."""
    edges = json.dumps([part[:2] for part in parts]).encode()
    kept = cache / f"{path.stem}-{hashlib.blake2b(path.read_bytes() + edges, digest_size=8).hexdigest()}.npy"
    if not kept.exists():
        wav = read_audio(path, embedder.sample_rate)
        cut = [wav[:, round(start * embedder.sample_rate) : round(end * embedder.sample_rate)] for start, end, _ in parts]
        heard = [embedder(part, embedder.sample_rate)[0].mean(dim=0).cpu().numpy() for part in cut]
        with atomic_path(kept) as temporary, temporary.open("wb") as stored:
            np.save(stored, np.stack(heard))
    return np.load(kept)


@dataclass(frozen=True)
class Contrast:
    """How much oftener instruments are heard in sections that name them than in the other sections of the same clip.

    Attributes:
        named, unnamed: share of the sections in which they are heard, means over the instruments of a clip, then over clips.
        difference: of the two, with a 95 % bootstrap interval over clips; 0 is chance.
        clips: with an instrument that some of their sections name and some do not.
    """

    named: float
    unnamed: float
    difference: float
    low: float
    high: float
    clips: int


def contrast(wanted: NDArray[np.bool_], heard: NDArray[np.bool_], clips: Sequence[str], seed: int = 0) -> Contrast | None:
    """Of sections [N] of clips, what is wanted [N, K] against what is heard [N, K]; None where no clip's sections differ."""
    owner, rows = np.array(clips), []
    for clip in dict.fromkeys(clips):
        of, it = wanted[owner == clip], heard[owner == clip]
        pairs = [(it[of[:, k], k].mean(), it[~of[:, k], k].mean()) for k in np.flatnonzero(of.any(axis=0) & ~of.all(axis=0))]
        rows += [np.mean(pairs, axis=0)] if pairs else []
    if not rows:
        return None
    shares = np.stack(rows)
    differences = shares[:, 0] - shares[:, 1]
    picks = np.random.default_rng(seed).integers(len(rows), size=(_RESAMPLES, len(rows)))
    low, high = np.quantile(differences[picks].mean(axis=1), [0.025, 0.975])
    where, elsewhere = shares.mean(axis=0)
    return Contrast(float(where), float(elsewhere), float(differences.mean()), float(low), float(high), len(rows))


def section_table(probe: Probe, rows: Iterable[Parts]) -> tuple[str, list[dict[str, Any]]]:
    """Markdown and JSON, a line a row; embeddings by the mean and spread of all sections of their row."""
    lines = [["clips", "heard where named", "where not", "difference", "clips with a difference"]]
    found: list[dict[str, Any]] = []
    for row in rows:
        wanted = probe.wanted([named(prompt) for prompt in row.prompts])[1]
        heard = probe.hear(row.features, among_each_other=True)[1]
        all_of_them = contrast(wanted, heard, row.clips)
        each = {name: contrast(wanted[:, [k]], heard[:, [k]], row.clips) for k, name in enumerate(probe.families)}
        lines.append([row.name, *_cells(all_of_them)])
        found.append({"name": row.name, "instruments": _plain(all_of_them), "words": {name: _plain(one) for name, one in each.items()}})
    return aligned_table(lines), found


def _cells(found: Contrast | None) -> list[str]:
    if found is None:
        return ["–"] * 4
    half = (found.high - found.low) / 2
    return [f"{found.named:.3f}", f"{found.unnamed:.3f}", f"{found.difference:+.3f} ± {half:.3f}", str(found.clips)]


def _plain(found: Contrast | None) -> Mapping[str, Any] | None:
    return None if found is None else asdict(found)
