"""Demucs' weights: found in a folder or in the caches that Demucs itself fills, else fetched once.

Demucs over audio of any length: what `demucs.apply.apply_model` does with a whole song, segment after segment of a stream.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from demucs.apply import BagOfModels, TensorChunk, apply_model
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.hf import DEFAULT_NAMESPACE, hf_repo_name, load_safetensors_model
from demucs.htdemucs import HTDemucs
from demucs.pretrained import REMOTE_ROOT, _parse_remote_files
from demucs.repo import check_checksum
from demucs.states import load_model
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.constants import HF_HUB_CACHE
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor

from jasco_pl.system.errors import UserError
from jasco_pl.system.resources import fetch

_MODELS = (HTDemucs, HDemucs, Demucs)
# Numbers of a training's options, as pickles of several NumPys call them
_NUMPY: list[Any] = [
    *(np.dtype, type(np.dtype(np.float32)), type(np.dtype(np.float64)), type(np.dtype(np.int64))),
    *((np._core.multiarray.scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),  # type: ignore[attr-defined]
]


def load_demucs(name: str, repo: str | os.PathLike[str] | None = None) -> BagOfModels:
    """Load a model of Demucs' by its name (`htdemucs`, `hdemucs_mmi`, ...) or signature (`955717e8`).

    Demucs' files are pickles, or name a class, and can run code where Demucs reads them; here they may name alone what its models consist
    of.

    Args:
        name: of the model.
        repo: folder of SIGNATURE[-CHECKSUM].th files, with NAME.yaml for models that Demucs itself does not know. None looks into the
            caches of the Hugging Face Hub and of PyTorch, and fetches what is missing from Demucs' own server into the latter.

    Raises:
        UserError: Demucs has no such model, its weights are not to be had, or a file does not hold any.
    """
    bag = _bag(name, None if repo is None else Path(repo))
    paths = _in_hub_cache(name, bag["models"]) if repo is None else None
    paths = paths or [_find(signature, name, repo) for signature in bag["models"]]
    models = []
    for path in paths:
        try:
            if path.suffix == ".safetensors":
                _check_names(path)
                models.append(load_safetensors_model(path))
            else:
                _, _, checksum = path.stem.partition("-")
                check_checksum(path, checksum)
                with torch.serialization.safe_globals([*_MODELS, Fraction, *_NUMPY]):
                    models.append(load_model(torch.load(path, map_location="cpu", weights_only=True)))
        except (Exception, SystemExit) as error:  # whatever a pickle raises; Demucs exits where a package is missing
            reason = " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
            raise UserError(f"{str(path)!r} does not hold a model of Demucs: {reason}.") from error
    return BagOfModels(models, bag.get("weights"), bag.get("segment")).eval()


def _check_names(path: Path) -> None:
    """Raise ValueError unless the classes that a safetensors file of Demucs' names are its models and PyTorch's own."""
    with safe_open(path, "pt") as file:
        note = file.metadata() or {}
    allowed = {f"{kind.__module__}.{kind.__qualname__}" for kind in _MODELS}
    if note.get("klass") not in allowed:
        raise ValueError(f"it names the class {note.get('klass')!r}, which is none of {', '.join(sorted(allowed))}")
    waiting = [json.loads(note.get("structure", "null"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if not str(node.get("_class", "torch.")).startswith("torch."):
                raise ValueError(f"it names the class {node['_class']!r}, which is not PyTorch's")
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def _bag(name: str, repo: Path | None) -> dict[str, Any]:
    """The signatures of a model's parts, their weights and the length of their segments."""
    if repo is not None and not repo.is_dir():
        raise UserError(f"{str(repo)!r} is not a folder, where one with Demucs' weights (SIGNATURE-CHECKSUM.th) is wanted.")
    for folder in (repo, REMOTE_ROOT):
        if folder is not None and (folder / f"{name}.yaml").is_file():
            bag: dict[str, Any] = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
            return bag
    if name in _urls() or (repo is not None and _th_file(name, repo)):
        return {"models": [name]}
    known = ", ".join(sorted(path.stem for path in REMOTE_ROOT.glob("*.yaml")))
    raise UserError(f"Demucs has no model {name!r}: known are {known}, and hpss, which is none of Demucs'.")


def _urls() -> dict[str, str]:
    return _parse_remote_files(REMOTE_ROOT / "files.txt")


def _th_file(signature: str, folder: Path) -> Path | None:
    return next((path for pattern in (f"{signature}.th", f"{signature}-*.th") for path in sorted(folder.glob(pattern))), None)


def _in_hub_cache(name: str, signatures: list[str]) -> list[Path] | None:
    """The parts as `demucs` itself leaves them there, if all are."""
    repository = f"{DEFAULT_NAMESPACE}/{hf_repo_name(name)}"
    found = [try_to_load_from_cache(repository, f"{signature}.safetensors") for signature in signatures]
    return [Path(path) for path in found if isinstance(path, str)] if all(isinstance(path, str) for path in found) else None


def _find(signature: str, name: str, repo: str | os.PathLike[str] | None) -> Path:
    folder = Path(torch.hub.get_dir()) / "checkpoints" if repo is None else Path(repo)
    found = _th_file(signature, folder)
    if found is not None:
        return found
    url = _urls().get(signature, f"{signature}.th")
    file = url.rpartition("/")[2]
    if repo is not None:
        raise UserError(f"the weights of Demucs' {name} are not in {str(folder)!r} (--demucs-repo): {file} is missing there.")
    missing = f"the weights of Demucs' {name} ({file}) are neither in the Hugging Face cache {HF_HUB_CACHE!r} nor in {str(folder)!r}"
    remedy = "name the folder it lies in by --demucs-repo"
    return fetch(url, folder / file, Path(file).stem.partition("-")[2], missing, remedy)


OVERLAP = 0.25  # of a segment, Demucs' own


def segment_length(model: BagOfModels) -> int:
    """Samples that the model hears at once: the shortest of its parts' segments."""
    return min(int(part.samplerate * part.segment) for part in model.models)  # type: ignore[operator, arg-type]


def stride(model: BagOfModels) -> int:
    """Samples from one segment to the next."""
    return int((1 - OVERLAP) * segment_length(model))


def stems(model: BagOfModels, blocks: Iterable[NDArray[np.float32]], mean: float, std: float, device: torch.device) -> Iterator[Tensor]:
    """Separate a stream.

    As Demucs does, segments overlap by a quarter and are cross-faded with triangles. Its random shifts are left out: the same audio gives
    the same stems.

    Args:
        model: on the device.
        blocks: stereo at the model's rate, [n, 2] each.
        mean, std: of the mean of both channels over the whole file; the model hears (x - mean) / std.
        device: where to compute.

    Yields:
        The model's sources [sources, 2, n], divided by `std` and without `mean`, one after the other.
    """
    length, step = segment_length(model), stride(model)
    rising = torch.arange(1, length // 2 + 1)
    weight = torch.cat([rising, torch.arange(length - length // 2, 0, -1)]).float()
    weight = weight / weight.max()
    total = torch.zeros(len(model.sources), 2, length)
    weights = torch.zeros(length)
    for mix, offset in _segments(blocks, length, step):
        chunk = TensorChunk(((mix - mean) / std)[None], offset, length)
        heard = apply_model(model, chunk, shifts=0, split=False, device=device)[0].cpu()  # type: ignore[arg-type]
        there = heard.shape[-1]
        total[..., :there] += weight[:there] * heard
        weights[:there] += weight[:there]
        ready = min(step, there)
        yield total[..., :ready] / weights[:ready]
        total = torch.cat([total[..., step:], torch.zeros(len(model.sources), 2, step)], dim=-1)
        weights = torch.cat([weights[step:], torch.zeros(step)])


def _segments(blocks: Iterable[NDArray[np.float32]], length: int, step: int) -> Iterator[tuple[Tensor, int]]:
    """The stream around every segment [2, n], a segment more on either side where there is one, and where in it the segment begins."""
    stream = iter(blocks)
    buffer, first, offset, ended = np.zeros((0, 2), dtype=np.float32), 0, 0, False
    while True:
        pieces, end = [buffer], first + len(buffer)
        while not ended and end < offset + 2 * length:
            block = next(stream, None)
            if block is None:
                ended = True
            else:
                pieces.append(block)
                end += len(block)
        buffer = np.concatenate(pieces)
        if offset >= end:
            return
        yield torch.from_numpy(buffer).t(), offset - first
        offset += step
        drop = max(0, offset - length - first)
        buffer, first = buffer[drop:], first + drop
