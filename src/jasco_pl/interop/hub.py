"""The Hub: which folder a checkpoint's name means, fetching it once, converting it once, and publishing one.

A name is a folder, or a Hub id; what it leads to is in this project's layout or in audiocraft's. The latter is converted once and kept in
the user's cache (`~/.cache/jasco_pl/released`), beside the Hub's own (HF_HOME), which has the files as they were fetched.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from filelock import FileLock

from jasco_pl.interop.released import CODEC_FILE, MODEL_FILE, is_released
from jasco_pl.network.model import CONFIG_NAME
from jasco_pl.network.student import CONFIG_FILE
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_folder, user_cache
from jasco_pl.system.resources import is_hub_id, locate

_FILES = [CONFIG_NAME, CONFIG_FILE, "*.safetensors", "README.md", "*/config.json", MODEL_FILE, CODEC_FILE]
_CONVERSION = 1  # counts up when a conversion would write something else


def checkpoint_folder(name: str | Path, revision: str | None = None) -> str:
    """The folder of a checkpoint in this project's layout, fetched and converted if that is needed.

    A name that is neither a folder nor can be a Hub id is returned as it is.

    Args:
        name: folder (also relative to the checkout) or Hub id.
        revision: branch, tag or commit on the Hub; None is its main branch.

    Raises:
        UserError: the Hub does not have it or does not give it, or what is there cannot be converted.
    """
    found = locate(name)
    folder = Path(found)
    if not folder.is_dir():
        if not is_hub_id(found):
            return found
        folder = fetch(found, revision)
    if (folder / CONFIG_NAME).is_file() or not is_released(folder):
        return str(folder)
    return str(_converted(folder, str(name)))


def fetch(repository: str, revision: str | None = None) -> Path:
    """What is needed of a repository on the Hub, from its cache as far as it is there: the folder of its snapshot.

    Raises:
        UserError: there is no such repository or revision, it is gated, or the Hub cannot be reached.
    """
    from huggingface_hub import snapshot_download  # here and below: a local folder needs none of it
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=_FILES))
    except HfHubHTTPError as error:
        raise UserError(explained(repository, error, revision)) from error
    except (LocalEntryNotFoundError, HTTPError) as error:
        raise UserError(
            f"the checkpoint {repository!r} is not available: it is no local folder, the Hub's cache (HF_HOME) does not hold all of it, "
            f"and the Hub cannot be reached ({_reason(error)}); a folder with its files works offline."
        ) from error
    except HFValidationError as error:
        raise UserError(f"{repository!r} is no Hub id: {' '.join(str(error).split())}.") from error


def explained(repository: str, error: Exception, revision: str | None = None) -> str:
    """Why the Hub refused something about a repository, in one sentence."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, GatedRepoError):
        return (
            f"the Hub's repository {repository!r} is gated: accept its conditions at https://huggingface.co/{repository}, "
            "then `hf auth login` or set HF_TOKEN."
        )
    if isinstance(error, RevisionNotFoundError):
        return f"the Hub's repository {repository!r} has no revision {revision!r}."
    if isinstance(error, RepositoryNotFoundError):
        return f"the Hub has no repository {repository!r} that may be read here; a private one needs `hf auth login` or HF_TOKEN."
    response = getattr(error, "response", None)
    status = f" with {response.status_code}" if response is not None else ""
    return f"the Hub refused {repository!r}{status}: {_reason(error)}."


def _reason(error: BaseException) -> str:
    """What went wrong at first, on one line."""
    while (first := error.__cause__) is not None:
        error = first
    return " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__


def _converted(folder: Path, name: str) -> Path:
    """The conversion of a folder in audiocraft's layout, made once for the files as they are."""
    from jasco_pl.interop.convert import RECORD, convert
    from jasco_pl.interop.released import read_released

    digest = hashlib.sha256(str(_CONVERSION).encode())
    for file in (folder / MODEL_FILE, folder / CODEC_FILE):
        if file.is_file():
            true, facts = file.resolve(), file.stat()
            digest.update(f"{true} {facts.st_size} {facts.st_mtime_ns}".encode())
    cache = user_cache("released")
    target = cache / f"{re.sub(r'[^A-Za-z0-9._-]+', '--', name.strip('/'))[-80:]}-{digest.hexdigest()[:12]}"
    if not (target / RECORD).is_file():
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"no converted checkpoint can be kept in {str(cache)!r}: {error.strerror}.") from error
        with FileLock(f"{target}.lock"):  # another process may be at it
            if not (target / RECORD).is_file():
                with atomic_folder(target) as fresh:
                    hub = is_hub_id(name)
                    convert(read_released(folder), fresh, name if hub else Path(name).name, from_hub=hub)
    return target


def publish(folder: str | Path, repository: str, private: bool | None = None, message: str = "Upload a JASCO checkpoint") -> str:
    """Put the files of a folder into a repository on the Hub, which is made where there is none; its address.

    Args:
        folder: what `save_whole` wrote.
        repository: as `someone/model`.
        private: whether a new repository is; None is the account's default.
        message: of the commit.

    Raises:
        UserError: there is no token that may write there, the Hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    api = HfApi()
    try:
        found = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(repo_id=found.repo_id, folder_path=folder, commit_message=message)
    except HFValidationError as error:
        raise UserError(f"{repository!r} is no Hub id such as 'someone/model'.") from error
    except LocalTokenNotFoundError as error:
        raise UserError(f"publishing {repository!r} needs a token that may write there: `hf auth login`, or HF_TOKEN.") from error
    except HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            raise UserError(
                f"the Hub does not let this token write to {repository!r}: `hf auth login` with one that may, or HF_TOKEN."
            ) from error
        raise UserError(explained(repository, error)) from error
    except (HTTPError, OfflineModeIsEnabled) as error:
        raise UserError(f"{repository!r} cannot be published: the Hub cannot be reached ({_reason(error)}).") from error
    return str(found)
