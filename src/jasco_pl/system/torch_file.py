"""Files of torch.save, of which only tensors and plain values are read; a class is refused by its name, and nothing is executed."""

from __future__ import annotations

import pickletools
import re
import warnings
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import torch

from jasco_pl.system.errors import UserError


def read_torch_file(path: Path, allowed: Sequence[Any] = ()) -> Any:
    """What a file holds; its tensors are mapped, not read, until they are used.

    Args:
        path: the file.
        allowed: classes and functions that it may ask for besides, as for `torch.serialization.safe_globals`.

    Raises:
        UserError: it is not there, is cut off or of another kind, or asks for something else.
    """
    where = str(path)
    try:
        zipped = zipfile.is_zipfile(path)
        with path.open("rb") as file:
            if file.read(2) == b"PK" and not zipped:
                raise UserError(f"{where!r} is cut off: its end is missing.")
        with warnings.catch_warnings(), torch.serialization.safe_globals(list(allowed)):
            warnings.simplefilter("ignore")  # of pickle protocols: what cannot be read is an error here
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"there is no file {where!r}.") from None
    except OSError as error:
        raise UserError(f"{where!r} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # torch and pickle raise whatever the bytes provoke
        raise UserError(_why(path, error)) from error


def _why(path: Path, error: Exception) -> str:
    """The sentence for a file that torch does not read."""
    text = " ".join(str(error).split())
    asked = re.search(r"GLOBAL ([\w.]+)", text)
    if name := asked[1] if asked else _first_class(path):
        return f"{str(path)!r} asks for the pickled class {name}, which could run anything; only tensors and plain values are read."
    reason = text.partition(" Check the documentation")[0].rpartition(": ")[2].rstrip(".")[:160] or type(error).__name__
    return f"{str(path)!r} is cut off, damaged or no file of torch.save ({reason})."


def _first_class(path: Path) -> str | None:
    """The first class or function that a pickle asks for, found without running it; torch does not say it of newer pickle protocols."""
    with suppress(Exception):  # whatever the bytes provoke: there is nothing to name then
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.endswith("data.pkl")]
                with archive.open(names[0]) as inside:
                    return _asked(inside)
        with path.open("rb") as file:
            return _asked(file)
    return None


def _asked(file: IO[bytes]) -> str | None:
    texts: list[str] = []
    for operation, argument, _ in pickletools.genops(file):
        if isinstance(argument, str) and operation.name != "GLOBAL":
            texts.append(argument)
        elif operation.name in ("GLOBAL", "STACK_GLOBAL"):
            name = str(argument).replace(" ", ".") if argument else ".".join(texts[-2:])
            if not name.startswith(("torch.", "collections.OrderedDict")):  # what tensors are made of
                return name
    return None
