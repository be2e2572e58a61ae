"""librosa, whose compiled functions several processes may keep on disk at once: import it from here.

Its parts are loaded when they are first used, which takes seconds, and some of their functions are compiled then.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import librosa


def __getattr__(name: str) -> Any:
    if name.startswith("__"):  # what Python itself asks of a module
        raise AttributeError(name)
    share_numba_cache()
    return getattr(librosa, name)


@cache
def share_numba_cache() -> None:
    """Let one process at a time read or write what numba keeps of compiled functions.

    numba writes the index of a function, then the code that the index names by numbers. Of two processes that compile it for different
    types at once, each may give its code the same number: the index then leads to the other's code, and every later call crashes.
    """
    from filelock import FileLock
    from numba.core.caching import IndexDataCacheFile

    def alone(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def locked(file: Any, *args: Any) -> Any:
            with FileLock(os.path.join(file._cache_path, "numba.lock")):
                return method(file, *args)

        return locked

    for name in ("save", "load"):
        setattr(IndexDataCacheFile, name, alone(getattr(IndexDataCacheFile, name)))
