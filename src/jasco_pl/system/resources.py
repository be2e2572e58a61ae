"""Weights and checkpoints: where one named by a relative path lies, whatever the working directory, and what to say when it cannot be read.

Published weights are files named by the user, found in a cache, or fetched once and compared with their checksum.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pooch
from tqdm import tqdm

from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path

if TYPE_CHECKING:
    from torch import nn

CHECKOUT = Path(__file__).resolve().parents[3]
_ID = re.compile(r"[\w.-]+/[\w.-]+")
_FOLDERS = (".", "..", "checkpoints", "runs", "out", "data")  # of this project: what begins so was meant as a path
_SECONDS = 20  # of silence after which fetching is given up
_BLOCK = 1 << 20


def locate(name: str | Path, beside: str | Path | None = None) -> str:
    """The folder meant by `name`: inside another checkpoint, as it stands, in the checkout, or with the same last part beside the other.

    A name that is none of these is returned unchanged: it may be a Hub id.
    """
    path = Path(name)
    candidates = [path, CHECKOUT / path]
    if beside is not None:
        candidates = [Path(beside) / path, *candidates, Path(beside).resolve().parent / path.name]
    for candidate in candidates:
        if candidate.is_dir():
            return str(candidate)
    return str(name)


def is_hub_id(name: str) -> bool:
    """Whether a name can be a Hub id; not where its first part is a folder here or one of this project's, so that a path was meant."""
    owner = name.partition("/")[0]
    return bool(_ID.fullmatch(name)) and owner not in _FOLDERS and not any((place / owner).is_dir() for place in (Path(), CHECKOUT))


def load_pretrained(loader: Any, source: str | Path) -> Any:
    """`loader.from_pretrained(source)` of transformers, which by itself goes on with random weights where some are missing.

    Raises:
        OSError, ValueError, SafetensorError: `source` is not there, damaged, or lacks weights (a pooler's aside: nothing here uses it).
    """
    from transformers.utils import logging  # here, because locating a folder needs none of it

    logging.disable_progress_bar()  # a bar for half a second of reading hides our own
    model, report = loader.from_pretrained(source, output_loading_info=True, ignore_mismatched_sizes=True)
    names = {*report["missing_keys"], *(mismatch[0] for mismatch in report["mismatched_keys"])}
    if wrong := sorted(name for name in names if not name.startswith("pooler.")):
        raise ValueError(f"{len(wrong)} of its weights are missing or of another shape, such as {wrong[0]}")
    return model


def unavailable(what: str, name: str | Path, error: Exception, remedy: str) -> UserError:
    """The sentence for a pretrained part that is neither in a local folder nor on the Hub; `remedy` is a clause that ends it."""
    if Path(name).is_dir():
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        return UserError(f"the {what} cannot be read from the folder {str(name)!r}: {reason}; {remedy}.")
    return UserError(
        f"the {what} {str(name)!r} is not available: it is no local folder and neither the Hub nor the Hub's cache (HF_HOME) holds it; "
        f"{remedy}."
    )


def weights_fingerprint(network: nn.Module) -> str:
    """Twelve hexadecimal digits that change with any of a network's weights."""
    import torch  # here, because locating a folder needs none of it

    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:12]


def offline() -> bool:
    """Whether nothing is to be fetched: the variable by which Hugging Face's libraries are told so."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def named_file(what: str, given: str | os.PathLike[str] | None, variable: str, accepted: str = "") -> Path | None:
    """The file that the user named, by an option or else by an environment variable; None where neither did.

    Raises:
        UserError: a named file does not exist; `what` it should hold and what is `accepted` are said.
    """
    for path, source in ((given, ""), (os.environ.get(variable), f" (from {variable})")):
        if path:
            if not Path(path).is_file():
                raise UserError(f"there is no file {os.fspath(path)!r}{source} with the weights of {what}{accepted and f'; {accepted}'}.")
            return Path(path)
    return None


def fetch(url: str, target: Path, sha256: str, missing: str, remedy: str) -> Path:
    """Fetch a file with a bar, whole or not at all.

    Args:
        url: where it is published, http or https.
        target: where it goes.
        sha256: how its checksum must begin; "" takes any.
        missing: what is not here, and `remedy`, where the file may lie instead: how the sentence begins and ends if it cannot be fetched.

    Raises:
        UserError: HF_HUB_OFFLINE is set, it cannot be reached, what came is another file, or it cannot be written.
    """
    from requests import RequestException  # here, as in pooch: few runs fetch anything

    def refused(reason: str) -> UserError:
        return UserError(f"{missing} and cannot be fetched ({reason}): download {url} and {remedy}.")

    if offline():
        raise refused("HF_HUB_OFFLINE is set")
    with atomic_path(target) as temporary:
        bar = tqdm(total=1, desc=target.name, unit="B", unit_scale=True)  # pooch says the true total; without any it takes no bar
        try:
            pooch.HTTPDownloader(progressbar=bar, chunk_size=_BLOCK, timeout=_SECONDS)(url, str(temporary), None)
        except RequestException as error:
            raise refused(_reason(error)) from error
        finally:
            bar.close()
        found = pooch.file_hash(str(temporary))
        if not found.startswith(sha256):
            raise UserError(f"what {url} gave is not the file of that name: its sha256 is {found}, expected was {sha256}.")
    return target


def _reason(error: BaseException) -> str:
    """What went wrong at first; the errors around it repeat addresses and retries."""
    while (first := error.__cause__ or error.__context__) is not None:
        error = first
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__


def load_weights(path: Path, network: nn.Module, name: str, read: Callable[[Path], Any]) -> None:
    """Fill a network from a .safetensors file of exactly its weights, or another file that `read` understands.

    Raises:
        UserError: the file is damaged or holds something else.
    """
    from safetensors.torch import load_file  # here, because locating a folder needs none of it

    try:
        network.load_state_dict(load_file(path, backend="pread") if path.suffix == ".safetensors" else read(path))
    except Exception as error:  # safetensors, HDF5, pickle and torch each raise their own for damaged or other content
        reason = " ".join(str(error).split()).rstrip(".")[:200]
        raise UserError(f"{str(path)!r} does not hold the weights of {name}: {reason}.") from error
