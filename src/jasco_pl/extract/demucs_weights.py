"""Demucs' weights: found in a folder or in the caches that Demucs itself fills, else fetched once."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from pathlib import Path
from typing import Any

import torch
import yaml
from demucs.apply import BagOfModels
from demucs.hf import DEFAULT_NAMESPACE, hf_repo_name, load_safetensors_model
from demucs.pretrained import REMOTE_ROOT, _parse_remote_files
from demucs.repo import check_checksum
from demucs.states import load_model
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.constants import HF_HUB_CACHE
from tqdm import tqdm

from jasco_pl.errors import UserError
from jasco_pl.files import atomic_path

_SECONDS = 20  # of silence after which fetching is given up
_CHUNK = 1 << 20


def load_demucs(name: str, repo: str | os.PathLike[str] | None = None) -> BagOfModels:
    """Load a model of Demucs' by its name (`htdemucs`, `hdemucs_mmi`, ...) or signature (`955717e8`).

    Demucs' files are pickles, which can run code: name only folders that you trust.

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
                models.append(load_safetensors_model(path))
            else:
                _, _, checksum = path.stem.partition("-")
                check_checksum(path, checksum)
                models.append(load_model(path))
        except (Exception, SystemExit) as error:  # whatever a pickle raises; Demucs exits where a package is missing
            reason = " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
            raise UserError(f"{str(path)!r} does not hold a model of Demucs: {reason}.") from error
    return BagOfModels(models, bag.get("weights"), bag.get("segment")).eval()


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
    try:
        return _fetch(url, folder / file)
    except OSError as error:  # URLError and timeouts among them
        reason = str(getattr(error, "reason", error)) or type(error).__name__
        raise UserError(
            f"the weights of Demucs' {name} ({file}) are neither in the Hugging Face cache {HF_HUB_CACHE!r} nor in {str(folder)!r} and "
            f"cannot be fetched ({reason}): download {url} and name the folder it lies in by --demucs-repo."
        ) from None


def _fetch(url: str, target: Path) -> Path:
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=_SECONDS) as answer, atomic_path(target) as temporary, open(temporary, "wb") as file:
        size = int(answer.headers.get("Content-Length") or 0) or None
        with tqdm(total=size, desc=target.name, unit="B", unit_scale=True, leave=False) as bar:
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                digest.update(chunk)
                bar.update(len(chunk))
        found, wanted = digest.hexdigest(), target.stem.partition("-")[2]
        if not found.startswith(wanted):
            raise UserError(f"what {url} gave is not those weights of Demucs: its sha256 is {found}, expected was {wanted}....")
    return target
