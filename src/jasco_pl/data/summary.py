"""What prepared data hold: how much, with which fields, under which codec, in which chords."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from tqdm import tqdm

from jasco_pl.data.schema import FIELDS, STAND_INS
from jasco_pl.data.shards import ShardReader
from jasco_pl.notation import harmony

READ = 400
"""Samples whose chords and melody are read unless told otherwise: a second's work, and shares within a few per cent."""


def spread(reader: ShardReader, count: int) -> list[int]:
    """Positions of `count` samples spread evenly over the set; of a URL, of as few shards as hold so many, for those are fetched whole."""
    total = len(reader)
    if count >= total:
        return list(range(total))
    if reader.remote is None:
        return [number * total // count for number in range(count)]
    have = len(reader.shards)
    shards = max(1, min(have, round(count * have / total)))
    return [position for number in range(shards) for position in reader.columns.members(number * have // shards)][:count]


def fingerprints(reader: ShardReader) -> list[str]:
    """Of the codecs that made the shards: one, unless sets were mixed by hand; none in sets older than the record of it."""
    return [f"{codec:08x}" for codec in np.unique(reader.columns.codecs).tolist() if codec > 0]


def field_counts(reader: ShardReader) -> dict[str, int]:
    """Field -> samples that have it, in the schema's order."""
    columns = reader.columns
    return {field: int(columns.has(field).sum()) for field in FIELDS if field in columns.fields}


def summarize(reader: ShardReader, read: int) -> dict[str, Any]:
    """The figures of a set, ready for JSON.

    Args:
        reader: of it.
        read: samples whose chords and melody are looked at; the rest comes from the index.

    Returns:
        `samples`, `shards`, `bytes`, `hours`, `codec`, `fields` (samples that have each), `captions`, `without_caption`, `sections`,
        `with_sections` (samples), and `heard`:
        `samples` looked at and whether these are all (`complete`), `chords` (label -> share of the frames with chords, falling),
        `chords_from` (field -> samples; exact ones go before Chordino's), `melody` (share of the frames in which one sounds, over
        `melody_samples`; None where no sample has the field).

    Raises:
        CorruptShardError: a sample looked at is damaged.
    """
    captions, sections = reader.columns.caption_counts, reader.columns.section_counts
    return {
        "location": reader.location,
        "samples": len(reader),
        "shards": len(reader.shards),
        "bytes": int(reader.columns.bytes.sum()),
        "hours": reader.hours,
        "codec": {**{key: reader.codec[key] for key in ("name", "dim", "frame_rate")}, "fingerprints": fingerprints(reader)},
        "fields": field_counts(reader),
        "captions": int(captions.sum()),
        "without_caption": int((captions == 0).sum()),
        "sections": int(sections.sum()),
        "with_sections": int((sections > 0).sum()),
        "heard": _hear(reader, spread(reader, read)),
    }


def _hear(reader: ShardReader, positions: list[int]) -> dict[str, Any]:
    chords, sources = np.zeros(harmony.NULL + 1, dtype=np.int64), Counter[str]()
    voiced = frames = with_melody = 0
    for position in tqdm(positions, desc="chords and melody", unit="sample", leave=False, delay=1):
        stored = reader.entries[position]["crc32"]
        field = next((name for name in ("chords", STAND_INS["chords"]) if name in stored), None)
        wanted = [name for name in (field, "melody") if name and name in stored]
        tensors = reader.read(position, wanted).tensors if wanted else {}
        if field:
            chords += np.bincount(tensors[field].numpy(), minlength=len(chords))
            sources[field] += 1
        if "melody" in tensors:
            with_melody += 1
            frames += len(tensors["melody"])
            voiced += int((tensors["melody"] >= 0).sum())
    order = [index for index in np.argsort(-chords, kind="stable") if chords[index] and index != harmony.NULL]
    return {
        "samples": len(positions),
        "complete": len(positions) == len(reader),
        "chords": {harmony.label(int(index)): float(chords[index] / chords.sum()) for index in order},
        "chords_from": dict(sorted(sources.items())),
        "melody": voiced / frames if frames else None,
        "melody_samples": with_melody,
    }


def as_text(summary: dict[str, Any], top: int = 10) -> str:
    """The figures of `summarize` for people: lines of name and value, chords cut to the `top` most frequent."""
    codec, heard, total = summary["codec"], summary["heard"], summary["samples"]
    mark = " and ".join(codec["fingerprints"]) or "not recorded"
    lines = [
        f"samples   {total}",
        f"shards    {summary['shards']}",
        f"length    {summary['hours']:.2f} h",
        f"size      {_bytes(summary['bytes'])}",
        f"codec     {codec['name']} ({codec['dim']} channels at {codec['frame_rate']:g} Hz, fingerprint {mark})",
    ]
    for number, (field, count) in enumerate(summary["fields"].items()):
        share = "all samples" if count == total else f"{count} of {total} samples ({100 * count / total:.1f} %)"
        lines.append(f"{'' if number else 'fields':10}{field:22}{share}")
    lines.append(f"captions  {summary['captions']}; {summary['without_caption']} samples have none")
    if summary["sections"]:
        lines.append(f"sections  {summary['sections']} with captions of their own, in {summary['with_sections']} samples")
    if not heard["samples"]:
        return "\n".join([*lines, "chords and melody were not looked at: --read N does it, which fetches shards"])
    looked = "all samples" if heard["complete"] else f"a spread of {heard['samples']} samples"
    if heard["chords"]:
        kinds = {"chords": "exact", "chords_heard": "Chordino's"}
        origin = ", ".join(f"{kinds[field]} in {count}" for field, count in heard["chords_from"].items())
        lines.append(f"chords    share of the time in {looked} ({origin})")
        shown = list(heard["chords"].items())[:top]
        lines += [f"{'':10}{label:8}{100 * share:5.1f} %  {'▪' * round(40 * share / shown[0][1])}" for label, share in shown]
        if (others := len(heard["chords"]) - top) > 0:
            lines.append(f"{'':10}{others} others, {100 * (1 - sum(share for _, share in shown)):.1f} %")
    if heard["melody"] is not None:
        lines.append(
            f"melody    sounds in {100 * heard['melody']:.1f} % of the time (field there in {heard['melody_samples']} of {looked})"
        )
    return "\n".join(lines)


def _bytes(count: int) -> str:
    return next(
        f"{count / size:.{1 if size > 1 else 0}f} {unit}" for size, unit in ((1e9, "GB"), (1e6, "MB"), (1, "bytes")) if count >= size
    )
