"""librosa, whose compiled functions several processes may keep on disk at once: import it from here.

It and its parts are loaded when they are first used, which takes seconds, and some of their functions are compiled then. Making music
needs none of them, nor that librosa is installed.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from functools import cache, wraps
from itertools import count
from typing import Any


def __getattr__(name: str) -> Any:
    if name.startswith("__"):  # what Python itself asks of a module
        raise AttributeError(name)
    import librosa

    share_numba_cache()
    return getattr(librosa, name)


@cache
def share_numba_cache() -> None:
    """Let several processes read and write what numba keeps of compiled functions.

    Two things go wrong between processes that compile a function at once, and every later call of it then crashes:

    - numba writes the index of a function, then the code that the index names by numbers. Two processes that compile it for different types
      may give their code the same number: the index then leads to the other's code. Here one process at a time reads or writes.
    - The wrapper that numpy calls is kept apart from the function and calls it by a name that ends in a number: one's wrapper beside
      the other's function calls into nothing (numba issue 10128). Here numbers start anywhere, and a wrapper is found by the name it calls.
    """
    from filelock import FileLock
    from numba.core.bytecode import FunctionIdentity
    from numba.core.caching import IndexDataCacheFile
    from numba.np.ufunc import wrappers

    def alone(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def locked(file: Any, *args: Any) -> Any:
            with FileLock(os.path.join(file._cache_path, "numba.lock")):
                return method(file, *args)

        return locked

    for name in ("save", "load"):
        setattr(IndexDataCacheFile, name, alone(getattr(IndexDataCacheFile, name)))

    class WrapperCache(wrappers.GufWrapperCache):  # type: ignore[misc]
        called = ""

        def _index_key(self, *args: Any) -> tuple[Any, ...]:
            return (*super()._index_key(*args), self.called)

    class Wrapper(wrappers._GufuncWrapper):  # type: ignore[misc]
        def __init__(self, *args: Any, **named: Any) -> None:
            super().__init__(*args, **named)
            if isinstance(self.cache, WrapperCache):
                self.cache.called = self.fndesc.mangled_name

    for owner, name, new in (
        (FunctionIdentity, "_unique_ids", count(secrets.randbits(48))),
        (wrappers, "GufWrapperCache", WrapperCache),
        (wrappers, "_GufuncWrapper", Wrapper),
    ):
        setattr(owner, name, new)
