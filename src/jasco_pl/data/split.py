"""One prepared set becomes training, validation and test sets that share no recording.

Several prepared sets become one, without copying what need not be copied.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from jasco_pl.data.object_store import is_url
from jasco_pl.data.remote import CacheOptions
from jasco_pl.data.shards import INDEX, ShardReader, finished, write_index, write_shard, write_side
from jasco_pl.data.summary import fingerprints
from jasco_pl.system.errors import UserError
from jasco_pl.system.files import atomic_path, explain_os_error, remove_leftovers
from jasco_pl.system.locks import alone
from jasco_pl.system.seeding import stable_hash

SPLITS = ("train", "valid", "test")
BUSY = "another command is writing into {!r}: wait for it, or name another folder."
# <name>-<hash of the recording>-<segment>, as `jasco prepare` names samples; composed pieces end in six digits
_SEGMENT = re.compile(r".*-([0-9a-f]{8})-\d{3,5}")
# What the versions of a composed piece by several bands differ in
_BAND = re.compile(r"-band\d+(?=-\d{6}$)")


def recording(sample: str) -> str:
    """What a sample was cut from: the hash of the recording in its id, or of a composed piece the id without its band."""
    match = _SEGMENT.fullmatch(sample)
    return match[1] if match else _BAND.sub("", sample)


def is_recorded(sample: str) -> bool:
    """Whether `jasco prepare` cut a sample of that id from a recording; otherwise it is a composed piece."""
    return _SEGMENT.fullmatch(sample) is not None


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
    with alone(out, BUSY.format(str(out))):
        if not test and (out / "test" / INDEX).exists():
            raise UserError(f"{str(out / 'test')!r} is the test set of a former division: give its share by --test, or remove it.")
        reader = ShardReader(folder, cache=CacheOptions(prefetch=0))
        groups = _groups(reader, valid, test, seed)
        for name in wanted:
            if not groups[name]:
                count = len(set(map(recording, reader.ids)))
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
    sides = (side(name, valid, test, seed) for name in reader.ids)
    for shard, count in enumerate(reader.counts):
        parts: dict[str, list[int]] = defaultdict(list)
        for place, part in zip(reader.columns.members(shard), sides, strict=False):
            parts[part].append(place)
        for name, members in parts.items():
            if 2 * len(members) >= count:
                groups[name].append(members)
            else:
                rest[name] += members
    size = max(reader.counts)
    for name, members in rest.items():
        groups[name] += [members[start : start + size] for start in range(0, len(members), size)]
    return groups


# what os.link says where files cannot be linked: another file system, one without links, too many of them, files of somebody else
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def put(reader: ShardReader, positions: Sequence[int], out: Path, copy: bool = False) -> str:
    """Put samples of a set into a shard of another folder, unless it is there.

    A whole shard is hard-linked where the file system allows it: shards are never written to, only replaced.

    Args:
        reader: of the set.
        positions: in it; a shard's own in their order for the whole shard.
        out: folder.
        copy: whether to copy in place of linking.

    Returns:
        The shard's name, a function of what is in it.

    Raises:
        UserError: the folder cannot be written. CorruptShardError: what is to be taken is damaged.
    """
    entries = [reader.entries[position] for position in positions]
    codec = next((shard["codec"] for shard in reader.shards if shard.get("codec")), 0)
    name = f"shard-{stable_hash(codec, json.dumps(entries, sort_keys=True)):016x}"
    if finished(out, name, [entry["id"] for entry in entries], codec):
        return name
    shard = int(reader.columns.shard_of(positions[0]))
    if not reader.remote and list(positions) == list(reader.columns.members(shard)):
        source = reader.columns.files[shard]
        reader.check_size(source)
        _link(reader.folder / source, out / f"{name}.safetensors", copy)
        side = {"file": f"{name}.safetensors", "bytes": reader.sizes[source], "codec": codec, "samples": entries}
        write_side(out, side)
    else:
        write_shard(out, name, [reader.read(position) for position in positions], codec)
    return name


def _link(source: Path, target: Path, copy: bool) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)  # of a run that was killed before it had noted the shard
        if not copy:
            os.link(source, target)
            return
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise explain_os_error(error, target) from error
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def finish(out: Path, codec: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Write a folder's index, then remove the shards that its former index listed and this one does not; returns the index."""
    former = ShardReader(out, check=False).sizes if (out / INDEX).exists() else {}
    index = write_index(out, codec, names)
    for name in {Path(file).stem for file in former} - set(names):
        for suffix in (".json", ".safetensors"):
            (out / name).with_suffix(suffix).unlink(missing_ok=True)
    return index


def check_codecs(readers: Sequence[ShardReader]) -> None:
    """Raise UserError unless all sets were made with the same codec, as far as they tell."""
    first = readers[0]
    for reader in readers:
        ours, theirs = first.codec, reader.codec
        marks, others = fingerprints(first), fingerprints(reader)
        if len(others) > 1:
            raise UserError(f"the shards in {reader.location!r} were made with {len(others)} codecs: prepare the set anew with one.")
        for key, text in (
            ("frame_rate", "frame rates, {:g} and {:g} Hz,"),
            ("dim", "dimensions, {} and {},"),
            ("mean", "means of the latents"),
            ("std", "deviations of the latents"),
        ):
            if ours.get(key) != theirs.get(key):
                what = text.format(ours.get(key), theirs.get(key))
                break
        else:
            if not marks or not others or marks == others:  # older sets have none recorded; the statistics hardly agree by chance
                continue
            what = f"fingerprints, {marks[0]} and {others[0]},"
        raise UserError(f"{first.location!r} and {reader.location!r} were made with different codecs: their {what} differ.")


def merge(sources: Sequence[str | Path], out: str | Path, copy: bool = False, skip_duplicates: bool = False) -> dict[str, Any]:
    """Put several sets into one folder, in their order; goes on where it was interrupted, and grows when it is given further sets.

    Args:
        sources: folders or URLs of sets, made with one codec. Their samples need not have the same fields.
        out: folder; a former merge of some of them, or new.
        copy: copy shards also where they could be hard-linked.
        skip_duplicates: of samples with the same id take the first and leave out the others.

    Returns:
        The index of the merged set.

    Raises:
        UserError: the codecs differ, two samples have the same id, or `out` is one of the sources, or a set of something else.
    """
    out = Path(out)
    readers = [ShardReader(source) for source in sources]
    for reader in readers:
        if not is_url(reader.location) and reader.folder.resolve() == out.resolve():
            raise UserError(f"{str(out)!r} is one of the sets to be merged: name a new folder.")
    check_codecs(readers)
    owner: dict[str, str] = {}
    groups: list[tuple[ShardReader, list[int]]] = []
    for reader in readers:
        names = iter(reader.ids)
        for shard in range(len(reader.shards)):
            kept = []
            for place, name in zip(reader.columns.members(shard), names, strict=False):
                if name not in owner:
                    owner[name] = reader.location
                    kept.append(place)
                elif not skip_duplicates:
                    raise UserError(
                        f"{owner[name]!r} and {reader.location!r} both hold a sample {name!r}; --skip-duplicates takes the first of such."
                    )
            groups += [(reader, kept)] if kept else []
    with alone(out, BUSY.format(str(out))):
        if (out / INDEX).exists():
            foreign = next((name for name in ShardReader(out, check=False).ids if name not in owner), None)
            if foreign is not None:
                raise UserError(f"{str(out)!r} holds other samples already, such as {foreign!r}: merge that set too, into a new folder.")
        remove_leftovers(out)
        shards = []
        with tqdm(total=sum(len(kept) for _, kept in groups), desc="merge", unit="sample") as bar:
            for reader, kept in groups:
                shards.append(put(reader, kept, out, copy))
                bar.update(len(kept))
        return finish(out, readers[0].codec, shards)
