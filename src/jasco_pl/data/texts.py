"""Columns of texts, and of a sample's sections with theirs: how they are gathered, and how they are read out of mapped memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

SECTIONS = {
    "sections": np.int32,
    "section_stops": np.int64,
    "section_captions": np.uint8,
    "section_caption_ends": np.int64,
    "section_caption_stops": np.int64,
}
"""Columns of sets whose samples have sections."""
_BLOCK = 2**14  # texts that are decoded at a time
T = TypeVar("T")


class Lazy(Sequence[T]):
    """A sequence whose items are made when they are asked for; a slice is a list."""

    def __init__(self, length: int, make: Callable[[int], T]) -> None:
        self._length, self._make = length, make

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> list[T]: ...
    def __getitem__(self, place: int | slice) -> T | list[T]:
        if isinstance(place, slice):
            return [self._make(number) for number in range(*place.indices(self._length))]
        if not -self._length <= place < self._length:
            raise IndexError(f"{place} is not among {self._length}")
        return self._make(place % self._length)


class Texts(Lazy[str]):
    """Strings that stand one behind another in UTF-8.

    Args:
        data: their bytes.
        ends: where each ends.
    """

    def __init__(self, data: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        super().__init__(len(ends), self._text)
        self._data, self._ends = data, ends

    def _text(self, number: int) -> str:
        first = self._ends[number - 1] if number else 0
        return decode(self._data[first : self._ends[number]].tobytes())

    def __iter__(self) -> Iterator[str]:
        first = 0
        for start in range(0, len(self), _BLOCK):
            ends = self._ends[start : start + _BLOCK].tolist()
            block, begin = self._data[first : ends[-1]].tobytes(), first
            for end in ends:
                yield decode(block[first - begin : end - begin])
                first = end


class Sections:
    """The columns of sections while they are gathered."""

    def __init__(self) -> None:
        self._counts: list[int] = []
        self._firsts: list[int] = []
        self._captions: list[bytes] = []
        self._caption_counts: list[int] = []

    def add(self, sections: Sequence[Sequence[Any]]) -> None:
        """Those of the next sample."""
        self._counts.append(len(sections))
        for first, captions in sections:
            self._firsts.append(first)
            self._captions += map(encode, captions)
            self._caption_counts.append(len(captions))

    def columns(self) -> dict[str, NDArray[Any]]:
        """None where no sample has any: then a file is what it was before there were sections."""
        if not self._firsts:
            return {}
        return {
            "sections": np.array(self._firsts, np.int32),
            "section_stops": np.cumsum(self._counts, dtype=np.int64),
            **joined("section_captions", "section_caption_ends", self._captions),
            "section_caption_stops": np.cumsum(self._caption_counts, dtype=np.int64),
        }


def between(stops: NDArray[np.int64], number: int) -> slice:
    """Where something's own lie, of which `stops` says how many there are up to and with each."""
    return slice(int(stops[number - 1]) if number else 0, int(stops[number]))


def encode(text: str) -> bytes:
    """In UTF-8, with whatever JSON may hold besides."""
    return text.encode("utf-8", "surrogatepass")  # JSON can hold them, and loses none


def decode(data: bytes) -> str:
    """The inverse of `encode`."""
    return data.decode("utf-8", "surrogatepass")


def joined(name: str, ends: str, texts: Sequence[bytes]) -> dict[str, NDArray[Any]]:
    """Two columns of texts, so named: their bytes one behind another, and where each ends."""
    return {name: np.frombuffer(b"".join(texts), np.uint8), ends: np.cumsum([len(text) for text in texts], dtype=np.int64)}
