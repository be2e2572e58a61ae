"""One prepared set becomes training, validation and test sets that share no recording."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from tqdm import tqdm

from jasco_pl.data.merge import finish, put
from jasco_pl.data.remote import CacheOptions
from jasco_pl.data.shards import INDEX, ShardReader
from jasco_pl.errors import UserError
from jasco_pl.files import remove_leftovers
from jasco_pl.seeding import stable_hash

SPLITS = ("train", "valid", "test")
# <name>-<hash of the recording>-<segment>, as `jasco prepare` names samples; composed pieces end in six digits
_SEGMENT = re.compile(r".*-([0-9a-f]{8})-\d{3,5}")


def recording(sample: str) -> str:
    """What a sample was cut from: the hash of the recording in its id, or the id where it is a piece of its own."""
    match = _SEGMENT.fullmatch(sample)
    return match[1] if match else sample


def side(sample: str, valid: float, test: float, seed: int) -> str:
    """The split that a sample belongs to: a hash of its recording, so that nothing moves when the set grows."""
    place = stable_hash("split", seed, recording(sample)) / 2**63
    return "valid" if place < valid else "test" if place < valid + test else "train"


def split(
    folder: str | Path, out: str | Path, valid: float = 0.05, test: float = 0.0, seed: int = 0, copy: bool = False
) -> dict[str, ShardReader]:
    """Divide a set by recordings; goes on where it was interrupted, and again after the set has grown.

    A shard that goes whole into one split is hard-linked; one that goes there for the most part is written anew without the rest; what
    remains is gathered into shards of the usual size.

    Args:
        folder: or URL of the set. Different stretches of one file that a list named are recordings of their own.
        out: gets the folders `train`, `valid` and, if any go there, `test`.
        valid, test: shares of the recordings.
        seed: another one gives another division.
        copy: copy shards also where they could be hard-linked.

    Returns:
        Split -> its reader.

    Raises:
        UserError: the shares make no sense, or leave a split without a recording.
    """
    if not (0 < valid < 1 and test >= 0 and valid + test < 1):
        raise UserError(f"shares of {valid:g} and {test:g} cannot be taken: valid must be over 0, and both together under 1.")
    out = Path(out)
    wanted = [name for name in SPLITS if name != "test" or test > 0]
    if not test and (out / "test" / INDEX).exists():
        raise UserError(f"{str(out / 'test')!r} is the test set of a former division: give its share by --test, or remove it.")
    reader = ShardReader(folder, cache=CacheOptions(prefetch=0))
    groups = _groups(reader, valid, test, seed)
    for name in wanted:
        if not groups[name]:
            count = len({recording(entry["id"]) for entry in reader.entries})
            raise UserError(f"none of the {count} recordings in {reader.location!r} goes to {name}: change the shares, or the seed.")
    result = {}
    with tqdm(total=len(reader), desc="split", unit="sample") as bar:
        for name in wanted:
            remove_leftovers(out / name)
            shards = []
            for members in groups[name]:
                shards.append(put(reader, members, out / name, copy))
                bar.update(len(members))
            finish(out / name, reader.codec, shards)
            result[name] = ShardReader(out / name)
    return result


def _groups(reader: ShardReader, valid: float, test: float, seed: int) -> dict[str, list[list[int]]]:
    """Split -> positions in the set of the samples of each of its shards."""
    groups: dict[str, list[list[int]]] = defaultdict(list)
    rest: dict[str, list[int]] = defaultdict(list)
    position = 0
    for count in reader.counts:
        parts: dict[str, list[int]] = defaultdict(list)
        for place in range(position, position + count):
            parts[side(reader.entries[place]["id"], valid, test, seed)].append(place)
        position += count
        for name, members in parts.items():
            if 2 * len(members) >= count:
                groups[name].append(members)
            else:
                rest[name] += members
    size = max(reader.counts)
    for name, members in rest.items():
        groups[name] += [members[start : start + size] for start in range(0, len(members), size)]
    return groups
