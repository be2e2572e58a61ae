"""Inputs of every kind with their right readings (inputs.yaml), read for the tests and counted for docs/inputs.md.

`python tests/notation/chords/inputs.py` prints the table.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from jasco_pl.notation.chord_text import read_chords
from jasco_pl.system.errors import UserError

FILE = Path(__file__).with_suffix(".yaml")


@dataclass(frozen=True)
class Written:
    """One input: what is written, how it is to be read, and what was made of it before."""

    kind: str
    told: dict[str, Any]

    def text(self, folder: Path) -> str | Path:
        """The line, or the path of a file with the content."""
        if "line" in self.told:
            return self.told["line"]
        path = folder / self.told["file"]
        path.write_bytes(self.told["content"].encode(self.told.get("encoding", "utf-8")))
        return path

    def options(self) -> dict[str, Any]:
        found = {"bpm": self.told.get("bpm", 120), "meter": self.told.get("meter", "4/4"), "duration": self.told.get("seconds", 8)}
        return found | ({"key": self.told["key"]} if "key" in self.told else {})

    @property
    def chords(self) -> list[tuple[str, float]] | None:
        """The right reading; None where it is to be refused."""
        if "chords" not in self.told:
            return None
        pairs = (pair.rpartition("@") for pair in self.told["chords"].split())
        return [(label, float(start)) for label, _, start in pairs]


def inputs() -> Iterator[Written]:
    for group in yaml.safe_load(FILE.read_text(encoding="utf-8")):
        for told in group["inputs"]:
            yield Written(group["kind"], told)


def outcome(written: Written, folder: Path) -> str:
    """`read` or `refused` where that is right, else `wrong`."""
    try:
        changes = read_chords(written.text(folder), **written.options()).changes
    except UserError as error:
        return "refused" if written.told.get("refused", "\0") in str(error) else "wrong"
    found = [(change.label, round(change.start, 4)) for change in changes]
    return "read" if found == written.chords else "wrong"


def table() -> str:
    """Kinds by rows, as Markdown."""
    rows = ["| kind | tried | read | refused well | wrong before | of these misread | wrong now |", "|---|--:|--:|--:|--:|--:|--:|"]
    kinds: dict[str, list[tuple[str, str]]] = {}
    with tempfile.TemporaryDirectory() as name:
        for written in inputs():
            kinds.setdefault(written.kind, []).append((written.told["before"], outcome(written, Path(name))))
    for kind, found in {**kinds, "all": [pair for pairs in kinds.values() for pair in pairs]}.items():
        before, now = zip(*found, strict=True)
        misread = before.count("misread")
        counts = [len(found), now.count("read"), now.count("refused"), before.count("refused") + misread, misread, now.count("wrong")]
        rows.append(f"| {kind} | {' | '.join(map(str, counts))} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
