"""The index of a set as columns in one file that is mapped into memory: N samples of S shards, with F kinds of fields.

    about                            JSON: the codec, the names of the fields
    ids, id_ends [N]                 the samples' ids one behind another in UTF-8, and where each ends
    frames [N]                       length of each
    stored [N]                       bit f is set where the sample has field f
    crc32 [N, F]                     of that field; 0 where it has none
    captions, caption_ends [C]       of all samples one behind another
    caption_stops [N]                how many captions there are up to and with this sample
    sections [K]                     first frames of the sections of all samples; this and the next four only where some sample has sections
    section_stops [N]                how many sections there are up to and with this sample
    section_captions, section_caption_ends
                                     captions of all sections one behind another
    section_caption_stops [K]        how many of them there are up to and with this section
    files, file_ends [S]             names of the shards
    bytes, codecs, stops [S]         size, fingerprint of the codec (-1: not recorded), samples up to and with this shard

It is a safetensors file, whose metadata hold a checksum a column and what the columns were made from. All processes of a machine that open
it share its pages; what travels to another process is its path.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from jasco_pl.data.schema import FIELDS
from jasco_pl.data.texts import SECTIONS, Lazy, Sections, Texts, between, encode, joined
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path, is_bare

FORMAT = "jasco-pl-columns/1"
DTYPES = {
    "about": np.uint8,
    "ids": np.uint8,
    "id_ends": np.int64,
    "frames": np.int32,
    "stored": np.uint32,
    "crc32": np.uint32,
    "captions": np.uint8,
    "caption_ends": np.int64,
    "caption_stops": np.int64,
    "files": np.uint8,
    "file_ends": np.int64,
    "bytes": np.int64,
    "codecs": np.int64,
    "stops": np.int64,
}
_COPIED = 16 << 20  # bytes of a file that is read: some 100,000 samples


class DamagedColumnsError(UserError):
    """A file of columns is truncated, altered, or none of ours; the message names it."""


@dataclass(frozen=True)
class Source:
    """The text that columns were made from: its size in bytes and its MD5, which object stores tell without being read."""

    size: int
    md5: str

    @classmethod
    def of(cls, data: bytes) -> Source:
        """Of that text."""
        return cls(len(data), hashlib.md5(data, usedforsecurity=False).hexdigest())


class Columns:
    """The index of a set.

    Args:
        arrays: the columns that the module describes.
        path: of the file that they are mapped from; None where they stand in this process's own memory.
        source: what that file was made from.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], path: Path | None = None, source: Source | None = None) -> None:
        self.arrays, self.path, self.source = dict(arrays), path, source
        about = json.loads(self.arrays["about"].tobytes())
        self.codec: dict[str, Any] = about["codec"]
        self.fields: list[str] = about["fields"]
        self.frames, self.stored, self.crc32 = (self.arrays[name] for name in ("frames", "stored", "crc32"))
        self.bytes, self.codecs, self.stops = (self.arrays[name] for name in ("bytes", "codecs", "stops"))
        self.ids = Texts(self.arrays["ids"], self.arrays["id_ends"])
        self.captions = Texts(self.arrays["captions"], self.arrays["caption_ends"])
        self.files = Texts(self.arrays["files"], self.arrays["file_ends"])
        self.has_sections = "sections" in self.arrays
        self.section_captions = Texts(self.arrays["section_captions"], self.arrays["section_caption_ends"]) if self.has_sections else []
        self.entries: Lazy[dict[str, Any]] = Lazy(len(self.ids), self._entry)

    def __reduce__(self) -> tuple[Any, ...]:
        # another process maps the file anew; it was checked by this one
        return (_reopened, (self.path, self.source)) if self.path else (Columns, (self.arrays,))

    @classmethod
    def of(cls, index: Mapping[str, Any]) -> Columns:
        """The columns of an index.

        Args:
            index: `codec`, and `shards` of `file`, `bytes`, perhaps `codec`, and `samples` of `id`, `frames`, `captions`, perhaps
                `sections`, `crc32`.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: it lacks something, or holds something else.
        """
        codec, frames, counts, sizes, codecs, samples = index["codec"], [], [], [], [], []
        parts = Sections()
        ids: list[bytes] = []
        captions: list[bytes] = []
        files: list[bytes] = []
        crcs: dict[str, tuple[list[int], list[int]]] = {name: ([], []) for name in FIELDS}
        for shard in index["shards"]:
            files.append(shard["file"].encode())
            sizes.append(shard["bytes"])
            codecs.append(shard.get("codec", -1))
            samples.append(len(shard["samples"]))
            for entry in shard["samples"]:
                for field, crc in entry["crc32"].items():
                    places, values = crcs.setdefault(field, ([], []))
                    places.append(len(ids))
                    values.append(crc)
                ids.append(encode(entry["id"]))
                frames.append(entry["frames"])
                counts.append(len(entry["captions"]))
                captions += map(encode, entry["captions"])
                parts.add(entry.get("sections", ()))
        fields = [name for name, (places, _) in crcs.items() if places]
        if len(fields) > 32:
            raise ValueError(f"{len(fields)} kinds of fields")
        stored = np.zeros(len(ids), np.uint32)
        table = np.zeros((len(ids), len(fields)), np.uint32)
        for number, name in enumerate(fields):
            places, values = crcs[name]
            stored[places] |= np.uint32(1 << number)
            table[places, number] = np.array(values, np.uint32)
        about = json.dumps({"codec": codec, "fields": fields}, ensure_ascii=False)
        return cls(
            {
                "about": np.frombuffer(encode(about), np.uint8),
                **joined("ids", "id_ends", ids),
                "frames": np.array(frames, np.int32),
                "stored": stored,
                "crc32": table,
                **joined("captions", "caption_ends", captions),
                "caption_stops": np.cumsum(counts, dtype=np.int64),
                **parts.columns(),
                **joined("files", "file_ends", files),
                "bytes": np.array(sizes, np.int64),
                "codecs": np.array(codecs, np.int64),
                "stops": np.cumsum(samples, dtype=np.int64),
            }
        )

    def packed(self, source: Source) -> bytes:
        """The content of a file of these columns, which were made from `source`; always the same for the same."""
        sums = {name: _crc32(array) for name, array in self.arrays.items()}
        # one entry: safetensors writes several in no fixed order
        note = json.dumps({"format": FORMAT, "made_from": asdict(source), "crc32": sums})
        return save(self.arrays, metadata={"columns": note})

    def save(self, path: str | Path, source: Source) -> None:
        """Write a file, whole or not at all; raises WriteError if it cannot be written."""
        with atomic_path(path) as temporary:
            temporary.write_bytes(self.packed(source))

    @classmethod
    def open(cls, path: str | Path, check: bool = True) -> Columns:
        """Map a file.

        Args:
            path: of it.
            check: whether to compare the checksums, for which everything is read.

        Raises:
            FileNotFoundError: there is none. DamagedColumnsError: it is damaged.
        """
        path = Path(path)
        try:
            # As torch's tensors large columns are mapped, and shared; as numpy's they would be copied. A mapped file that somebody
            # truncates in place ends the process that reads it, which is why small ones are read.
            handle = safe_open(path, "pt", backend="pread" if path.stat().st_size <= _COPIED else "mmap")
            note = json.loads(handle.metadata()["columns"])
            dtypes = DTYPES | (SECTIONS if "sections" in note["crc32"] else {})
            if note["format"] != FORMAT or set(note["crc32"]) != set(dtypes):
                raise ValueError(f"it is not of format {FORMAT!r}")
            arrays = {name: handle.get_tensor(name).numpy() for name in dtypes}
            for name, array in arrays.items():
                array.flags.writeable = False
                if array.dtype != dtypes[name] or (check and _crc32(array) != note["crc32"][name]):
                    raise ValueError(f"the column {name!r} fails its checksum")
            columns = cls(arrays, path, Source(**note["made_from"]))
            columns._check()
            return columns
        except FileNotFoundError:
            raise
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedColumnsError(f"{str(path)!r} is damaged: {error}.") from error

    def _check(self) -> None:
        """Raise ValueError if columns do not belong together, or name files elsewhere."""
        samples, shards, captions = len(self.frames), len(self.bytes), len(self.captions)
        lengths = {"ids": len(self.ids), "stored": len(self.stored), "crc32": len(self.crc32), "caption_stops": len(self.caption_counts)}
        lengths |= {"files": len(self.files), "codecs": len(self.codecs), "stops": len(self.stops)}
        for name, length in lengths.items():
            if length != (shards if name in ("files", "codecs", "stops") else samples):
                raise ValueError(f"the column {name!r} has {length} entries for {samples} samples in {shards} shards")
        sizes = {"id_ends": len(self.arrays["ids"]), "caption_ends": len(self.arrays["captions"]), "file_ends": len(self.arrays["files"])}
        sizes |= {"caption_stops": captions, "stops": samples}
        if self.has_sections:
            lengths = {"section_stops": samples, "section_caption_stops": len(self.arrays["sections"])}
            if wrong := next((name for name, length in lengths.items() if len(self.arrays[name]) != length), None):
                raise ValueError(f"the column {wrong!r} has {len(self.arrays[wrong])} entries, not {lengths[wrong]}")
            sizes |= {"section_stops": len(self.arrays["sections"]), "section_caption_stops": len(self.section_captions)}
            sizes |= {"section_caption_ends": len(self.arrays["section_captions"])}
        for name, size in sizes.items():
            stops = self.arrays[name]
            if int(stops[-1]) != size if len(stops) else size or (np.diff(stops, prepend=0) < 0).any():
                raise ValueError(f"the column {name!r} does not end where it should")
        if self.crc32.shape[1:] != (len(self.fields),) or len(self.fields) > 32:
            raise ValueError(f"the column 'crc32' is of the shape {list(self.crc32.shape)} for {len(self.fields)} kinds of fields")
        if elsewhere := next((name for name in self.files if not is_bare(name)), None):
            raise ValueError(f"{elsewhere!r} is not the bare name of a shard")

    def __len__(self) -> int:
        return len(self.ids)

    def _entry(self, position: int) -> dict[str, Any]:
        mask, crcs = int(self.stored[position]), self.crc32[position].tolist()
        sections = self.sections(position)
        return {
            "id": self.ids[position],
            "frames": int(self.frames[position]),
            "captions": self.captions[between(self.arrays["caption_stops"], position)],
            **({"sections": sections} if sections else {}),
            "crc32": {name: crc for number, (name, crc) in enumerate(zip(self.fields, crcs, strict=True)) if mask >> number & 1},
        }

    def sections(self, position: int) -> list[list[Any]]:
        """[first frame, captions] of every section of a sample; none of one that has none."""
        if not self.has_sections:
            return []
        within, stops = between(self.arrays["section_stops"], position), self.arrays["section_caption_stops"]
        firsts = self.arrays["sections"][within].tolist()
        return [[first, self.section_captions[between(stops, within.start + number)]] for number, first in enumerate(firsts)]

    @cached_property
    def caption_counts(self) -> NDArray[np.int64]:
        """Captions of each sample, [N]."""
        return np.diff(self.arrays["caption_stops"], prepend=0)

    @cached_property
    def section_counts(self) -> NDArray[np.int64]:
        """Sections of each sample, [N]."""
        return np.diff(self.arrays["section_stops"], prepend=0) if self.has_sections else np.zeros(len(self), np.int64)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Samples of each shard, [S]."""
        return np.diff(self.stops, prepend=0)

    def has(self, field: str) -> NDArray[np.bool_]:
        """Which samples have a field, [N]."""
        if field not in self.fields:
            return np.zeros(len(self), np.bool_)
        return (self.stored >> np.uint32(self.fields.index(field)) & 1).astype(np.bool_)

    def kinds(self) -> list[dict[str, Any]]:
        """The entry of the first sample of each combination of fields that occurs, in their order: what holds of fields holds of these."""
        firsts = np.unique(self.stored, return_index=True)[1]
        return [self.entries[position] for position in sorted(firsts.tolist())]

    def shard_of(self, positions: Any) -> Any:
        """The numbers of the shards that samples stand in: an array for an array, else a number."""
        return np.searchsorted(self.stops, positions, side="right")

    def members(self, shard: int) -> range:
        """Positions of a shard's samples."""
        return range(int(self.stops[shard - 1]) if shard else 0, int(self.stops[shard]))

    def shard(self, number: int) -> dict[str, Any]:
        """`file`, `bytes`, `samples` and, where it was recorded, `codec` of a shard, as the index has them."""
        members, codec = self.members(number), int(self.codecs[number])
        found = {"file": self.files[number], "bytes": int(self.bytes[number]), "samples": self.entries[members.start : members.stop]}
        return found if codec < 0 else {**found, "codec": codec}


def _crc32(array: NDArray[Any]) -> int:
    return zlib.crc32(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]


def _reopened(path: Path, source: Source) -> Columns:
    with contextlib.suppress(FileNotFoundError):
        columns = Columns.open(path, check=False)
        if columns.source == source:
            return columns
    raise UserError(f"{str(path)!r} became another while it was in use: the set was written anew; start again.")
